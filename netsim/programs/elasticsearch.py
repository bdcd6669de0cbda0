"""Elasticsearch as far as a cluster forms: REST on 9200, peer discovery on 9300. It holds no documents.

Settings come as the image takes them: environment variables named as settings, and ``-Ename=value``. Versions
from 7 found a cluster with cluster.initial_master_nodes, those before by discovery.zen.minimum_master_nodes.
A node's id belongs to its Pod's name, as if it kept its data volume. The answers have the shape of the REST
API reference; what netsim does not measure (heap, load) is ``-`` or left out.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import Any

from netsim.programs.host import Host, Invocation
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.peer_messages import Node
from netsim.programs.peering import Peering
from netsim.programs.peers import Peers, Settings, new_id
from netsim.programs.ports import port_to_open
from netsim.programs.servers import CANNOT_BIND, own_address

HTTP_PORT, TRANSPORT_PORT = "9200", "9300"
DEFAULT_VERSION = "8.19.0"
"""What an image without a version in its tag is taken for."""
UNCONFIGURED_PATIENCE = 3.0
"""Seconds to look around before a cluster of one is founded (discovery.unconfigured_bootstrap_timeout; before
version 7 discovery.zen.ping_timeout)."""
MASTER_WAIT = 30.0
"""Seconds that a request waits for a master (master_timeout)."""
MASTER_POLL = 0.5
NO_UUID = "_na_"
ROLES = ("data", "ingest", "master")
NOTHING = "-"
"""What _cat prints for a value that is not there."""


class Config:
    """The settings of one container."""

    def __init__(self, start: Invocation) -> None:
        words = [arg.removeprefix("-E") for arg in start.args]
        given = dict(word.split("=", 1) for word in words if "=" in word)
        self._settings: Mapping[str, str] = {**start.env, **given}
        tag = start.image.rpartition(":")[2].partition("@")[0].partition("-")[0]
        self.version = tag if tag[:1].isdecimal() and "." in tag else DEFAULT_VERSION

    def text(self, name: str, default: str = "") -> str:
        return self._settings.get(name, "") or default

    def words(self, *names: str) -> tuple[str, ...]:
        """A list: ``a,b`` or ``["a", "b"]``."""
        value = next((self.text(name) for name in names if self.text(name)), "")
        parts = (part.strip(" \"'") for part in value.strip("[] ").split(","))
        return tuple(part for part in parts if part)

    @property
    def zen(self) -> bool:
        """Whether this is a version before 7, with its discovery of that name."""
        return int(self.version.partition(".")[0]) < 7

    def seeds(self) -> tuple[str, ...]:
        if self.text("discovery.type") == "single-node":
            return ()
        return self.words("discovery.seed_hosts", "discovery.zen.ping.unicast.hosts")

    def peer_settings(self, node: Node) -> Settings:
        """Who may found a cluster: see the module's docstring."""
        settings = Settings(self.text("cluster.name", "docker-cluster"), node)
        voters = self.words("cluster.initial_master_nodes")
        if self.text("discovery.type") == "single-node":
            return settings._replace(quorum=1)
        if self.zen:
            least = self.text("discovery.zen.minimum_master_nodes", "1")
            quorum = int(least) if least.isdecimal() else 1
            return settings._replace(quorum=max(quorum, 1), patience=UNCONFIGURED_PATIENCE)
        if voters:
            return settings._replace(voters=voters)
        if self.seeds():
            return settings
        return settings._replace(quorum=1, patience=UNCONFIGURED_PATIENCE)


async def elasticsearch(host: Host, start: Invocation) -> int:
    """Serve until cancelled; 1 when a port is taken."""
    config = Config(start)
    rng = host.rng.derive("elasticsearch")
    transport = port_to_open(config.text("transport.port") or TRANSPORT_PORT)
    address = f"{own_address(host, start.identity)}:{transport}"
    ephemeral = new_id(rng.derive(f"started at {host.now()}"))
    node = Node(new_id(rng), config.text("node.name", host.name), address, ephemeral)
    try:
        inner = await host.listen(transport)
        outer = await host.listen(port_to_open(config.text("http.port") or HTTP_PORT))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return CANNOT_BIND
    peering = Peering(host, config.peer_settings(node), config.seeds(), rng)
    rest = Rest(host, peering.peers, config.version)
    host.spawn(serve_http(host, outer, rest.handle, server="elasticsearch"), "elasticsearch: REST")
    await peering.run(inner)
    return 0


