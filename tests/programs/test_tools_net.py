"""ping, traceroute, nc, telnet, and the tables of ip, ss, netstat, route, ifconfig, arp."""

from __future__ import annotations

import re

import pytest

from netsim.base.errors import GaveUp
from netsim.plan.delta import Delta
from tests.conftest import Golden

from .playground import Playground, Screen, banner_server, raw_web_server, udp_echo

TRANSCRIPTS: dict[str, tuple[str, ...]] = {
    "ping": (
        "ping -c 2 -i 0.2 10.244.2.9",
        "ping -c 1 ent",
        "ping -n -c 1 ent",
        "ping -c 1 nosuch",
        "ping -c 1 -s 1422 ent",
        "ping -c 1 -s 1423 -M do ent",
        "ping -c 1 -s 4000 ent",
        "ping -c 1 -s 4 ent",
        "ping -q -c 2 -i 0.2 ent",
        "ping -c 2 -i 0.2 -W 1 10.97.0.1",
        "ping -c 1 10.99.0.1",
        "ping -c 1 -t 1 ent",
        "ping -c 1 10.244.1.200",
        "ping -c 1 10.244.2.200",
        "ping -c 3 -w 1 ent",
        "ping -w 1 10.97.0.1",
        "ping -D -c 1 ent",
        "ping",
        "ping -c x ent",
        "ping -z ent",
    ),
    "ping-busybox": (
        "ping -c 2 10.244.2.9",
        "ping -c 1 ent",
        "ping -q -c 1 ent",
        "ping -c 1 -W 1 10.97.0.1",
        "ping -c 1 10.99.0.1",
        "ping -c 1 nosuch",
    ),
    "traceroute": (
        "traceroute -n ent",
        "traceroute ent",
        "traceroute -n -q 1 -m 3 -w 1 10.97.0.1",
        "traceroute -n -q 2 10.99.0.1",
        "traceroute -n -q 1 10.244.2.200",
        "traceroute -n -I -q 1 ent",
        "traceroute -n -f 2 ent",
        "traceroute nosuch",
        "traceroute -n -Q ent",
        "traceroute -nQ ent",
        "traceroute --foo ent",
        "traceroute --x ent",
        "traceroute -m Q -Q ent",
        "traceroute -n -q",
        "traceroute --max-hops",
        "traceroute -n -m 3 nosuch",
        "traceroute -nm3 nosuch -q 1",
        "traceroute --max-hops=3 --icmp nosuch",
        "traceroute",
        "tracepath -n ent",
        "tracepath ent",
        "tracepath -n -m 2 10.97.0.1",
        "tracepath nosuch",
    ),
    "nc": (
        "nc -zv ent 8080",
        "nc -z ent 8080",
        "nc -zv 10.244.2.9 8080",
        "nc -zv ent 81",
        "nc -z ent 81",
        "nc -zv -w 1 10.97.0.1 80",
        "nc -zv 10.99.0.1 80",
        "nc -zv nosuch 80",
        "nc -zvn ent 80",
        "nc -zv ent 8079-8081",
        "nc -zvu ent 9999",
        "nc -zvu ent 9998",
        "printf 'hi\\nquit\\n' | nc ent 2525",
        "printf 'hi\\nquit\\n' | nc -v ent 2525",
        "printf hi | nc -u -w 1 ent 9999",
        "printf hi | nc -u -w 1 ent 9998",
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 ent 8080",
        "nc -l -p 4444 & sleep 0.1; echo hello | nc -N 127.0.0.1 4444; wait",
        "nc -lk 5555 & sleep 0.1; echo one | nc -N 127.0.0.1 5555; echo two | nc -N 127.0.0.1 5555",
        "nc -lu 6666 & sleep 0.1; printf datagram | nc -u -w 1 127.0.0.1 6666; echo",
        "nc",
        "nc ent http",
        "nc -l",
    ),
    "telnet": (
        "telnet ent 2525",
        "printf 'hi\\nquit\\n' | telnet ent 2525",
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | telnet ent 8080",
        "telnet ent 81",
        "telnet 10.99.0.1 80",
        "telnet head 81",
        "telnet nosuch 80",
        "telnet ent http",
        "telnet",
    ),
    "telnet-busybox": ("printf 'hi\\nquit\\n' | telnet ent 2525", "telnet ent 81", "telnet nosuch 80"),
    "ip": (
        "ip addr",
        "ip a show eth0",
        "ip -4 addr show dev eth0",
        "ip -br a",
        "ip -o -4 addr",
        "ip link",
        "ip -d link show eth0",
        "ip -br link",
        "ip link show type veth",
        "ip route",
        "ip r get 10.244.2.9",
        "ip route get 10.244.1.7",
        "ip route get 127.0.0.1",
        "ip route get x",
        "ip route show default",
        "ip route show 10.244.1.0/24",
        "ip route list table local",
        "ping -c 1 -W 1 10.244.1.200 > /dev/null; ping -c 1 ent > /dev/null; ip neigh",
        "ip n show dev eth0",
        "ip addr show nope",
        "ip bogus",
        "ip --foo addr",
        "ip -4 -x addr",
        "ip --br addr show lo",
        "ip link set eth0 down",
        "ip -j addr",
        "ip -br -json link",
        "ip -V",
        "ip",
    ),
    "tables": (
        "nc -lk 7777 & nc -lku 8888 & sleep 0.1; ss -ltn; ss -lun; ss -ltun; ss; netstat -ltun; netstat -tln",
        "netstat -rn",
        "route -n",
        "route",
        "ifconfig",
        "ifconfig nope",
        "ping -c 1 ent > /dev/null; arp -n",
    ),
    "ping6": (
        "ping -c 2 -i 0.2 fd00:10:244:2::9",
        "ping -6 -c 1 six",
        "ping6 -c 1 six",
        "ping -n -c 1 six",
        "ping -4 -n -c 1 six",
        "ping -6 -c 1 ent",
        "ping -c 1 -s 1402 -M do fd00:10:244:2::9",
        "ping -c 1 -s 1403 -M do fd00:10:244:2::9",
        "ping -c 1 -s 4000 fd00:10:244:2::9",
        "ping -c 1 fd00:99::1",
        "ping -c 1 -t 1 fd00:10:244:2::9",
        "ping -c 1 fd00:10:244:1::77",
        "ping -c 1 fd00:10:244:2::77",
        "ping -c 1 ::1",
        "ping -6 -c 1 10.244.2.9",
    ),
    "ping6-busybox": ("ping -c 1 fd00:10:244:2::9", "ping6 -c 1 six", "ping -c 1 fd00:99::1"),
    "traceroute6": (
        "traceroute -n fd00:10:244:2::9",
        "traceroute -6 -q 1 six",
        "traceroute6 -n -q 1 fd00:99::1",
        "traceroute -n -I -q 1 fd00:10:244:2::9",
        "tracepath -n fd00:10:244:2::9",
        "tracepath -6 six",
    ),
    "clients6": (
        "nc -zv fd00:10:244:2::9 8080",
        "nc -6 -zv six 81",
        "nc -zvu fd00:10:244:2::9 9998",
        "printf hi | nc -u -w 1 fd00:10:244:2::9 9999",
        "nc -6 -l 4444 & sleep 0.1; echo hello | nc -N ::1 4444; wait",
        "printf 'quit\\n' | telnet -6 six 2525",
        "curl -s 'http://[fd00:10:244:2::9]:8080/'",
        "curl -sv -6 six:8080 2>&1 | grep -e Trying -e Connected -e Host",
        "curl -s 'http://[fd00:10:244:2::9]:81/'; curl -s 'http://[fd00:99::1]/'",
        "wget -O - 'http://[fd00:10:244:2::9]:8080/' 2>&1 | grep -e Connecting -e hello",
        "dig +tcp +short @fd00:10:244:2::9 six.dev.svc.cluster.local AAAA",
        "dig +tcp @fd00:10:244:2::9 six.dev.svc.cluster.local AAAA | grep SERVER",
        "host -T -t AAAA six.dev.svc.cluster.local fd00:10:244:2::9",
        "nslookup -vc six fd00:99::1",
    ),
    "ip6": (
        "ip addr show eth0",
        "ip -6 addr",
        "ip -4 addr show eth0",
        "ip -br -6 a",
        "ip -o -6 addr",
        "ip -6 route",
        "ip -6 route show default",
        "ip -6 route show fd00:10:244:1::/64",
        "ip -6 route show dev eth1",
        "ip -6 route get fd00:10:244:2::9",
        "ip route get fd00:10:244:1::7",
        "ip route get fd00:10:244:1::5",
        "ip route get ::1",
        "ip route",
        "ping -c 1 six > /dev/null; ping -c 1 -W 1 10.244.1.1 > /dev/null; ip neigh",
        "ip -6 neigh",
        "ip -4 neigh",
        "arp -n",
    ),
    "tables6": (
        "nc -lk 7777 & nc -6 -lk 8888 & nc -6 -lku 9999 & sleep 0.1; ss -ltn; ss -lun; ss -ltn6; ss -ltn4; "
        "netstat -ltun",
        "ifconfig eth0",
    ),
    "tables6-busybox": ("nc -6 -lk 8888 & sleep 0.1; netstat -ltn", "ifconfig eth0"),
    "tables-busybox": ("ifconfig eth0", "ping -c 1 ent > /dev/null; arp -n", "route -n"),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_tool_prints_what_the_real_one_prints(name: str, golden: Golden) -> None:
    site = Playground()
    if "6" in name:
        site.dual_stack()
    for program in (raw_web_server, banner_server, udp_echo):
        site.serve(program)
    golden(f"{name}.txt", site.transcript(TRANSCRIPTS[name], busybox=name.endswith("busybox")))


def test_a_listening_nc_says_who_has_come() -> None:
    outcome = Playground().shell("nc -lv -p 4444 & sleep 0.1; echo hello | nc -N 127.0.0.1 4444; wait")
    assert outcome.stdout == "hello\n"
    assert re.fullmatch(
        r"Listening on 0\.0\.0\.0 4444\nConnection received on 127\.0\.0\.1 \d+\n", outcome.stderr
    )


def test_ping_prints_each_answer_when_it_comes() -> None:
    site = Playground()
    site.shell("ping -c 1 ent")
    screen = Screen(site.jump)
    began = site.plane.now
    site.shell("ping -n -c 3 10.244.2.9", terminal=screen)
    times = [time - began for time, text in screen.seen if "icmp_seq" in text]
    assert times == pytest.approx([0.001, 1.001, 2.001], abs=0.001)


def test_ping_waits_for_late_answers_and_no_longer() -> None:
    site = Playground()
    began = site.plane.now
    site.shell("ping -c 2 -W 3 10.97.0.1")
    assert site.plane.now - began == pytest.approx(1 + 3)


def test_ping_without_a_route_says_so() -> None:
    site = Playground()
    outcome = site.shell("ping -c 1 10.244.1.1 && ip route get 10.244.1.1")
    assert outcome.exit == 0
    site.plane.apply(_without_default_route(site))
    assert site.shell("ping -c 1 10.99.0.1").stderr == "ping: connect: Network is unreachable\n"
    assert site.shell("ping -c 1 10.99.0.1", busybox=True).stderr == "ping: sendto: Network is unreachable\n"
    assert site.shell("ip route get 10.99.0.1").stderr == "RTNETLINK answers: Network is unreachable\n"
    assert site.shell("curl -s 10.99.0.1").exit == 7
    assert site.shell("nc -zvu 10.99.0.1 53").exit == 1


def test_the_sequence_of_ping_begins_again_after_its_last_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netsim.programs.tools.ping.SEQUENCES", 1)
    numbers = re.findall(r"icmp_seq=(\d+)", Playground().shell("ping -c 4 10.244.2.9").stdout)
    assert numbers == ["1", "0", "1", "0"]
    numbers = re.findall(r"seq=(\d+)", Playground().shell("ping -c 4 10.244.2.9", busybox=True).stdout)
    assert numbers == ["0", "1", "0", "1"]


class _CtrlC:
    """A user who interrupts at the ``at``-th piece of output."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.seen: list[str] = []

    def stdout(self, text: str) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        self.seen.append(text)

    stderr = stdout


def test_ping_prints_its_statistics_when_it_is_interrupted_while_it_prints() -> None:
    user = _CtrlC(at=4)
    with pytest.raises(KeyboardInterrupt):
        Playground().command("ping", "10.244.2.9", terminal=user)
    assert "3 packets transmitted, 3 received, 0% packet loss" in "".join(user.seen)


def test_ping_prints_its_statistics_when_it_is_interrupted_while_it_waits() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    site, user = Playground(), _CtrlC(at=0)
    site.plane.call_at(site.plane.now + 1.5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        site.command("ping", "10.244.2.9", terminal=user)
    assert "2 packets transmitted, 2 received, 0% packet loss" in "".join(user.seen)


@pytest.mark.parametrize(
    ("line", "asleep"),
    [("sleep infinity", True), ("sleep 90000", False), ("nc -l 5000", True), ("tail -f /etc/hosts", True)],
)
def test_a_command_that_never_ends_is_given_up(line: str, asleep: bool) -> None:
    site = Playground()
    with pytest.raises(GaveUp) as gave_up:
        site.shell(line)
    assert gave_up.value.asleep is asleep


def _without_default_route(site: Playground) -> Delta:
    key = next(key for key in site.plane.entries if key[0] == "route" and key[1] == "jump")
    return Delta(remove=(key,))


@pytest.mark.parametrize(
    "line",
    [
        "ping -c 0 ent", "ping -s 70000 ent", "ping -t 300 ent", "ping -i -1 ent", "traceroute -m 0 ent",
        "traceroute -q 99 ent", "traceroute -p 70000 ent", "nc ent 70000", "nc ent 0", "nc -l 70000",
        "telnet ent 70000", "dig -p 70000 x", "nslookup -port=70000 ent", "nslookup -timeout=soon ent",
        "agnhost connect ent:70000",
        "curl ent:70000", "python3 -m http.server 70000", "wget -T soon ent",
    ],
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused_before_anything_is_sent(line: str) -> None:
    site = Playground()
    outcome = site.shell(line)
    assert outcome.exit != 0
    assert outcome.stderr or line.startswith("telnet")  # which says so on stdout
    assert [question for question in site.dns.asked if not question.startswith("ent.dev")] == []
