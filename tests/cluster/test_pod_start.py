"""What a Pod's containers wait for: init containers, sidecars, Secrets, the Services before them."""

from __future__ import annotations

from typing import Any

from netsim.cluster import Cluster, run
from netsim.programs.host import Host, Invocation
from tests.cluster.one_pod import (
    Server,
    container,
    is_ready,
    pod,
    row,
    running,
    status_of,
    the_pod,
    when,
)


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
