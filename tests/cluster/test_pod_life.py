"""A Pod from its init containers over its probes to the end of its grace period, on the virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from netsim.base.cause import Stage, probe_of
from netsim.cluster import Cluster, run
from netsim.cluster.tables import TABLES, table_rows
from netsim.objects.core import Pod
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
    from netsim.objects.core import Service

    slices = cluster.store.slices_of(cluster.store.get(Service, "web", "default").ref)
    found = [endpoint.conditions for piece in slices for endpoint in piece.endpoints]
    return (found[0].ready, found[0].serving, found[0].terminating) if found else None


def when(cluster: Cluster, reached: Callable[[], bool], limit: float = 200.0) -> float:
    """The virtual second at which something becomes true."""
    assert cluster.plane.pump_until(reached, cluster.now + limit)
    cluster.advance(0.0)  # what follows at this very moment
    return cluster.now


async def end(cluster: Cluster, **more: Any) -> float:
    """Delete the Pod, and say how long it took until it was gone."""
    began = cluster.now
    await cluster.delete("pod", "default/web", settle=False, **more)
    return when(cluster, lambda: the_pod(cluster) is None) - began


# --- the end


async def test_most_programs_end_at_once_and_the_pod_a_second_later() -> None:
    with running(container()) as cluster:
        assert await end(cluster) == pytest.approx(1.0)


@pytest.mark.parametrize(("more", "seconds"), [("", 30.0), ("  terminationGracePeriodSeconds: 5\n", 5.0)])
async def test_a_shell_ignores_sigterm_until_its_grace_period_ends(more: str, seconds: float) -> None:
    sleeping = container(", command: [sh, -c, sleep 3600]", image="busybox")
    with running(more + sleeping) as cluster:
        assert await end(cluster) == pytest.approx(seconds + 1.0)


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        ("[nginx, -g, daemon off;]", 1.0),
        ("[sh, -c, exec redis-server]", 1.0),
        ("[sh, -c, echo starting; redis-server --port 6380]", 1.0),
        ("[/acme/server]", 1.0),
        ("[sh, -c, redis-server & sleep 999]", 31.0),
        ("[python3, -m, http.server]", 31.0),
    ],
)
async def test_servers_obey_also_where_a_shell_gives_them_its_place(command: str, seconds: float) -> None:
    with running(container(f", command: {command}", image="nginx")) as cluster:
        assert await end(cluster) == pytest.approx(seconds)


async def test_a_program_that_catches_sigterm_has_its_grace_period_to_end() -> None:
    server = Server(drain=7.0)
    with running(container(), server) as cluster:
        began = cluster.now
        assert await end(cluster) == pytest.approx(8.0)
        assert server.times("SIGTERM") == [began]
        assert server.times("ends") == [began + 7.0]


async def test_a_program_that_takes_too_long_is_killed() -> None:
    server = Server(drain=100.0)
    with running("  terminationGracePeriodSeconds: 10\n" + container(), server) as cluster:
        assert await end(cluster) == pytest.approx(11.0)
        assert server.times("ends") == []


async def test_a_shorter_grace_period_may_be_asked_for() -> None:
    with running(container(), Server(drain=100.0)) as cluster:
        assert await end(cluster, grace_seconds=3) == pytest.approx(4.0)


async def test_a_forced_deletion_waits_for_nothing() -> None:
    with running(container(), Server(drain=100.0)) as cluster:
        assert await end(cluster, grace_seconds=0) == 0.0


@pytest.mark.parametrize("hook", ["sleep: {seconds: 5}", "exec: {command: [sleep, '5']}"])
async def test_a_pre_stop_hook_comes_before_sigterm(hook: str) -> None:
    server = Server(drain=1.0)
    with running(container(f", lifecycle: {{preStop: {{{hook}}}}}"), server) as cluster:
        began = cluster.now
        assert await end(cluster) == pytest.approx(7.0)
        assert server.times("SIGTERM") == [pytest.approx(began + 5.0)]


async def test_a_pre_stop_hook_may_be_a_request() -> None:
    server = Server()
    hook = ", lifecycle: {preStop: {httpGet: {path: /leave, port: http}}}"
    with running(container(hook), server) as cluster:
        await end(cluster)
        assert [request.path for request in server.requests] == ["/leave"]


async def test_a_hook_that_uses_up_the_grace_period_leaves_two_seconds() -> None:
    server = Server(drain=100.0)
    hook = ", lifecycle: {preStop: {sleep: {seconds: 60}}}"
    with running("  terminationGracePeriodSeconds: 10\n" + container(hook), server) as cluster:
        began = cluster.now
        assert await end(cluster) == pytest.approx(13.0)
        assert server.times("SIGTERM") == [began + 10.0]


async def test_the_endpoint_is_terminating_at_once_and_serves_until_the_program_ends() -> None:
    client = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client}\nspec: {nodeName: node2, containers: "
    client += "[{name: c, image: ubuntu, tty: true}]}\n"
    with run(pod(container()) + client, programs={"acme/web": Server(drain=10.0)}) as cluster:
        assert endpoint(cluster) == (True, True, False)
        await cluster.delete("pod", "default/web", settle=False)
        assert endpoint(cluster) == (False, True, True)
        assert (await cluster.pod("client").get("http://web/")).text == "fine\n"
        cluster.settle()
        assert endpoint(cluster) is None


async def test_settling_waits_for_pods_that_are_going() -> None:
    with running(container(), Server(drain=9.0)) as cluster:
        await cluster.delete("pod", "default/web", settle=False)
        assert cluster.waiting() == ["Pod default/web: is being terminated"]
        assert status_of(cluster) == "Terminating"
        cluster.settle()
        assert the_pod(cluster) is None


# --- readiness


def test_without_a_probe_a_container_is_ready_when_it_runs() -> None:
    with running(container(), Server(delay=20.0)) as cluster:
        assert cluster.converged_at == 1.0


def test_a_readiness_probe_is_made_at_the_start_and_then_once_a_period() -> None:
    probe = ", readinessProbe: {httpGet: {port: 80}, periodSeconds: 5}"
    with running(container(probe), Server(delay=12.0)) as cluster:
        assert cluster.converged_at == pytest.approx(16.0, abs=0.1)  # asked at 1, 6, 11 and 16 s
        assert endpoint(cluster) == (True, True, False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("initialDelaySeconds: 3, periodSeconds: 2", 5.0),  # 1 s after the start, then 3 and 5
        ("successThreshold: 3, periodSeconds: 4", 9.0),
        ("initialDelaySeconds: 0", 1.0),
    ],
)
def test_delays_and_thresholds_say_when_it_counts(settings: str, expected: float) -> None:
    probe = f", readinessProbe: {{tcpSocket: {{port: http}}, {settings}}}"
    with running(container(probe)) as cluster:
        assert cluster.converged_at == pytest.approx(expected, abs=0.1)


def test_an_endpoint_leaves_after_the_failure_threshold_and_comes_back() -> None:
    server = Server()
    probe = ", readinessProbe: {httpGet: {port: 80}, periodSeconds: 10, failureThreshold: 3}"
    with running(container(probe), server) as cluster:
        cluster.advance(5.0)
        server.healthy = False
        gone = when(cluster, lambda: not is_ready(cluster))
        assert gone == pytest.approx(31.0, abs=0.1)  # failed at 11, 21 and 31 s
        assert endpoint(cluster) == (False, False, False)
        server.healthy = True
        assert when(cluster, lambda: is_ready(cluster)) == pytest.approx(41.0, abs=0.1)


def test_an_answer_that_takes_longer_than_the_timeout_is_a_failure() -> None:
    server = Server()
    probe = ", readinessProbe: {httpGet: {port: 80}, timeoutSeconds: 2, failureThreshold: 1}"
    with running(container(probe), server) as cluster:
        server.think = 3.0
        assert when(cluster, lambda: not is_ready(cluster)) == pytest.approx(13.0, abs=0.1)


def test_a_probe_asks_as_the_kubelet_does() -> None:
    server = Server()
    probe = ", readinessProbe: {httpGet: {port: http, path: /healthz, httpHeaders: [{name: X-A, value: b}]}}"
    with running(container(probe), server) as cluster:
        (request,) = server.requests
        headers = dict(request.headers)
        assert (request.method, request.path, headers["X-A"]) == ("GET", "/healthz", "b")
        assert headers["User-Agent"] == "kube-probe/1.35"
        found = the_pod(cluster)
        assert found is not None
        assert headers["Host"] in (found.status.pod_ip, f"{found.status.pod_ip}:80")


def test_an_exec_probe_runs_a_command_in_the_container() -> None:
    probe = ", readinessProbe: {exec: {command: [test, -f, /tmp/ready]}, periodSeconds: 5}"
    command = ', command: [sh, -c, "sleep 11; touch /tmp/ready; sleep 999"]'
    with running(container(command + probe, image="busybox")) as cluster:
        assert cluster.converged_at == pytest.approx(16.0, abs=0.1)


async def test_readiness_goes_on_being_judged_while_the_pod_ends() -> None:
    server = Server(drain=20.0)
    probe = ", readinessProbe: {httpGet: {port: 80}, periodSeconds: 2, failureThreshold: 1}"
    with running(container(probe), server) as cluster:
        await cluster.delete("pod", "default/web", settle=False)
        server.healthy = False
        cluster.advance(3.0)
        assert endpoint(cluster) == (False, False, True)


def test_a_pod_that_never_becomes_ready_is_named_and_not_waited_for_for_ever() -> None:
    server = Server()
    server.healthy = False
    with running(container(", readinessProbe: {httpGet: {port: 80}}"), server) as cluster:
        assert cluster.converged_at == pytest.approx(121.0)
        text = "its readiness probe fails: HTTP probe failed with statuscode: 503"
        assert any(text in line for line in cluster.findings()), cluster.findings()


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        ("httpGet: {port: 81}", 'Get "http://10.244.1.2:81/": dial tcp 10.244.1.2:81: connect: connection'),
        ("tcpSocket: {port: 81}", "dial tcp 10.244.1.2:81: connect: connection refused"),
        ("tcpSocket: {port: 80, host: 192.0.2.1}", "dial tcp 192.0.2.1:80: connect: "),
        ("tcpSocket: {port: nothing}", "couldn't find port: 'nothing'"),
        ("exec: {command: ['false']}", "command terminated with exit code 1"),
        ("exec: {command: [sh, -c, echo no; exit 3]}", "its readiness probe fails: no"),
        ("exec: {command: [sleep, '5']}", 'command timed out: "sleep 5" timed out after 1s'),
    ],
)  # fmt: skip
def test_why_a_probe_fails_is_told_in_the_kubelets_words(probe: str, text: str) -> None:
    with running(container(f", readinessProbe: {{{probe}}}")) as cluster:
        assert any(text in line for line in cluster.findings()), cluster.findings()


# --- liveness and startup


def test_a_container_that_fails_its_liveness_probe_is_restarted() -> None:
    server = Server()
    probe = ", livenessProbe: {httpGet: {port: 80}, periodSeconds: 10, failureThreshold: 3}"
    with running(container(probe), server) as cluster:
        cluster.advance(5.0)
        server.healthy = False
        when(cluster, lambda: len(server.times("starts")) == 2)
        server.healthy = True
        assert server.times("starts") == [1.0, pytest.approx(31.0, abs=0.1)]  # failed at 10, 20 and 30 s
        cluster.advance(60.0)
        assert len(server.times("starts")) == 2
        found = the_pod(cluster)
        assert found is not None
        (status,) = found.status.container_statuses
        assert status.restart_count == 1
        assert status.rest["lastState"]["terminated"]["exitCode"] == 0


def test_a_container_that_fails_again_and_again_backs_off() -> None:
    server = Server()
    probe = ", livenessProbe: {httpGet: {port: 80}, periodSeconds: 1, failureThreshold: 1}"
    with running(container(probe), server) as cluster:
        server.healthy = False
        when(cluster, lambda: len(server.times("starts")) == 4, 100.0)
        starts = server.times("starts")
        gaps = [later - earlier for earlier, later in pairwise(starts)]
        assert gaps == [pytest.approx(gap, abs=1.1) for gap in (2.0, 11.0, 21.0)]
        when(cluster, lambda: status_of(cluster) == "CrashLoopBackOff")


def test_a_container_that_ignores_sigterm_is_killed_after_the_probes_own_grace_period() -> None:
    server = Server(drain=100.0)
    probe = ", livenessProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 1, "
    probe += "terminationGracePeriodSeconds: 4}"
    with running(container(probe), server) as cluster:
        when(cluster, lambda: len(server.times("starts")) == 2)
        first, second = server.times("starts")
        assert second - first == pytest.approx(1.0 + 4.0 + 1.0, abs=0.1)
        found = the_pod(cluster)
        assert found is not None
        assert found.status.container_statuses[0].rest["lastState"]["terminated"]["exitCode"] == 137


def test_restart_policy_never_leaves_it_ended() -> None:
    server = Server()
    probe = ", livenessProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 1}"
    with running("  restartPolicy: Never\n" + container(probe), server) as cluster:
        cluster.advance(30.0)
        assert len(server.times("starts")) == 1
        assert status_of(cluster) == "Completed"


def test_a_startup_probe_holds_the_others_until_it_succeeds() -> None:
    server = Server(delay=25.0)
    probe = ", startupProbe: {tcpSocket: {port: 80}, periodSeconds: 10, failureThreshold: 30}"
    probe += ", livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 1}"
    probe += ", readinessProbe: {httpGet: {port: 80}}"
    with running(container(probe), server) as cluster:
        assert server.times("starts") == [1.0]
        assert cluster.converged_at == pytest.approx(30.0, abs=0.1)


def test_a_startup_probe_that_fails_restarts_the_container() -> None:
    server = Server(delay=1000.0)
    probe = ", startupProbe: {tcpSocket: {port: 80}, periodSeconds: 2, failureThreshold: 2}"
    with running(container(probe), server) as cluster:
        assert server.times("starts")[:2] == [1.0, pytest.approx(5.0, abs=0.1)]
        assert any("cannot become ready" in line for line in cluster.findings())


# --- captures


@pytest.mark.parametrize("port", [80, 81])
def test_the_packets_of_probes_are_in_captures_only_when_asked_for(port: int) -> None:
    probe = f", livenessProbe: {{tcpSocket: {{port: {port}}}, failureThreshold: 99}}"
    with running(container(probe)) as cluster, cluster.capture() as seen:
        with cluster.capture(probes=True) as everything:
            cluster.advance(60.0)
        probes = [record for record in everything.records if probe_of(record.notes) is not None]
        assert seen.records == []
        assert probes == list(everything.records)
        ports = {str(record.port) for record in probes}
        assert {"node1/cni0", "default/web/eth0"} <= ports
        assert {record.outbound for record in probes if str(record.port) == "default/web/eth0"} == {
            True,
            False,
        }
        assert str(probes[0].notes[0].cause) == "probe: liveness probe of default/web, container web"
        assert probes[0].notes[0].cause.stage is Stage.PROBE


async def test_other_packets_to_the_same_server_are_captured() -> None:
    probe = ", readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}"
    with running(container(probe)) as cluster, cluster.capture("default/web") as packets:
        assert (await cluster.node("node2").get(f"http://{the_address(cluster)}/")).status == 200
        cluster.advance(30.0)
        assert packets.records
        assert all(probe_of(record.notes) is None for record in packets.records)


def the_address(cluster: Cluster) -> str:
    found = the_pod(cluster)
    assert found is not None
    return found.status.pod_ip


# --- readiness gates


def test_a_readiness_gate_keeps_the_endpoint_out_until_its_condition_is_true() -> None:
    with running("  readinessGates: [{conditionType: example.com/balanced}]\n" + container()) as cluster:
        assert endpoint(cluster) == (False, False, False)
        assert any(
            'readiness gate "example.com/balanced" does not exist' in line for line in cluster.findings()
        )
        assert gates_of(cluster) == "0/1"
        cluster.set_condition("web", "example.com/balanced", True)
        assert endpoint(cluster) == (True, True, False)
        assert gates_of(cluster) == "1/1"
        cluster.set_condition("web", "example.com/balanced", False)
        assert endpoint(cluster) == (False, False, False)


# --- init containers


def row(cluster: Cluster) -> dict[str, str]:
    return table_rows(TABLES["pods"], cluster.store, "default", now=cluster.now, wide=True)[0]


def status_of(cluster: Cluster) -> str:
    return row(cluster)["status"]


def gates_of(cluster: Cluster) -> str:
    return row(cluster)["readiness gates"]


def init(*commands: str, image: str = "busybox") -> str:
    listed = (
        f'{{name: init{n}, image: {image}, command: [sh, -c, "{text}"]}}' for n, text in enumerate(commands)
    )
    return f"  initContainers: [{', '.join(listed)}]\n"


def watch(text: str, server: Server | None = None) -> tuple[Cluster, list[tuple[float, str]]]:
    """A cluster in which the Pod has not run yet, and what its STATUS column says from then on."""
    cluster = Cluster(loaded(pod(text)), programs={"acme/web": server or Server()})
    seen: list[tuple[float, str]] = []

    def look() -> bool:
        if the_pod(cluster) is not None and (not seen or seen[-1][1] != status_of(cluster)):
            seen.append((round(cluster.now, 3), status_of(cluster)))
        return False

    cluster.plane.pump_until(look, 60.0)
    return cluster, seen


def loaded(text: str) -> Any:
    from netsim.objects.manifest import load

    return load([text])


def test_init_containers_run_one_after_the_other_and_then_the_others() -> None:
    cluster, seen = watch(init("sleep 3", "sleep 5") + container())
    assert seen == [(0.0, "Init:0/2"), (4.0, "Init:1/2"), (10.0, "PodInitializing"), (11.0, "Running")]
    cluster.close()


def test_an_init_container_that_fails_is_tried_again() -> None:
    script = "test -f /tmp/done || {{ touch /tmp/done; exit 1; }}".replace("{{", "{").replace("}}", "}")
    cluster, seen = watch(init(script) + container())
    assert [said for _, said in seen] == ["Init:0/1", "Init:Error", "Init:0/1", "PodInitializing", "Running"]
    cluster.close()


def test_an_init_container_that_fails_again_and_again_holds_the_pod_up() -> None:
    with running(init("exit 3") + container()) as cluster:
        assert status_of(cluster) == "Init:CrashLoopBackOff"
        assert any("container init0 (busybox) ended with exit code 3" in line for line in cluster.findings())


def test_with_restart_policy_never_a_failed_init_container_fails_the_pod() -> None:
    with running("  restartPolicy: Never\n" + init("exit 3", "sleep 1") + container()) as cluster:
        assert status_of(cluster) == "Init:Error"
        found = the_pod(cluster)
        assert found is not None
        assert found.status.phase == "Failed"


def test_an_init_container_waits_for_a_service_as_in_the_books() -> None:
    script = "until nslookup db.default.svc.cluster.local; do sleep 2; done"
    service = "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 1}]}\n"
    with running(init(script) + container()) as cluster:
        assert status_of(cluster) == "Init:0/1"
        assert any("init container init0 has been running for" in line for line in cluster.findings())
        cluster.pump(cluster.apply(service, settle=False))
        when(cluster, lambda: is_ready(cluster))


def test_an_image_that_nobody_described_succeeds_as_an_init_container() -> None:
    text = "  initContainers: [{name: migrate, image: acme/migrate:v1}]\n"
    with running(text + container()) as cluster:
        assert is_ready(cluster)


SIDECAR = """
  initContainers:
    - {name: proxy, image: nginx, restartPolicy: Always, ports: [{containerPort: 8080}],
       startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}
