"""Objects look as ``kubectl get`` prints them."""

from __future__ import annotations

import pytest

from netsim.cli import tables
from netsim.objects.apps import Deployment, DeploymentSpec, DeploymentStatus, PodTemplateSpec
from netsim.objects.core import (
    Container,
    ContainerStatus,
    EndpointAddress,
    Endpoints,
    EndpointsPort,
    EndpointSubset,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from netsim.objects.meta import Condition, LabelSelector, LabelSelectorRequirement, Object, ObjectMeta


def meta(name: str, namespace: str = "dev", *, created: float = 0.0, **more: object) -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, creation_timestamp=created, **more)  # type: ignore[arg-type]


def shown(table: tables.Table, *objects: Object, wide: bool = False, namespaces: bool = False) -> str:
    return tables.render_objects(table, objects, 30.0, wide=wide, namespaces=namespaces)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (49 * 3600, "2d1h"),
        (9 * 24 * 3600 + 3600, "9d"),
    ],
)
def test_ages_are_rounded_as_kubectl_does(seconds: float, text: str) -> None:
    assert tables.render_age(100.0, 100.0 + seconds) == text


def test_a_time_that_was_never_set_is_unknown() -> None:
    assert tables.render_age(None, 5.0) == "<unknown>"


def pod(name: str, **status: object) -> Pod:
    spec = PodSpec(containers=(Container("main"),), node_name="node1")
    return Pod(metadata=meta(name), spec=spec, status=PodStatus(**status))  # type: ignore[arg-type]


def test_pods() -> None:
    running = pod(
        "jump",
        phase="Running",
        pod_ip="10.244.1.2",
        container_statuses=(ContainerStatus("main", ready=True),),
    )
    crashing = pod(
        "ended",
        phase="Running",
        container_statuses=(
            ContainerStatus(
                "main", restart_count=3, rest={"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            ),
        ),
    )
    assert shown(tables.PODS, running, crashing) == (
        "NAME    READY   STATUS             RESTARTS   AGE\n"
        "jump    1/1     Running            0          30s\n"
        "ended   0/1     CrashLoopBackOff   3          30s\n"
    )


def test_wide_pods_of_all_namespaces() -> None:
    heading, row = shown(tables.PODS, pod("jump"), wide=True, namespaces=True).splitlines()
    assert heading.startswith(
        "NAMESPACE   NAME   READY   STATUS    RESTARTS   AGE   IP       NODE    NOMINATED"
    )
    assert row.startswith("dev         jump   0/1     Pending   0          30s   <none>   node1   <none>  ")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"terminated": {"reason": "Completed", "exitCode": 0}}, "Completed"),
        ({"terminated": {"exitCode": 3}}, "ExitCode:3"),
        ({"running": {}}, "Running"),
    ],
)
def test_the_status_of_a_pod_is_its_containers_reason(state: dict[str, object], text: str) -> None:
    statuses = (ContainerStatus("main", rest={"state": state}),)
    assert f" {text} " in shown(tables.PODS, pod("x", phase="Running", container_statuses=statuses))


def test_a_deleted_pod_is_terminating() -> None:
    deleted = Pod(metadata=meta("x", deletion_timestamp=1.0), status=PodStatus(phase="Running"))
    assert " Terminating " in shown(tables.PODS, deleted)


def test_services() -> None:
    def service(name: str, spec: ServiceSpec) -> Service:
        return Service(metadata=meta(name), spec=spec)

    ports = (ServicePort(80, node_port=30080), ServicePort(53, protocol="UDP"))
    assert shown(
        tables.SERVICES,
        service("web", ServiceSpec(type="LoadBalancer", cluster_ip="10.96.0.7", ports=ports)),
        service("none", ServiceSpec(cluster_ip="None", selector={"b": "2", "a": "1"})),
        service("out", ServiceSpec(type="ExternalName", external_name="example.com")),
        wide=True,
    ) == (
        "NAME   TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE   SELECTOR\n"
        "web    LoadBalancer   10.96.0.7    <pending>     80:30080/TCP,53/UDP   30s   <none>\n"
        "none   ClusterIP      None         <none>        <none>                30s   a=1,b=2\n"
        "out    ExternalName   <none>       example.com   <none>                30s   <none>\n"
    )


def test_endpoints_beyond_three_are_counted() -> None:
    addresses = tuple(EndpointAddress(f"10.244.1.{last}") for last in range(2, 7))
    subset = EndpointSubset(addresses=addresses, ports=(EndpointsPort(8080),))
    assert shown(tables.ENDPOINTS, Endpoints(metadata=meta("ent"), subsets=(subset,))) == (
        "NAME   ENDPOINTS                                                     AGE\n"
        "ent    10.244.1.2:8080,10.244.1.3:8080,10.244.1.4:8080 + 2 more...   30s\n"
    )


def test_no_endpoints_are_none() -> None:
    assert "ent    <none>" in shown(tables.ENDPOINTS, Endpoints(metadata=meta("ent")))


def test_nodes() -> None:
    node = Node(
        metadata=meta("control", "", labels={"node-role.kubernetes.io/control-plane": ""}),
        spec=NodeSpec(unschedulable=True),
        status=NodeStatus(
            addresses=(NodeAddress("InternalIP", "192.168.10.10"),),
            conditions=(Condition("Ready", "True"),),
            rest={"nodeInfo": {"kubeletVersion": "v1.35.0"}},
        ),
    )
    assert shown(tables.NODES, node) == (
        "NAME      STATUS                     ROLES           AGE   VERSION\n"
        "control   Ready,SchedulingDisabled   control-plane   30s   v1.35.0\n"
    )
    assert "192.168.10.10   <none>        <unknown>" in shown(tables.NODES, node, wide=True)


def test_deployments() -> None:
    selector = LabelSelector(
        match_labels={"app": "ent"},
        match_expressions=(
            LabelSelectorRequirement("tier", "In", ("b", "a")),
            LabelSelectorRequirement("old", "DoesNotExist"),
        ),
    )
    template = PodTemplateSpec(spec=PodSpec(containers=(Container("web", image="nginx"),)))
    deployment = Deployment(
        metadata=meta("ent", "prod"),
        spec=DeploymentSpec(replicas=3, selector=selector, template=template),
        status=DeploymentStatus(replicas=3, updated_replicas=3, ready_replicas=2, available_replicas=2),
    )
    assert shown(tables.DEPLOYMENTS, deployment, wide=True) == (
        "NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES   SELECTOR\n"
        "ent    2/3     3            2           30s   web          nginx    !old,app=ent,tier in (a,b)\n"
    )
