"""What a user of the Python API meets first: names, errors that teach, and what objects print as."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from typing import Any

import pytest

import netsim
from netsim.base import errors
from netsim.cluster import Cluster
from netsim.cluster.hosts import HostHandle
from netsim.cluster.packets import Packets
from tests.cluster.conftest import TWO_NAMESPACES
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["ConvergenceError", "GaveUp", "ManifestError", "NetsimError", "UsageError"])
def test_the_errors_that_users_catch_are_at_hand(name: str) -> None:
    assert getattr(netsim, name) is getattr(errors, name)
    assert name in netsim.__all__


def test_importing_netsim_imports_nothing_else() -> None:
    code = "import sys, netsim; print([name for name in sys.modules if name.startswith('netsim.')])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'netsim' has no attribute 'Clutser'"):
        netsim.__getattr__("Clutser")


def test_a_forgotten_with_is_explained() -> None:
    running = netsim.run("{apiVersion: v1, kind: Namespace, metadata: {name: dev}}")
    with pytest.raises(AttributeError, match=r"with netsim\.run\(…\) as cluster: cluster\.pod"):
        running.pod("dev/jump")
    with running as cluster:
        assert isinstance(cluster, Cluster)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["a.yaml", "b.yaml"], "not a list\n  hint: for several files write netsim.run(*files)"),
        ({"kind": "Pod"}, "netsim.run takes paths and YAML text, not a dict"),
        (None, "not a NoneType"),
    ],
)
def test_a_source_of_another_type_is_explained(source: Any, message: str) -> None:
    with pytest.raises(netsim.UsageError) as refused:
        netsim.run(source)
    assert message in str(refused.value)


async def _forever(host: object, start: object) -> int:
    raise AssertionError("it is never run")


@pytest.mark.parametrize(
    "program", [_forever(None, None), 3, lambda: _forever(None, None)], ids=["called", "a number", "no host"]
)
def test_what_is_no_program_is_explained(program: Any) -> None:
    with pytest.raises(
        netsim.UsageError, match="program for 'acme/api' is not a coroutine function"
    ) as refused:
        netsim.run(TWO_NAMESPACES, programs={"acme/api": program})
    assert "hand over `api` itself" in str(refused.value)


API_POD = """
apiVersion: v1
kind: Pod
metadata: {name: go}
spec: {containers: [{name: go, image: acme/api}]}
"""
API_IN_AN_INIT_CONTAINER = """
apiVersion: v1
kind: Pod
metadata: {name: go}
spec: {initContainers: [{name: go, image: acme/api}], containers: [{name: main, image: nginx}]}
"""


def _plain(host: object, start: object) -> int:
    return 0


async def _broken(host: object, start: object) -> int:
    raise ValueError("broken")


@pytest.mark.parametrize("pod", [API_POD, API_IN_AN_INIT_CONTAINER], ids=["container", "init container"])
def test_a_plain_function_is_no_program(pod: str) -> None:
    programs: Any = {"acme/api": _plain}
    with pytest.raises(netsim.UsageError, match="is not a coroutine function") as refused:
        netsim.run(pod, programs=programs)
    assert "async def" in str(refused.value)


def test_a_function_that_returns_a_coroutine_is_a_program() -> None:
    ran = []

    async def api(host: object, start: object) -> int:
        ran.append("api")
        return 0

    with netsim.run(API_POD, programs={"acme/api": lambda host, start: api(host, start)}):
        assert ran[0] == "api"


@pytest.mark.filterwarnings("error")  # a coroutine that was never awaited warns when it is collected
def test_an_error_while_the_cluster_settles_leaves_nothing_unfinished() -> None:
    with pytest.raises(ValueError, match="broken") as raised:
        netsim.run(API_POD, programs={"acme/api": _broken})
    del raised
    gc.collect()


def test_a_cluster_that_is_never_closed_ends_with_the_interpreter() -> None:
    code = f"import netsim; running = netsim.run({API_POD!r}); print(running.__enter__())"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.startswith("<Cluster ")
    assert result.stderr == ""


def test_a_pod_of_default_is_captured_by_its_name_alone() -> None:
    with netsim.run(API_POD) as cluster:
        names = ("default/go/eth0", "go/eth0", "go", "default/go")
        assert len({cluster.port(name) for name in names}) == 1
        with pytest.raises(netsim.UsageError, match="default/go has no interface eth7"):
            cluster.port("go/eth7")
        with pytest.raises(netsim.UsageError, match="there is no interface gone/eth0"):
            cluster.port("gone/eth0")


def test_what_users_hold_prints_what_it_is(two_namespaces: Cluster) -> None:
    assert repr(two_namespaces) == "<Cluster cluster: 3 nodes, 8 Pods, at 1.0 s>"
    jump = two_namespaces.pod("dev/jump")
    assert repr(jump) == "<Pod dev/jump on node1 10.244.1.2>"
    assert repr(two_namespaces.node("node1")) == "<Host node1>"
    with two_namespaces.capture("dev/jump") as packets:
        assert repr(packets) == "<Packets: 0 at 0 interfaces>"
        two_namespaces.pump(jump.get("http://ent:8080"))
        assert repr(packets) == f"<Packets: {len(packets)} at 1 interfaces>"
        assert len(packets) > 0


def test_a_cluster_without_a_topology_starts_without_the_schemas() -> None:
    code = "import sys, netsim.cluster; print('pydantic_core' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == "False\n"


def test_every_public_call_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for owner in (Cluster, HostHandle, Packets):
        for name in vars(owner):
            documented = re.search(rf"`(await )?{name}\b", text)
            assert name.startswith("_") or documented, f"{owner.__name__}.{name}"


def test_calls_work_in_any_event_loop_and_in_none(two_namespaces: Cluster) -> None:
    jump = two_namespaces.pod("dev/jump")
    assert two_namespaces.pump(jump.resolve("ent")).addresses == asyncio.run(jump.resolve("ent")).addresses
    two_namespaces.pump(two_namespaces.delete("pod", "dev/jump"))
    with pytest.raises(netsim.UsageError):
        two_namespaces.pod("dev/jump")


@pytest.mark.parametrize(
    ("override", "message"),
    [({"proxy_mode": "ebpf"}, "there is no proxy_mode 'ebpf'"), ({"network": "x"}, "no network 'x'")],
)
def test_an_override_that_is_not_there_is_refused(override: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.UsageError, match=message) as caught:
        netsim.run(TWO_NAMESPACES, **override)
    assert caught.value.hint.startswith("write one of ")


@pytest.mark.parametrize(
    ("table", "node", "line"),
    [
        ("routes", "node1", "10.244.1.0/24 dev cni0"),
        ("route", "router", "192.168."),
        ("conntrack", "node1", "tcp "),
        ("iptables-counters", "node1", ":KUBE-SERVICES - [0:0]"),
        ("proxy", "control", "-A KUBE-SERVICES"),
    ],
)
def test_tables_are_at_hand_as_show_prints_them(
    two_namespaces: Cluster, table: str, node: str, line: str
) -> None:
    two_namespaces.pump(two_namespaces.pod("dev/jump").get("http://ent:8080"))
    assert line in two_namespaces.table(table, node)


def test_the_tables_of_all_nodes_stand_under_each_other(two_namespaces: Cluster) -> None:
    nodes = ["control", "node1", "node2"]
    texts = [f"# {node}: ip route\n{two_namespaces.table('routes', node)}" for node in nodes]
    assert two_namespaces.table("routes") == "\n".join(texts)


@pytest.mark.parametrize(
    ("table", "node", "said"),
    [
        ("conntrak", "node1", "no table 'conntrak'\n  hint: did you mean conntrack, conntrack-stats?"),
        ("pods", "node1", "no table 'pods'\n  hint: the tables are routes, routes6"),
        ("routes", "node7", "no node node7\n  hint: the nodes are control, node1, node2"),
        ("iptables", "router", "the router has no iptables\n  hint: kube-proxy runs on the nodes"),
        ("bgp", "node1", "nobody speaks BGP"),
    ],
)
def test_a_table_that_is_not_there_is_refused(
    two_namespaces: Cluster, table: str, node: str, said: str
) -> None:
    with pytest.raises(errors.UsageError) as refused:
        two_namespaces.table(table, node)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://ent/", "ftp://ent/: get does not speak ftp\n  hint: it speaks http and https"),
        ("http://[fd00::zz]/", "http://[fd00::zz]/ is no URL: "),
        ("http://ent:eighty/", "http://ent:eighty/ is no URL: "),
        ("http:///path", "http:///path is no URL: no host in"),
    ],
)
def test_what_is_no_url_is_refused(two_namespaces: Cluster, url: str, said: str) -> None:
    with pytest.raises(errors.UsageError) as refused:
        two_namespaces.pump(two_namespaces.pod("dev/jump").get(url))
    assert said in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("svc", "ent", "did you mean dev/ent, prod/ent?"),
        ("svc", "prod/emt", "did you mean prod/ent"),
        ("pod", "zzzzzzzz", "there is dev/"),
        ("sts", "nope", "there is none"),
        ("node", "node9", "did you mean node"),
        ("servise", "ent", 'did you mean "service"?'),
    ],
)
def test_what_is_not_there_to_delete_has_a_hint(
    two_namespaces: Cluster, kind: str, name: str, hint: str
) -> None:
    with pytest.raises(errors.UsageError, match="not found in namespace") as refused:
        two_namespaces.pump(two_namespaces.delete(kind, name))
    assert refused.value.hint.startswith(hint)


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(errors.UsageError, match="a seed is 0 or more, not -1"):
        netsim.run(TWO_NAMESPACES, seed=-1)


def test_overrides_win_over_the_file() -> None:
    with netsim.run(TWO_NAMESPACES, network="bgp", proxy_mode="ipvs") as cluster:
        networking = cluster.topology.networking
        assert (networking.pod_network, networking.kube_proxy_mode) == ("bgp", "ipvs")
