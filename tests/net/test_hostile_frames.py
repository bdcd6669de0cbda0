"""Whatever comes in on a wire, a host goes on: damaged, cut and made-up frames of both families."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.net.packet import Frame
from netsim.plan.entries import HostName
from netsim.wire import arp, ethernet, icmp, icmp6, ipv4, ipv6, ndp, tcp, udp
from tests.net.network import Network, dual_stack, mac_of, one_node, through_a_router, v6

BROADCAST = b"\xff" * 6
SENDER = mac_of("stranger")


def packed(text: str) -> bytes:
    return ip_address(text).packed


def frames(port: str, source: str, targets: tuple[str, ...]) -> list[bytes]:
    """Sound frames from a stranger, to the MAC of a port, to a group and to everybody."""
    found = []
    to, asker, asker6 = mac_of(port), packed(source), packed(v6(source))
    for target in targets:
        there, there6 = packed(target), packed(v6(target))
        about, about6 = (
            ipv4.build(there, asker, ipv4.UDP, udp.build(there, asker, 53, 9, b"x")),
            ipv6.build(there6, asker6, ipv4.UDP, udp.build(there6, asker6, 53, 9, b"x")),
        )
        opening = tcp.Tcp(9, 80, 1, 0, tcp.SYN, 100)
        payloads = (
            (ipv4.UDP, *(udp.build(*ends, 9, 53, bytes(100)) for ends in ((asker, there), (asker6, there6)))),
            (ipv4.TCP, tcp.build(asker, there, opening), tcp.build(asker6, there6, opening)),
        )
        packets = [(0x0800, ipv4.build(asker, there, number, data)) for number, data, _ in payloads]
        packets += [(0x86DD, ipv6.build(asker6, there6, number, data)) for number, _, data in payloads]
        for kind, code, mtu in ((3, 3, 0), (3, 4, 1300), (11, 0, 0)):
            error = icmp.build_error(kind, code, about, mtu)
            error6 = icmp6.build_error(asker6, there6, kind, code, about6, mtu)
            packets.append((0x0800, ipv4.build(asker, there, ipv4.ICMP, error)))
            packets.append((0x86DD, ipv6.build(asker6, there6, ipv6.ICMPV6, error6)))
        whole = ipv6.build(asker6, there6, ipv4.UDP, udp.build(asker6, there6, 9, 53, bytes(300)))
        packets += [(0x86DD, piece) for piece in ipv6.fragment(whole, 200, 7)]
        question = ndp.Ndp(ndp.SOLICITATION, there6, SENDER)
        packets.append((0x86DD, ndp.build(asker6, there6, question)))
        packets.append((0x86DD, ndp.build(asker6, there6, ndp.Ndp(ndp.ADVERTISEMENT, asker6, SENDER))))
        packets.append((0x0806, arp.build(arp.Arp(arp.REQUEST, SENDER, asker, bytes(6), there))))
        found += [ethernet.build(to, SENDER, kind, data) for kind, data in packets]
        group = ndp.solicited_node(there6)
        found.append(ethernet.build(ndp.group_mac(group), SENDER, 0x86DD, ndp.build(asker6, group, question)))
        found.append(ethernet.build(BROADCAST, SENDER, 0x86DD, packets[2][1]))
    return found


def node() -> Network:
    """A node with Pods, Services and connection tracking."""
    net = dual_stack(one_node())
    net.service("10.96.0.20:80", ["10.244.1.3:80"])
    net.service(f"[{v6('10.96.0.20')}]:53", [f"[{v6('10.244.1.3')}]:53"], protocol=ipv4.UDP)
    return net


def wires() -> Network:
    return dual_stack(through_a_router())


SITES = {
    "end": (wires, "a", "eth0", "10.0.0.9", ("10.0.0.1", "10.0.1.1")),
    "router": (wires, "router", "eth0", "10.0.0.9", ("10.0.0.254", "10.0.1.1", "10.9.0.1")),
    "node": (node, "node", "veth-p", "10.244.1.2", ("10.244.1.1", "10.244.1.3", "10.96.0.20")),
}


@pytest.mark.parametrize("site", SITES)
@given(data=st.data())
def test_a_host_survives_what_it_hears(site: str, data: st.DataObject) -> None:
    make, host, device, source, targets = SITES[site]
    net = make()
    stack = net.stack(host)
    port = f"{host}/{'cni0' if device.startswith('veth') else device}"
    sound = frames(port, source, targets)
    for number in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from(sound))
        at = data.draw(st.integers(0, len(frame)))
        patch = data.draw(st.binary(max_size=6))
        damaged = frame[:at] + patch + frame[at + len(patch) : data.draw(st.integers(at, len(frame)))]
        stack.receive(device, Frame(damaged.ljust(14, b"\0"), (), number), net.now)
        stack.receive(device, Frame(frame, (), number), net.now)
        net.plane.flush(HostName(host))
    net.wait(10)
    assert net.ping(host, "127.0.0.1") == "reply from 127.0.0.1"
