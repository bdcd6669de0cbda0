"""``netsim capture show`` lists the packets of a file, and takes one apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netsim.base.cause import Cause, Note, Stage
from netsim.capture.pcapng import write_pcapng
from netsim.capture.record import PacketRecord
from netsim.plan.entries import HostName, Port
from netsim.wire import dns, ethernet, ipv4, udp
from tests.cli.conftest import Call

JUMP, RESOLVER = bytes([10, 244, 1, 2]), bytes([10, 96, 0, 10])
NAMES = {JUMP: "pod dev/jump", RESOLVER: "svc kube-system/kube-dns"}
PORT = Port(HostName("dev/jump"), "eth0")
ASKED = Note("dev/jump", Cause(Stage.RESOLVER, "search list 1 of 3: ent"))


def question(name: str) -> bytes:
    datagram = udp.build(JUMP, RESOLVER, 40000, 53, dns.query(7, name, dns.A))
    packet = ipv4.build(JUMP, RESOLVER, ipv4.UDP, datagram)
    return ethernet.build(b"\2" * 6, b"\4" * 6, ethernet.ETHERTYPE_IPV4, packet)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two questions, the first with its reason."""
    records = [
        PacketRecord(0.5, PORT, True, question("ent.dev.svc.cluster.local."), (ASKED,)),
        PacketRecord(1.5, PORT, False, question("example.com."), ()),
    ]
    path = tmp_path / "walk.pcapng"
    write_pcapng(path, records, NAMES)
    return path


def test_each_packet_is_one_line(call: Call, file: Path) -> None:
    result = call("capture", "show", file)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith("1  0.500000  dev/jump/eth0  out  pod dev/jump → svc kube-system/kube-dns DNS ")
    assert first.endswith("A ent.dev.svc.cluster.local")
    assert second.endswith("A example.com")


def test_why_prints_the_reasons_below(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--why")
    assert result.stdout.splitlines()[1].strip() == "dev/jump: resolver: search list 1 of 3: ent"


def test_a_filter_keeps_the_numbers_of_the_file(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--filter", "port 53 and not host 10.9.9.9")
    assert len(result.stdout.splitlines()) == 2
    assert call("capture", "show", file, "--filter", "tcp").stdout == ""


def test_a_wrong_filter_is_explained(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--filter", "prot 53")
    assert result.exit_code == 2
    assert "did you mean 'port'?" in result.stderr


def test_a_host_may_be_named_as_the_capture_names_it(call: Call, file: Path) -> None:
    by_address = call("capture", "show", file, "--filter", "host 10.244.1.2").stdout
    assert call("capture", "show", file, "--filter", "host dev/jump").stdout == by_address != ""
    result = call("capture", "show", file, "--filter", "host dev/far")
    assert result.exit_code == 2
    assert "'interface dev/far'" in result.stderr


@pytest.mark.parametrize("name", ["dev/jump", "dev/jump/eth0"])
def test_an_interface_of_the_capture(call: Call, file: Path, name: str) -> None:
    assert len(call("capture", "show", file, "--filter", f"interface {name}").stdout.splitlines()) == 2


def test_an_interface_that_the_capture_does_not_have(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--filter", "not interface dev/jmp/eth0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no packet was captured at an interface 'dev/jmp/eth0'" in result.stderr
    assert "hint: did you mean 'dev/jump/eth0'? the capture has dev/jump/eth0" in result.stderr


def test_one_packet_in_detail(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--packet", 2)
    assert result.exit_code == 0
    assert "###[ DNS ]###" in result.stdout
    assert "example.com" in result.stdout


def test_a_packet_that_is_not_there(call: Call, file: Path) -> None:
    result = call("capture", "show", file, "--packet", 3)
    assert result.exit_code == 2
    assert result.stderr == f"error: {file} has 2 packets, and no packet 3\n"


def test_json_holds_the_same(call: Call, file: Path) -> None:
    first, second = json.loads(call("capture", "show", file, "-o", "json").stdout)
    assert first["summary"]["source"] == "pod dev/jump"
    assert first["reasons"] == ["dev/jump: resolver: search list 1 of 3: ent"]
    assert second["number"] == 2


def test_what_is_no_capture_is_said_so(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"hello, world")
    result = call("capture", "show", path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {path}: pcapng: this is not a pcapng file")


def test_a_missing_file_is_said_so(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "none.pcapng"
    result = call("capture", "show", path)
    assert (result.exit_code, result.stderr) == (2, f"error: {path}: No such file or directory\n")
