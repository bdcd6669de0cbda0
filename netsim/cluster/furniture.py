"""What every cluster holds before its users declare anything: nodes, namespaces, CoreDNS, the API Service.

``cluster`` stores these first. Shapes follow kubeadm's (cmd/kubeadm/app/phases/addons/dns/manifests.go)
and the API server's own (pkg/controlplane/reconcilers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from netsim.base.address import IpAddress
from netsim.clusterdns.corefile import default_corefile
from netsim.cni.bridge import CNI0
from netsim.cni.fabric import node_addresses, node_addresses6, node_subnets, pool_subnet
from netsim.cni.names import UPLINK, node_host
from netsim.objects.apps import Deployment, DeploymentSpec, PodTemplateSpec
from netsim.objects.core import (
    ConfigMap,
    Container,
    ContainerPort,
    EndpointAddress,
    Endpoints,
    EndpointsPort,
    EndpointSubset,
    Namespace,
    Node,
    NodeAddress,
    NodeStatus,
    PodSpec,
    Service,
    ServicePort,
    ServiceSpec,
    Taint,
    Toleration,
)
from netsim.objects.core import NodeSpec as NodeObjectSpec
from netsim.objects.discovery import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
)
from netsim.objects.meta import Condition, LabelSelector, Object, ObjectMeta
from netsim.objects.rules.service_addresses import SINGLE_STACK
from netsim.objects.topology import DNS_OFFSET, NodeSpec, Topology
from netsim.plan.entries import Port, Schedule
from netsim.proxy.announcer import EXCLUDE_LABEL
from netsim.proxy.settings import DetectLocalMode, ProxySettings

KUBERNETES_VERSION = "v1.35.0"
COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.14.7"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
API_PORT = 6443
DNS_LABELS = {"k8s-app": "kube-dns"}


def dns_service_ip(topology: Topology) -> IPv4Address:
    """The ClusterIP of kube-dns, which the kubelets write into every Pod."""
    return topology.dns.cluster_ip or topology.networking.service_subnet.network_address + DNS_OFFSET


def uplinks(topology: Topology) -> dict[str, Port]:
    """The nodes' interfaces on the wire on which the addresses of load balancers are, if there are any."""
    if topology.load_balancer is None:
        return {}
    wire = pool_subnet(topology, topology.load_balancer.pool)
    subnets = node_subnets(topology).items()
    return {name: Port(node_host(name), UPLINK) for name, subnet in subnets if subnet == wire}


def proxy_settings(topology: Topology) -> tuple[ProxySettings, ...]:
    """kube-proxy's configuration on every node, for each family of the cluster, the primary one first.

    Where load balancers' addresses are announced by ARP, IPVS mode has strictARP, as MetalLB wants it.
    """
    networking = topology.networking
    first = ProxySettings(
        networking.pod_subnet,
        networking.kube_proxy_mode,
        Schedule(networking.ipvs_scheduler),
        topology.load_balancer is not None,
        {node.name: node_host(node.name) for node in topology.nodes},
        (networking.service_subnet,),
        networking.kube_proxy.masquerade_all,
        networking.kube_proxy.node_port_addresses,
        networking.kube_proxy.localhost_node_ports,
        DetectLocalMode(networking.kube_proxy.detect_local_mode),
        CNI0,
        conntrack_max=networking.conntrack.max,
    )
    if networking.service_subnet6 is None:
        return (first,)
    pods, services = networking.pod_subnet6, (networking.service_subnet6,)
    return (first, first._replace(cluster_cidr=pods, service_cidrs=services, family=6, second=True))


def furniture(topology: Topology) -> Iterator[Object]:
    """All of it, in the order in which it is stored.

    The Services ``kubernetes`` and ``kube-dns`` have the primary family alone in a dual-stack cluster too:
    the API server makes the first one SingleStack (pkg/controlplane/controller/kubernetesservice), and
    kubeadm's manifest of the second says nothing of families.
    """
    for name in NAMESPACES:
        yield Namespace(metadata=ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name}))
    addresses, addresses6 = node_addresses(topology), node_addresses6(topology)
    for node in topology.nodes:
        second = (addresses6[node.name],) if node.name in addresses6 else ()
        yield _node(node, (addresses[node.name], *second))
    yield from _kubernetes_service(topology, addresses[api_host(topology)])
    yield from _coredns(topology)


def api_host(topology: Topology) -> str:
    """The node on which the API server is: the first control-plane node, or simply the first."""
    return next((node.name for node in topology.nodes if node.control_plane), topology.nodes[0].name)


