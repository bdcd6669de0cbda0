"""The Topology document → the frozen Topology, or everything that is wrong with it.

``manifest`` imports this module only when there is such a document, for pydantic-core takes 20 ms. The
fields and their texts are declared here; the checks are in ``check_schema``; what concerns several fields
at once is in ``topology_rules``. The schema admits what is built: what a later version brings is refused by
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic_core import ErrorDetails, ValidationError

from netsim.base.errors import Problem
from netsim.objects import topology_rules
from netsim.objects.change_schema import read_change
from netsim.objects.check_schema import read_check
from netsim.objects.codec import key_from_name
from netsim.objects.fault_schema import read_fault
from netsim.objects.field_errors import render_path
from netsim.objects.rules import names
from netsim.objects.schema_parts import (
    DURATION,
    KEY_MARK,
    Field,
    Pair,
    Schema,
    Structure,
    address,
    addresses,
    anything,
    boolean,
    duration,
    listing,
    mapping,
    name,
    network,
    networks,
    node_port_address,
    number,
    one_of,
    port_number,
    struct,
    text,
)
from netsim.objects.spelling import did_you_mean
from netsim.objects.topology import (
    DEFAULT_EXTERNAL_HOSTS,
    DEFAULT_NODES,
    DEFAULT_SUBNET,
    DEFAULT_SUBNET6,
    LIBCS,
    NETWORKS,
    PROXY_MODES,
    Bgp,
    Change,
    Check,
    Conntrack,
    Dns,
    ExternalHost,
    Fault,
    ImageSpec,
    KubeProxy,
    LoadBalancer,
    Networking,
    NodeSpec,
    Overlay,
    Subnet,
    Topology,
)
from netsim.objects.yaml_tree import Path, YamlDocument

T = TypeVar("T")

SMALLEST_MTU = 576  # what every IPv4 host must take, RFC 791
LARGEST_MTU = 65535
LARGEST_VNI = 2**24 - 1  # RFC 7348, 5
LARGEST_AS = 2**32 - 2  # RFC 7300: the last one is reserved

_PAGES = mapping(port_number(), text())

OVERLAY: dict[str, Field] = {
    "encapsulation": Field(one_of("vxlan"), "the tunnel"),
    "port": Field(number(1, 65535), "its UDP port"),
    "vni": Field(number(1, LARGEST_VNI), "its VXLAN network identifier"),
}
BGP: dict[str, Field] = {
    "asNumber": Field(
        number(1, LARGEST_AS - 1), "the AS of the nodes; with `peering: tor` the router's is the next one"
    ),
    "peering": Field(
        one_of("full-mesh", "route-reflector", "tor"),
        "who has sessions with whom: all nodes with each other; all with the control-plane nodes, which "
        "reflect; or each node with the router. If it is not said, `full-mesh` in one subnet and `tor` over "
        "several",
    ),
}
KUBE_PROXY: dict[str, Field] = {
    "masqueradeAll": Field(boolean(), "whether what Pods send to ClusterIPs is masqueraded, too"),
    "nodePortAddresses": Field(
        listing(node_port_address()),
        "at which addresses of a node its node ports are: networks, or `primary`; if nothing is said, at all "
        "of them, or under nftables at the primary one",
    ),
    "localhostNodePorts": Field(boolean(), "whether they are at 127.0.0.1, which is iptables mode's alone"),
    "detectLocalMode": Field(
        one_of("ClusterCIDR", "NodeCIDR", "BridgeInterface"),
        "how it tells what Pods send: by `podSubnet`, by the node's block of it, or by the bridge",
    ),
}
CONNTRACK: dict[str, Field] = {
    "max": Field(
        number(1),
        "how many connections a node keeps track of; with more, the oldest that is not assured gives way, or "
        "the new one is lost",
    ),
    "udpCleanup": Field(
        boolean(), "whether kube-proxy ends UDP flows to a Service whose endpoint serves no more"
    ),
}
NETWORKING: dict[str, Field] = {
    "dnsDomain": Field(name(names.subdomain), "the DNS domain of the cluster"),
    "podSubnet": Field(
        networks(),
        "where Pods get their addresses; a second network, of IPv6, makes the cluster dual-stack: "
        "`10.244.0.0/16,fd00:10:244::/56`",
    ),
    "nodeCIDRMaskSize": Field(number(8, 30), "the size of the block of `podSubnet` that each node gets"),
    "nodeCIDRMaskSizeIPv6": Field(number(16, 126), "the same of its IPv6 network, at most 16 bits smaller"),
    "serviceSubnet": Field(
        networks(), "where Services get their addresses; the IPv6 network beside it is a /108 or smaller"
    ),
    "kubeProxyMode": Field(
        one_of(*PROXY_MODES),
        "how nodes balance Services: at random by rules of iptables or nftables, or by a scheduler of the "
        "kernel's IPVS",
    ),
    "ipvsScheduler": Field(
        one_of("rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh"), "the scheduler of IPVS"
    ),
    "kubeProxy": Field(struct(KUBE_PROXY), "more settings of kube-proxy, as in KubeProxyConfiguration"),
    "conntrack": Field(struct(CONNTRACK), "the connection tables of the nodes"),
    "podNetwork": Field(
        one_of(*NETWORKS),
        "how Pods reach Pods on other nodes: in VXLAN, or bare, by routes that the nodes tell each other",
    ),
    "overlay": Field(struct(OVERLAY), "the settings of the overlay"),
    "bgp": Field(struct(BGP), "the settings of the BGP-routed network"),
    "natOutgoing": Field(
        boolean(), "whether what Pods send out of the cluster leaves with the node's address"
    ),
}
SUBNET: dict[str, Field] = {
    "name": Field(name(names.label), "what nodes call it", required=True),
    "cidr": Field(
        networks(),
        "its addresses; the first one is the router's. A dual-stack cluster has an IPv6 network beside it: "
        "`192.168.10.0/24,fd00:192:168:10::/64`",
        required=True,
    ),
    "mtu": Field(number(SMALLEST_MTU, LARGEST_MTU), "the largest packet, in bytes"),
}
FABRIC: dict[str, Field] = {
    "subnets": Field(
        listing(struct(SUBNET), least=1),
        "each is a switch and a port of the router; if it is not said, there is "
        f"`{DEFAULT_SUBNET.name}`, {DEFAULT_SUBNET.cidr}, and {DEFAULT_SUBNET6} in a dual-stack cluster",
    ),
}
NODE: dict[str, Field] = {
    "name": Field(name(names.subdomain), "the name of the Node", required=True),
    "subnet": Field(text(least=1), "where it is plugged in; the first subnet if it is not said"),
    "address": Field(
        addresses(), "its address, or both; the next free one from .10 (::10) upwards if it is not said"
    ),
    "zone": Field(name(names.label_value), "its zone (label `topology.kubernetes.io/zone`)"),
    "labels": Field(mapping(name(names.qualified_name), name(names.label_value)), "more labels"),
    "controlPlane": Field(boolean(), "whether it is tainted, and runs CoreDNS and the API endpoint"),
    "cpu": Field(
        number(1, 1024),
        "its CPUs, by which `topology-mode: Auto` shares endpoints out among zones; 4 if it is not said",
    ),
}
DNS: dict[str, Field] = {
    "clusterIP": Field(address(), "the address of kube-dns; the tenth of `serviceSubnet` if it is not said"),
    "replicas": Field(number(0, 100), "how many CoreDNS Pods"),
    "corefile": Field(text(least=1), "their Corefile; kubeadm's if it is not said"),
}
EXTERNAL_HOST: dict[str, Field] = {
    "name": Field(name(names.subdomain), "with a dot in it: also a name in the DNS outside", required=True),
    "address": Field(addresses(), "its address, or both of a dual-stack host", required=True),
    "http": Field(_PAGES, "the page that it serves on each port"),
}
LOAD_BALANCER: dict[str, Field] = {
    "pool": Field(
        network(),
        "the addresses to give, of IPv4; inside of a subnet, or apart from all of them: then it is a second "
        "network on the wire of the first subnet, and the router sends there",
        required=True,
    ),
    "announce": Field(
        one_of("l2"), "how the site finds an address: one elected node of that subnet answers ARP for it"
    ),
}
EXTERNAL: dict[str, Field] = {
    "hosts": Field(
        listing(struct(EXTERNAL_HOST)),
        "hosts outside; example.com and www.example.com are there too, unless one of these takes their "
        "name or address",
    ),
}
IMAGE: dict[str, Field] = {
    "http": Field(_PAGES, "the page that it serves on each port; `{hostname}` and the like are filled in"),
    "startsAfter": Field(duration(), "how long it runs before it listens; at once if it is not said"),
    "answersAfter": Field(duration(), "how long it takes to answer; no time if it is not said"),
    "libc": Field(
        one_of(*LIBCS), "whose resolver its programs use; as the image's name says if it is not said"
    ),
}
SPEC: dict[str, Field] = {
    "seed": Field(number(0), "where all chance comes from: one seed, one run"),
    "networking": Field(struct(NETWORKING), "the cluster's networks, in kubeadm's words"),
    "fabric": Field(struct(FABRIC), "the wires under the nodes"),
    "nodes": Field(
        listing(struct(NODE), least=1),
        f"the machines; {', '.join(node.name for node in DEFAULT_NODES)} if it is not said",
    ),
    "dns": Field(struct(DNS), "CoreDNS"),
    "loadBalancer": Field(
        struct(LOAD_BALANCER),
        "addresses for Services of type LoadBalancer; without it EXTERNAL-IP stays `<pending>`",
    ),
    "external": Field(struct(EXTERNAL), "what is outside the cluster"),
    "images": Field(mapping(text(least=1), struct(IMAGE)), "what a container image does when it runs"),
    "manifests": Field(listing(text(least=1)), "more files, relative to this one: `shop/*.yaml`"),
    "changes": Field(listing(anything("change")), "what is done to the cluster while it runs"),
    "faults": Field(listing(anything("fault")), "what goes wrong with the network while it runs"),
    "checks": Field(listing(anything("check")), "what must be so, once the cluster has converged"),
}
METADATA: dict[str, Field] = {"name": Field(name(names.subdomain), "what the topology is called")}
DOCUMENT: dict[str, Field] = {
    "apiVersion": Field(text(), "netsim.dev/v1alpha1", required=True),
    "kind": Field(text(), "Topology", required=True),
    "metadata": Field(struct(METADATA), "the name"),
    "spec": Field(struct(SPEC), "everything else"),
}

NOT_BUILT_FIELDS = {
    "crossSubnetOnly": "tunnels between subnets only",
    "firewalls": "firewalls",
    "routers": "routers",
}
"""Fields that a later version brings."""
NOT_BUILT_WORDS = frozenset({"ipip"})
"""The same for values."""


def read_topology(document: YamlDocument) -> tuple[Topology, list[Problem]]:
    """The Topology; what is wrong with it comes beside it, and then it is the default where it had to be."""
    reading = _Reading(document)
    values = reading.validate(_structure(), document.value, ()) or {}
    changes, checks = _changes(reading, document), _checks(reading, document)
    faults = _faults(reading, document)
    topology = _build(values)._replace(changes=changes, faults=faults, checks=checks)
    if not reading.problems:
        for where, message, hint in topology_rules.contradictions(topology, values.get("spec", {})):
            reading.refuse(where, message, hint)
    return topology, reading.problems


class _Reading:
    """One document, and the problems found in it."""

    def __init__(self, document: YamlDocument) -> None:
        self.problems: list[Problem] = []
        self._document = document

    def refuse(self, where: Path, message: str, hint: str) -> None:
        field = render_path(where)
        source = self._document.source(where)
        self.problems.append(Problem(source, f"Topology: {field}: {message}", field, hint))

    def validate(self, structure: Structure, value: Any, where: Path) -> dict[str, Any] | None:
        """The values of a part of the document, or None after the problems have been noted."""
        try:
            return cast(dict[str, Any], structure.validate(_without_nulls(value)))
        except ValidationError as error:
            for details in error.errors(include_url=False):
                self._note(details, structure, where)
            return None

    def _note(self, details: ErrorDetails, structure: Structure, start: Path) -> None:
        inside: Path = tuple(step for step in details["loc"] if step != KEY_MARK)
        where = (*start, *inside)
        if details["type"] == "extra_forbidden":
            self._note_unknown(where, structure.schema_at(inside[:-1]))
        else:
            self.refuse(where, *_explain(details, structure.schema_at(inside)))

    def _note_unknown(self, where: Path, parent: Schema) -> None:
        field, key = render_path(where), str(where[-1])
        if key in NOT_BUILT_FIELDS:
            message, hint = f"{field}: not built yet: {NOT_BUILT_FIELDS[key]}", "remove it"
        else:
            message = f'unknown field "{field}"'
            hint = did_you_mean(key, parent["fields"]) or f"the fields are {', '.join(parent['fields'])}"
        source = self._document.key_source(where)
        self.problems.append(Problem(source, f"Topology: {message}", field, hint))


def _explain(details: ErrorDetails, schema: Schema) -> tuple[str, str]:
    """What is wrong, in words that need no knowledge of pydantic; and a hint."""
    context = details.get("ctx", {})
    got = _kind(details["input"])
    match details["type"]:
        case "missing":
            return "Required value", ""
        case "value_error":
            return str(context["error"]), ""
        case "literal_error":
            return _explain_word(details["input"], schema["expected"])
        case "greater_than_equal" | "less_than_equal":
            most = (
                f"between {schema['ge']} and {schema['le']}" if "le" in schema else f"at least {schema['ge']}"
            )
            return f"must be {most}", ""
        case "string_too_short":
            return "must not be empty", ""
        case "too_short":
            return "must have at least one item", ""
        case "string_type" if schema.get("metadata", {}).get("form") == DURATION:
            return f"must be a {DURATION}, not {got}", ""
        case "string_type":
            return f"must be text, not {got}", "write it in quotes" if got in _SCALARS else ""
        case "int_type":
            return f"must be a whole number, not {got}", ""
        case "bool_type":
            return f"must be true or false, not {got}", ""
        case "list_type":
            return f"must be a list, not {got}", "start each item with `- `"
        case "dict_type":
            return f"must be a mapping, not {got}", ""
        case _:
            return f"must be {details['msg']}, not {got}", ""


def _explain_word(got: Any, words: list[str]) -> tuple[str, str]:
    listed = ", ".join(f'"{word}"' for word in words)
    supported = f"supported values: {listed}"
    if not isinstance(got, str):
        return f"must be text, not {_kind(got)}; {supported}", ""
    if got in NOT_BUILT_WORDS:
        return f'"{got}" is not built yet; {supported}', ""
    return f'Unsupported value: "{got}": {supported}', did_you_mean(got, words)


_SCALARS = ("a number", "true or false")


def _kind(value: Any) -> str:
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "a mapping")


def _without_nulls(value: Any) -> Any:
    """A field that is null is absent, as in Kubernetes."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _checks(reading: _Reading, document: YamlDocument) -> tuple[Check, ...]:
    checks = []
    for where, value in _written(document, "checks"):
        check = read_check(value, where, document.source(where), reading.validate, reading.refuse)
        if check is not None:
            checks.append(check)
    return tuple(checks)


