"""``apply`` and ``delete`` as the API server takes them from users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from netsim.base.errors import Forbidden, Invalid, NotFound
from netsim.base.rng import Rng
from netsim.objects.apps import Deployment, DeploymentSpec, DeploymentStatus, PodTemplateSpec
from netsim.objects.core import (
    Container,
    Endpoints,
    Namespace,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
    Toleration,
)
from netsim.objects.meta import LabelSelector, Object, ObjectMeta, ObjectRef
from netsim.objects.workloads import DaemonSet, DaemonSetSpec, Job, JobSpec, StatefulSet, StatefulSetSpec
from netsim.store.admission import apply, delete
from netsim.store.store import Store

META = ObjectMeta(name="x", namespace="dev")


@pytest.fixture
def store() -> Store:
    made = Store(Rng(1))
    for name in ("default", "dev", "leaving"):
        made.create(Namespace(metadata=ObjectMeta(name=name)), 0)
    made.create(Pod(metadata=ObjectMeta(name="last", namespace="leaving")), 0)
    made.delete(ObjectRef("Namespace", "", "leaving"), 0)
    return made


def service(**more: Any) -> Service:
    return Service(metadata=META, spec=ServiceSpec(**more))


def pod(**more: Any) -> Pod:
    return Pod(metadata=META, spec=PodSpec(containers=(Container("c", "shop:v1"),), **more))


def deployment(app: str = "x") -> Deployment:
    template = PodTemplateSpec(ObjectMeta(labels={"app": app}))
    return Deployment(metadata=META, spec=DeploymentSpec(1, LabelSelector({"app": app}), template))


def stateful_set(**more: Any) -> StatefulSet:
    return StatefulSet(metadata=META, spec=StatefulSetSpec(**more))


def job(image: str = "perl", **more: Any) -> Job:
    template = PodTemplateSpec(spec=PodSpec(containers=(Container("c", image),)))
    return Job(metadata=META, spec=JobSpec(template=template, **more))


FORBIDDEN_IN_STATEFUL_SETS = (
    'StatefulSet "x" is invalid: spec: Forbidden: updates to statefulset spec for fields other than '
    "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def test_apply_says_what_kubectl_says(store: Store) -> None:
    assert str(apply(store, deployment(), 0)) == "deployment.apps/x created"
    assert str(apply(store, deployment(), 0)) == "deployment.apps/x unchanged"
    more = replace(deployment(), spec=replace(deployment().spec, replicas=3))
    assert str(apply(store, more, 0)) == "deployment.apps/x configured"
    assert str(apply(store, Endpoints(metadata=META), 0)) == "endpoints/x created"


# --- namespaces


def test_an_unknown_namespace_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound) as refused:
        apply(store, Pod(metadata=ObjectMeta(name="x", namespace="prod")), 0)
    assert str(refused.value) == 'namespaces "prod" not found'


def test_a_namespace_that_is_being_deleted_takes_nothing_new(store: Store) -> None:
    with pytest.raises(Forbidden) as refused:
        apply(store, Pod(metadata=ObjectMeta(name="x", namespace="leaving")), 0)
    assert str(refused.value) == (
        'pods "x" is forbidden: unable to create new content in namespace leaving '
        "because it is being terminated"
    )


def test_the_first_namespaces_may_not_be_deleted(store: Store) -> None:
    with pytest.raises(Forbidden) as refused:
        delete(store, ObjectRef("Namespace", "", "default"), 0)
    assert str(refused.value) == 'namespaces "default" is forbidden: this namespace may not be deleted'
    delete(store, ObjectRef("Namespace", "", "dev"), 0)
    assert store.terminating("dev")


def test_delete_passes_the_grace_period_on(store: Store) -> None:
    apply(store, pod(node_name="n1"), 0)
    delete(store, META_REF, 0, grace_seconds=5)
    assert store.get_ref(META_REF).metadata.deletion_timestamp == 5.0


META_REF = ObjectRef("Pod", "dev", "x")

# --- what an update keeps


def test_status_and_node_survive_an_apply(store: Store) -> None:
    made = apply(store, pod(), 0).object
    assert isinstance(made, Pod)
    running = replace(made, spec=replace(made.spec, node_name="n1"), status=PodStatus(phase="Running"))
    store.update(running)
    applied = apply(store, replace(pod(), metadata=replace(META, labels={"app": "x"})), 0)
    assert isinstance(applied.object, Pod)
    assert (applied.object.spec.node_name, applied.object.status.phase) == ("n1", "Running")
    assert applied.object.metadata.labels == {"app": "x"}


def test_a_deployment_keeps_its_status_and_its_controller_s_annotations(store: Store) -> None:
    made = apply(store, deployment(), 0).object
    notes = {"deployment.kubernetes.io/revision": "3", "mine": "1"}
    store.update(
        replace(made, metadata=replace(made.metadata, annotations=notes), status=DeploymentStatus(replicas=1))
    )
    found = apply(store, deployment(), 0).object
    assert isinstance(found, Deployment)
    assert found.metadata.annotations == {"deployment.kubernetes.io/revision": "3"}
    assert found.status.replicas == 1


PORTS = (ServicePort(80, "http"),)


def allocated(store: Store) -> None:
    apply(store, service(type="NodePort", ports=PORTS), 0)
    spec = ServiceSpec(
        type="NodePort",
        cluster_ip="10.96.5.5",
        cluster_ips=("10.96.5.5",),
        ip_families=("IPv4",),
        ip_family_policy="SingleStack",
        ports=(ServicePort(80, "http", node_port=30100),),
    )
    store.update(Service(metadata=META, spec=spec))


@pytest.mark.parametrize(
    ("declared", "cluster_ip", "node_ports"),
    [
        (service(type="NodePort", ports=PORTS), "10.96.5.5", [30100]),
        (service(type="NodePort", ports=PORTS, cluster_ip="10.96.5.5"), "10.96.5.5", [30100]),
        (service(type="NodePort", ports=(*PORTS, ServicePort(81, "more"))), "10.96.5.5", [30100, None]),
        (service(type="LoadBalancer", ports=PORTS), "10.96.5.5", [30100]),
        (service(type="ClusterIP", ports=PORTS), "10.96.5.5", [None]),
        (service(type="ExternalName", external_name="example.com"), "", []),
    ],
)
def test_a_service_keeps_what_was_allocated_to_it(
    store: Store, declared: Service, cluster_ip: str, node_ports: list[int | None]
) -> None:
    allocated(store)
    found = apply(store, declared, 0).object
    assert isinstance(found, Service)
    assert found.spec.cluster_ip == cluster_ip
    assert found.spec.cluster_ips == ((cluster_ip,) if cluster_ip else ())
    assert [port.node_port for port in found.spec.ports] == node_ports


def test_applying_a_service_again_changes_nothing(store: Store) -> None:
    allocated(store)
    assert apply(store, service(type="NodePort", ports=PORTS), 0).verb == "unchanged"


# --- what an update may not change


def put_old(store: Store, old: Object) -> None:
    apply(store, old, 0)
    if isinstance(old, Service):
        allocated(store)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            deployment(),
            deployment("y"),
            'Deployment "x" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: '
            "field is immutable",
        ),
        (
            service(),
            service(cluster_ip="10.96.7.7"),
            'Service "x" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.7.7"]: '
            "may not change once set",
        ),
        (stateful_set(), stateful_set(service_name="other"), FORBIDDEN_IN_STATEFUL_SETS),
        (stateful_set(), stateful_set(pod_management_policy="Parallel"), FORBIDDEN_IN_STATEFUL_SETS),
        (stateful_set(), stateful_set(rest={"volumeClaimTemplates": [{}]}), FORBIDDEN_IN_STATEFUL_SETS),
        (
            DaemonSet(metadata=META),
            DaemonSet(metadata=META, spec=DaemonSetSpec(LabelSelector({"app": "y"}))),
            'DaemonSet "x" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: '
            "field is immutable",
        ),
        (
            job(completion_mode="NonIndexed"),
            job(completion_mode="Indexed"),
            'Job "x" is invalid: spec.completionMode: Invalid value: "Indexed": field is immutable',
        ),
        (
            pod(),
            pod(hostname="other"),
            'Pod "x" is invalid: spec: Forbidden: pod updates may not change fields other than '
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ),
    ],
)
def test_what_may_not_change_is_refused_in_the_api_server_s_words(
    store: Store, old: Object, new: Object, message: str
) -> None:
    put_old(store, old)
    before = store.get_ref(old.ref)
    with pytest.raises(Invalid) as refused:
        apply(store, new, 0)
    assert str(refused.value) == message
    assert store.get_ref(old.ref) == before


def test_the_template_of_a_job_may_not_change(store: Store) -> None:
    apply(store, job(), 0)
    with pytest.raises(Invalid, match=r"spec.template: Invalid value: .*: field is immutable"):
        apply(store, job("ruby"), 0)


def test_the_replicas_template_and_strategy_of_a_stateful_set_may_change(store: Store) -> None:
    apply(store, stateful_set(), 0)
    template = PodTemplateSpec(ObjectMeta(labels={"app": "x"}))
    rest = {"updateStrategy": {"type": "OnDelete"}, "ordinals": {"start": 1}, "revisionHistoryLimit": 1}
    new = stateful_set(replicas=2, template=template, min_ready_seconds=1, rest=rest)
    assert apply(store, new, 0).verb == "configured"


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: replace(spec, containers=(Container("c", "shop:v2"),)),
        lambda spec: replace(spec, tolerations=(Toleration("gpu", "Exists"),)),
        lambda spec: replace(spec, rest={"activeDeadlineSeconds": 10}),
    ],
)
def test_a_few_fields_of_a_pod_may_change(store: Store, change: Callable[[PodSpec], PodSpec]) -> None:
    apply(store, pod(), 0)
    assert apply(store, replace(pod(), spec=change(pod().spec)), 0).verb == "configured"
