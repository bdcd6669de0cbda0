"""A container's environment variables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import PodStartError
from netsim.base.rng import Rng
from netsim.kubelet.environment import (
    SOURCE_ANNOTATION,
    container_environment,
    environment_of,
    expand,
    service_environment,
    visible_services,
)
from netsim.objects.core import (
    ConfigMap,
    Container,
    EnvVar,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
)
from netsim.objects.meta import ObjectMeta
from netsim.store.store import Store


def service(
    name: str, address: str, *ports: ServicePort, namespace: str = "dev", kind: str = "ClusterIP"
) -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceSpec(type=kind, cluster_ip=address, ports=ports or (ServicePort(8080),)),
    )


KUBERNETES = service("kubernetes", "10.96.0.1", ServicePort(443, "https"), namespace="default")
ENT = service("ent", "10.96.12.34")


def environment(
    *declared: EnvVar, services: tuple[Service, ...] = (KUBERNETES, ENT), **spec: Any
) -> dict[str, str]:
    pod = Pod(
        metadata=ObjectMeta(name="web-0", namespace="dev", labels={"app": "web"}),
        spec=PodSpec(node_name="node1", **spec),
        status=PodStatus(pod_ip="10.244.1.5", pod_ips=(PodIP("10.244.1.5"),), host_ip="192.168.10.2"),
    )
    return container_environment(pod, Container("main", env=declared), services)


def test_a_service_has_host_port_and_link_variables_in_order() -> None:
    ports = (ServicePort(5353, "dns-u", "UDP"), ServicePort(80, "http"))
    assert list(service_environment([service("my-dns", "10.96.12.36", *ports)]).items()) == [
        ("MY_DNS_SERVICE_HOST", "10.96.12.36"),
        ("MY_DNS_SERVICE_PORT", "5353"),
        ("MY_DNS_SERVICE_PORT_DNS_U", "5353"),
        ("MY_DNS_SERVICE_PORT_HTTP", "80"),
        ("MY_DNS_PORT", "udp://10.96.12.36:5353"),
        ("MY_DNS_PORT_5353_UDP", "udp://10.96.12.36:5353"),
        ("MY_DNS_PORT_5353_UDP_PROTO", "udp"),
        ("MY_DNS_PORT_5353_UDP_PORT", "5353"),
        ("MY_DNS_PORT_5353_UDP_ADDR", "10.96.12.36"),
        ("MY_DNS_PORT_80_TCP", "tcp://10.96.12.36:80"),
        ("MY_DNS_PORT_80_TCP_PROTO", "tcp"),
        ("MY_DNS_PORT_80_TCP_PORT", "80"),
        ("MY_DNS_PORT_80_TCP_ADDR", "10.96.12.36"),
    ]


def test_an_ipv6_address_has_brackets_in_urls_only() -> None:
    variables = service_environment([service("six", "fd00::40")])
    assert variables["SIX_PORT"] == "tcp://[fd00::40]:8080"
    assert variables["SIX_SERVICE_HOST"] == variables["SIX_PORT_8080_TCP_ADDR"] == "fd00::40"


@pytest.mark.parametrize(
    "without", [service("x", "None"), service("x", ""), service("x", "1.2.3.4", kind="ExternalName")]
)
def test_services_without_a_cluster_ip_have_none(without: Service) -> None:
    assert service_environment([without]) == {}
    assert visible_services([without], "dev") == ()


def test_a_pod_sees_its_namespace_and_the_kubernetes_service() -> None:
    other = service("ent", "10.96.56.78", namespace="prod")
    assert visible_services([ENT, other, KUBERNETES], "dev") == (ENT, KUBERNETES)
    assert visible_services([ENT, other, KUBERNETES], "prod") == (other, KUBERNETES)
    assert visible_services([ENT, other, KUBERNETES], "dev", enable_service_links=False) == (KUBERNETES,)


def test_a_kubernetes_service_of_the_own_namespace_wins_with_links() -> None:
    own = service("kubernetes", "10.96.99.9")
    for services in ([own, KUBERNETES], [KUBERNETES, own]):
        assert visible_services(services, "dev") == (own,)
        assert visible_services(services, "dev", enable_service_links=False) == (KUBERNETES,)


def test_the_api_server_never_leaves_service_links_open() -> None:
    with pytest.raises(PodStartError, match=r"nil pod\.spec\.enableServiceLinks encountered"):
        visible_services([ENT], "dev", enable_service_links=None)


def test_services_must_have_been_read_but_for_a_static_pod() -> None:
    pod = Pod(metadata=ObjectMeta(name="p", namespace="dev"), spec=PodSpec(enable_service_links=True))
    with pytest.raises(PodStartError, match="services have not yet been read at least once"):
        container_environment(pod, Container("c"), None)
    static = ObjectMeta(name="p", namespace="dev", annotations={SOURCE_ANNOTATION: "file"})
    assert container_environment(Pod(metadata=static, spec=pod.spec), Container("c"), None) == {}


def test_declared_variables_win_and_refer_to_services_and_to_those_above() -> None:
    got = environment(
        EnvVar("ENT_SERVICE_HOST", "override"),
        EnvVar("URL", "http://$(ENT_SERVICE_HOST):$(ENT_SERVICE_PORT)/"),
        EnvVar("EARLY", "$(LATE)"),
        EnvVar("LATE", "x"),
        EnvVar("EMPTY"),
    )
    assert got["ENT_SERVICE_HOST"] == "override"
    assert got["URL"] == "http://override:8080/"
    assert got["EARLY"] == "$(LATE)"
    assert got["EMPTY"] == ""
    assert got["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.namespace", "dev"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.244.1.5"),
        ("status.podIPs", "10.244.1.5"),
        ("status.hostIP", "192.168.10.2"),
    ],
)
def test_the_downward_api(path: str, value: str) -> None:
    field = EnvVar("X", rest={"valueFrom": {"fieldRef": {"fieldPath": path}}})
    assert environment(field, EnvVar("Y", "<$(X)>"))["Y"] == f"<{value}>"


def test_a_source_that_is_not_modelled_leaves_the_variable_out() -> None:
    limit = EnvVar("CPUS", rest={"valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}})
    assert "CPUS" not in environment(limit)


SETTINGS = ConfigMap(
    metadata=ObjectMeta(name="settings", namespace="dev"), data={"HOST": "db", "log.level": "3"}
)
LOGIN = Secret(metadata=ObjectMeta(name="login", namespace="dev"), data={"USER": "YWRtaW4=", "PASS": "eA=="})
ELSEWHERE = ConfigMap(metadata=ObjectMeta(name="elsewhere", namespace="prod"), data={"HOST": "far"})


def configured(*whole: dict[str, Any], **keys: dict[str, Any]) -> dict[str, str]:
    """The variables, other than those of Services, of a container with this envFrom and these valueFrom."""
    store = Store(Rng(1))
    for held in (SETTINGS, LOGIN, ELSEWHERE):
        store.create(held, 0.0)
    pod = Pod(metadata=ObjectMeta(name="web", namespace="dev"))
    declared = tuple(EnvVar(name, rest={"valueFrom": source}) for name, source in keys.items())
    container = Container("main", env=declared, rest={"envFrom": list(whole)})
    return dict(environment_of(store, pod, container))


def key_of(field: str, name: str, key: str, **more: bool) -> dict[str, Any]:
    return {field: {"name": name, "key": key, **more}}


def test_a_variable_has_the_value_of_a_key() -> None:
    host, password = key_of("configMapKeyRef", "settings", "HOST"), key_of("secretKeyRef", "login", "PASS")
    assert configured(WHERE=host, PASSWORD=password) == {"WHERE": "db", "PASSWORD": "x"}


def test_whole_config_maps_and_secrets_come_first_with_their_prefix_and_a_later_one_wins() -> None:
    whole = {"configMapRef": {"name": "settings"}}, {"prefix": "HO", "secretRef": {"name": "login"}}
    assert configured(*whole) == {"HOST": "db", "log.level": "3", "HOUSER": "admin", "HOPASS": "x"}
    assert configured(*whole, HOST=key_of("secretKeyRef", "login", "USER"))["HOST"] == "admin"
    again = {"prefix": "HO", "configMapRef": {"name": "login", "optional": True}}
    assert configured(*whole, again)["HOUSER"] == "admin", "a ConfigMap is no Secret"


@pytest.mark.parametrize(
    ("whole", "keys", "message"),
    [
        ([{"configMapRef": {"name": "none"}}], {}, 'configmap "none" not found'),
        ([{"secretRef": {"name": "settings"}}], {}, 'secret "settings" not found'),
        ([], {"X": key_of("configMapKeyRef", "elsewhere", "HOST")}, 'configmap "elsewhere" not found'),
        ([], {"X": key_of("configMapKeyRef", "settings", "PORT")}, "find key PORT in ConfigMap dev/settings"),
        ([], {"X": key_of("secretKeyRef", "login", "KEY")}, "couldn't find key KEY in Secret dev/login"),
    ],
)
def test_what_is_missing_keeps_the_container_from_being_created(
    whole: list[dict[str, Any]], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(PodStartError, match=f"^CreateContainerConfigError: .*{message}"):
        configured(*whole, **keys)


def test_what_is_optional_may_be_missing() -> None:
    keys = {
        "X": key_of("configMapKeyRef", "none", "HOST", optional=True),
        "Y": key_of("secretKeyRef", "login", "KEY", optional=True),
    }
    assert configured({"secretRef": {"name": "none", "optional": True}}, **keys) == {}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)-$(A)", "1-1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$()", "$()"),
        ("end$", "end$"),
    ],
)
def test_references(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


@given(st.text(alphabet="$()AB x"))
def test_text_without_a_dollar_stays_as_it_is(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, {"A": "1"}) == plain