class Rest:
    """The REST API of one node."""

    def __init__(self, host: Host, peers: Peers, version: str) -> None:
        self._host = host
        self._peers = peers
        self._version = version

    async def handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            reason = "netsim's elasticsearch forms clusters and holds no documents"
            return _json(request, _error("status_exception", reason, 501), 501)
        path = "/" + request.path.strip("/")
        if path == "/":
            return _json(request, self._banner())
        if not path.startswith("/_"):
            reason = f"no such index [{path.strip('/')}]"
            return _json(request, _error("index_not_found_exception", reason, 404), 404)
        if not await self._master_is_known(request):
            return _json(request, _error("master_not_discovered_exception", None, 503), 503)
        if path.startswith("/_cat"):
            return self._cat(request, path)
        answer = self._answer(path)
        if answer is None:
            reason = f"unknown endpoint [{path}]; netsim answers /, /_cluster, /_nodes and /_cat/nodes"
            return _json(request, _error("illegal_argument_exception", reason, 400), 400)
        return _json(request, answer)

    async def _master_is_known(self, request: Request) -> bool:
        """Wait for a master, unless the question is to this node alone."""
        until = self._host.now() + MASTER_WAIT
        while self._peers.master is None and request.query("local", "false") == "false":
            if self._host.now() >= until:
                return False
            await self._host.sleep(MASTER_POLL)
        return True

    def _answer(self, path: str) -> dict[str, Any] | None:
        match path.strip("/").split("/"):
            case ["_cluster", "health"]:
                return self._health()
            case ["_cluster", "state", *_]:
                return self._state()
            case ["_nodes", *_]:
                return self._nodes()
        return None

    def _banner(self) -> dict[str, Any]:
        version: dict[str, Any] = {"number": self._version, "build_flavor": "default", "build_type": "docker"}
        return {
            "name": self._peers.node.name,
            "cluster_name": self._peers.settings.cluster,
            "cluster_uuid": self._peers.uuid or NO_UUID,
            "version": {**version, "build_snapshot": False},
            "tagline": "You Know, for Search",
        }

    def _health(self) -> dict[str, Any]:
        count = len(self._peers.nodes)
        shards = ("active_primary", "active", "relocating", "initializing", "unassigned")
        return {
            "cluster_name": self._peers.settings.cluster,
            "status": "green" if self._peers.master else "red",
            "timed_out": False,
            "number_of_nodes": count,
            "number_of_data_nodes": count,
            **{f"{kind}_shards": 0 for kind in shards},
            "number_of_pending_tasks": 0,
            "active_shards_percent_as_number": 100.0,
        }

    def _state(self) -> dict[str, Any]:
        peers = self._peers
        nodes = {
            node.id: {
                "name": node.name,
                "ephemeral_id": node.ephemeral,
                "transport_address": node.address,
                "attributes": {},
            }
            for node in peers.nodes.values()
        }
        return {
            "cluster_name": peers.settings.cluster,
            "cluster_uuid": peers.uuid or NO_UUID,
            "version": peers.version,
            "master_node": peers.master.id if peers.master else None,
            "blocks": {},
            "nodes": nodes,
            "metadata": {"cluster_uuid": peers.uuid or NO_UUID, "templates": {}, "indices": {}},
            "routing_table": {"indices": {}},
        }

    def _nodes(self) -> dict[str, Any]:
        count = len(self._peers.nodes)
        nodes = {
            node.id: {
                "name": node.name,
                "transport_address": node.address,
                "host": _host_of(node),
                "ip": _host_of(node),
                "version": self._version,
                "roles": list(ROLES),
            }
            for node in self._peers.nodes.values()
        }
        counts = {"total": count, "successful": count, "failed": 0}
        return {"_nodes": counts, "cluster_name": self._peers.settings.cluster, "nodes": nodes}

    def _cat(self, request: Request, path: str) -> Response:
        """The compact tables: /_cat/nodes, /_cat/master and /_cat/health; ``v`` and ``h`` as there."""
        match path:
            case "/_cat/nodes":
                return _table(request, [self._cat_node(node) for node in self._peers.nodes.values()])
            case "/_cat/master":
                master = self._peers.master or Node(*[NOTHING] * 3)
                row = {"id": master.id, "host": _host_of(master), "ip": _host_of(master), "node": master.name}
                return _table(request, [row])
            case "/_cat/health":
                health = self._health()
                row = {"cluster": health["cluster_name"], "status": health["status"]}
                row |= {"node.total": str(health["number_of_nodes"])}
                return _table(request, [row])
        return Response("=^.^=\n/_cat/health\n/_cat/master\n/_cat/nodes\n")

    def _cat_node(self, node: Node) -> dict[str, str]:
        unmeasured = ("heap.percent", "ram.percent", "cpu", "load_1m", "load_5m", "load_15m")
        return {
            "ip": _host_of(node),
            **dict.fromkeys(unmeasured, NOTHING),
            "node.role": "".join(role[0] for role in ROLES),
            "master": "*" if node == self._peers.master else NOTHING,
            "name": node.name,
        }


def _host_of(node: Node) -> str:
    return node.address.partition(":")[0]


def _error(kind: str, reason: str | None, status: int) -> dict[str, Any]:
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def _json(request: Request, value: dict[str, Any], status: int = 200) -> Response:
    """As Elasticsearch writes it: compact, or with ``pretty`` in lines (the banner always)."""
    if request.query("pretty", "false") == "false" and request.path != "/":
        return Response(json.dumps(value, separators=(",", ":")), status, "application/json; charset=UTF-8")
    text = (
        json.dumps(value, indent=2, separators=(",", " : ")).replace(": {}", ": { }").replace(": []", ": [ ]")
    )
    return Response(f"{text}\n", status, "application/json; charset=UTF-8")


def _table(request: Request, rows: list[dict[str, str]]) -> Response:
    """Columns as wide as they must be; the last one is not padded."""
    columns = rows[0] if rows else {}
    wanted = [name for name in request.query("h").split(",") if name]
    names = [name for name in wanted or columns if name in columns]
    lines = [[row[name] for name in names] for row in rows]
    if request.query("v", "false") != "false":
        lines.insert(0, names)
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    text = "".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
    return Response(text)
