"""The nodes' connection tables: what outlives a change of its Service, what kube-proxy cleans up, and what
becomes of a full one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import groupby

import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.network_tables import NETWORK_TABLES
from netsim.cni.names import node_host
from netsim.objects.core import Service
from netsim.objects.topology import PROXY_MODES
from netsim.programs.host import Endpoint, Host, Invocation, Stream

TABLES = ("conntrack", "conntrack-stats")
SITE = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  nodes: [{{name: control, controlPlane: true}}, {{name: node1}}, {{name: node2}}]
  networking: {{conntrack: {{{settings}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec: {{selector: {{app: names}}, ports: [{{port: 7}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{nodeName: node1, containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}
"""
NAMES = """---
apiVersion: v1
kind: Service
metadata: {{name: names}}
spec:
  selector: {{app: names}}
  type: NodePort
  ports: [{{port: 53, targetPort: 8081, protocol: UDP, nodePort: 30053}}]
"""
SERVER = """---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: names}}}}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: acme/names}}]
"""


async def names(host: Host, start: Invocation) -> int:
    """Says its hostname at UDP ports 8081 and 8082, and sends back what comes to TCP port 7."""
    host.spawn(echo(host), "echo")
    host.spawn(say(host, 8082, f"{host.name} at 8082"), "another port")
    await say(host, 8081, host.name)
    return 0


async def say(host: Host, port: int, what: str) -> None:
    socket = await host.udp(port)
    while True:
        datagram = await socket.recv()
        await socket.send(what.encode(), datagram.source)


async def echo(host: Host) -> None:
    listener = await host.listen(7)
    while True:
        host.spawn(repeat(await listener.accept()), "echo client")


