"""A cluster's DNS on real sockets: the same answers, changes at once, upstreams in the site and outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from netsim.cluster import Cluster, run
from netsim.cluster.public_dns import PublicDns
from netsim.runtime.datagrams import BurstSocket
from tests.cluster.conftest import TWO_NAMESPACES

FORWARDS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        health
        ready
        kubernetes cluster.local
        forward . 127.0.0.1:PORT
    }
"""

NEW = """
apiVersion: v1
kind: Service
metadata: {name: new, namespace: prod}
spec: {ports: [{port: 1}]}
"""

Test = Callable[[PublicDns, int], Coroutine[Any, Any, None]]


def serving(test: Test, text: str = TWO_NAMESPACES, *, pages: str | None = None) -> None:
    """Run a test against a served cluster, in an event loop of its own."""

    async def body(cluster: Cluster) -> None:
        service = PublicDns(cluster, ("127.0.0.1", 0), pages=pages)
        try:
            await service.start()
            await asyncio.wait_for(test(service, int(service.addresses[0].split()[0].rpartition(":")[2])), 10)
        finally:
            await service.close()

    with run(text) as cluster:
        asyncio.run(body(cluster))


async def ask(port: int, name: str, rtype: str = "A", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, rtype)
    over = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await over(query, "127.0.0.1", port=port, timeout=5)


def addresses(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_a_service_resolves_and_a_missing_name_does_not(tcp: bool) -> None:
    async def test(service: PublicDns, port: int) -> None:
        found = await ask(port, "ent.prod.svc.cluster.local", tcp=tcp)
        missing = await ask(port, "nope.prod.svc.cluster.local", tcp=tcp)
        assert len(addresses(found)) == 1
        assert missing.rcode() == dns.rcode.NXDOMAIN

    serving(test)


def test_a_name_outside_comes_from_the_site() -> None:
    async def test(service: PublicDns, port: int) -> None:
        assert addresses(await ask(port, "www.example.com")) == ["203.0.113.80"]

    serving(test)


def test_what_is_applied_is_answered_at_once() -> None:
    async def test(service: PublicDns, port: int) -> None:
        assert (await ask(port, "new.prod.svc.cluster.local")).rcode() == dns.rcode.NXDOMAIN
        await service.apply([NEW])
        assert len(addresses(await ask(port, "new.prod.svc.cluster.local"))) == 1

    serving(test)


def test_an_upstream_outside_is_asked_for_real() -> None:
    def upstream(data: bytes, client: object) -> bytes:
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.answer.append(dns.rrset.from_text("real.example.", 60, "IN", "A", "192.0.2.7"))
        return reply.to_wire()

    async def body() -> None:
        real = BurstSocket(("127.0.0.1", 0), upstream)
        real.start()
        with run(TWO_NAMESPACES, FORWARDS.replace("PORT", str(real.address[1]))) as cluster:
            service = PublicDns(cluster, ("127.0.0.1", 0))
            await service.start()
            port = int(service.addresses[0].split()[0].rpartition(":")[2])
            assert addresses(await ask(port, "real.example")) == ["192.0.2.7"]
            await service.close()
        real.close()

    asyncio.run(asyncio.wait_for(body(), 10))


def test_random_bytes_bring_no_harm() -> None:
    async def test(service: PublicDns, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
        )
        for size in range(64):
            transport.sendto(bytes((7 * size + place) % 256 for place in range(size)))
        assert addresses(await ask(port, "ent.prod.svc.cluster.local"))
        transport.close()

    serving(test)
