"""Every frame that a busy scenario puts on a wire is one that scapy reads, checksums included."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

from netsim.programs.host import Endpoint
from netsim.wire import ipv4
from tests.net.network import SERVICE, Network, two_nodes
from tests.net.test_netfilter import masquerading, with_outside


def busy() -> Network:
    """TCP, UDP, ICMP and ARP; Services, masquerade, hairpin, errors, fragments and tunnels."""
    net = masquerading(with_outside(two_nodes(underlay_mtu=1000), "n1"))
    net.route("n1", "default", "eth9", "203.0.113.1")
    net.route("out", "default", "eth0", "203.0.113.254")
    for name in ("p", "s", "out"):
        net.serve(name, 8080)
        net.serve(name, 53, protocol=ipv4.UDP)
    net.service(SERVICE, ["10.244.1.2:8080", "10.244.2.2:8080"])
    net.service("10.96.0.10:53", ["10.244.2.2:53"], protocol=ipv4.UDP)
    net.service("10.96.0.99:80", [])
    net.service("10.96.0.98:80", ["10.244.2.3:8080"])
    for target in (SERVICE, SERVICE, SERVICE, "203.0.113.1:8080", "10.96.0.99:80", "10.96.0.98:80"):
        net.ask("p", target)
    for target in ("10.96.0.10:53", "203.0.113.1:53", "203.0.113.1:5353", "10.244.2.3:53"):
        net.ask_udp("p", target)
    for size in (56, 1400, 6001):
        net.ping("p", "10.244.2.2", size=size)
        net.ping("p", "203.0.113.1", size=size)
    net.ping("p", "10.244.2.2", ttl=2)
    net.ping("p", "10.244.1.99")
    net.ask("out", SERVICE)
    net.ask("n2", "10.244.1.2:8080")

    async def bulk() -> None:
        stream = await net.programs("q").connect(Endpoint(IPv4Address("10.244.2.2"), 8080))
        await stream.write(b"odd" * 3333)
        stream.abort()

    net.run(bulk())
    net.wait(70)
    return net


def test_scapy_reads_every_frame_and_computes_the_same_checksums() -> None:
    import scapy.layers.vxlan  # noqa: F401  # teaches scapy the tunnel's port
    from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror, UDPerror
    from scapy.layers.l2 import ARP, Ether
    from scapy.layers.vxlan import VXLAN
    from scapy.packet import NoPayload, Packet

    checked: Counter[str] = Counter()
    net = busy()
    frames = dict.fromkeys(record.data for record in net.recorder.records)
    for data in frames:
        packet = Ether(data)
        layer: Packet = packet
        while not isinstance(layer, NoPayload):
            checked[type(layer).__name__] += 1
            if isinstance(layer, IPerror):
                checked[type(layer.payload).__name__] += 1
                break  # a quote may be cut
            if isinstance(layer, IP | TCP | UDP | ICMP):
                del layer.chksum
            if isinstance(layer, IP) and (layer.flags.MF or layer.frag):
                checked["fragment"] += 1
                break  # what follows is cut too, and its checksum covers all of it
            layer = layer.payload
        assert bytes(packet) == data, packet.show(dump=True)
    assert checked["fragment"] > 0
    for wanted in (Ether, ARP, IP, TCP, UDP, ICMP, VXLAN, IPerror, TCPerror, UDPerror, ICMPerror):
        assert checked[wanted.__name__] > 0, (wanted, checked)
