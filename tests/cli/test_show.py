"""``netsim show`` prints the tables of the cluster and of its nodes."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import TWO_NAMESPACES, Call
from tests.conftest import Golden

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


def test_one_object_by_its_name_is_no_list(call: Call) -> None:
    document = json.loads(call("show", "svc", "ent", *FILE, "-n", "prod", "-o", "json").stdout)
    assert (document["kind"], document["metadata"]["name"]) == ("Service", "ent")
    two = json.loads(call("show", "svc", "ent", "dev/ent", *FILE, "-n", "prod", "-o", "json").stdout)
    assert [item["metadata"]["namespace"] for item in two["items"]] == ["dev", "prod"]


@pytest.mark.parametrize(
    "words", [("pods", "jump", "-n", "dev"), ("pod", "dev/jump"), ("po/jump", "-n", "dev"), ("pod/dev/jump",)]
)
def test_an_object_is_named_as_on_other_commands_or_as_in_kubectl(call: Call, words: tuple[str, ...]) -> None:
    lines = call("show", *words, *FILE).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "jump"]


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("svc", "ent"), 'service "ent" not found in namespace default', "did you mean dev/ent, prod/ent?"),
        (("deploy", "enterprize", "-n", "dev"), 'deployment.apps "enterprize" not found in namespace dev',
         "did you mean dev/enterprise, prod/enterprise?"),
        (("nodes", "node9"), 'node "node9" not found', "did you mean node1, node2?"),
        (("pods", "jump", "-A"), "jump of which namespace?", "write NAMESPACE/jump, or -n NAMESPACE"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_what_is_near(
    call: Call, words: tuple[str, ...], said: str, hint: str
) -> None:
    result = call("show", *words, *FILE)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {said}\n  hint: {hint}")


def test_an_unknown_namespace_is_answered_with_what_is_near(call: Call) -> None:
    result = call("show", "pods", *FILE, "-n", "prd")
    assert result.exit_code == 2
    assert result.stderr == "error: there is no namespace prd\n  hint: did you mean prod?\n"


def test_yaml_is_kubectls(call: Call) -> None:
    lines = call("show", "svc", "ent", *FILE, "-n", "prod", "-o", "yaml").stdout.splitlines()
    assert lines[:4] == [
        *("apiVersion: v1", "kind: Service", "metadata:", '  creationTimestamp: "2026-01-01T00:00:00Z"')
    ]
    start = lines.index("  ports:")
    assert lines[start:] == [
        *("  ports:", "  - port: 8080", "    protocol: TCP", "    targetPort: 8080"),
        *("  selector:", "    app: enterprise", "  sessionAffinity: None", "  type: ClusterIP"),
    ]


def test_names_have_their_resource_before_them(call: Call) -> None:
    assert call("show", "pods,deploy", *FILE, "-n", "dev", "-o", "name").stdout.splitlines() == [
        "pod/enterprise-64c6bfb994-dbn54",
        "pod/enterprise-64c6bfb994-xm5nh",
        "pod/jump",
        "deployment.apps/enterprise",
    ]


def test_a_selector_chooses_and_labels_are_shown(call: Call) -> None:
    options = ("-n", "dev", "-l", "app=enterprise", "--show-labels")
    heading, *rows = call("show", "pods", *FILE, *options).stdout.splitlines()
    assert heading.split()[-1] == "LABELS"
    assert [row.split()[-1] for row in rows] == ["app=enterprise,pod-template-hash=64c6bfb994"] * 2
    assert (
        call("show", "pods", *FILE, "-n", "dev", "-l", "app!=enterprise", "-o", "name").stdout == "pod/jump\n"
    )


def test_all_is_several_tables(call: Call, golden: Golden) -> None:
    golden("show-all.txt", call("show", "all", *FILE, "-n", "prod").stdout)


def test_endpoints_are_deprecated_as_the_api_server_says(call: Call) -> None:
    result = call("show", "ep", *FILE, "-n", "prod")
    assert result.stderr.startswith("Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 ")
    assert result.stdout.splitlines()[1].startswith("ent    10.244.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("routes", "-l", "app=web"), "error: routes has no labels\n"),
        (("dns", "-o", "yaml"), "error: dns is not an object\n"),
    ],
)
def test_options_of_objects_are_refused_for_other_tables(
    call: Call, words: tuple[str, ...], said: str
) -> None:
    result = call("show", *words, *FILE)
    assert result.exit_code == 2
    assert result.stderr.startswith(said)


@pytest.mark.parametrize("words", [("routes", "node1"), ("pods,routes",), ("dns/ent",)])
def test_other_tables_stand_alone(call: Call, words: tuple[str, ...]) -> None:
    result = call("show", *words, *FILE)
    assert result.exit_code == 2
    assert "is a table by itself, without names and other tables" in result.stderr


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
    assert " TIME_WAIT " in flow  # a second later
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


def test_without_a_table_all_of_them_are_listed(call: Call) -> None:
    result = call("show")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name a table: pods, services, " in result.stderr
    assert "conntrack-stats, bgp, all" in result.stderr


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


@pytest.mark.parametrize(
    ("table", "mode", "said"),
    [
        ("ipvs", "iptables", "kube-proxy has nothing in ipvs, as its mode is iptables"),
        ("ipset", "nftables", "kube-proxy has nothing in ipset, as its mode is nftables"),
        ("nftables", "ipvs", "kube-proxy has nothing in nftables, as its mode is ipvs"),
        ("iptables-counters", "nftables", "kube-proxy has nothing in iptables-counters, as its mode is"),
        ("ip6tables", "iptables", "kube-proxy has nothing in ip6tables, as this cluster has IPv4 only"),
        ("iptables", "ipvs", ""),
        ("ipvs-stats", "ipvs", ""),
        ("proxy", "iptables", ""),
    ],
)
def test_a_table_that_the_mode_leaves_empty_says_so(call: Call, table: str, mode: str, said: str) -> None:
    result = call("show", table, *FILE, "--node", "node1", "--proxy-mode", mode)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"note: {said}") if said else result.stderr == ""


NODE_PORT = """
apiVersion: netsim.dev/v1alpha1
kind: Topology
spec:
  networking: {kubeProxyMode: ipvs, kubeProxy: {nodePortAddresses: [primary]}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, nodePort: 30080}]
