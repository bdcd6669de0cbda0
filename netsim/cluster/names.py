"""How users and readers name things: ``dev/jump``, ``deploy/web``, and what stands behind an address.

``hosts``, ``checks`` and the command line find Pods with ``find_pod``; captures and traces take their
names for addresses from ``address_names``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from ipaddress import ip_address

from netsim.base.errors import UsageError
from netsim.cni.fabric import node_addresses, node_addresses6
from netsim.objects.apps import Deployment, ReplicaSet
from netsim.objects.codec import KINDS
from netsim.objects.core import Namespace, Node, Pod, Service
from netsim.objects.meta import Object
from netsim.objects.spelling import did_you_mean
from netsim.objects.topology import Topology
from netsim.objects.workloads import DaemonSet, Job, ReplicationController, StatefulSet
from netsim.plan.delta import Plan
from netsim.plan.entries import Address
from netsim.proxy.service_port import load_balancer_vips
from netsim.store.reader import Reader
from netsim.store.resources import plural

# kubectl's short names for the owners whose Pods may be meant.
OWNER_KINDS: Mapping[str, type[Object]] = {
    "deploy": Deployment,
    "deployment": Deployment,
    "deployments": Deployment,
    "ds": DaemonSet,
    "daemonset": DaemonSet,
    "daemonsets": DaemonSet,
    "job": Job,
    "jobs": Job,
    "rc": ReplicationController,
    "replicationcontroller": ReplicationController,
    "replicationcontrollers": ReplicationController,
    "rs": ReplicaSet,
    "replicaset": ReplicaSet,
    "replicasets": ReplicaSet,
    "sts": StatefulSet,
    "statefulset": StatefulSet,
    "statefulsets": StatefulSet,
}
POD_KINDS = ("po", "pod", "pods")
SHORT_NAMES = {
    "ConfigMap": "cm", "CronJob": "cj", "DaemonSet": "ds", "Deployment": "deploy", "Endpoints": "ep",
    "Namespace": "ns", "Node": "no", "Pod": "po", "ReplicaSet": "rs", "ReplicationController": "rc",
    "Service": "svc", "StatefulSet": "sts",
}  # fmt: skip
"""As ``kubectl api-resources`` lists them."""
MOST_NAMES = 12
"""Names in a hint."""
SERVICE_KINDS = ("svc", "service", "services")


def kind_names(kind: str) -> tuple[str, ...]:
    """What kubectl lets a kind be called: ``service``, ``services``, ``svc``."""
    return (kind.lower(), plural(kind), SHORT_NAMES.get(kind, kind.lower()))


def near_object(reader: Reader, kind: str, namespace: str, name: str) -> str:
    """A hint: the objects of a kind (``svc``) that have that name elsewhere, or a similar one; or the kinds,
    where there is none of that name."""
    known = next((each for each in KINDS if kind.lower() in kind_names(each.kind)), None)
    if known is None:
        words = [word for each in KINDS for word in kind_names(each.kind)]
        return did_you_mean(kind.lower(), words) or "write pod, svc, deploy …"
    titles = {"/".join(filter(None, obj.ref[1:])): obj.metadata.name for obj in reader.list(known)}
    close = [title for title, plain in titles.items() if plain == name]
    wanted = f"{namespace}/{name}" if known.namespaced else name
    close = close or difflib.get_close_matches(wanted, titles, n=3, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    shown = ", ".join([*titles][:MOST_NAMES])
    return f"there is {shown}{' …' if len(titles) > MOST_NAMES else ''}" if shown else "there is none"


def find_pod(reader: Reader, name: str, namespace: str = "default") -> Pod:
    """The Pod that ``dev/jump``, ``jump``, ``pod/jump`` or ``deploy/web`` (its first Pod) means.

    ``svc/…`` is no Pod. UsageError names what comes near, or says what to write.
    """
    parts = name.split("/")
    if len(parts) > 1 and parts[0] in OWNER_KINDS:
        space, owner = (parts[1], "/".join(parts[2:])) if len(parts) > 2 else (namespace, parts[1])
        return pods_of(reader, parts[0], space, owner)[0]
    if len(parts) > 1 and parts[0] in POD_KINDS:
        parts = parts[1:]
    space, plain = (parts[0], "/".join(parts[1:])) if len(parts) > 1 else (namespace, parts[0])
    pod = reader.find(Pod, plain, space)
    if pod is None:
        _refuse_other_kinds(reader, name, namespace)
        raise UsageError(f'pods "{plain}" not found in namespace {space}', hint=_near(reader, plain, space))
    return pod


def pods_of(reader: Reader, kind: str, namespace: str, name: str) -> list[Pod]:
    """The Pods that a Deployment, StatefulSet … owns, oldest first; UsageError when there are none."""
    owner = reader.find(OWNER_KINDS[kind], name, namespace)
    if owner is None:
        hint = _near_owner(reader, kind, name)
        raise UsageError(f'{kind} "{name}" not found in namespace {namespace}', hint=hint)
    owners = [owner.metadata.uid]
    if isinstance(owner, Deployment):
        owners = [replica_set.metadata.uid for replica_set in reader.owned(ReplicaSet, owner.metadata.uid)]
    pods = [pod for uid in owners for pod in reader.owned(Pod, uid)]
    if not pods:
        raise UsageError(f"{kind} {namespace}/{name} has no Pods")
    return pods


def known_namespace(reader: Reader, name: str) -> str:
    """The name itself; UsageError when there is no such namespace."""
    names = sorted(namespace.metadata.name for namespace in reader.list(Namespace))
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the namespaces are {', '.join(names)}"
    raise UsageError(f"there is no namespace {name}", hint=hint)


def _near(reader: Reader, name: str, namespace: str) -> str:
    if reader.find(Node, name) is not None:
        return f"the node of that name is node/{name}"
    names = [f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in reader.list(Pod)]
    same = [full for full in names if full.endswith(f"/{name}")]
    close = same or difflib.get_close_matches(f"{namespace}/{name}", names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(close)}?" if close else "netsim show pods -A lists them"


def _near_owner(reader: Reader, kind: str, name: str) -> str:
    """Deployments … of that name or a similar one, in whatever namespace."""
    known = [item.metadata for item in reader.list(OWNER_KINDS[kind])]
    names = difflib.get_close_matches(name, {meta.name for meta in known}, n=3)
    close = [f"{kind}/{meta.namespace}/{meta.name}" for meta in known if meta.name in names]
    return f"did you mean {', '.join(close)}?" if close else ""


def _refuse_other_kinds(reader: Reader, name: str, namespace: str) -> None:
    """UsageError for a name that can be no Pod's, with what to write instead."""
    first, *rest = name.split("/")
    if first in SERVICE_KINDS and rest:
        space, plain = (rest[0], rest[1]) if len(rest) > 1 else (namespace, rest[0])
        service = reader.find(Service, plain, space)
        pods = reader.pods_selected(service) if service is not None else ()
        behind = f"{pods[0].metadata.namespace}/{pods[0].metadata.name}" if pods else "dev/jump"
        hint = f"name a Pod{' behind it' if pods else ''}, for example {behind}"
        raise UsageError(f"{name} is a Service, not a Pod", hint=hint)
    if len(rest) == 2 and rest[0] in (*POD_KINDS, *OWNER_KINDS):
        meant = f"{first}/{rest[1]}" if rest[0] in POD_KINDS else f"{rest[0]}/{first}/{rest[1]}"
        raise UsageError(f"{name} names no Pod", hint=f"write {meant}")
    if len(rest) > 1 and first not in POD_KINDS:
        hint = "write NAMESPACE/NAME, or deploy/NAMESPACE/NAME for one of a Deployment's Pods"
        raise UsageError(f"{name} names no Pod", hint=hint)


