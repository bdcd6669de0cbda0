"""tshark reads what ``netsim run --capture`` leaves: names, reasons, tunnels, and not one broken packet."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("tshark")

ROOT = Path(__file__).resolve().parent.parent.parent
TOPOLOGY = ROOT / "topologies" / "cross-namespace.yaml"
DUAL_STACK = ROOT / "topologies" / "dual-stack.yaml"
GUESTBOOK = ROOT / "topologies" / "guestbook.yaml"
DNS_SERVICE = "10.96.0.10"
PODS, NODES = IPv4Network("10.244.0.0/16"), IPv4Network("192.168.10.0/24")
AS_VXLAN = ("-d", "udp.port==8472,vxlan")
CHECKED = tuple(f"-o{protocol}.check_checksum:TRUE" for protocol in ("ip", "udp", "tcp"))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture of the two-namespace topology's checks."""
    path = tmp_path_factory.mktemp("walk") / "walk.pcapng"
    command = [sys.executable, "-m", "netsim", "run", str(TOPOLOGY), "--capture", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_bgp_sessions_and_bare_pod_addresses_are_read_without_complaint(tmp_path: Path) -> None:
    path = tmp_path / "bgp.pcapng"
    command = [
        sys.executable,
        "-m",
        "netsim",
        "run",
        str(TOPOLOGY),
        "--network",
        "bgp",
        "--capture",
        str(path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    announced = {row[1] for row in fields(path, "bgp.type == 2", "ip.src", "bgp.nlri_prefix") if row[1]}
    assert announced == {"10.244.0.0", "10.244.1.0", "10.244.2.0"}
    assert {row[0] for row in fields(path, "bgp.type == 1", "bgp.open.myas")} == {"64512"}
    ends = fields(path, 'frame.interface_name == "node1/eth0" && tcp.port == 8080', "ip.src", "ip.dst")
    assert ends and all(IPv4Address(end) in PODS for row in ends for end in row)
    assert (
        fields(path, "_ws.malformed || tcp.checksum.status == Bad || udp.port == 8472", "frame.number") == []
    )


def test_a_redis_replication_is_read_without_complaint(tmp_path: Path) -> None:
    path = tmp_path / "guestbook.pcapng"
    command = [sys.executable, "-m", "netsim", "run", str(GUESTBOOK), "--capture", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    profile = path.with_suffix(".wireshark")
    said = {row[0] for row in fields(path, "resp", "_ws.col.Info", config=profile)}
    for wanted in ("Request: PSYNC ? -1", "Response: FULLRESYNC", "Request: SET messages ,hello"):
        assert any(wanted in text for text in said), wanted
    assert fields(path, "_ws.malformed", "frame.number", config=profile) == []


def test_ipv6_is_read_without_complaint_from_neighbour_discovery_to_tcp(tmp_path: Path) -> None:
    path = tmp_path / "dual-stack.pcapng"
    command = [sys.executable, "-m", "netsim", "run", str(DUAL_STACK), "--capture", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    bad = " || ".join(f"{protocol}.checksum.status == Bad" for protocol in ("tcp", "udp", "icmpv6"))
    assert fields(path, f"_ws.malformed || {bad}", "frame.number") == []
    asked = {
        target for (target,) in fields(path, "icmpv6.type == 135 && !vxlan", "icmpv6.nd.ns.target_address")
    }
    told = {
        target for (target,) in fields(path, "icmpv6.type == 136 && !vxlan", "icmpv6.nd.na.target_address")
    }
    assert asked and asked == told
    assert {limit for (limit,) in fields(path, "icmpv6.type == 135 && !vxlan", "ipv6.hlim")} == {"255"}
    tunnelled = fields(path, "vxlan && ipv6 && tcp.flags.syn == 1 && tcp.flags.ack == 0", "ipv6.src")
    assert tunnelled and {len(sources.split(",")) for (sources,) in tunnelled} == {2}, "envelope and packet"


def tshark(capture: Path, *arguments: str, config: Path | None = None) -> list[str]:
    """The lines that tshark prints; with ``config`` it reads that configuration directory."""
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(config or capture.parent / "no-config")}
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fields(capture: Path, where: str, *names: str, config: Path | None = None) -> list[tuple[str, ...]]:
    """Those fields of the packets that pass a display filter; every occurrence, outermost first."""
    columns = [part for name in names for part in ("-e", name)]
    profile = ("-C", "netsim") if config else AS_VXLAN
    lines = tshark(capture, *profile, *CHECKED, "-Y", where, "-T", "fields", *columns, config=config)
    return [tuple(line.split("\t")) for line in lines]


def outer(addresses: str) -> IPv4Address:
    return IPv4Address(addresses.split(",")[0])


def test_pods_services_and_nodes_have_their_names(walk: Path) -> None:
    lines = tshark(walk, "-N", "n", "-T", "fields", "-e", "ip.src_host", "-e", "ip.dst_host")
    seen = {name for line in lines for field in line.split("\t") for name in field.split(",")}
    assert {"pod dev/jump", "svc kube-system/kube-dns", "svc prod/ent"} <= seen


def test_every_ip_packet_says_why_it_is_there(walk: Path) -> None:
    comments = fields(walk, "ip", "frame.comment")
    assert comments
    assert [number for number, (comment,) in enumerate(comments, 1) if not comment] == []


def test_interfaces_are_named_as_the_topology_names_them(walk: Path) -> None:
    names = {name for (name,) in fields(walk, "frame", "frame.interface_name")}
    assert {"dev/jump/eth0", "node1/eth0", "node2/eth0"} <= names


def test_questions_to_the_dns_service_reach_a_coredns_pod(walk: Path) -> None:
    asked = fields(walk, "dns.flags.response == 0", "dns.id", "dns.qry.name", "ip.dst")
    before = {(number, name) for number, name, target in asked if target == DNS_SERVICE}
    after = {(number, name) for number, name, target in asked if IPv4Address(target.split(",")[-1]) in PODS}
    assert before
    assert before <= after


def test_nodes_carry_pod_packets_in_vxlan(walk: Path) -> None:
    tunnelled = fields(walk, "vxlan", "ip.src", "ip.dst", "vxlan.vni", "udp.dstport")
    assert tunnelled
    for sources, destinations, vni, ports in tunnelled:
        assert outer(sources) in NODES
        assert outer(destinations) in NODES
        assert IPv4Address(sources.split(",")[-1]) not in NODES or "," in sources
        assert (vni, ports.split(",")[0]) == ("1", "8472")


@pytest.mark.parametrize("by_profile", [False, True], ids=["-d", "profile"])
def test_not_one_packet_is_malformed(walk: Path, by_profile: bool) -> None:
    config = walk.with_suffix(".wireshark") if by_profile else None
    assert fields(walk, "vxlan", "frame.number", config=config)
    assert fields(walk, "_ws.malformed", "frame.number", "_ws.col.Info", config=config) == []


def test_with_the_profile_copies_at_other_interfaces_are_no_retransmissions(walk: Path) -> None:
    suspicious = "tcp.analysis.retransmission || tcp.analysis.duplicate_ack || tcp.analysis.out_of_order"
    assert fields(walk, suspicious, "frame.number")
    assert fields(walk, "tcp.analysis.flags", "frame.number", config=walk.with_suffix(".wireshark")) == []


@pytest.mark.parametrize("by_profile", [False, True], ids=["-d", "profile"])
@pytest.mark.parametrize("protocol", ["ip", "udp", "tcp"])
def test_not_one_checksum_is_wrong_inner_frames_included(walk: Path, protocol: str, by_profile: bool) -> None:
    config = walk.with_suffix(".wireshark") if by_profile else None
    status = f"{protocol}.checksum.status"
    good, bad = (f'{status} == "{word}"' for word in ("Good", "Bad"))
    assert fields(walk, f"vxlan && {good}", "frame.number", config=config)
    assert fields(walk, bad, "frame.number", "_ws.col.Info", config=config) == []


def test_virtual_times_have_nanoseconds_and_never_go_back(walk: Path) -> None:
    times = [time for (time,) in fields(walk, "frame", "frame.time_epoch")]
    assert all(len(time.split(".")[1]) == 9 for time in times)
    assert times == sorted(times)