def _node(spec: NodeSpec, addresses: Sequence[IpAddress]) -> Node:
    """A Node as its kubelet registers it with ``--node-ip`` of each family (NodeAddress in
    pkg/kubelet/nodestatus/setters.go: the addresses first, then the hostname)."""
    labels = {
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    if spec.zone:
        labels["topology.kubernetes.io/zone"] = spec.zone
    if spec.control_plane:
        labels[CONTROL_PLANE] = labels[EXCLUDE_LABEL] = ""
    taints = (Taint(CONTROL_PLANE, "NoSchedule"),) if spec.control_plane else ()
    return Node(
        metadata=ObjectMeta(name=spec.name, labels={**labels, **spec.labels}),
        spec=NodeObjectSpec(taints=taints),
        status=NodeStatus(
            addresses=(
                *(NodeAddress("InternalIP", str(address)) for address in addresses),
                NodeAddress("Hostname", spec.name),
            ),
            conditions=(Condition("Ready", "True", "KubeletReady"),),
            rest={
                "nodeInfo": {"kubeletVersion": KUBERNETES_VERSION},
                "allocatable": {"cpu": str(spec.cpu)},
            },
        ),
    )


def _kubernetes_service(topology: Topology, api_server: IPv4Address) -> Iterator[Object]:
    address = str(topology.networking.service_subnet.network_address + 1)
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield Service(
        metadata=ObjectMeta(name="kubernetes", namespace="default", labels=labels),
        spec=ServiceSpec(
            cluster_ip=address,
            cluster_ips=(address,),
            ports=(ServicePort(443, "https", target_port=API_PORT),),
            internal_traffic_policy="Cluster",
            ip_families=("IPv4",),
            ip_family_policy=SINGLE_STACK,
        ),
    )
    yield EndpointSlice(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={SERVICE_NAME_LABEL: "kubernetes"}
        ),
        endpoints=(Endpoint((str(api_server),), EndpointConditions(ready=True)),),
        ports=(EndpointPort("https", API_PORT),),
    )
    yield Endpoints(
        metadata=ObjectMeta(
            name="kubernetes",
            namespace="default",
            labels={"endpointslice.kubernetes.io/skip-mirror": "true"},
        ),
        subsets=(
            EndpointSubset((EndpointAddress(str(api_server)),), ports=(EndpointsPort(API_PORT, "https"),)),
        ),
    )


def _coredns(topology: Topology) -> Iterator[Object]:
    corefile = topology.dns.corefile or default_corefile(topology.networking.dns_domain)
    yield ConfigMap(metadata=ObjectMeta(name="coredns", namespace="kube-system"), data={"Corefile": corefile})
    address = str(dns_service_ip(topology))
    yield Service(
        metadata=ObjectMeta(
            name="kube-dns",
            namespace="kube-system",
            labels={
                **DNS_LABELS,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        ),
        spec=ServiceSpec(
            selector=DNS_LABELS,
            cluster_ip=address,
            cluster_ips=(address,),
            ports=(
                ServicePort(53, "dns", "UDP", 53),
                ServicePort(53, "dns-tcp", "TCP", 53),
                ServicePort(9153, "metrics", "TCP", 9153),
            ),
            internal_traffic_policy="Cluster",
            ip_families=("IPv4",),
            ip_family_policy=SINGLE_STACK,
        ),
    )
    yield Deployment(
        metadata=ObjectMeta(name="coredns", namespace="kube-system", labels=DNS_LABELS),
        spec=DeploymentSpec(
            replicas=topology.dns.replicas,
            selector=LabelSelector(DNS_LABELS),
            template=PodTemplateSpec(ObjectMeta(labels=DNS_LABELS), _coredns_pod(topology)),
        ),
    )


def _coredns_pod(topology: Topology) -> PodSpec:
    """kubeadm's CoreDNS Pod. It is held on the control plane, where kubeadm's comes to run because no
    other node exists when it starts."""
    container = Container(
        "coredns",
        COREDNS_IMAGE,
        args=("-conf", "/etc/coredns/Corefile"),
        ports=(
            ContainerPort(53, "dns", "UDP"),
            ContainerPort(53, "dns-tcp", "TCP"),
            ContainerPort(9153, "metrics", "TCP"),
        ),
    )
    spec = PodSpec(
        containers=(container,),
        dns_policy="Default",
        tolerations=(Toleration(CONTROL_PLANE, operator="Exists", effect="NoSchedule"),),
        node_selector={"kubernetes.io/os": "linux"},
    )
    if any(node.control_plane for node in topology.nodes):
        return replace(spec, node_selector={**spec.node_selector, CONTROL_PLANE: ""})
    return spec
