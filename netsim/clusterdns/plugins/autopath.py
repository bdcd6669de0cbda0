"""autopath: walks the client's search list on the server, and answers its first question with the result.

The search list comes from a plugin that knows the client (``@kubernetes``) or from a resolv.conf. The first
element that gives anything but NXDOMAIN wins, with a CNAME from the name asked; when all give NXDOMAIN the
first reply is returned as it is, with the path's spelling in its question, and the client walks on itself.
Source: coredns ``plugin/autopath``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Follow, Handler, Outcome, Request, Setup, Steps
from netsim.clusterdns.corefile import Controller
from netsim.clusterdns.metrics import AUTOPATHS
from netsim.clusterdns.names import absolute, is_subdomain, longest_zone, search_list
from netsim.wire.dns import CNAME, IN, Message, Rcode, Record


@runtime_checkable
class AutoPather(Protocol):
    """A handler that knows a client's search list; empty for one that it does not know."""

    def autopath(self, request: Request) -> Sequence[str]: ...


class AutoPath:
    """The handler. ``source`` names a plugin, or is empty where ``search`` is fixed."""

    def __init__(self, setup: Setup, zones: tuple[str, ...], source: str, search: Sequence[str]) -> None:
        self._setup = setup
        self._zones = zones
        self._source = source
        self._search: Callable[[Request], Sequence[str]] = lambda request: search

    def start(self) -> None:
        """Find the plugin that knows the clients."""
        handler = self._setup.block.handler(self._source) if self._source else None
        if handler is None:
            return
        if not isinstance(handler, AutoPather):
            raise CorefileError(
                f"plugin/autopath: {self._source} does not implement the AutoPather interface"
            )
        self._search = handler.autopath

    def handle(self, request: Request, following: Follow) -> Steps[Outcome]:
        self._setup.process.grounds.personal = True
        path = self._search(request) if longest_zone(self._zones, request.lower) else ()
        if not path or not is_subdomain(path[0], request.lower):
            return (yield from following(request))
        if request.lower == path[0]:
            error = f"trimzone: overshot qname: {request.name}for zone {path[0]}"
            return Outcome(f"autopath: {error}: SERVFAIL", error=error)
        base = request.name[: len(request.name) - len(path[0]) - 1]
        first: Outcome | None = None
        for suffix in path:
            name = f"{base}.{suffix}" if suffix != "." else f"{base}."
            outcome = yield from following(_asking(request, name))
            if outcome.error:
                return outcome
            first = first or outcome
            message = outcome.message
            if message is None or message.rcode == Rcode.NXDOMAIN:
                continue
            self._setup.process.metrics.add(AUTOPATHS, (request.server,))
            cause = f"autopath: {name}: {outcome.cause}"
            return outcome._replace(cause=cause, message=_aliased(message, request))
        assert first is not None
        return first._replace(cause=f"autopath: nothing on the search path: {first.cause}")


def _asking(request: Request, name: str) -> Request:
    question = request.message.questions[0]._replace(name=name)
    return request.with_message(request.message._replace(questions=(question,)))


def _aliased(message: Message, request: Request) -> Message:
    """With a CNAME from the name asked to the first other owner (cname.go cnamer)."""
    asked = request.lower
    other = next((record for record in message.answers if record.name.lower() != asked), None)
    answers = message.answers
    if other is not None:
        answers = (Record(request.name, CNAME, IN, other.ttl, other.name), *answers)
    return message._replace(questions=request.message.questions, answers=answers)


def parse(c: Controller, setup: Setup) -> Sequence[Handler]:
    """``autopath [ZONE...] RESOLV-CONF``, where RESOLV-CONF is a file or ``@PLUGIN``."""
    handler = None
    while c.next():
        words = c.arguments()
        if not words:
            raise CorefileError("no resolv-conf specified")
        source = words.pop()
        search: list[str] = []
        if not source.startswith("@"):
            text = setup.process.files.get(source)
            if text is None:
                raise CorefileError(f'failed to parse "{source}": open {source}: no such file or directory')
            search = [*(absolute(word).lower() for word in search_list(text)), "."]
        name = source[1:] if source.startswith("@") else ""
        handler = AutoPath(setup, c.origins(words), name, search)
    assert handler is not None
    setup.startup.append(handler.start)
    return [handler]
