"""Every error that netsim raises on purpose, in one tree.

::

    NetsimError
    ├── UsageError          you called netsim wrongly (an unknown Pod name, a bad option)
    ├── ManifestError       the files are wrong; holds one Problem per mistake, all of a file at once
    ├── CorefileError       CoreDNS would not start with this Corefile
    ├── ConvergenceError    the cluster did not settle; names what waits for what
    ├── GaveUp              a command or call that would never end
    ├── ApiError            the store refuses a request, in the API server's words
    │   ├── NotFound            no such object
    │   ├── AlreadyExists       the name is taken
    │   ├── Conflict            the object changed since it was read
    │   ├── Forbidden           the namespace is being deleted
    │   └── Invalid             a field's value cannot be accepted
    ├── AllocationError     a range of addresses or ports has nothing left to give
    ├── WireError           bytes that are not a valid header or message (a peer is wrong)
    ├── PlanError           two owners claim one plan entry, or an entry refers to nothing
    └── PodStartError       the kubelet refuses to start a Pod or container as it is declared

Network outcomes that a program sees (refused, timed out, unreachable) are Python's own ``OSError``
family, as on a real host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class NetsimError(Exception):
    """Base of all errors that netsim raises on purpose."""


class UsageError(NetsimError):
    """netsim was called wrongly; ``hint`` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint


class HostGone(UsageError):
    """The machine that a program runs on is no more: its Pod or its node was taken away."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value was written: a file (``-`` for text given in memory), line and column from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, or one warning, about one field of one object in one file."""

    source: Source
    message: str
    field: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.source}: {self.message}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class ManifestError(NetsimError):
    """The input files are wrong. ``problems`` lists every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class CorefileError(NetsimError):
    """A Corefile that CoreDNS would not start with, in its words; ``line`` is 0 where it names none."""

    def __init__(self, message: str, *, file: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line


class ConvergenceError(NetsimError):
    """The cluster did not settle in the virtual time allowed; ``waiting`` names what waits for what."""

    def __init__(self, now: float, waiting: Sequence[str]) -> None:
        listed = "\n".join(f"  - {line}" for line in waiting)
        super().__init__(f"not converged after {now:g} virtual seconds; waiting for:\n{listed}")
        self.now = now
        self.waiting = tuple(waiting)


class GaveUp(NetsimError):
    """A command or call still runs at ``now``, and netsim stops waiting for it.

    ``asleep``: nothing in the simulation will ever wake it. Otherwise a virtual day has passed.
    """

    def __init__(self, now: float, *, asleep: bool) -> None:
        why = "nothing in the simulation will ever wake it" if asleep else "a virtual day has passed"
        self.hint = "give it an end (timeout 60 …, ping -c 4 …, curl -m 10 …); a server belongs into a Pod"
        super().__init__(f"gave up: it still runs, and {why}\n  hint: {self.hint}")
        self.now = now
        self.asleep = asleep


class ApiError(NetsimError):
    """The store refuses a request. The class name is the ``reason`` that the API server would give.

    ``resource`` is the plural name with its group, as in ``deployments.apps``.
    """

    def __init__(self, resource: str, name: str, message: str) -> None:
        super().__init__(message)
        self.resource = resource
        self.name = name
        self.message = message


class NotFound(ApiError):
    """No object of that kind and name."""

    def __init__(self, resource: str, name: str) -> None:
        super().__init__(resource, name, f'{resource} "{name}" not found')


class AlreadyExists(ApiError):
    """An object of that kind and name is there already."""

    def __init__(self, resource: str, name: str) -> None:
        super().__init__(resource, name, f'{resource} "{name}" already exists')


class Conflict(ApiError):
    """The request carries a resourceVersion that is no longer the object's."""

    def __init__(self, resource: str, name: str) -> None:
        cause = "the object has been modified; please apply your changes to the latest version and try again"
        super().__init__(resource, name, f'Operation cannot be fulfilled on {resource} "{name}": {cause}')


class Forbidden(ApiError):
    """The request is understood and not allowed; ``why`` is the admission plugin's sentence."""

    def __init__(self, resource: str, name: str, why: str) -> None:
        super().__init__(resource, name, f'{resource} "{name}" is forbidden: {why}')


class Invalid(ApiError):
    """``field`` of the object cannot be accepted; ``why`` says what is wrong with its value."""

    def __init__(self, kind: str, name: str, field: str, why: str) -> None:
        super().__init__(kind, name, f'{kind} "{name}" is invalid: {field}: {why}')
        self.field = field


class AllocationError(NetsimError):
    """A range has nothing left to give. The kubelet turns it into a Pod that waits, and says so."""


class WireError(NetsimError):
    """Bytes that are not what their protocol allows: ``header`` names the codec that refused them."""

    def __init__(self, header: str, message: str) -> None:
        super().__init__(f"{header}: {message}")
        self.header = header


class PlanError(NetsimError):
    """A plan entry contradicts the plan: claimed by two owners, or referring to what is not there."""


class PodStartError(NetsimError):
    """The kubelet refuses to start a Pod or a container; ``reason`` and ``message`` are its Event's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
