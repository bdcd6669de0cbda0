"""Debian's dig asks the DNS server over a real socket, and prints what the mini-shell's dig prints."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from netsim.base.rng import Rng
from netsim.cluster import Cluster, run
from netsim.clusterdns.server import QueryArrived, SendReply, Server
from netsim.objects.core import ConfigMap
from tests.cluster.conftest import TWO_NAMESPACES

pytestmark = pytest.mark.needs("dig")

DNS_SERVICE = "10.96.0.10"
STOP = b"stop"
# What differs between two askings: message and cookie numbers, times, and where the server is.
VARIES = re.compile(
    r", id: \d+|; COOKIE: [0-9a-f]+.*\n|;; (Query time|WHEN|SERVER|MSG SIZE).*\n|^; <<>> DiG.*\n",
    re.MULTILINE,
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with run(TWO_NAMESPACES) as running:
        yield running


@pytest.fixture(scope="module")
def port(cluster: Cluster) -> Iterator[int]:
    """A loopback UDP port on which the cluster's DNS server answers, with the cluster's own Corefile."""
    corefile = cluster.store.get(ConfigMap, "coredns", "kube-system").data["Corefile"]
    files = {"/etc/resolv.conf": "nameserver 127.0.0.1\n"}
    server = Server(corefile, cluster.zone, Rng(1), files=files)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer, args=(sock, server))
        thread.start()
        yield sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(STOP, sock.getsockname())
        thread.join()


def answer(sock: socket.socket, server: Server) -> None:
    while True:
        data, client = sock.recvfrom(65535)
        if data == STOP:
            return
        for command in server.feed(QueryArrived(data, IPv4Address(client[0])), 0.0):
            if isinstance(command, SendReply):
                sock.sendto(command.data, client)


def real_dig(port: int, *arguments: str) -> str:
    command = ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("ent.prod.svc.cluster.local",),
        ("ent.prod.svc.cluster.local", "AAAA"),
        ("missing.prod.svc.cluster.local",),
        ("_https._tcp.kubernetes.default.svc.cluster.local", "SRV"),
        ("dns-version.cluster.local", "TXT"),
        ("-x", "10.96.0.10"),
        ("cluster.local", "SOA"),
        ("+short", "ent.dev.svc.cluster.local"),
        ("+noall", "+answer", "ent.dev.svc.cluster.local"),
    ],
    ids=" ".join,
)
def test_both_digs_print_the_same(cluster: Cluster, port: int, arguments: tuple[str, ...]) -> None:
    real = real_dig(port, *arguments)
    ours = asyncio.run(cluster.pod("dev/jump").exec(["dig", f"@{DNS_SERVICE}", *arguments]))
    assert ours.exit == 0
    assert VARIES.sub("", ours.stdout) == VARIES.sub("", real)
