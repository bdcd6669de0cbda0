"""Faults: those of a Topology, which begin and end at their times, and those of ``Cluster.link(…).fault(…)``.

``net.faults`` says what becomes of a frame, and the plane asks it; here is understood what a fault's words
mean: which wires, and which packets. A fault that cannot begin ends nothing: it is kept in
``Cluster.failed_changes``, as a change that cannot be made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from netsim.base.cause import Cause, Stage
from netsim.base.errors import NetsimError, UsageError
from netsim.base.rng import Rng
from netsim.cluster.names import OWNER_KINDS, POD_KINDS, find_pod, pods_of
from netsim.cni.names import UPLINK, node_host, pod_host
from netsim.net.faults import Direction, FaultRule, Matches
from netsim.net.faults import Fault as WireFault
from netsim.net.netfilter import RACE_SWITCH
from netsim.objects.core import Pod
from netsim.objects.meta import Object
from netsim.objects.sources import TEXT
from netsim.objects.topology import CONNTRACK_RACE, DIRECTIONS, EVERY_NODE, LINK, Change, Fault
from netsim.plan.delta import Delta
from netsim.plan.entries import NODES, Host, HostName, Link, Port, Role, Scope, Sysctl
from netsim.planes.sim.faults import Names, PlacedFault
from netsim.store.reader import Reader

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster
    from netsim.net.packet import Frame

OWNER = "faults"
End: TypeAlias = Callable[[Port], bool]


class FailedChange(NamedTuple):
    """A change that could not be made, or a fault that could not begin, and why."""

    change: Change | Fault
    reason: str


class WrittenFault(NamedTuple):
    """What a user says of a wire's fault. ``loss`` is a part of 1, ``delay`` are seconds; at most ``limit``
    packets suffer; ``pods`` is how many of a workload's Pods, the oldest first."""

    ends: tuple[str, ...]
    down: bool = False
    loss: float = 0.0
    delay: float = 0.0
    packets: str = ""
    direction: str = "both"
    limit: int | None = None
    pods: int | None = None

    @property
    def name(self) -> str:
        """``link dev/jump: loss 100%, packets dns, direction in, count 1``."""
        said = ["down"] if self.down else []
        said += [f"loss {self.loss * 100:g}%"] if self.loss else []
        said += [f"delay {self.delay:g} s"] if self.delay else []
        said += [f"packets {self.packets}"] if self.packets else []
        said += [f"direction {self.direction}"] if self.direction != "both" else []
        said += [f"count {self.limit}"] if self.limit is not None else []
        return f"link {' - '.join(self.ends)}: {', '.join(said)}"


class LinkHandle:
    """A wire in a user's hand."""

    def __init__(self, faults: Faults, ends: tuple[str, ...]) -> None:
        self._faults = faults
        self._ends = ends

    def __repr__(self) -> str:
        return f"<Link {' - '.join(self._ends)}>"

    @contextmanager
    def fault(
        self,
        *,
        down: bool = False,
        loss: float = 0.0,
        delay: float = 0.0,
        packets: str = "",
        direction: str = "both",
        count: int | None = None,
    ) -> Iterator[FaultRule]:
        """Let something go wrong on the wire while the block runs; the rule counts who has ``suffered``.

        ``down``: nothing passes. ``loss``: that part of the packets is lost, by chance (1.0: all of them);
        ``delay``: the others are so many seconds late. ``packets`` chooses in the words of capture filters,
        ``direction`` those that come ``in`` to the first end or go ``out`` of it; at most ``count`` suffer.
        """
        written = WrittenFault(self._ends, down, loss, delay, packets, direction, count)
        rule, end = self._faults.begin(written)
        try:
            yield rule
        finally:
            end()