"""


def test_virtual_servers_at_the_primary_address_are_there_before_the_first_packet(call: Call) -> None:
    rows = call("show", "ipvs", "-f", "-", "--node", "node1", input=NODE_PORT).stdout.splitlines()
    at = [number for number, row in enumerate(rows) if ":30080 " in row]
    assert [rows[number] for number in at] == ["TCP  192.168.10.11:30080 rr"]
    servers = rows[at[0] + 1 :]
    assert servers[0].startswith("  -> 10.244.1.2:80 ")
    assert not servers[1].startswith("  -> "), "Local: the Pod of node2 is none of them"


@pytest.mark.parametrize("table", ["proxy", "iptables", "ip6tables-counters", "nftables", "ipvs", "ipset"])
def test_the_router_has_no_table_of_kube_proxys(call: Call, table: str) -> None:
    result = call("show", table, *FILE, "--node", "router")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: the router has no {table}\n  hint: kube-proxy runs on the nodes\n"


def test_the_other_half_of_a_dual_stack_proxy_is_named(call: Call) -> None:
    result = call("show", "proxy", "-f", "topologies/dual-stack.yaml", "--node", "node1")
    assert result.stderr == "note: these are the rules for IPv4; those for IPv6 are the table ip6tables\n"


def test_the_proxy_table_is_that_of_the_mode(call: Call) -> None:
    ipvs = ("--proxy-mode", "ipvs")
    shown = call("show", "proxy", *FILE, *ipvs, "--", "dev/jump", "wget", "-qO-", "http://ent.prod:8080")
    blocks = shown.stdout.split("\n# ")
    assert [block.partition("\n")[0].removeprefix("# ") for block in blocks] == [
        f"{name}: ipvsadm -Ln" for name in ("control", "node1", "node2")
    ]
    busy = [block for block in blocks if "Masq    1      0          1" in block]
    assert [block.partition(":")[0] for block in busy] == ["node1"], "it ran in a Pod of that node"
    asked = ("--node", "node1", "--", "dev/jump", "wget", "-qO-", "http://ent.prod:8080")
    stats = call("show", "ipvs-stats", *FILE, *ipvs, *asked).stdout.splitlines()
    assert sum(int(line.split()[2]) for line in stats if line.startswith("TCP")) == 1, "wget made one"
    connections = call("show", "ipvs-connections", *FILE, *ipvs, *asked).stdout.splitlines()
    assert [line.split()[0] for line in connections if ":8080 " in line] == ["TCP"]
    assert "-A KUBE-IPVS-FILTER" in call("show", "iptables", *FILE, *ipvs, "--node", "node1").stdout
    assert "Name: KUBE-IPVS-IPS" in call("show", "ipset", *FILE, *ipvs, "--node", "node1").stdout
    assert call("show", "ipset", *FILE, "--node", "node1").stdout == ""
    assert "IPVS" not in call("show", "proxy", *FILE, "--node", "node1").stdout


def test_the_rules_of_a_node_are_printed_with_counters(call: Call) -> None:
    asked = ("--node", "node1", "--", "dev/jump", "wget", "-qO-", "http://ent.prod:8080")
    lines = call("show", "iptables-counters", *FILE, *asked).stdout.splitlines()
    (service,) = (line for line in lines if '"prod/ent cluster IP"' in line and "KUBE-SERVICES" in line)
    assert service.startswith("[1:44] -A KUBE-SERVICES ")
    given = [line for line in lines if "-j DNAT" in line and '"prod/ent"' in line]
    assert sorted(line.split()[0] for line in given)[-1] == "[1:44]"
    assert sum(not line.startswith("[0:0]") for line in given) == 1
    known = [line for line in lines if "KUBE-FORWARD" in line and "RELATED,ESTABLISHED" in line]
    assert [line.startswith("[0:0]") for line in known] == [False]
    assert (
        call("show", "iptables-counters", *FILE, "--proxy-mode", "nftables", "--node", "node1").stdout == ""
    )


def test_events_are_printed_as_kubectl_events_prints_them(call: Call, golden: Golden) -> None:
    golden("events.txt", call("show", "events", *FILE, "-n", "dev").stdout)
    golden("events-of-a-pod.txt", call("show", "ev", *FILE, "-A", "--for", "pod/jump").stdout)


def test_events_as_documents_and_names(call: Call) -> None:
    document = json.loads(
        call("show", "events", *FILE, "-n", "dev", "--for", "pod/jump", "-o", "json").stdout
    )
    assert [item["reason"] for item in document["items"]] == ["Scheduled", "Pulled", "Created", "Started"]
    assert document["items"][1]["source"] == {"component": "kubelet", "host": "node1"}
    assert document["items"][1]["involvedObject"]["fieldPath"] == "spec.containers{jump}"
    names = call("show", "events", *FILE, "-n", "dev", "--for", "pod/jump", "-o", "name").stdout.splitlines()
    assert len(set(names)) == 4
    assert all(name.startswith("event/jump.") for name in names)


def test_without_events_and_with_a_wrong_question(call: Call) -> None:
    assert call("show", "events", *FILE).stderr == "No events found in default namespace.\n"
    assert "jump names no object" in call("show", "events", *FILE, "--for", "jump").stderr
    assert "--for does not go with pods" in call("show", "pods", *FILE, "--for", "pod/jump").stderr
    assert "events has no labels" in call("show", "events", *FILE, "-l", "app=web").stderr
