"""The kinds of plan entry.

Every entry is a frozen value with a ``key`` (two entries with one key are two versions of one thing), an
``owner`` (the component that wrote it and alone may take it away) and a ``cause`` (why it stands).

**Scope.** Where an entry has ``on``, that is a host's name, or a group's name, which starts with ``@``.
An entry on a group stands on every host of the group and is stored once: 5,000 nodes share one Service
table. Where a host's own entry and a group's entry meet (the same prefix, the same neighbour), the
host's own entry wins.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import NamedTuple, NewType, TypeAlias

from netsim.base.address import IpAddress, IpNetwork, Mac
from netsim.base.cause import Cause

HostName = NewType("HostName", str)
Scope = NewType("Scope", str)  # a HostName, or a group's name starting with "@"
Key: TypeAlias = tuple[str, ...]

NODES = Scope("@nodes")


class Role(Enum):
    """What a host is to its reader. Planes treat all roles alike; captures and ``show`` print them."""

    POD = "pod"
    NODE = "node"
    SWITCH = "switch"
    ROUTER = "router"
    EXTERNAL = "external"


class InterfaceKind(Enum):
    """The Linux link types that a plan uses; ``value`` is the word of ``ip -d link``."""

    VETH = "veth"
    BRIDGE = "bridge"
    VXLAN = "vxlan"
    DUMMY = "dummy"


class Host(NamedTuple):
    """One network stack, as in one Linux network namespace. Its loopback exists by itself.

    ``title`` is how readers name it (``pod dev/jump``, ``node node1``). ``forwarding`` is
    net.ipv4.ip_forward, ``bridge_netfilter`` is net.bridge.bridge-nf-call-iptables.
    """

    name: HostName
    role: Role
    title: str
    owner: str
    cause: Cause
    groups: tuple[Scope, ...] = ()
    forwarding: bool = False
    bridge_netfilter: bool = False

    @property
    def key(self) -> Key:
        return ("host", self.name)


class Vxlan(NamedTuple):
    """Settings of a VXLAN interface (RFC 7348): ``local`` is the VTEP's underlay address, whose family is
    that of the envelopes."""

    vni: int
    port: int
    local: IpAddress
    device: str


class Interface(NamedTuple):
    """One interface of a host, up from the moment it exists. ``mtu`` is in bytes of IP packet.

    ``master`` is the bridge it is a port of; ``hairpin`` lets a bridge port send a frame back out of the
    port it came in by.
    """

    host: HostName
    name: str
    kind: InterfaceKind
    mac: Mac
    owner: str
    cause: Cause
    mtu: int = 1500
    master: str | None = None
    hairpin: bool = False
    vxlan: Vxlan | None = None

    @property
    def key(self) -> Key:
        return ("interface", self.host, self.name)


class Port(NamedTuple):
    """One end of a link."""

    host: HostName
    interface: str

    def __str__(self) -> str:
        return f"{self.host}/{self.interface}"


class Link(NamedTuple):
    """A wire between two veth interfaces; ``latency`` is seconds in each direction."""

    a: Port
    b: Port
    owner: str
    cause: Cause
    latency: float = 0.0

    @property
    def key(self) -> Key:
        return ("link", str(self.a), str(self.b))


class Address(NamedTuple):
    """An address on an interface; the connected route follows from its prefix length."""

    host: HostName
    interface: str
    address: IPv4Interface | IPv6Interface
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("address", self.host, self.interface, str(self.address))


class SharedAddress(NamedTuple):
    """An address (/32, or /128) that stands on an interface of each host of a group, and is stored once.

    Hosts of the group that have no such interface, or the address on another, do not have it. It is the
    host's own in every way, but that nothing leaves with it unless a program asks, and that
    ``LocalAddresses`` does not mean it.
    """

    on: Scope
    interface: str
    address: IpAddress
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("shared-address", self.on, self.interface, str(self.address))


class Announcement(NamedTuple):
    """A host answers ARP, or neighbour solicitations, on an interface for an address that it does not have.

    An announcer of load balancer addresses does so in user space (MetalLB's speaker, in its layer 2 mode);
    the packets that this brings are routed, as any. It begins with a gratuitous ARP, or an advertisement.
    """

    host: HostName
    interface: str
    address: IpAddress
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("announcement", self.host, self.interface, str(self.address))


class Route(NamedTuple):
    """A unicast route. ``via`` None means that the destination is on the link.

    ``onlink`` lets ``via`` be outside every connected prefix, as flannel's VTEP routes are.
    """

    on: Scope
    destination: IpNetwork
    device: str
    owner: str
    cause: Cause
    via: IpAddress | None = None
    onlink: bool = False
    protocol: str = "static"
    metric: int = 0

    @property
    def key(self) -> Key:
        return ("route", self.on, str(self.destination), str(self.metric))


class Neighbour(NamedTuple):
    """A permanent neighbour: this address is at this MAC, and nobody asks."""

    on: Scope
    device: str
    address: IpAddress
    mac: Mac
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("neighbour", self.on, self.device, str(self.address))


class Fdb(NamedTuple):
    """A static VXLAN forwarding entry: frames for this MAC go to this VTEP's underlay address."""

    on: Scope
    device: str
    mac: Mac
    destination: IpAddress
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("fdb", self.on, self.device, self.mac.hex())


class Hook(Enum):
    """The five netfilter hooks of IPv4."""

    PREROUTING = "PREROUTING"
    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"
    POSTROUTING = "POSTROUTING"


class Action(Enum):
    """What a matching rule does with the packet."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    REJECT = "REJECT"  # ICMP port unreachable
    MASQUERADE = "MASQUERADE"


class Match(NamedTuple):
    """Conditions that must all hold; None means "any".

    ``unserved_on``: a new flow to a shared address of that interface, which no virtual server takes.
    ``new``: a flow that has had no reply. ``invalid``: of no flow, and it may begin none.
    ``destination_set`` is the name of an address set.
    """

    source: IpNetwork | None = None
    not_source: IpNetwork | None = None
    destination: IpNetwork | None = None
    not_destination: IpNetwork | None = None
    protocol: int | None = None
    destination_port: int | None = None
    in_device: str | None = None
    out_device: str | None = None
    unserved_on: str | None = None
    new: bool = False
    destination_set: str | None = None
    invalid: bool = False


class SetMember(NamedTuple):
    """An address in a named set, for ``Match.destination_set``."""

    on: Scope
    set: str
    address: IpAddress
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("set-member", self.on, self.set, str(self.address))


class Rule(NamedTuple):
    """One netfilter rule. MASQUERADE stands in POSTROUTING's nat table, the others in the filter table.
    It is for packets of one address family (iptables, or ip6tables).

    Rules of one hook are tried in ascending (``order``, ``name``); the first verdict wins.
    """

    on: Scope
    hook: Hook
    order: int
    name: str
    match: Match
    action: Action
    owner: str
    cause: Cause
    family: int = 4

    @property
    def key(self) -> Key:
        own = ("rule", self.on, self.hook.value, self.name)
        return own if self.family == 4 else (*own, str(self.family))


class LocalAddresses(NamedTuple):
    """Any address of a host's own interfaces, as a virtual server's address; a node port has it.

    Shared addresses do not count, and those of the loopback only with ``loopback``. ``primary``: none but
    ``Place.address``; otherwise those in ``networks``, or all if there are none. With ``refuses_at_all`` what
    is refused is refused at every address of the host, those of the loopback too.
    """

    loopback: bool = False
    networks: tuple[IpNetwork, ...] = ()
    primary: bool = False
    refuses_at_all: bool = False
    family: int = 4


class Backend(NamedTuple):
    """One real server behind a virtual one. ``name`` is how readers know it (``pod prod/ent-…``); ``home`` is
    where it runs, as in ``Place.names``; empty where that is not said, and it may be anywhere."""

    address: IpAddress
    port: int
    name: str = ""
    weight: int = 1
    home: str = ""


class Schedule(Enum):
    """How a backend is chosen for a new connection: at random by netfilter, or by a scheduler of IPVS."""

    RANDOM = "random"
    RR = "rr"  # round robin
    WRR = "wrr"  # weighted round robin
    LC = "lc"  # least connection
    WLC = "wlc"  # weighted least connection
    SED = "sed"  # shortest expected delay
    NQ = "nq"  # never queue
    SH = "sh"  # source hashing
    DH = "dh"  # destination hashing
    MH = "mh"  # Maglev hashing


class Masquerade(Enum):
    """Whose packets to a virtual server get this host's address as their source.

    OUTSIDERS are those that ``Place.pods`` does not tell to come from Pods. Whatever this says, a client that
    is its own backend is masqueraded (hairpin).
    """

    NEVER = "never"
    OUTSIDERS = "outsiders"
    ALWAYS = "always"


class Reach(Enum):
    """Which backends a client of a virtual server is given: those for all, or those on this host itself.

    OWN_FROM_OUTSIDE: Pods get those for all, the host itself too, masqueraded, and everyone else its own.
    OWN_OR_ALL: those for all where it has none of its own.
    """

    ALL = "all"
    OWN = "own"
    OWN_OR_ALL = "own or all"
    OWN_FROM_OUTSIDE = "own from outside"


class Near(NamedTuple):
    """The backends that hosts at a place are given instead of all; ``place`` is a name of ``Place.names``."""

    place: str
    backends: tuple[Backend, ...]


class Affinity(NamedTuple):
    """A client that comes back within ``seconds`` gets the same backend, on one host.

    ``clients`` is how many of them a backend remembers; None: all of them.
    """

    seconds: float
    clients: int | None = None


class VirtualServer(NamedTuple):
    """A load-balanced address and port, looked up in PREROUTING and OUTPUT for each new connection.

    IPVS looks in INPUT, not in PREROUTING: only at an address that the host has. A backend that is taken
    away from it stays, without new connections, for as long as it has some; ``drain`` is how often that is
    looked at, in seconds, and 0 takes it away at once.

    One entry serves hosts that differ: ``near`` has the backends that hosts at some places get instead of
    ``backends``, the first that fits; ``own`` those of each host, which ``reach`` may ask for. A packet for
    which there is none is refused: rejected (ICMP port unreachable) or dropped, as ``refusal`` says; what the
    host itself sends is only if ``refuses_own``. A source outside ``sources`` (None: there are no others) is
    dropped; ``balancers`` may be sources on hosts whose primary address may.

    ``name`` is how readers know it (``svc prod/ent:http``); servers of one name and protocol share their
    ``affinity``. A server at one address comes before one at ``LocalAddresses``.
    """

    on: Scope
    protocol: int
    address: IpAddress | LocalAddresses
    port: int
    name: str
    backends: tuple[Backend, ...]
    owner: str
    cause: Cause
    schedule: Schedule = Schedule.RANDOM
    masquerade: Masquerade = Masquerade.NEVER
    drain: float = 0.0
    reach: Reach = Reach.ALL
    near: tuple[Near, ...] = ()
    own: tuple[Near, ...] = ()
    refusal: Action = Action.REJECT
    refuses_own: bool = True
    sources: tuple[IpNetwork, ...] | None = None
    balancers: tuple[IpAddress, ...] = ()
    affinity: Affinity | None = None

    @property
    def key(self) -> Key:
        address = str(self.address)
        if isinstance(self.address, LocalAddresses):
            address = "local" if self.address.family == 4 else "local6"
        return ("virtual", self.on, str(self.protocol), address, str(self.port))


class PodTraffic(NamedTuple):
    """How a host tells packets that come from Pods: by their source, or by the interface.

    ``device`` may end in ``+``, as for iptables: then it is how the name begins.
    """

    source: IpNetwork | None = None
    device: str = ""


class Place(NamedTuple):
    """What a host knows of itself when it chooses backends of one address family.

    ``names`` are what ``Near`` calls it; ``address`` is its primary address. ``pods`` None: no packet is
    known to come from a Pod, and none to come from elsewhere.
    """

    on: Scope
    owner: str
    cause: Cause
    names: tuple[str, ...] = ()
    address: IpAddress | None = None
    pods: PodTraffic | None = None
    family: int = 4

    @property
    def key(self) -> Key:
        return ("place", self.on) if self.family == 4 else ("place", self.on, str(self.family))


class Sysctl(NamedTuple):
    """A kernel parameter by its last word: one of net.ipv4.conf.all (``route_localnet``) or of net.netfilter
    (``nf_conntrack_max``)."""

    on: Scope
    name: str
    value: int
    owner: str
    cause: Cause

    @property
    def key(self) -> Key:
        return ("sysctl", self.on, self.name)


class Speaker(NamedTuple):
    """A BGP speaker on a host; its peers are the ``Peer`` entries of the host and of its groups.

    ``identifier`` is its BGP identifier, ``prefixes`` are what it announces of its own, ``hold_time`` is what
    it proposes, in seconds; keepalives come three times as often (RFC 4271 section 10, whose suggestion is
    the default). ``cluster_id`` is that of a route reflector (RFC 4456), None: the identifier. It speaks of
    routes of one ``family``, with peers of that family, which reach it at the addresses that it ``listens``
    at, the first of which is its own in the eyes of its peers; none: at any IPv4 address, and its identifier.
    """

    host: HostName
    asn: int
    identifier: IPv4Address
    owner: str
    cause: Cause
    prefixes: tuple[IpNetwork, ...] = ()
    hold_time: int = 90
    cluster_id: IPv4Address | None = None
    family: int = 4
    listens: tuple[IpAddress, ...] = ()

    @property
    def key(self) -> Key:
        return ("speaker", self.host) if self.family == 4 else ("speaker", self.host, str(self.family))


class Peer(NamedTuple):
    """A BGP neighbour of the speaker on a host, or of those on a group of hosts but for the neighbour itself.

    ``name`` is how readers know it. ``passive``: it connects to us. ``higher_connects``: of each two the one
    with the higher address connects, the other one is passive. ``client``: we reflect routes to and from it
    (RFC 4456). ``next_hop_self``: it gets our address as next hop of all routes. ``own_as_allowed``: how
    often our own AS may stand in the path of a route from it.
    """

    on: Scope
    address: IpAddress
    asn: int
    name: str
    owner: str
    cause: Cause
    passive: bool = False
    higher_connects: bool = False
    client: bool = False
    next_hop_self: bool = False
    own_as_allowed: int = 0

    @property
    def key(self) -> Key:
        return ("peer", self.on, str(self.address))


Entry: TypeAlias = (
    Host
    | Sysctl
    | Interface
    | Link
    | Address
    | SharedAddress
    | Announcement
    | Route
    | Neighbour
    | Fdb
    | Rule
    | VirtualServer
    | Place
    | SetMember
    | Speaker
    | Peer
)
