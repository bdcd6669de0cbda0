"""How a Pod ends: signals, grace periods, hooks and its endpoint, on the virtual clock."""

from __future__ import annotations

from typing import Any

import pytest

from netsim.cluster import Cluster, run
from tests.cluster.one_pod import (
    Server,
    container,
    endpoint,
    pod,
    running,
    status_of,
    the_pod,
    when,
)


async def end(cluster: Cluster, **more: Any) -> float:
    """Delete the Pod, and say how long it took until it was gone."""
    began = cluster.now
    await cluster.delete("pod", "default/web", settle=False, **more)
    return when(cluster, lambda: the_pod(cluster) is None) - began


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
