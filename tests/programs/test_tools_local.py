"""Tools that ask nobody: files, text filters, the host's names, processes and clock, package managers."""

from __future__ import annotations

import pytest

from netsim.programs.servers import idle
from netsim.programs.tools import TOOLS, find_tool
from tests.conftest import Golden

from .playground import Playground

TRANSCRIPTS: dict[str, tuple[str, ...]] = {
    "files": (
        "cat /etc/resolv.conf",
        "cat -n /etc/hosts",
        "cat /nope /etc/hosts",
        "echo a | cat - /etc/resolv.conf | head -n 1",
        "ls /",
        "ls /etc",
        "ls /nope",
        "echo text | tee /a /b; cat /a /b",
        "touch /t; ls /t; rm /t /t; rm -f /t",
        "mkdir -p /new && echo made",
        "cd /etc; cat hosts | wc -l; ls",
    ),
    "text": (
        "head -n 1 /etc/hosts",
        "head -1 /etc/hosts",
        "tail -n 1 /etc/hosts",
        "tail -n +2 /etc/hosts",
        "head -c 9 /etc/hosts; echo",
        "head -n x /etc/hosts",
        "head /nope",
        "wc /etc/hosts",
        "wc -l < /etc/hosts",
        "wc /nope",
        "grep -n jump /etc/hosts",
        "grep -i LOCALHOST /etc/hosts",
        "grep -c . /etc/hosts",
        "grep -o '10[.0-9]*' /etc/hosts",
        "grep -w sub /etc/hosts",
        "grep -E 'a|j' /etc/hosts | wc -l",
        "grep 'a\\|j' /etc/hosts | wc -l",
        "grep -F . /etc/hosts",
        "grep x /nope",
        "grep -E '(' /etc/hosts",
        "grep",
        "printf '3\\n10\\n2\\n' | sort -n",
        "printf 'b\\na\\nb\\n' | sort -ru",
        "printf 'a\\na\\nb\\n' | uniq -d",
        "printf 'a:b:c\\n' | cut -d: -f1,3",
        "printf 'abcdef\\n' | cut -c2-4",
        "cut -d: x",
        "echo hello | tr -d l",
        "echo 'a  b' | tr -s ' '",
        "echo hi | tr '[:lower:]' '[:upper:]'",
        "tr",
        "basename /a/b.txt .txt",
        "seq 3 -1 1",
        "seq x",
        "printf '%s %q\\n' a",
        "printf '%d\\n' x",
        "test 1 -eq x",
    ),
    "system": (
        "hostname",
        "hostname -f",
        "hostname -i",
        "hostname -I",
        "hostname -s",
        "hostname -d",
        "uname -a",
        "uname",
        "uname -r",
        "whoami",
        "id",
        "id -u",
        "ps",
        "ps aux",
        "ps -ef",
        "date",
        "date +%Y-%m-%d",
        "date +%s",
        "which curl nope",
        "env -i A=1 env",
        "printenv HOME NOPE",
        "sleep",
        "time sleep 1.5",
        "timeout 1 sleep 5",
        "timeout",
        "nohup echo a",
        "clear",
    ),
    "packages": (
        "apt-get update",
        "apt-get install -y curl dnsutils",
        "apt install curl",
        "apt-get",
        "apk add --no-cache curl",
        "yum install -y bind-utils",
        "dnf install -y nc",
        "apt-get clean",
    ),
    "system-busybox": (
        "ps",
        "id",
        "uname -a",
        "time sleep 1",
        "timeout 1 sleep 5",
        "cat /nope",
        "ls /nope",
        "head /nope",
    ),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_tool_prints_what_the_real_one_prints(name: str, golden: Golden) -> None:
    site = Playground()
    site.plane.start(site.jump, lambda host: idle(host, None), "sleep infinity")  # type: ignore[arg-type]  # not read
    golden(f"{name}.txt", site.transcript(TRANSCRIPTS[name], busybox=name.endswith("busybox")))


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_of_the_list_is_there(name: str) -> None:
    assert callable(find_tool(name))


def test_the_list_is_in_order_and_a_stranger_is_not_in_it() -> None:
    assert list(TOOLS) == sorted(TOOLS)
    assert find_tool("no-such-tool") is None


@pytest.mark.parametrize("name", ["cat", "curl", "grep", "head", "host", "nc", "ping", "tail", "wget"])
def test_an_unknown_option_is_an_error_in_the_tools_name(name: str) -> None:
    outcome = Playground().shell(f"{name} --no-such-option x")
    assert outcome.exit != 0
    assert outcome.stderr.startswith(f"{name}: ")


def test_busybox_runs_its_applets_with_its_own_output() -> None:
    site = Playground()
    assert site.shell("busybox cat /nope").stderr == "cat: can't open '/nope': No such file or directory\n"
    assert site.shell("busybox nope").exit == 127


def test_sysctl_writes_and_reads_settings() -> None:
    site = Playground()
    assert site.shell("sysctl -w vm.max_map_count=262144").stdout == "vm.max_map_count = 262144\n"
    assert site.shell("sysctl -n vm.max_map_count").stdout == "262144\n"
    assert site.shell("cat /proc/sys/vm/max_map_count").stdout == "262144\n"
    assert site.shell("sysctl -qw net.core.somaxconn=1024; sysctl -a").stdout == (
        "net.core.somaxconn = 1024\nvm.max_map_count = 262144\n"
    )


@pytest.mark.parametrize(
    ("busybox", "code", "complaint"),
    [
        (False, 255, "sysctl: cannot stat /proc/sys/no/such: No such file or directory\n"),
        (True, 1, "sysctl: error: 'no.such' is an unknown key\n"),
    ],
)
def test_sysctl_does_not_know_a_key_that_nobody_wrote(busybox: bool, code: int, complaint: str) -> None:
    site = Playground()
    assert site.shell("sysctl no.such", busybox=busybox) == (code, "", complaint)
    assert site.shell("sysctl -e no.such", busybox=busybox).exit == 0


def test_owners_and_modes_may_be_set() -> None:
    site = Playground()
    line = "chown -R 1000:1000 /data && chgrp staff /data && chmod 0777 /data && ulimit -n 65536"
    assert site.shell(line, busybox=True) == (0, "", "")
    assert site.shell("chown -R 1000", busybox=True) == (1, "", "chown: missing operand\n")
