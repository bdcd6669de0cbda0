"""Files, directories and text become objects; or every mistake is told, and nothing is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from netsim.base.errors import ManifestError, Source, UsageError
from netsim.objects.apps import Deployment
from netsim.objects.core import ConfigMap, Namespace, Node, Pod, Service
from netsim.objects.manifest import Existing, Loaded, load
from netsim.objects.meta import ObjectRef
from netsim.objects.topology import Topology

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {clusterIP: %s, ports: [{port: 80}]}
"""
TOPOLOGY = "apiVersion: netsim.dev/v1alpha1\nkind: Topology\nspec: %s\n"


def names(loaded: Loaded) -> list[str]:
    return [item.metadata.name for item in loaded.objects]


def problems_of(*sources: str | Path, existing: Existing | None = None) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load(sources, existing=existing)
    return [f"{problem.source}: {problem.message}" for problem in caught.value.problems]


# --- where documents come from -----------------------------------------------------------------------


def test_a_directory_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "notes.txt"):
        (tmp_path / name).write_text(CONFIG_MAP % name)
    (tmp_path / "deeper.yaml").mkdir()
    assert names(load([tmp_path])) == ["a.yml", "b.yaml", "c.json"]


def test_a_glob_gives_its_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.yaml", "deep/c.yaml", "d.json"):
        (tmp_path / name).write_text(CONFIG_MAP % name[-6])
    assert names(load([str(tmp_path / "**" / "*.yaml")])) == ["a", "b", "c"]


def test_text_of_several_lines_is_read_as_it_is() -> None:
    loaded = load([CONFIG_MAP % "a", '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}'])
    assert names(loaded) == ["a", "b"]
    assert loaded.objects[0].source == Source("-", 1, 1)


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(CONFIG_MAP % "a")
    assert names(load([path, tmp_path, str(path)])) == ["a"]


def test_a_byte_order_mark_is_not_content(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + (CONFIG_MAP % "a").encode())
    assert names(load([tmp_path])) == ["a"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.yaml", "no such file: missing.yaml"),
        ("kind: Pod", "no such file: kind: Pod"),
        ("*.yaml", "no file matches *.yaml"),
        (".", "no manifests in the directory ."),
    ],
)
def test_a_source_that_names_nothing_is_a_wrong_call(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load([source])
    assert caught.value.message == message


def test_a_file_without_objects_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing yet\n---\n")
    with pytest.raises(UsageError, match="no objects in the input"):
        load([tmp_path])


def test_a_file_that_is_not_text_is_told_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"kind: Pod\nname: caf\xe9\n")
    assert problems_of(path) == [f"{path}:2:10: yaml: invalid UTF-8"]


# --- what a document is ------------------------------------------------------------------------------


def test_lists_are_taken_apart() -> None:
    loaded = load(
        [
            """\
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
  - apiVersion: v1
    kind: ConfigMapList
    items:
      - {metadata: {name: b}}
      - {metadata: {name: c}}
"""
        ]
    )
    assert names(loaded) == ["a", "b", "c"]
    assert [item.source for item in loaded.objects] == [
        Source("-", 4, 5),
        Source("-", 8, 9),
        Source("-", 9, 9),
    ]


def test_a_mistake_in_a_list_has_its_own_place() -> None:
    items = "- metadata: {name: web}\n  spec: {port: 80, clusterIP: None}\n"
    found = problems_of(f"apiVersion: v1\nkind: ServiceList\nitems:\n{items}")
    assert found == ['-:5:10: Service default/web: unknown field "spec.port"']


def test_objects_without_a_namespace_are_in_default() -> None:
    loaded = load([CONFIG_MAP % "a" + "---\napiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"])
    assert [item.metadata.namespace for item in loaded.objects] == ["default", ""]


def test_kinds_without_a_namespace_lose_one() -> None:
    (item,) = load(["apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n"]).objects
    assert item.metadata.namespace == ""
    assert item.metadata.labels == {"kubernetes.io/metadata.name": "a"}


