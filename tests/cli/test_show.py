"""``netsim show`` prints the tables of the cluster and of its nodes."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import TWO_NAMESPACES, Call

FILE = ("-f", TWO_NAMESPACES)


def test_objects_of_one_namespace(call: Call) -> None:
    result = call("show", "services", *FILE, "-n", "prod")
    heading, row = result.stdout.splitlines()
    assert heading.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert row.startswith("ent    ClusterIP   10.96.")


def test_objects_of_all_namespaces(call: Call) -> None:
    lines = call("show", "pods", *FILE, "-A", "-o", "wide").stdout.splitlines()
    assert lines[0].startswith("NAMESPACE     NAME ")
    assert [line.split()[0] for line in lines[1:]] == ["dev"] * 3 + ["kube-system"] * 2 + ["prod"] * 3


@pytest.mark.parametrize("name", ["deploy", "deployment", "deployments"])
def test_short_names_are_kubectls(call: Call, name: str) -> None:
    assert "enterprise   3/3" in call("show", name, *FILE, "-n", "prod").stdout


def test_json_is_a_list_of_objects(call: Call) -> None:
    document = json.loads(call("show", "nodes", *FILE, "-o", "json").stdout)
    assert document["kind"] == "List"
    assert [item["metadata"]["name"] for item in document["items"]] == ["control", "node1", "node2"]
    assert {(item["apiVersion"], item["kind"]) for item in document["items"]} == {("v1", "Node")}


def test_nothing_is_said_on_stderr(call: Call) -> None:
    result = call("show", "deployments", *FILE)
    assert (result.exit_code, result.stdout) == (0, "")
    hint = "  hint: other namespaces have some: -n NAMESPACE, or -A for all\n"
    assert result.stderr == f"No resources found in default namespace.\n{hint}"
    assert call("show", "daemonsets", *FILE).stderr == "No resources found in default namespace.\n"


def test_pods_of_one_node(call: Call) -> None:
    lines = call("show", "pods", *FILE, "-A", "-o", "wide", "--node", "node1").stdout.splitlines()
    assert "dev" in lines[1]
    assert {line.split()[7] for line in lines[1:]} == {"node1"}
    items = json.loads(call("show", "pods", *FILE, "-A", "-o", "json", "--node", "node1").stdout)["items"]
    assert len(items) == len(lines) - 1


def test_a_node_has_no_services(call: Call) -> None:
    result = call("show", "services", *FILE, "--node", "node1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: services are not a node's\n  hint: --node goes with pods, routes")


def test_dns_columns_stand_under_each_other(call: Call) -> None:
    lines = call("show", "dns", *FILE).stdout.splitlines()
    assert len(lines) > 3
    assert not any("\t" in line for line in lines)
    assert len({line.index(" IN ") for line in lines}) == 1


def test_dns_is_a_zone_file(call: Call) -> None:
    (line,) = call("show", "dns", *FILE, "-n", "prod").stdout.splitlines()
    name, ttl, kind, rtype, address = line.split()
    assert (name, ttl, kind, rtype) == ("ent.prod.svc.cluster.local.", "30", "IN", "A")
    assert address.startswith("10.96.")


def test_routes_of_one_node_are_its_ip_route(call: Call) -> None:
    shown = call("show", "routes", *FILE, "--node", "node1")
    assert shown.stdout == call("exec", *FILE, "node/node1", "--", "ip", "route").stdout
    assert "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink" in shown.stdout


def test_tables_of_all_nodes_have_headings(call: Call) -> None:
    result = call("show", "fdb", *FILE)
    headings = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert headings == [f"# {node}: bridge fdb" for node in ("control", "node1", "node2")]
    assert " dev flannel.1 dst 192.168.10.11 self permanent\n" in result.stdout


def test_proxy_is_iptables_save(call: Call) -> None:
    shown = call("show", "proxy", *FILE, "--node", "node1").stdout
    assert shown.startswith("*filter\n")
    assert '--comment "prod/ent cluster IP"' in shown


def test_conntrack_shows_what_a_command_left(call: Call) -> None:
    command = ("--", "dev/jump", "sh", "-c", "curl -s http://ent.prod:8080")
    result = call("show", "conntrack", *FILE, "--node", "node1", *command)
    assert "Hello from the PROD Namespace" in result.stderr
    (flow,) = [line for line in result.stdout.splitlines() if "dport=8080" in line]
    assert flow.startswith("tcp      6 ")
    assert "[ASSURED]" in flow


def test_an_unknown_node_is_answered_with_the_known_ones(call: Call) -> None:
    result = call("show", "routes", *FILE, "--node", "node9")
    assert result.exit_code == 2
    assert "hint: the nodes are control, node1, node2" in result.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [("servces", "did you mean services?"), ("foo", "the tables are pods, services, ")],
)
def test_an_unknown_table_is_answered_with_what_is_near(call: Call, typed: str, said: str) -> None:
    result = call("show", typed, *FILE)
    assert result.exit_code == 2
    assert f"there is no table {typed!r}; {said}" in result.stderr


def test_bgp_is_shown_for_every_speaker_as_birdc_prints_it(call: Call) -> None:
    text = call("show", "bgp", *FILE, "--network", "bgp").stdout
    headings = [line for line in text.splitlines() if line.startswith("#")]
    command = "birdc show protocols; birdc show route"
    assert headings == [f"# {node}: {command}" for node in ("control", "node1", "node2")]
    lines = call("show", "bgp", *FILE, "--network", "bgp", "--node", "node1").stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["Name", "static1", "control", "node2"]
    assert {line.split()[-1] for line in lines[2:4]} == {"Established"}
    assert "\tvia 192.168.10.12 on eth0" in lines


def test_learnt_routes_are_shown_as_ip_route_prints_them(call: Call) -> None:
    text = call("show", "routes", *FILE, "--network", "bgp", "--node", "node1").stdout
    assert "10.244.2.0/24 via 192.168.10.12 dev eth0 proto bird metric 32 \n" in text
    assert "flannel" not in text
    router = call("show", "routes", *FILE, "--network", "bgp", "--node", "router").stdout
    assert "192.168.10.0/24 dev eth0" in router and "bird" not in router


def test_without_bgp_there_is_none_to_show(call: Call) -> None:
    result = call("show", "bgp", *FILE)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: nobody speaks BGP: the Pod network is an overlay\n  hint: ")
