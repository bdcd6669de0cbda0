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
    """IPVS forgets connections to a server that is gone by itself."""
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


GOES_ON, UNREACHABLE, LOST = "goes on", "unreachable", "lost"
UNBOUND = "network unreachable: no route to"  # says the gateway of an address that no node has any more


@pytest.mark.parametrize(
    ("mode", "change", "client", "then"),
    [
        # kube-proxy's clean-up leaves TCP alone, and no rule is asked again for a flow that conntrack has
        # (pkg/proxy/conntrack/cleanup.go).
        ("iptables", "the Service is deleted", "client", GOES_ON),
        ("iptables", "the Service is deleted", "node/node1", GOES_ON),
        ("iptables", "its endpoint leaves", "client", GOES_ON),
        ("iptables", "its endpoint leaves", "node/node1", GOES_ON),
        ("nftables", "the Service is deleted", "client", GOES_ON),
        ("nftables", "the Service is deleted", "node/node1", GOES_ON),
        ("nftables", "its endpoint leaves", "client", GOES_ON),
        ("nftables", "its endpoint leaves", "node/node1", GOES_ON),
        # The virtual server goes with its servers, and these take their connections and conntrack's entries
        # with them; the address goes from kube-ipvs0 (cleanLegacyService; ip_vs_ctl.c, __ip_vs_del_dest).
        # What the node itself sends had that address as its source, to which no error finds back.
        ("ipvs", "the Service is deleted", "client", UNREACHABLE),
        ("ipvs", "the Service is deleted", "node/node1", LOST),
        # It stays with weight 0 as long as it has connections (graceful_termination.go, GracefulDeleteRS).
        ("ipvs", "its endpoint leaves", "client", GOES_ON),
        ("ipvs", "its endpoint leaves", "node/node1", GOES_ON),
    ],
)
async def test_a_tcp_connection_may_outlive_its_service(
    mode: str, change: str, client: str, then: str
) -> None:
    with site(mode, "first") as cluster:
        host = cluster.find(client).host
        at = Endpoint(address_of(cluster, "echo"), 7)
        stream = cluster.pump(host.connect(at, timeout=5.0))

        async def again(text: bytes) -> bytes:
            await stream.write(text)
            return await stream.read(timeout=5.0)

        assert cluster.pump(again(b"before")) == b"before"
        cluster.advance(1.0)  # until the answer is acknowledged
        if change == "its endpoint leaves":
            await cluster.apply(SERVER.format(name="first").replace("app: names", "app: others"))
        else:
            await cluster.delete("service", "echo")
        with cluster.capture() as packets:
            if then == GOES_ON:
                for text in (b"after", b"and again"):
                    assert cluster.pump(again(text)) == text
            else:
                with pytest.raises(TimeoutError):
                    cluster.pump(again(b"after"))
        told = {note.cause.text for record in packets.records for note in record.notes}
        unbound = [text for text in told if text.startswith(UNBOUND)]
        assert unbound == ([f"{UNBOUND} {at.address}"] if then == UNREACHABLE else [])
        flows = NETWORK_TABLES["conntrack"](cluster, node_host("node1"))
        assert ("[ASSURED]" in _line_of(flows, at)) is (then == GOES_ON)
        with pytest.raises(OSError, match=r"unreachable|timed out|refused"):
            cluster.pump(host.connect(at, timeout=5.0))


def _line_of(flows: str, at: Endpoint) -> str:
    """The first flow to an address, as ``conntrack -L`` has it."""
    return next((line for line in flows.splitlines() if f"dst={at.address} " in line), "")


@pytest.mark.parametrize("seconds", [200.0, 5000.0])
async def test_a_server_of_ipvs_that_leaves_is_deleted_when_its_last_connection_is_over(
    seconds: float,
) -> None:
    """An idle one expires after fifteen minutes; kube-proxy looks once a minute (rsCheckDeleteInterval)."""
    with site("ipvs", "first") as cluster:
        host = cluster.pod("client").host
        at = Endpoint(address_of(cluster, "echo"), 7)
        cluster.pump(host.connect(at, timeout=5.0))
        await cluster.apply(SERVER.format(name="first").replace("app: names", "app: others"))
        cluster.advance(seconds)
        table = NETWORK_TABLES["ipvs"](cluster, node_host("node1"))
        servers = [line.split() for line in table.partition(f"TCP  {at}")[2].splitlines()[1:]]
        left = [words[3:6] for words in servers[:1] if words[0] == "->"]
        assert left == ([["0", "1", "0"]] if seconds < 900.0 else [])


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
