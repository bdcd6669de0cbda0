"""Persistence of IPVS: a client that comes back to a virtual service gets the server that it had.

``Ipvs`` asks before it asks a scheduler. What is remembered is a template: one per client address and virtual
service, so a node port is another one than the ClusterIP. Source: Linux ip_vs_core.c (ip_vs_sched_persist),
ip_vs_conn.c (ip_vs_check_template, ip_vs_conn_expire), with kube-proxy's expire_quiescent_template = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import TypeAlias

from netsim.net.conntrack_tuple import Tuple
from netsim.net.ipvs_schedulers import Server

RETRY = 60.0  # ip_vs_conn_expire: a template whose time is over while it has connections is looked at again


TemplateKey: TypeAlias = tuple[int, bytes, bytes, int]  # protocol, client, virtual address and port


class Template:
    """A server for a client. ``connections`` are those that it was used for and that are not over;
    ``assured`` says whether one of them was ever established (ip_vs_control_assure_ct)."""

    __slots__ = ("assured", "connections", "expires", "server", "timeout")

    def __init__(self, server: Server, timeout: float) -> None:
        self.server = server
        self.timeout = timeout
        self.expires = 0.0
        self.connections = 0
        self.assured = False

    def stands(self, now: float) -> bool:
        """Whether it is remembered still."""
        return now < self.expires or self.connections > 0

    def used(self, now: float) -> None:
        """A connection began by it: its time begins anew."""
        self.connections += 1
        self.expires = now + self.timeout

    def released(self, now: float) -> None:
        """One of its connections is over."""
        self.connections -= 1
        if self.expires < now:
            self.expires += ceil((now - self.expires) / RETRY) * RETRY


class Persistence:
    """The templates of one host."""

    __slots__ = ("_sweep_at", "_templates")

    def __init__(self) -> None:
        self._templates: dict[TemplateKey, Template] = {}
        self._sweep_at = 0.0

    def find(self, asked: Tuple, now: float) -> Template | None:
        """The client's template, unless its server is deleted or takes no new connection."""
        key = _key(asked)
        found = self._templates.get(key)
        if found is not None and found.stands(now) and found.server.available and found.server.weight:
            return found
        self._templates.pop(key, None)
        return None

    def __iter__(self) -> Iterator[tuple[TemplateKey, Template]]:
        """All of them, the oldest first, also those whose time is over."""
        return iter(self._templates.items())

    def remember(self, asked: Tuple, server: Server, timeout: float, now: float) -> Template:
        """A new template."""
        if now >= self._sweep_at:
            self._sweep_at = now + RETRY
            self._templates = {key: kept for key, kept in self._templates.items() if kept.stands(now)}
        template = self._templates[_key(asked)] = Template(server, timeout)
        return template


def _key(asked: Tuple) -> TemplateKey:
    return asked.protocol, asked.source, asked.destination, asked.destination_port