"""


async def test_a_sidecar_starts_before_the_others_and_ends_after_them() -> None:
    server = Server(drain=5.0)
    text = SIDECAR + container().replace("containerPort: 80,", "containerPort: 81,")
    ours = {"acme/web": quiet(server)}
    with run(pod(text), programs=ours) as cluster:
        assert row(cluster)["ready"] == "2/2"
        assert server.times("starts")[0] > 1.0
        host = cluster.pod("web").host
        await cluster.delete("pod", "default/web", settle=False)
        cluster.advance(4.0)
        assert [port for _, (_, port) in host.listening()] == [80]
        cluster.settle()


def quiet(server: Server) -> Any:
    async def program(host: Host, start: Invocation) -> int:
        server.log.append((host.now(), "starts"))
        await host.trap().wait()
        await host.sleep(server.drain or 0.0)
        return 0

    return program


async def test_a_service_that_came_after_a_pod_is_not_in_its_environment() -> None:
    container = "{name: main, image: debian, tty: true}"
    pod = f"{{apiVersion: v1, kind: Pod, metadata: {{name: %s}}, spec: {{containers: [{container}]}}}}\n"
    late = "{apiVersion: v1, kind: Service, metadata: {name: late}, spec: {ports: [{port: 80}]}}\n"
    with run(pod % "early") as cluster:
        await cluster.apply(late + "---\n" + pod % "latecomer")
        assert (await cluster.pod("early").exec(["printenv", "LATE_SERVICE_PORT"])).exit == 1
        assert (await cluster.pod("latecomer").exec(["printenv", "LATE_SERVICE_PORT"])).stdout == "80\n"


LOGIN = "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: x}\n"


async def test_a_container_waits_for_the_secret_of_its_environment() -> None:
    source = "{secretKeyRef: {name: login, key: password}}"
    with running(container(f", env: [{{name: PASSWORD, valueFrom: {source}}}]")) as cluster:
        assert status_of(cluster) == "CreateContainerConfigError"
        (pod_line, _service) = cluster.findings()
        assert pod_line == (
            'Pod default/web: cannot become ready: container web cannot be created: secret "login" not found'
        )
        await cluster.apply(LOGIN)
        assert when(cluster, lambda: is_ready(cluster)) == 11.0, "10 s after the first attempt"
        assert cluster.pod("web").env["PASSWORD"] == "x"
        assert cluster.findings() == []


async def test_an_environment_is_that_of_the_containers_start() -> None:
    text = container(", envFrom: [{secretRef: {name: login}}]", image="ubuntu, tty: true, stdin: true")
    with run(f"{pod(text)}---\n{LOGIN}") as cluster:
        await cluster.apply(LOGIN.replace("password: x", "password: new"))
        assert (await cluster.pod("web").exec(["sh", "-c", "echo $password"])).stdout == "x\n"


def test_a_pod_that_waits_for_a_secret_can_be_deleted() -> None:
    with running(container(", envFrom: [{secretRef: {name: login}}]")) as cluster:
        cluster.pump(cluster.delete("pod", "default/web"))
        assert the_pod(cluster) is None
        cluster.advance(30.0)
        assert the_pod(cluster) is None
