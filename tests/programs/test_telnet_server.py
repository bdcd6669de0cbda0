"""dftd/telnet-server: its sessions, and what it counts of them."""

from __future__ import annotations

import pytest

from netsim.programs.host import Invocation
from netsim.programs.telnet_server import BANNER, HELP, telnet_server

from .playground import Playground


@pytest.fixture
def site() -> Playground:
    site = Playground()
    site.serve(telnet_server)
    return site


def says(site: Playground, *lines: str) -> str:
    """What the server sends to a client that types these lines."""
    text = "".join(f"{line}\\r\\n" for line in lines)
    return site.shell(f"printf '{text}' | nc -w 1 10.244.2.9 2323").stdout


def counts(site: Playground) -> dict[str, int]:
    page = site.shell("curl -s 10.244.2.9:9000/metrics").stdout
    lines = [line.split() for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("telnet_server_"): int(value) for name, value in lines}


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("q", "Good Bye!\r\n"),
        ("quit", "Good Bye!\r\n"),
        ("?", HELP + ">"),
        ("help", HELP + ">"),
        ("y", "Yelling for the SysOp\r\n>"),
        ("yell for sysop", "Yelling for the SysOp\r\n>"),
        ("d", "\x1b[44;37;1mThu Jan 1 00:00:00 +0000 UTC 2026\x1b[0m\r\n>"),
        ("hello", "HELLO\r\n>"),
    ],
)
def test_a_command_is_answered(site: Playground, command: str, reply: str) -> None:
    assert says(site, command) == BANNER + ">" + reply


def test_a_session_goes_on_until_quit(site: Playground) -> None:
    assert says(site, "a", "y", "q", "never read") == (
        f"{BANNER}>A\r\n>Yelling for the SysOp\r\n>Good Bye!\r\n"
    )


def test_telnet_is_told_good_bye(site: Playground) -> None:
    said = site.shell("echo quit | telnet 10.244.2.9 2323").stdout
    assert "DFTD" in said
    assert said.endswith(">Good Bye!\n" if "\r" not in said else ">Good Bye!\r\n")


def test_sessions_errors_and_unknown_commands_are_counted(site: Playground) -> None:
    nothing = dict.fromkeys(
        ("active_connections", "connection_errors_total", "connection_total", "unknown_commands_total"), 0
    )
    assert counts(site) == nothing
    says(site, "what", "is", "q")
    assert counts(site) == {**nothing, "connection_total": 1, "unknown_commands_total": 2}
    says(site, "y")  # leaves without a word
    assert counts(site) == {
        **nothing, "connection_total": 2, "unknown_commands_total": 2, "connection_errors_total": 1,
    }  # fmt: skip


def test_who_is_there_now_is_counted(site: Playground) -> None:
    async def while_connected() -> None:
        from ipaddress import IPv4Address

        from netsim.programs.host import Endpoint

        await site.jump.connect(Endpoint(IPv4Address("10.244.2.9"), 2323))

    site.run(while_connected())
    site.wait(0.01)
    assert counts(site)["active_connections"] == 1


def test_the_metrics_are_prometheus_text(site: Playground) -> None:
    head, _, body = site.shell("curl -si 10.244.2.9:9000/metrics").stdout.partition("\r\n\r\n")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert body.splitlines()[:3] == [
        "# HELP telnet_server_active_connections The number of active connections",
        "# TYPE telnet_server_active_connections gauge",
        "telnet_server_active_connections 0",
    ]
    assert site.shell("curl -s 10.244.2.9:9000/").stdout == "404 page not found\n"


def test_the_environment_moves_the_ports() -> None:
    site = Playground()
    site.serve(telnet_server, Invocation("x", env={"TELNET_PORT": "23", "METRIC_PORT": "9100"}))
    opened = {local.port for protocol, local in site.server.listening() if protocol == "tcp"}
    assert opened >= {23, 9100}
    assert not opened & {2323, 9000}
