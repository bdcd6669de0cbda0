"""Persistence of IPVS: who gets the server that it had, and for how long."""

from __future__ import annotations

import pytest

from netsim.base.cause import Cause, Stage
from netsim.net.conntrack_tuple import Tuple
from netsim.net.ipvs import TCP_TIMEOUTS, Ipvs, State
from netsim.net.ipvs_persistence import RETRY
from netsim.net.tables import Service, Tables
from netsim.plan.entries import NODES, Affinity, Schedule, VirtualServer
from netsim.wire import ipv4
from netsim.wire.tcp import SYN
from tests.net.network import backend_of, endpoint

SECONDS = 300.0
VIP, PORT = endpoint("10.96.0.20:80")
NODE = bytes([192, 168, 10, 11])


class Host:
    """IPVS of one host, with one persistent virtual service of round robin."""

    def __init__(self, *backends: str) -> None:
        self.ipvs = Ipvs()
        self.ports = iter(range(20000, 30000))
        self.change(*backends)

    def change(self, *backends: str) -> None:
        tables = Tables()
        tables.put_virtual(
            VirtualServer(
                NODES, ipv4.TCP, VIP, PORT, "svc", tuple(map(backend_of, backends)), "test",
                Cause(Stage.PLAN, "test"), Schedule.RR, drain=60.0, affinity=Affinity(SECONDS),
            )
        )  # fmt: skip
        service = tables.service((ipv4.TCP, VIP.packed, PORT))
        assert service is not None
        self.service: Service = service

    def connect(self, client: int, now: float, to: bytes = VIP.packed) -> str:
        """The server of a new connection, which ends without an answer."""
        asked = Tuple(ipv4.TCP, bytes([10, 0, 0, client]), next(self.ports), to, PORT)
        list(self.ipvs.expire(now))
        self.ipvs.follow(self.service, asked, now)
        choice = self.ipvs.schedule(self.service, asked, now)
        assert choice is not None
        self.ipvs.seen(choice.connection, SYN, now, reply=False)
        return f"{choice.connection.server.address[3]}"


A, B = "10.0.1.1:80", "10.0.1.2:80"
ENDED = TCP_TIMEOUTS[State.SYN_RECV]


def test_a_client_that_comes_back_gets_its_server_and_others_go_round() -> None:
    host = Host(A, B)
    first, second = host.connect(1, 0), host.connect(2, 0)
    assert {first, second} == {"1", "2"}
    assert [host.connect(1, now) for now in (1, 2, 3)] == [first] * 3
    assert [host.connect(2, now) for now in (1, 2, 3)] == [second] * 3


@pytest.mark.parametrize(
    ("pause", "kept"), [(SECONDS - 1, True), (SECONDS + ENDED + RETRY, False)], ids=["in time", "too late"]
)
def test_every_connection_begins_the_time_anew(pause: float, kept: bool) -> None:
    host = Host(A, B)
    first, now = host.connect(1, 0), 0.0
    for _ in range(3):
        now += SECONDS - 1
        assert host.connect(1, now) == first
    assert (host.connect(1, now + pause) == first) is kept


def test_each_virtual_service_remembers_for_itself() -> None:
    host = Host(A, B)
    seen = {host.connect(client, 0, to) for client in (1,) for to in (VIP.packed, NODE)}
    assert seen == {"2"}, "round robin begins anew for the node port: nothing is shared"
    assert host.connect(2, 0, NODE) != host.connect(1, 1, NODE)


def test_a_server_that_leaves_is_forgotten() -> None:
    host = Host(A, B)
    first = host.connect(1, 0)
    stays = B if first == "1" else A
    host.change(stays)
    assert host.connect(1, 1) != first
