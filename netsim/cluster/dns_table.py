"""The names that cluster DNS answers, as the lines of a zone file.

``netsim show dns`` prints them. They are asked of a DNS server with the cluster's own Corefile, so that they
are what a Pod would get: the addresses of each Service, the endpoints' own names of headless ones, and the
SRV records of named ports.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from netsim.base.rng import Rng
from netsim.clusterdns.server import QueryArrived, SendReply, Server
from netsim.objects.core import ConfigMap, Service
from netsim.wire import dns

if TYPE_CHECKING:
    from netsim.cluster.cluster import Cluster

FIELDS = 5  # name, TTL, class, type, data
ASKER = IPv4Address("127.0.0.1")


def dns_records(cluster: Cluster, namespace: str | None = None) -> str:
    """One line per record, Service by Service, in the order of their namespaces and names."""
    config = cluster.store.get(ConfigMap, "coredns", "kube-system")
    files = {"/etc/resolv.conf": "nameserver 127.0.0.1\n"}
    server = Server(config.data["Corefile"], cluster.zone, Rng(0, "show dns"), files=files)
    services = sorted(
        cluster.store.list(Service, namespace), key=lambda s: (s.metadata.namespace, s.metadata.name)
    )
    lines: dict[str, None] = {}
    for service in services:
        for question in _questions(service, cluster.topology.networking.dns_domain):
            lines.update(dict.fromkeys(_answers(server, *question, cluster.now)))
    return _aligned([line.split(None, FIELDS - 1) for line in lines])


def _aligned(rows: list[list[str]]) -> str:
    """The columns of all records under each other, with spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        " ".join(field.ljust(width) for field, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in rows
    )


def _questions(service: Service, domain: str) -> Iterator[tuple[str, int]]:
    name = f"{service.metadata.name}.{service.metadata.namespace}.svc.{domain}."
    if service.spec.type == "ExternalName":
        yield name, dns.CNAME
        return
    yield name, dns.A
    yield name, dns.AAAA
    for port in service.spec.ports:
        if port.name:
            yield f"_{port.name}._{port.protocol.lower()}.{name}", dns.SRV


def _answers(server: Server, name: str, qtype: int, now: float) -> Iterator[str]:
    """The answer's lines; of SRV also the addresses behind its targets."""
    query = QueryArrived(dns.query(1, name, qtype, edns_size=4096), ASKER)
    for command in server.feed(query, now):
        if isinstance(command, SendReply):
            reply = dns.parse(command.data)
            for record in (*reply.answers, *reply.additional):
                yield dns.render_record(record)
