"""What a controller is: which subjects an event concerns, and what to write for a subject.

Both are functions of what the store holds and of ``now``: asked twice, a controller says the same, and
once its writes are applied it has nothing more to say. ``Manager`` calls them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from netsim.objects.meta import Object, ObjectRef
from netsim.store.events import Reporter
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent


class Create(NamedTuple):
    """Store a new object. In a namespace that is being deleted it is refused, silently as in Kubernetes."""

    object: Object


class Update(NamedTuple):
    """Store a new value of an object."""

    object: Object


class Delete(NamedTuple):
    """Ask for an object's (graceful) deletion."""

    ref: ObjectRef


class Remove(NamedTuple):
    """Take out an object whose deletion is complete."""

    ref: ObjectRef


Write = Create | Update | Delete | Remove


class Wait(NamedTuple):
    """Something that is not as it should be yet, and cannot be for now.

    ``blocked``: no passing of time will help, only another declaration or a freed resource. That Pods start,
    and may fail to, is the kubelet's to tell.
    """

    subject: ObjectRef
    text: str
    blocked: bool = True

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


class Report(NamedTuple):
    """An Event that no write shows; what follows from a write, ``events.TELLS`` says."""

    about: Object
    reason: str
    message: str
    by: Reporter
    warning: bool = False


class Outcome(NamedTuple):
    """What a subject needs now: writes, when to look again at the latest, what it waits for, what to tell."""

    writes: Sequence[Write] = ()
    deadline: float | None = None
    waits: Sequence[Wait] = ()
    reports: Sequence[Report] = ()


class Controller(Protocol):
    """One control loop."""

    @property
    def name(self) -> str:
        """As in the ``--controllers`` flag of kube-controller-manager where it has one."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds whose events concern it; empty for all."""
        ...

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """What has to be looked at after an event. A subject may have gone when it is looked at."""
        ...

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """What the subject needs. ``now`` is in virtual seconds."""
        ...
