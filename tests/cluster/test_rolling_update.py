"""Updates under traffic: nothing is lost when readiness and grace are set right, and something when not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from netsim.cluster import Cluster, run
from netsim.programs.host import Host, Invocation
from netsim.programs.http import fetch
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.waiting import forever

START_SECONDS = 3.0  # from the start of the program until it listens
THINK_SECONDS = 0.2  # from a request to its answer
REQUESTS = 400
READINESS = "readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}"
PRE_STOP = "lifecycle: {preStop: {sleep: {seconds: 2}}}"

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 20
  strategy: {{type: {strategy}}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "acme/web:v{version}", ports: [{{containerPort: 80}}]{more}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec: {{containers: [{{name: c, image: ubuntu, tty: true, stdin: true}}]}}
"""


async def web(host: Host, start: Invocation) -> int:
    """A server that takes its time, to start and to answer."""
    await host.sleep(START_SECONDS)
    listener = await host.listen(80)

    async def answer(request: Request) -> Response:
        await host.sleep(THINK_SECONDS)
        return Response(start.image.rpartition(":")[2])

    host.spawn(serve_http(host, listener, answer, server="web"), "server")
    await forever(host)
    return 0


class Traffic:
    """Requests from one Pod, evenly over some seconds; which version answered each, or what went wrong."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self.answers: list[str] = []
        self.lost: list[str] = []
        self._host = cluster.pod("client").host
        for number in range(REQUESTS):
            self._host.spawn(self._ask(number * seconds / REQUESTS), "request")

    async def _ask(self, delay: float) -> None:
        await self._host.sleep(delay)
        try:
            self.answers.append((await fetch(self._host, "http://web/", timeout=5.0)).text)
        except OSError as error:
            self.lost.append(type(error).__name__)


@contextmanager
def serving(*settings: str, strategy: str = "RollingUpdate") -> Iterator[tuple[Cluster, list[str]]]:
    """A cluster that serves version 1, and the manifests of both versions."""
    more = "".join(f", {text}" for text in settings)
    manifests = [MANIFEST.format(version=n, more=more, strategy=strategy) for n in (1, 2)]
    with run(manifests[0], programs={"acme/web:*": web}) as cluster:
        cluster.advance(START_SECONDS)
        yield cluster, manifests


async def updated(cluster: Cluster, manifest: str) -> Traffic:
    """What becomes of requests that are sent from the start of an update on."""
    traffic = Traffic(cluster, 20.0)
    await cluster.apply(manifest)
    cluster.advance(30.0)
    assert len(traffic.answers) + len(traffic.lost) == REQUESTS
    assert {"v1", "v2"} <= set(traffic.answers)
    assert traffic.answers[-1] == "v2"
    return traffic


async def test_an_update_and_its_rollback_lose_no_request_when_readiness_and_grace_are_right() -> None:
    with serving(READINESS, PRE_STOP) as (cluster, manifests):
        assert (await updated(cluster, manifests[1])).lost == []
        back = Traffic(cluster, 20.0)
        cluster.rollback("deploy/web")
        cluster.advance(30.0)
        assert (len(back.answers), back.lost) == (REQUESTS, [])
        assert back.answers[-1] == "v1"


@pytest.mark.parametrize(
    ("settings", "strategy", "error"),
    [
        ((PRE_STOP,), "RollingUpdate", "ConnectionRefusedError"),  # new Pods count before they listen
        ((READINESS,), "RollingUpdate", "EmptyReply"),  # old ones end in the middle of an answer
        ((READINESS, PRE_STOP), "Recreate", "ConnectionRefusedError"),  # nobody is there in between
    ],
)
async def test_an_update_loses_requests_when_one_of_them_is_missing(
    settings: tuple[str, ...], strategy: str, error: str
) -> None:
    with serving(*settings, strategy=strategy) as (cluster, manifests):
        assert error in (await updated(cluster, manifests[1])).lost