class Faults:
    """The faults of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._begun: Counter[str] = Counter()
        self._rules: list[tuple[Fault, FaultRule]] = []
        self._races: dict[Scope, int] = {}

    def schedule(self, faults: Iterable[Fault]) -> None:
        """Let each fault of the Topology begin at its time, counted from ``converged_at``."""
        for fault in faults:
            when = self._cluster.converged_at + fault.at
            self._cluster.plane.call_at(when, partial(self._attempt, fault))

    def _attempt(self, fault: Fault) -> None:
        try:
            end = self._perform(fault)
        except NetsimError as error:
            self._cluster.failed_changes.append(FailedChange(fault, str(error)))
            return
        if fault.duration is not None:
            self._cluster.plane.call_at(self._cluster.now + fault.duration, end)

    def _perform(self, fault: Fault) -> Callable[[], None]:
        """Let a fault of the Topology begin; what comes back ends it."""
        if fault.kind == CONNTRACK_RACE:
            return self.begin_race(fault.arguments[CONNTRACK_RACE])
        said: dict[str, Any] = dict(fault.arguments)
        link = said.pop(LINK)
        ends = (link,) if isinstance(link, str) else tuple(link)
        rule, end = self.begin(WrittenFault(ends, limit=said.pop("count", None), **said))
        self._rules.append((fault, rule))
        return end

    def findings(self) -> Iterator[str]:
        """The Topology's faults that have begun and met no packet: a filter that says something else than was
        meant, or a wire that nobody uses."""
        for fault, rule in self._rules:
            if not rule.suffered:
                place = f"{fault.source}: " if fault.source.path != TEXT else ""
                yield f"{place}fault at {fault.at:g} s: {rule.fault.name}: no packet has met it"

    # --- wires ---------------------------------------------------------------------------------------

    def begin(self, written: WrittenFault) -> tuple[FaultRule, Callable[[], None]]:
        """The rule, in force from now on, and what ends it; UsageError for what cannot be understood."""
        _refuse_nonsense(written)
        names = self._names(written)
        self._begun[written.name] += 1
        rng = Rng(self._cluster.topology.seed).derive(f"{written.name}, {self._begun[written.name]}")
        loss = 1.0 if written.down else written.loss
        direction = Direction(written.direction)
        fault = WireFault(written.name, loss, written.delay, direction, written.limit)
        rule = FaultRule(fault, rng, self._matches(written.packets))
        placed = PlacedFault(rule, names)
        plane = self._cluster.plane
        plane.put_fault(placed)
        return rule, partial(plane.remove_fault, placed)

    def _matches(self, packets: str) -> Matches | None:
        if not packets:
            return None
        from netsim.capture.filter import parse_filter  # few runs have use for it
        from netsim.capture.record import CapturedPacket

        wanted = parse_filter(packets, self._cluster.names())

        def matches(sender: Port, frame: Frame) -> bool:
            return wanted.matches(CapturedPacket(0.0, str(sender), True, frame.data, (), frame.serial))

        return matches

    def _names(self, written: WrittenFault) -> Names:
        if len(written.ends) == 1:
            near = self._end(written.ends[0], written.pods, alone=True)
            return lambda one, other: near(one)
        near, far = (self._end(end, written.pods, alone=False) for end in written.ends)

        def names(one: Port, other: Port) -> bool:
            return near(one) and far(other)

        wires = [entry for entry in self._cluster.plan if isinstance(entry, Link)]
        if not any(names(wire.a, wire.b) or names(wire.b, wire.a) for wire in wires):
            raise UsageError(f"there is no wire between {' and '.join(written.ends)}", hint=self._plugs())
        return names

    def _plugs(self) -> str:
        subnets = ", ".join(subnet.name for subnet in self._cluster.topology.subnets)
        return f"nodes and the router are plugged into their subnets: {subnets}"

    def _end(self, text: str, pods: int | None, *, alone: bool) -> End:
        """Which interfaces a text means: one, if it stands ``alone``; else whatever the host has."""
        kind, _, rest = text.partition("/")
        if kind in OWNER_KINDS:
            return self._workload_end(kind, rest, pods)
        if pods is not None:
            raise UsageError(f"{text} is no workload, and pods says how many Pods of one", hint="remove pods")
        hosts = {entry.name: entry for entry in self._cluster.plan if isinstance(entry, Host)}
        name = rest if kind in ("node", "external", *POD_KINDS) and rest else text
        head = name.rpartition("/")[0]
        host = hosts.get(HostName(name)) or hosts.get(pod_host("default", name))
        if host is None and head in hosts:
            port = self._cluster.port(name)  # refuses an interface that is not there
            return lambda at: at == port
        host_name = self._pod_host(name) if host is None else host.name
        anywhere = not alone or (host is not None and host.role is Role.SWITCH)
        return lambda at: at.host == host_name and (anywhere or at.interface == UPLINK)

    def _pod_host(self, name: str) -> HostName:
        """The host that a Pod will have, which has none yet; UsageError where nothing has that name."""
        pod = find_pod(self._cluster.store, name)
        if pod.spec.host_network:
            raise UsageError(
                f"Pod {name} has no wire of its own", hint=f"it uses its node's: link: {pod.spec.node_name}"
            )
        return pod_host(pod.metadata.namespace, pod.metadata.name)

    def _workload_end(self, kind: str, rest: str, pods: int | None) -> End:
        """The Pods of a workload, as they come and go; or the first of those that it has now."""
        namespace, _, name = rest.rpartition("/")
        namespace = namespace or "default"
        store = self._cluster.store
        if pods is not None or store.find(OWNER_KINDS[kind], name, namespace) is None:
            metas = [pod.metadata for pod in pods_of(store, kind, namespace, name)[:pods]]
            first = [pod_host(meta.namespace, meta.name) for meta in metas]
            return lambda at: at.host in first and at.interface == UPLINK

        def end(at: Port) -> bool:
            space, _, plain = at.host.partition("/")
            pod = store.find(Pod, plain, space) if at.interface == UPLINK else None
            owner = store.find(OWNER_KINDS[kind], name, namespace)
            return pod is not None and owner is not None and _manages(store, owner, pod)

        return end

    # --- the conntrack race --------------------------------------------------------------------------

    def begin_race(self, node: str) -> Callable[[], None]:
        """Let packets of one socket race on a node, or on all; what comes back ends it."""
        if node == EVERY_NODE:
            scope = NODES
        else:
            self._cluster.node(node)
            scope = Scope(node_host(node))
        cause = Cause(Stage.FAULT, f"conntrackRace: {node}")
        entry = Sysctl(scope, RACE_SWITCH, 1, OWNER, cause)
        self._races[scope] = self._races.get(scope, 0) + 1
        if self._races[scope] == 1:
            self._cluster.change_plan(Delta(put=(entry,)))

        def end() -> None:
            self._races[scope] -= 1
            if not self._races[scope]:
                self._cluster.change_plan(Delta(remove=(entry.key,)))

        return end


def _manages(reader: Reader, owner: Object, obj: Object) -> bool:
    """Whether an object is an owner's, or that of something of it, as a Deployment's Pods are."""
    held = obj.metadata.controller()
    while held is not None and held.uid != owner.metadata.uid:
        above = reader.find_uid(held.uid)
        held = above.metadata.controller() if above is not None else None
    return held is not None


def _refuse_nonsense(written: WrittenFault) -> None:
    """UsageError for numbers that mean nothing; the schema has refused them in files."""
    if not 0.0 <= written.loss <= 1.0:
        raise UsageError(f"loss {written.loss} is no part of 1", hint="0.2 is a fifth, 1.0 is all")
    if written.delay < 0.0 or (written.limit is not None and written.limit < 1):
        raise UsageError("delay cannot be negative, and count is at least 1")
    if written.direction not in DIRECTIONS:
        hint = f"write one of {', '.join(DIRECTIONS)}"
        raise UsageError(f"there is no direction {written.direction!r}", hint=hint)
    if not (written.down or written.loss or written.delay):
        raise UsageError("a fault of a link needs one of down, loss, delay", hint="loss=1.0 loses all")
    if written.down and (written.loss or written.delay or written.packets or written.limit is not None):
        raise UsageError("a link that is down carries nothing", hint="write loss=1.0 for chosen packets")
