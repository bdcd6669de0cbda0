"""A Pod ``web`` with its Service and a program that the test decides about: for the tests of a Pod's life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from netsim.cluster import Cluster, run
from netsim.cluster.tables import TABLES, table_rows
from netsim.objects.core import Pod, Service
from netsim.programs.host import Host, Invocation
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.waiting import forever

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node1
"""


def pod(text: str) -> str:
    """The Pod ``web`` with the rest of its spec, and its Service."""
    return f"{SERVICE}---{POD}{text}"


def container(text: str = "", image: str = "acme/web") -> str:
    return (
        f"  containers: [{{name: web, image: {image}, ports: [{{containerPort: 80, name: http}}]{text}}}]\n"
    )


class Server:
    """A program whose answers the test decides; it tells what happened to it, and when."""

    def __init__(self, delay: float = 0.0, drain: float | None = None) -> None:
        self.healthy = True
        self.think: float = 0.0
        self.delay, self.drain = delay, drain
        self.log: list[tuple[float, str]] = []
        self.requests: list[Request] = []

    async def __call__(self, host: Host, start: Invocation) -> int:
        self.log.append((host.now(), "starts"))
        trap = host.trap() if self.drain is not None else None
        await host.sleep(self.delay)
        listener = await host.listen(80)

        async def answer(request: Request) -> Response:
            self.requests.append(request)
            await host.sleep(self.think)
            return Response("fine\n" if self.healthy else "ill\n", 200 if self.healthy else 503)

        host.spawn(serve_http(host, listener, answer, server="test"), "server")
        if trap is None:
            await forever(host)
        else:
            await trap.wait()
            self.log.append((host.now(), "SIGTERM"))
            await host.sleep(self.drain or 0.0)
            self.log.append((host.now(), "ends"))
        return 0

    def times(self, what: str) -> list[float]:
        return [at for at, said in self.log if said == what]


@contextmanager
def running(text: str, server: Server | None = None) -> Iterator[Cluster]:
    with run(pod(text), programs={"acme/web": server or Server()}) as cluster:
        yield cluster


def the_pod(cluster: Cluster) -> Pod | None:
    return cluster.store.find(Pod, "web", "default")


def is_ready(cluster: Cluster) -> bool:
    found = the_pod(cluster)
    return found is not None and found.condition("Ready")


def endpoint(cluster: Cluster) -> tuple[bool | None, bool | None, bool | None] | None:
    """ready, serving, terminating of the Service's one endpoint."""
    slices = cluster.store.slices_of(cluster.store.get(Service, "web", "default").ref)
    found = [endpoint.conditions for piece in slices for endpoint in piece.endpoints]
    return (found[0].ready, found[0].serving, found[0].terminating) if found else None


def when(cluster: Cluster, reached: Callable[[], bool], limit: float = 200.0) -> float:
    """The virtual second at which something becomes true."""
    assert cluster.plane.pump_until(reached, cluster.now + limit)
    cluster.advance(0.0)  # what follows at this very moment
    return cluster.now


def row(cluster: Cluster) -> dict[str, str]:
    return table_rows(TABLES["pods"], cluster.store, "default", now=cluster.now, wide=True)[0]


def status_of(cluster: Cluster) -> str:
    return row(cluster)["status"]


def gates_of(cluster: Cluster) -> str:
    return row(cluster)["readiness gates"]


def the_address(cluster: Cluster) -> str:
    found = the_pod(cluster)
    assert found is not None
    return found.status.pod_ip