def test_what_the_server_owns_is_not_taken_from_files() -> None:
    (item,) = load(
        [
            """\
apiVersion: v1
kind: Pod
metadata:
  name: dumped
  uid: 6b8c4d0e-0000-0000-0000-000000000000
  resourceVersion: "12345"
  generation: 3
  creationTimestamp: "2024-05-01T10:00:00Z"
  managedFields: [{manager: kubectl}]
spec: {nodeName: node1, containers: [{name: web, image: nginx}]}
status: {phase: Running, podIP: 10.244.9.9}
"""
        ]
    ).objects
    assert isinstance(item, Pod)
    assert (item.metadata.uid, item.metadata.resource_version, item.metadata.generation) == ("", 0, 0)
    assert item.metadata.creation_timestamp is None
    assert item.metadata.rest == {}
    assert item.status.phase == "Pending"
    assert item.status.pod_ip == ""
    assert item.spec.node_name == "node1"


def test_the_status_of_a_node_is_its_own() -> None:
    (item,) = load(
        [
            """\
apiVersion: v1
kind: Node
metadata: {name: node1}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
"""
        ]
    ).objects
    assert isinstance(item, Node)
    assert item.internal_ip() == "192.0.2.1"


def test_kinds_that_are_not_modelled_are_kept_as_they_are() -> None:
    policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\n"
    route = "apiVersion: example.com/v1\nkind: Route\nmetadata: {name: r}\nspec: {anything: [goes]}\n"
    loaded = load([policy, route])
    assert [(item.kind, item.namespace, item.name) for item in loaded.foreign] == [
        ("NetworkPolicy", "default", "deny"),
        ("Route", "", "r"),
    ]
    assert loaded.foreign[1].document["spec"] == {"anything": ["goes"]}
    assert len(loaded.warnings) == 2


def test_objects_come_in_the_order_of_the_files() -> None:
    loaded = load([CONFIG_MAP % "z" + "---\n" + CONFIG_MAP % "a", CONFIG_MAP % "m"])
    assert names(loaded) == ["z", "a", "m"]


def test_each_alias_is_an_object_of_its_own() -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
    - {name: one, image: nginx, ports: &ports [{containerPort: 80}]}
    - {name: two, image: nginx, ports: *ports}
"""
    (item,) = load([text]).objects
    assert isinstance(item, Pod)
    one, two = item.spec.containers
    assert one.ports == two.ports


# --- mistakes ----------------------------------------------------------------------------------------


def test_the_mistakes_of_all_files_come_at_once_and_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        "kind: Pod\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}\n"
    )
    (tmp_path / "a.yaml").write_text(CONFIG_MAP % "good" + "---\na: [\n")
    found = problems_of(tmp_path / "b.yaml", tmp_path / "a.yaml")
    assert [line.split(": ")[0].removeprefix(f"{tmp_path}/") for line in found] == [
        "b.yaml:1:1",
        "b.yaml:5:18",
        "a.yaml:6:1",
    ]


def test_a_missing_value_beside_a_misspelt_one_is_told_once() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{nme: web, image: nginx}]}\n"
    assert problems_of(text) == ['-:4:22: Pod default/a: unknown field "spec.containers[0].nme"']


def test_a_namespace_may_be_declared_later_and_elsewhere() -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n"
    loaded = load([SERVICE % ("web", "prod", "None"), namespace])
    assert [type(item) for item in loaded.objects] == [Service, Namespace]


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public", "kube-node-lease"])
def test_the_namespaces_of_every_cluster_need_no_declaration(name: str) -> None:
    assert names(load([SERVICE % ("web", name, "None")])) == ["web"]


def test_defaults_are_those_of_the_api_server() -> None:
    (item,) = load(
        [
            """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: latest, image: "nginx", ports: [{containerPort: 80}]}
        - {name: tagged, image: "reg:5000/nginx:1.27", livenessProbe: {httpGet: {port: 80}}}