async def repeat(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


@contextmanager
def site(mode: str, *servers: str, settings: str = "") -> Iterator[Cluster]:
    text = (
        SITE.format(settings=settings)
        + NAMES.format()
        + "".join(SERVER.format(name=name) for name in servers)
    )
    with run(text, proxy_mode=mode, programs={"acme/names": names}) as cluster:
        yield cluster


def address_of(cluster: Cluster, name: str) -> IPv4Address:
    return IPv4Address(cluster.store.get(Service, name, "default").spec.cluster_ip)


class Sender:
    """Somebody who asks once a second, always from the same port: who has answered, ``-`` for nobody."""

    def __init__(self, cluster: Cluster, to: Endpoint) -> None:
        self._cluster = cluster
        self._answers: list[str] = []
        self._to = to
        host = cluster.pod("client").host
        host.spawn(self._send(host), "sender")

    async def _send(self, host: Host) -> None:
        socket = await host.udp(40053)
        while True:
            await socket.send(b"who", self._to)
            try:
                self._answers.append((await socket.recv(timeout=0.5)).data.decode())
            except OSError:
                self._answers.append("-")
            await host.sleep(0.5)

    def answers(self, seconds: float) -> list[str]:
        """Who answers from now on, each once as long as it goes on."""
        self._answers.clear()
        self._cluster.advance(seconds)
        return [name for name, _ in groupby(self._answers)]


def sender(cluster: Cluster, way: str) -> Sender:
    if way == "cluster IP":
        return Sender(cluster, Endpoint(address_of(cluster, "names"), 53))
    return Sender(cluster, Endpoint(IPv4Address("192.168.10.11"), 30053))


def other(pod: str) -> str:
    return {"first": "second", "second": "first"}[pod]


@pytest.mark.parametrize("way", ["cluster IP", "node port"])
@pytest.mark.parametrize("mode", PROXY_MODES)
async def test_a_udp_client_gets_another_endpoint_when_its_own_is_gone(mode: str, way: str) -> None:
    """IPVS forgets connections to a server that is gone by itself, at the cost of a packet."""
    with site(mode, "first", "second") as cluster:
        asks = sender(cluster, way)
        (pinned,) = asks.answers(20.0)
        await cluster.delete("pod", pinned)
        assert [who for who in asks.answers(20.0) if who != "-"] == [other(pinned)]
        assert asks.answers(20.0) == [other(pinned)]


@pytest.mark.parametrize("way", ["cluster IP", "node port"])
@pytest.mark.parametrize(
    ("mode", "afterwards"), [("iptables", "-"), ("nftables", "-"), ("ipvs", "the other")]
)
async def test_without_the_clean_up_it_sends_into_a_black_hole(mode: str, afterwards: str, way: str) -> None:
    with site(mode, "first", "second", settings="udpCleanup: false") as cluster:
        asks = sender(cluster, way)
        (pinned,) = asks.answers(20.0)
        await cluster.delete("pod", pinned)
        asks.answers(5.0)
        assert asks.answers(300.0) == [other(pinned) if afterwards == "the other" else "-"]


@pytest.mark.parametrize("cleans", [True, False])
async def test_without_any_endpoint_nothing_is_cleaned_up_until_there_is_one_again(cleans: bool) -> None:
    """Kubernetes issue 139628: flows to the last endpoint stay until there is another one."""
    with site("iptables", "first", settings=f"udpCleanup: {str(cleans).lower()}") as cluster:
        asks = sender(cluster, "cluster IP")
        assert asks.answers(20.0) == ["first"]
        await cluster.delete("pod", "first")
        asks.answers(5.0)
        assert asks.answers(200.0) == ["-"]
        assert "sport=40053" in NETWORK_TABLES["conntrack"](cluster, node_host("node1"))
        await cluster.apply(SERVER.format(name="second"))
        assert asks.answers(20.0)[-1:] == ["second" if cleans else "-"]


@pytest.mark.parametrize(("cleans", "afterwards"), [(True, "first at 8082"), (False, "first")])
async def test_another_port_of_the_same_pod_is_another_endpoint(cleans: bool, afterwards: str) -> None:
    with site("iptables", "first", settings=f"udpCleanup: {str(cleans).lower()}") as cluster:
        asks = sender(cluster, "cluster IP")
        assert asks.answers(20.0) == ["first"]
        await cluster.apply(NAMES.format().replace("8081", "8082"))
        asks.answers(2.0)
        assert asks.answers(20.0) == [afterwards]


@pytest.mark.parametrize("mode", PROXY_MODES)
async def test_flows_to_endpoints_that_serve_are_left_alone(mode: str) -> None:
    with site(mode, "first", "second") as cluster:
        asks = sender(cluster, "cluster IP")
        (pinned,) = asks.answers(20.0)
        await cluster.delete("pod", other(pinned))
        assert asks.answers(20.0) == [pinned]


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
async def test_a_tcp_connection_outlives_its_service(mode: str) -> None:
    with site(mode, "first") as cluster:
        host = cluster.pod("client").host
        at = Endpoint(address_of(cluster, "echo"), 7)
        stream = cluster.pump(host.connect(at, timeout=5.0))

        async def again(text: bytes) -> bytes:
            await stream.write(text)
            return await stream.read(timeout=5.0)

        assert cluster.pump(again(b"before")) == b"before"
        await cluster.delete("service", "echo")
        assert cluster.pump(again(b"after")) == b"after"
        with pytest.raises(OSError, match=r"unreachable|timed out"):
            cluster.pump(host.connect(at, timeout=5.0))


@pytest.mark.parametrize("mode", PROXY_MODES)
async def test_a_full_table_refuses_new_connections_and_keeps_those_in_use(mode: str) -> None:
    """Client and server are on one node, so that no entries of VXLAN are in the way."""
    with site(mode, settings="max: 8") as cluster:
        await cluster.apply(SERVER.format(name="first").replace("node2", "node1"))
        host = cluster.pod("client").host
        at = Endpoint(address_of(cluster, "echo"), 7)
        streams = []
        with cluster.capture() as packets, pytest.raises(TimeoutError):
            for _ in range(9):
                streams.append(cluster.pump(host.connect(at, timeout=5.0)))
        assert len(streams) == 8
        told = {note.cause.text for record in packets.records for note in record.notes}
        assert any(text.startswith("nf_conntrack: table full, dropping packet") for text in told)
        for stream in streams:
            cluster.pump(stream.write(b"still there"))
            assert cluster.pump(stream.read(timeout=5.0)) == b"still there"
        tables = {name: NETWORK_TABLES[name](cluster, node_host("node1")) for name in TABLES}
        assert tables["conntrack"].count("ESTABLISHED") == 8
        assert " drop=0 " not in tables["conntrack-stats"]