def address_names(topology: Topology, reader: Reader, plan: Plan) -> dict[bytes, str]:
    """What readers call each address: ``pod dev/jump``, ``svc prod/ent``, ``node node2`` …

    A node's addresses on other interfaces than its uplink are ``node node2 (cni0)``.
    """
    nodes = {node.name for node in topology.nodes}
    names = {
        entry.address.ip.packed: f"node {entry.host} ({entry.interface})"
        for entry in plan
        if isinstance(entry, Address) and entry.host in nodes
    }
    for number, subnet in enumerate(topology.subnets):
        title = "router" if number == 0 else f"router ({subnet.name})"
        names[subnet.gateway.packed] = title
        if subnet.gateway6 is not None:
            names[subnet.gateway6.packed] = title
    for host in topology.external_hosts:
        names[host.address.packed] = f"external {host.name}"
        if host.address6 is not None:
            names[host.address6.packed] = f"external {host.name}"
    names |= {address.packed: f"node {name}" for name, address in node_addresses(topology).items()}
    names |= {address.packed: f"node {name}" for name, address in node_addresses6(topology).items()}
    for service in reader.list(Service):
        meta = service.metadata
        for ip in (*load_balancer_vips(service), *(service.spec.cluster_ips or (service.spec.cluster_ip,))):
            if ip and ip != "None":
                names[ip_address(ip).packed] = f"svc {meta.namespace}/{meta.name}"
    for pod in reader.list(Pod):
        for address in pod.status.addresses() if not pod.spec.host_network else ():
            names[ip_address(address).packed] = f"pod {pod.metadata.namespace}/{pod.metadata.name}"
    return names
