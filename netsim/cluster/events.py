"""The Events of a cluster: which are asked for, and how ``kubectl events`` prints them.

Source: ``staging/src/k8s.io/kubectl/pkg/cmd/events`` (events.go, event_printer.go).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from netsim.base.errors import UsageError
from netsim.cluster.names import kind_names
from netsim.cluster.tables import render_age, render_columns
from netsim.objects.codec import KINDS
from netsim.objects.core import Event
from netsim.store.store import Store

TITLES = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
_CELL_BREAK = re.compile(r"[\f\n\r].*", re.DOTALL)


def told(store: Store, now: float, about: str = "", namespace: str | None = None) -> list[Event]:
    """The Events of a namespace or (None) of all, about ``pod/jump`` or ``pod/dev/jump`` where it is given.

    Raises UsageError for an ``about`` that names no kind. An object that is there no more is no mistake: its
    Events outlive it.
    """
    events = store.events.listed(now)
    if about:
        kind, space, name = _target(about)
        namespace = space or namespace
        events = [e for e in events if (e.involved_object.kind, e.involved_object.name) == (kind, name)]
    return [event for event in events if namespace in (None, event.metadata.namespace)]


def _target(about: str) -> tuple[str, str, str]:
    word, _, rest = about.partition("/")
    found = next((kind.kind for kind in KINDS if word.lower() in kind_names(kind.kind)), None)
    space, _, name = rest.rpartition("/")
    if not name or found is None:
        raise UsageError(f"{about} names no object", hint="write pod/NAME, deploy/NAME, node/NAME …")
    return found, space, name


def render_events(events: Sequence[Event], *, now: float, scoped: bool = False) -> str:
    """The Events in their order, with their namespace before them when they are ``scoped``."""
    scope = ("NAMESPACE",) if scoped else ()
    rows = [
        [*([event.metadata.namespace] if scoped else []), _seen(event, now), *map(_cell, _texts(event))]
        for event in events
    ]
    return render_columns([(*scope, *TITLES), *rows])


def _seen(event: Event, now: float) -> str:
    last, first = render_age(event.last_timestamp, now), render_age(event.first_timestamp, now)
    return f"{last} (x{event.count} over {first})" if event.count > 1 else first


def _texts(event: Event) -> tuple[str, str, str, str]:
    about = event.involved_object
    return event.type, event.reason, f"{about.kind}/{about.name}", event.message.strip()


def _cell(text: str) -> str:
    """A cell ends where its line does (escapeCell)."""
    return _CELL_BREAK.sub("...", text)