def _changes(reading: _Reading, document: YamlDocument) -> tuple[Change, ...]:
    changes = []
    for where, value in _written(document, "changes"):
        change = read_change(value, where, document.source(where), reading.validate, reading.refuse)
        if change is not None:
            changes.append(change)
    return tuple(changes)


def _faults(reading: _Reading, document: YamlDocument) -> tuple[Fault, ...]:
    faults = []
    for where, value in _written(document, "faults"):
        fault = read_fault(value, where, document.source(where), reading.validate, reading.refuse)
        if fault is not None:
            faults.append(fault)
    return tuple(faults)


def _written(document: YamlDocument, field: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The mappings of a list in the spec, and where they are; what is none was refused before."""
    spec = document.value.get("spec")
    listed = spec.get(field) if isinstance(spec, dict) else None
    for index, value in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(value, dict):
            yield ("spec", field, index), value


def _build(values: Mapping[str, Any]) -> Topology:
    spec = values.get("spec", {})
    networking = dict(spec.get("networking", {}))
    networking["overlay"] = _value(Overlay, networking.get("overlay", {}))
    networking["bgp"] = _value(Bgp, networking.get("bgp", {}))
    networking["kubeProxy"] = _value(KubeProxy, _with_tuples(networking.get("kubeProxy", {})))
    networking["conntrack"] = _value(Conntrack, networking.get("conntrack", {}))
    subnets = tuple(_value(Subnet, item) for item in spec.get("fabric", {}).get("subnets", ()))
    network_values = _value(Networking, networking)
    subnets = subnets or (
        DEFAULT_SUBNET._replace(cidr6=DEFAULT_SUBNET6) if network_values.dual_stack else DEFAULT_SUBNET,
    )
    nodes = [{"subnet": subnets[0].name, **item} for item in spec.get("nodes", _default_nodes())]
    hosts = tuple(_value(ExternalHost, item) for item in spec.get("external", {}).get("hosts", ()))
    images = spec.get("images", {}).items()
    return Topology(
        name=values.get("metadata", {}).get("name", Topology().name),
        seed=spec.get("seed", Topology().seed),
        networking=network_values,
        subnets=subnets,
        nodes=tuple(_value(NodeSpec, item) for item in nodes),
        dns=_value(Dns, spec.get("dns", {})),
        load_balancer=_value(LoadBalancer, spec["loadBalancer"]) if "loadBalancer" in spec else None,
        external_hosts=(*hosts, *_not_taken(hosts)),
        images=tuple(_value(ImageSpec, {"image": image, **settings}) for image, settings in images),
    )


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _value(cls: type[T], values: Mapping[str, Any]) -> T:
    """A frozen value from the document's fields of the same names. Of a pair, the second one belongs to the
    field with a 6 behind its name."""
    known = {key_from_name(name): name for name in cls.__annotations__}
    held = {known[key]: value for key, value in values.items() if key in known}
    for field, value in list(held.items()):
        if isinstance(value, Pair):
            held[field], held[f"{field}6"] = value
    return cls(**held)


def _default_nodes() -> list[dict[str, Any]]:
    return [{"name": node.name, "controlPlane": node.control_plane} for node in DEFAULT_NODES]


def _not_taken(hosts: Iterable[ExternalHost]) -> list[ExternalHost]:
    taken = {host.name for host in hosts} | {str(host.address) for host in hosts}
    return [host for host in DEFAULT_EXTERNAL_HOSTS if not {host.name, str(host.address)} & taken]


@cache
def _structure() -> Structure:
    return Structure(DOCUMENT)