"""
        ]
    ).objects
    assert isinstance(item, Deployment)
    assert item.spec.replicas == 1
    assert item.spec.rest == {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    pod = item.spec.template.spec
    assert (pod.restart_policy, pod.dns_policy, pod.termination_grace_period_seconds) == (
        "Always",
        "ClusterFirst",
        30,
    )
    latest, tagged = pod.containers
    assert latest.ports[0].protocol == "TCP"
    assert (latest.rest["imagePullPolicy"], tagged.rest["imagePullPolicy"]) == ("Always", "IfNotPresent")
    assert tagged.rest["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_a_services_defaults_are_those_of_the_api_server() -> None:
    (item,) = load(
        ["apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n"]
    ).objects
    assert isinstance(item, Service)
    (port,) = item.spec.ports
    assert (port.protocol, port.target_port, port.node_port) == ("TCP", 80, None)
    assert (item.spec.type, item.spec.session_affinity) == ("ClusterIP", "None")
    assert (item.spec.internal_traffic_policy, item.spec.external_traffic_policy) == ("Cluster", "")


# --- the Topology ------------------------------------------------------------------------------------


def test_without_a_topology_everything_has_its_default() -> None:
    assert load([CONFIG_MAP % "a"]).topology == Topology()


def test_a_topology_names_more_files_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "topology.yaml").write_text(TOPOLOGY % '{manifests: ["shop/*.yaml", one.json]}')
    (tmp_path / "one.json").write_text('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}}')
    for name in ("b", "a"):
        (tmp_path / "shop" / f"{name}.yaml").write_text(CONFIG_MAP % name)
    assert names(load([tmp_path / "topology.yaml"])) == ["a", "b", "one"]


def test_a_file_that_a_topology_names_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(TOPOLOGY % "{manifests: [shop/*.yaml]}")
    assert problems_of(path) == [f"{path}:3:20: spec.manifests[0]: no file matches {tmp_path}/shop/*.yaml"]


def test_there_is_one_topology() -> None:
    assert problems_of(TOPOLOGY % "{}", TOPOLOGY % "{}") == ["-:1:1: a second Topology"]


def test_a_services_address_must_be_in_the_topologys_subnet() -> None:
    topology = TOPOLOGY % "{networking: {serviceSubnet: 172.20.0.0/16}}"
    assert names(load([topology, SERVICE % ("web", "default", "172.20.0.7")])) == ["web"]
    (problem,) = problems_of(topology, SERVICE % ("web", "default", "10.96.0.7"))
    assert "is not in the valid range. The range of valid IPs is 172.20.0.0/16" in problem


def test_a_broken_topology_makes_no_mistakes_elsewhere() -> None:
    topology = TOPOLOGY % "{networking: {serviceSubnet: 172.20.0.0/16}, sed: 1}"
    found = problems_of(topology, SERVICE % ("web", "default", "172.20.0.7"))
    assert found == ['-:3:52: Topology: unknown field "spec.sed"']


# --- a running cluster -------------------------------------------------------------------------------

RUNNING = Existing(
    Topology(),
    {"prod"},
    {"10.96.0.10": "kube-system/kube-dns", "10.96.0.7": "prod/web"},
    {("TCP", 30080): "prod/web"},
)
NODE_PORT = """
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: prod}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30080, protocol: %s}]}
"""


def test_a_running_cluster_has_its_namespaces() -> None:
    assert names(load([SERVICE % ("web", "prod", "None")], existing=RUNNING)) == ["web"]


def test_a_running_clusters_addresses_are_taken_by_others_only() -> None:
    assert names(load([SERVICE % ("web", "prod", "10.96.0.7")], existing=RUNNING)) == ["web"]
    (problem,) = problems_of(SERVICE % ("other", "prod", "10.96.0.7"), existing=RUNNING)
    assert "failed to allocate IP 10.96.0.7: provided IP is already allocated" in problem


def test_a_running_clusters_node_ports_are_taken_by_others_only() -> None:
    assert names(load([NODE_PORT % ("web", "TCP")], existing=RUNNING)) == ["web"]
    assert names(load([NODE_PORT % ("other", "UDP")], existing=RUNNING)) == ["other"]
    (problem,) = problems_of(NODE_PORT % ("other", "TCP"), existing=RUNNING)
    assert "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated" in problem


def test_a_running_cluster_keeps_its_topology() -> None:
    assert load([CONFIG_MAP % "a"], existing=RUNNING).topology is RUNNING.topology
    assert problems_of(TOPOLOGY % "{}", existing=RUNNING) == ["-:1:1: a running cluster keeps its Topology"]


# --- places ------------------------------------------------------------------------------------------


def test_the_place_of_a_field_can_be_asked_for_later() -> None:
    loaded = load([CONFIG_MAP % "a" + "data:\n  key: value\n"])
    (item,) = loaded.objects
    assert isinstance(item, ConfigMap)
    assert loaded.source(item.ref, "data", "key") == Source("-", 5, 3)
    assert loaded.source(ObjectRef("Service", "default", "kubernetes"), "spec") is None
