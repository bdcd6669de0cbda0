"""Probes and readiness gates of a Pod, and what follows from them, on the virtual clock."""

from __future__ import annotations

from itertools import pairwise

import pytest

from netsim.base.cause import Stage, probe_of
from tests.cluster.one_pod import (
    Server,
    container,
    endpoint,
    gates_of,
    is_ready,
    running,
    status_of,
    the_address,
    the_pod,
    when,
)

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
