"""Tables read as ``kubectl get`` prints them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netsim.base.rng import Rng
from netsim.cluster.listing import Wanted, listed
from netsim.cluster.tables import TABLES, render_age, render_columns, render_table, table_rows
from netsim.objects.apps import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
)
from netsim.objects.core import (
    ConfigMap,
    Container,
    ContainerStatus,
    EndpointAddress,
    Endpoints,
    EndpointsPort,
    EndpointSubset,
    Namespace,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from netsim.objects.discovery import Endpoint, EndpointPort, EndpointSlice
from netsim.objects.meta import Condition, LabelSelector, LabelSelectorRequirement, Object, ObjectMeta
from netsim.objects.workloads import (
    DaemonSet,
    DaemonSetSpec,
    DaemonSetStatus,
    Job,
    JobSpec,
    JobStatus,
    ReplicationController,
    ReplicationControllerSpec,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetStatus,
)
from netsim.store.store import Store
from tests.conftest import Golden

READY = (Condition("Ready", "True"),)
RUNNING = {"state": {"running": {}}}


def store_of(*objects: Object, now: float = 0.0) -> Store:
    store = Store(Rng(1))
    for obj in objects:
        store.create(obj, now)
    return store


def meta(name: str, namespace: str = "dev", **more: Any) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, **more)


def pod(name: str, *states: dict[str, Any], namespace: str = "dev", **status: Any) -> Pod:
    """A Pod with one container for each ``rest`` of a container status."""
    names = [f"c{number}" for number in range(len(states) or 1)]
    statuses = tuple(
        ContainerStatus(
            container,
            ready="running" in state["state"],
            restart_count=state.get("restarts", 0),
            rest={key: value for key, value in state.items() if key != "restarts"},
        )
        for container, state in zip(names, states, strict=False)
    )
    return Pod(
        metadata=meta(name, namespace),
        spec=PodSpec(containers=tuple(Container(container) for container in names), node_name="node1"),
        status=PodStatus(container_statuses=statuses, **{"phase": "Running", **status}),
    )


def column(store: Store, table: str, title: str, *, now: float = 0.0, wide: bool = False) -> list[str]:
    return [row[title] for row in table_rows(TABLES[table], store, "dev", now=now, wide=wide)]


# --- whole tables


def workloads() -> list[Object]:
    template = PodTemplateSpec(
        spec=PodSpec(containers=(Container("web", "nginx"), Container("log", "busybox")))
    )
    selector = LabelSelector({"app": "web"}, (LabelSelectorRequirement("tier", "In", ("b", "a")),))
    return [
        Deployment(
            metadata=meta("enterprise", "prod"),
            spec=DeploymentSpec(3, selector, template),
            status=DeploymentStatus(3, 3, 2, 2),
        ),
        Deployment(metadata=meta("b"), spec=DeploymentSpec(1, LabelSelector({"app": "b"}), template)),
        ReplicaSet(
            metadata=meta("enterprise-7d49557d8d", "prod"),
            spec=ReplicaSetSpec(3, selector, template),
            status=ReplicaSetStatus(3, 2, 2),
        ),
    ]


def other_workloads() -> list[Object]:
    selector = LabelSelector({"app": "web"})
    spec = PodSpec(containers=(Container("web", "nginx"), Container("log", "busybox")))
    template = PodTemplateSpec(spec=spec)
    picky = PodTemplateSpec(spec=replace(spec, node_selector={"disk": "ssd", "arch": "amd64"}))
    done = (Condition("SuccessCriteriaMet", "True"), Condition("Complete", "True"))
    return [
        ReplicationController(
            metadata=meta("frontend"),
            spec=ReplicationControllerSpec(3, {"app": "guestbook", "tier": "frontend"}, template),
            status=ReplicaSetStatus(3, 2, 2),
        ),
        StatefulSet(
            metadata=meta("db", "prod"),
            spec=StatefulSetSpec(3, selector, template),
            status=StatefulSetStatus(2, 1),
        ),
        StatefulSet(metadata=meta("web"), spec=StatefulSetSpec(0, selector, template)),
        DaemonSet(
            metadata=meta("agent"),
            spec=DaemonSetSpec(selector, template),
            status=DaemonSetStatus(2, 0, 3, 1, 2, 1, 2),
        ),
        DaemonSet(metadata=meta("picky"), spec=DaemonSetSpec(selector, picky)),
        Job(
            metadata=meta("done"),
            spec=JobSpec(1, 1, selector=selector, template=template),
            status=JobStatus(succeeded=1, start_time=0.0, completion_time=95.0, conditions=done),
        ),
        Job(
            metadata=meta("failed", "prod"),
            spec=JobSpec(2, 5, selector=selector, template=template),
            status=JobStatus(start_time=10.0, conditions=(Condition("Failed", "True"),)),
        ),
        Job(metadata=meta("queue"), spec=JobSpec(3, template=template), status=JobStatus(start_time=0.0)),
        Job(metadata=meta("one"), spec=JobSpec(1, template=template)),
        Job(
            metadata=meta("later"),
            spec=JobSpec(1, 1, suspend=True, template=template),
            status=JobStatus(conditions=(Condition("Suspended", "True"),)),
        ),
        Job(
            metadata=meta("failing"),
            spec=JobSpec(1, 1, template=template),
            status=JobStatus(conditions=(Condition("FailureTarget", "True"),)),
        ),
    ]


def endpoints() -> list[Object]:
    ports = (EndpointsPort(8080, "http"), EndpointsPort(9090, "metrics"))
    addresses = tuple(EndpointAddress(f"10.244.1.{n}") for n in (2, 3))
    slice_addresses = tuple(Endpoint((f"10.244.1.{n}",)) for n in range(2, 7))
    return [
        Endpoints(metadata=meta("ent"), subsets=(EndpointSubset(addresses, (), ports),)),
        Endpoints(metadata=meta("few"), subsets=(EndpointSubset(addresses, (), ports[:1]),)),
        Endpoints(metadata=meta("portless"), subsets=(EndpointSubset(addresses),)),
        Endpoints(metadata=meta("unready"), subsets=(EndpointSubset((), addresses, ports),)),
        Endpoints(metadata=meta("nobody")),
        EndpointSlice(
            metadata=meta("ent-x7k2p"), endpoints=slice_addresses, ports=(EndpointPort("http", 8080),)
        ),
        EndpointSlice(
            metadata=meta("all-zzzzz"),
            endpoints=slice_addresses[:3],
            ports=(EndpointPort("any"), EndpointPort(), EndpointPort("", 1), EndpointPort("", 2)),
        ),
        EndpointSlice(metadata=meta("nobody-bbbbb")),
    ]


def services() -> list[Object]:
    ingress = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"hostname": "lb.example.com"}]}}
    dns = (ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp"), ServicePort(9153, "metrics"))
    return [
        Service(
            metadata=meta("kube-dns", "kube-system"),
            spec=ServiceSpec(selector={"k8s-app": "kube-dns"}, cluster_ip="10.96.0.10", ports=dns),
        ),
        Service(metadata=meta("bare"), spec=ServiceSpec(external_ips=("192.0.2.1", "192.0.2.2"))),
        Service(metadata=meta("headless"), spec=ServiceSpec(cluster_ip="None", ports=(ServicePort(80),))),
        Service(
            metadata=meta("lb"),
            spec=ServiceSpec(
                type="LoadBalancer", cluster_ip="10.96.7.7", ports=(ServicePort(80, node_port=30080),)
            ),
            status=ServiceStatus(ingress),
        ),
        Service(metadata=meta("no-lb"), spec=ServiceSpec(type="LoadBalancer", cluster_ip="10.96.7.8")),
        Service(
            metadata=meta("node"),
            spec=ServiceSpec(
                type="NodePort", cluster_ip="10.96.7.9", ports=(ServicePort(80, node_port=30081),)
            ),
        ),
        Service(metadata=meta("out"), spec=ServiceSpec(type="ExternalName", external_name="www.example.com")),
    ]


def nodes() -> list[Object]:
    info = {"kubeletVersion": "v1.35.0", "osImage": "Debian GNU/Linux 12"}
    return [
        Node(
            metadata=ObjectMeta(name="control", labels={"node-role.kubernetes.io/control-plane": ""}),
            status=NodeStatus((NodeAddress("InternalIP", "192.168.10.10"),), READY, {"nodeInfo": info}),
        ),
        Node(
            metadata=ObjectMeta(name="node1", labels={"kubernetes.io/role": "worker"}),
            spec=NodeSpec(unschedulable=True),
            status=NodeStatus(conditions=(Condition("Ready", "Unknown"),)),
        ),
        Node(metadata=ObjectMeta(name="node2")),
    ]


def pods() -> list[Object]:
    crashed = {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "restarts": 4,
        "lastState": {"terminated": {"finishedAt": 300.0}},
    }
    return [
        pod("jump", RUNNING, pod_ip="10.244.1.2"),
        pod("enterprise-7d49557d8d-k4jjz", RUNNING, RUNNING, namespace="prod", pod_ip="10.244.1.3"),
        pod("crashing", crashed),
        Pod(metadata=meta("nowhere")),
        Pod(
            metadata=meta("gated"),
            spec=PodSpec(
                (Container("c"),),
                init_containers=(Container("proxy", rest={"restartPolicy": "Always"}), Container("once")),
                rest={"readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
            ),
            status=PodStatus(
                "Running",
                conditions=(Condition("Initialized", "True"), Condition("a", "True")),
                container_statuses=(ContainerStatus("c", ready=True, rest=RUNNING),),
                init_container_statuses=(
                    ContainerStatus("proxy", ready=True, started=True, restart_count=1, rest=RUNNING),
                    ContainerStatus("once", restart_count=7, rest={"state": {"terminated": {"exitCode": 0}}}),
                ),
            ),
        ),
    ]


def namespaces() -> list[Object]:
    return [Namespace(metadata=ObjectMeta(name=name)) for name in ("dev", "prod")]


def config_maps() -> list[Object]:
    return [
        ConfigMap(metadata=meta("coredns"), data={"Corefile": ".:53 {}"}),
        ConfigMap(metadata=meta("mixed", "prod"), data={"a": "1", "b": "2"}, binary_data={"c": "AA=="}),
        ConfigMap(metadata=meta("empty")),
    ]


def secrets() -> list[Object]:
    return [
        Secret(metadata=meta("login", "prod"), data={"user": "YQ==", "password": "Yg=="}),
        Secret(metadata=meta("empty"), type="kubernetes.io/tls"),
    ]


OBJECTS = {
    "namespaces": namespaces,
    "configmaps": config_maps,
    "secrets": secrets,
    "pods": pods,
    "services": services,
    "endpoints": endpoints,
    "endpointslices": endpoints,
    "nodes": nodes,
    "deployments": workloads,
    "replicasets": workloads,
    "replicationcontrollers": other_workloads,
    "statefulsets": other_workloads,
    "daemonsets": other_workloads,
    "jobs": other_workloads,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_reads_as_kubectl_prints_it(name: str, golden: Golden) -> None:
    store = store_of(*OBJECTS[name]())
    text = ""
    for namespace, wide in (("dev", False), ("dev", True), (None, False)):
        objects = listed(store, Wanted(TABLES[name].kind, namespace=namespace))
        text += render_table(TABLES[name], objects, now=330.0, scoped=namespace is None, wide=wide) + "\n"
    golden(f"{name}.txt", text)


def test_no_objects_are_no_table() -> None:
    assert [render_table(table, [], now=0) for table in TABLES.values()] == [""] * len(TABLES)
    assert table_rows(TABLES["pods"], store_of(), None, now=0) == []


def test_rows_are_plain_values_under_their_titles() -> None:
    store = store_of(pod("jump", RUNNING, pod_ip="10.244.1.2"))
    assert table_rows(TABLES["pods"], store, None, now=5.0) == [
        {
            "namespace": "dev",
            "name": "jump",
            "ready": "1/1",
            "status": "Running",
            "restarts": "0",
            "age": "5s",
        }
    ]
    (wide,) = table_rows(TABLES["pods"], store, "dev", now=5.0, wide=True)
    assert (wide["ip"], wide["node"], wide["nominated node"]) == ("10.244.1.2", "node1", "<none>")


def test_columns_have_at_least_six_places_and_three_spaces() -> None:
    assert render_columns([["A", "LONG TITLE", "END"], ["1", "x", "a b"]]) == (
        "A     LONG TITLE   END\n1     x            a b\n"
    )


# --- the STATUS, READY and RESTARTS of Pods


def ended(code: int, reason: str = "", signal: int = 0) -> dict[str, Any]:
    state = {"exitCode": code, "reason": reason, "signal": signal}
    return {
        "state": {"terminated": {key: value for key, value in state.items() if value or key == "exitCode"}}
    }


WAITING = {"state": {"waiting": {"reason": "ContainerCreating"}}}


@pytest.mark.parametrize(
    ("made", "status", "ready"),
    [
        (pod("p", phase="Pending"), "Pending", "0/1"),
        (pod("p", WAITING, phase="Pending"), "ContainerCreating", "0/1"),
        (pod("p", RUNNING), "Running", "1/1"),
        (pod("p", RUNNING, WAITING), "ContainerCreating", "1/2"),
        (pod("p", ended(0, "Completed"), phase="Succeeded"), "Completed", "0/1"),
        (pod("p", ended(0, "Completed"), RUNNING, conditions=READY), "Running", "1/2"),
        (pod("p", ended(0, "Completed"), RUNNING), "NotReady", "1/2"),
        (pod("p", ended(1, "Error"), ended(0, "Completed"), phase="Failed"), "Error", "0/2"),
        (pod("p", ended(3)), "ExitCode:3", "0/1"),
        (pod("p", ended(137, signal=9)), "Signal:9", "0/1"),
        (pod("p", phase="Failed", reason="Evicted"), "Evicted", "0/1"),
    ],
)
def test_a_pod_s_status_is_its_first_container_s_reason_or_its_phase(
    made: Pod, status: str, ready: str
) -> None:
    store = store_of(made)
    assert column(store, "pods", "status") == [status]
    assert column(store, "pods", "ready") == [ready]


def test_a_leaving_pod_is_terminating_unless_it_has_ended() -> None:
    store = store_of(pod("leaving", RUNNING), pod("ended", ended(0, "Completed"), phase="Succeeded"))
    for found in store.list(Pod):
        if found.metadata.name == "leaving":
            store.delete(found.ref, 0.0)
    assert column(store, "pods", "status") == ["Completed", "Terminating"]


@pytest.mark.parametrize(
    ("last", "text"),
    [({}, "4"), ({"terminated": {"finishedAt": 40.0}}, "4 (60s ago)"),
     ({"terminated": {"finishedAt": "2026-01-01T00:01:30Z"}}, "4 (10s ago)")],
)  # fmt: skip
def test_restarts_tell_when_the_last_one_was(last: dict[str, Any], text: str) -> None:
    store = store_of(pod("p", {**RUNNING, "restarts": 4, "lastState": last}))
    assert column(store, "pods", "restarts", now=100.0) == [text]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["waiting PodInitializing", "waiting PodInitializing"], "Init:0/2"),
        (["running", "waiting PodInitializing"], "Init:0/2"),
        (["terminated 0", "running"], "Init:1/2"),
        (["terminated 3", "waiting PodInitializing"], "Init:Error"),
        (["terminated 0", "waiting CrashLoopBackOff"], "Init:CrashLoopBackOff"),
        (["sidecar", "running"], "Init:1/2"),
    ],
)
def test_the_status_of_a_pod_whose_init_containers_are_not_done(states: list[str], status: str) -> None:
    specs, statuses = [], []
    for number, text in enumerate(states):
        kind, _, detail = text.partition(" ")
        state: dict[str, Any] = {"running": {}}
        if kind == "waiting":
            state = {"waiting": {"reason": detail}}
        if kind == "terminated":
            state = {"terminated": {"exitCode": int(detail), "reason": "Error" if detail != "0" else ""}}
        sidecar = kind == "sidecar"
        specs.append(Container(f"i{number}", rest={"restartPolicy": "Always"} if sidecar else {}))
        restarts = int(number == 0)
        statuses.append(ContainerStatus(f"i{number}", "", sidecar, restarts, sidecar, {"state": state}))
    waiting = ContainerStatus(
        "c", restart_count=5, rest={"state": {"waiting": {"reason": "PodInitializing"}}}
    )
    found = PodStatus("Pending", container_statuses=(waiting,), init_container_statuses=tuple(statuses))
    spec = PodSpec((Container("c"),), init_containers=tuple(specs))
    store = store_of(Pod(metadata=meta("x"), spec=spec, status=found))
    assert column(store, "pods", "status") == [status]
    assert column(store, "pods", "restarts") == ["1"]


# --- cells


def test_a_long_load_balancer_address_is_cut_unless_wide() -> None:
    (made,) = (obj for obj in services() if obj.metadata.name == "lb")
    assert column(store_of(made), "services", "external-ip") == ["198.51.100.1,..."]
    assert column(store_of(made), "services", "external-ip", wide=True) == ["198.51.100.1,lb.example.com"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 + 3600, "8d"),
        (365 * 86400, "365d"),
        (2 * 365 * 86400, "2y"),
        (2 * 365 * 86400 + 86400, "2y1d"),
        (8 * 365 * 86400 + 86400, "8y"),
        (-3, "0s"),
    ],
)
def test_ages_are_abbreviated_as_kubectl_does(seconds: int, text: str) -> None:
    assert render_age(1000.0, 1000.0 + seconds + 0.5 * (seconds > 0)) == text


def test_an_object_without_a_creation_has_no_age() -> None:
    assert render_age(None, 5.0) == "<unknown>"
