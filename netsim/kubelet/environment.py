"""A container's environment: the variables for Services, and the declared ones with their references.

Pure functions for the kubelet agent. They follow pkg/kubelet/envvars/envvars.go and makeEnvironmentVariables
in pkg/kubelet/kubelet_pods.go. Values from resources and files are not modelled: a variable that takes its
value from there is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from netsim.base.errors import PodStartError
from netsim.objects.core import ConfigMap, Container, Pod, Secret, Service
from netsim.store.reader import Reader

MASTER_SERVICE = ("default", "kubernetes")

SOURCE_ANNOTATION = "kubernetes.io/config.source"
"""Where the kubelet has a Pod from (pkg/kubelet/types/pod_update.go); a static Pod's is not the API."""
API_SOURCE = "api"


CONFIG_ERROR = "CreateContainerConfigError"
"""Why a container waits whose environment cannot be made (kuberuntime: ErrCreateContainerConfig)."""

Named: TypeAlias = tuple[type[ConfigMap] | type[Secret], str]
"""A ConfigMap or a Secret of the Pod's namespace."""
Held: TypeAlias = Mapping[Named, Mapping[str, str]]
"""What they hold, as text; without those that do not exist."""
NOTHING: Held = MappingProxyType({})

_SOURCES: Mapping[str, type[ConfigMap] | type[Secret]] = {
    "configMapRef": ConfigMap, "configMapKeyRef": ConfigMap, "secretRef": Secret, "secretKeyRef": Secret,
}  # fmt: skip


def service_environment(services: Iterable[Service]) -> dict[str, str]:
    """The variables for the given Services, in their order (FromServices); those without a cluster IP have
    none. Only the primary address counts, and the Service's own ports."""
    variables: dict[str, str] = {}
    for service in services:
        if _has_cluster_ip(service):
            variables.update(_of_service(service))
    return variables


def visible_services(
    services: Iterable[Service], namespace: str, enable_service_links: bool | None = True
) -> tuple[Service, ...]:
    """The Services that a Pod of a namespace is told of, by name (getServiceEnvVarMap): default/kubernetes
    always, with links all of its own namespace, where another ``kubernetes`` takes the place of the first.

    Raises PodStartError for None, which the API server never lets through.
    """
    if enable_service_links is None:
        message = "Error: nil pod.spec.enableServiceLinks encountered, cannot construct envvars"
        raise PodStartError("Failed", message)
    seen: dict[str, Service] = {}
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        if not _has_cluster_ip(service):
            continue
        if key == MASTER_SERVICE:
            seen.setdefault(service.metadata.name, service)
        elif enable_service_links and service.metadata.namespace == namespace:
            seen[service.metadata.name] = service
    return tuple(seen[name] for name in sorted(seen))


def environment_of(reader: Reader, pod: Pod, container: Container) -> Environment:
    """A container's environment by what the API holds at this moment.

    Raises PodStartError when a ConfigMap, a Secret or a key that it must have is not there.
    """
    namespace, named = pod.metadata.namespace, _named_by(container)
    held: dict[Named, Mapping[str, str]] = {}
    for kind, name in named:
        found = reader.find(kind, name, namespace)
        if found is not None:
            held[kind, name] = decoded(found.data) if isinstance(found, Secret) else found.data
    environment = Environment(pod, container, _services_to_tell_of(reader, namespace), held)
    if named:
        len(environment)  # worked out at once, so that what is missing is noticed
    return environment


def _services_to_tell_of(reader: Reader, namespace: str) -> Sequence[Service]:
    """Those of the Pod's own namespace, and the API server's: no other can be in its environment."""
    master = reader.find(Service, MASTER_SERVICE[1], MASTER_SERVICE[0])
    own = reader.list(Service, namespace)
    return own if master is None else (master, *own)


def _named_by(container: Container) -> set[Named]:
    """What the values of a container's environment are taken from."""
    declared = [variable.rest.get("valueFrom") for variable in container.env]
    sources = [*(container.rest.get("envFrom") or ()), *filter(None, declared)]
    return {
        (kind, source[field]["name"])
        for source in sources
        for field, kind in _SOURCES.items()
        if source.get(field)
    }


def decoded(data: Mapping[str, str]) -> dict[str, str]:
    """What a Secret holds; octets that are no UTF-8 are kept as surrogates."""
    return {key: base64.b64decode(text).decode(errors="surrogateescape") for key, text in data.items()}


def container_environment(
    pod: Pod, container: Container, services: Iterable[Service] | None, held: Held = NOTHING
) -> dict[str, str]:
    """Everything: the Services' variables, then envFrom's, then env's; a later one wins over an earlier.

    ``services`` None is a kubelet that has not read them yet: PodStartError, but for static Pods. So is a
    ConfigMap or Secret that is not in ``held``, or has no such key, if it is not optional.

    ``$(NAME)`` in a value stands for a variable declared above it or of a Service; an unknown reference stays
    as it is written, and ``$$`` is a dollar sign.
    """
    from_api = pod.metadata.annotations.get(SOURCE_ANNOTATION, API_SOURCE) == API_SOURCE
    if services is None and from_api and pod.spec.enable_service_links is not None:
        message = "Error: services have not yet been read at least once, cannot construct envvars"
        raise PodStartError("Failed", message)
    links = service_environment(
        visible_services(services or (), pod.metadata.namespace, pod.spec.enable_service_links)
    )
    declared = dict(_from_whole(container, held))
    for variable in container.env:
        if variable.value:
            declared[variable.name] = expand(variable.value, links | declared)
            continue
        source = variable.rest.get("valueFrom")
        value = "" if source is None else _from_source(pod, source, held)
        if value is not None:
            declared[variable.name] = value
    return links | declared


class Environment(Mapping[str, str]):
    """``container_environment`` of these very values, worked out when it is first read: few programs do, and
    with many Services it is the largest thing that a Pod has."""

    def __init__(self, pod: Pod, container: Container, services: Iterable[Service], held: Held) -> None:
        self._of = (pod, container, services, held)

    @cached_property
    def _variables(self) -> dict[str, str]:
        return container_environment(*self._of)

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` (third_party/forked/golang/expansion)."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else variables.get(found[1], found[0])

    return _REFERENCE.sub(value, text)


def expanded(words: Sequence[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """A container's command or args with their references (ExpandContainerCommandAndArgs)."""
    return tuple(expand(word, variables) if "$" in word else word for word in words)


def _has_cluster_ip(service: Service) -> bool:
    """IsServiceIPSet; an ExternalName Service has no address to tell of."""
    return service.spec.type != "ExternalName" and service.spec.cluster_ip not in ("", "None")


def _variable_name(text: str) -> str:
    return text.upper().replace("-", "_")


def _of_service(service: Service) -> dict[str, str]:
    """HOST, PORT and one PORT_<NAME> per named port, then Docker's link variables (makeLinkVariables)."""
    prefix = _variable_name(service.metadata.name)
    address, ports = service.spec.cluster_ip, service.spec.ports
    variables = {f"{prefix}_SERVICE_HOST": address}
    if ports:
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0].port)
    for port in ports:
        if port.name:
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
    in_url = f"[{address}]" if ":" in address else address
    for place, port in enumerate(ports):
        protocol = port.protocol.lower()
        url = f"{protocol}://{in_url}:{port.port}"
        link = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
        if place == 0:
            variables[f"{prefix}_PORT"] = url
        variables[link] = url
        variables[f"{link}_PROTO"] = protocol
        variables[f"{link}_PORT"] = str(port.port)
        variables[f"{link}_ADDR"] = address
    return variables


_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


def _from_whole(container: Container, held: Held) -> Iterator[tuple[str, str]]:
    """The variables of ``envFrom``, each key of a ConfigMap or Secret with a prefix."""
    for source in container.rest.get("envFrom") or ():
        for field in _SOURCES.keys() & source.keys():
            for key, value in (_found(field, source[field], held) or {}).items():
                yield source.get("prefix", "") + key, value


def _found(field: str, reference: Mapping[str, Any], held: Held) -> Mapping[str, str] | None:
    """What a reference names; None when it is optional and not there."""
    kind, name = _SOURCES[field], reference["name"]
    if (kind, name) not in held and not reference.get("optional"):
        raise PodStartError(CONFIG_ERROR, f'{kind.kind.lower()} "{name}" not found')
    return held.get((kind, name))


def _key_of(pod: Pod, field: str, reference: Mapping[str, Any], held: Held) -> str | None:
    """The value of one key of what a reference names."""
    data, key = _found(field, reference, held), reference["key"]
    if data is None:
        return None
    if key not in data and not reference.get("optional"):
        place = f"{_SOURCES[field].kind} {pod.metadata.namespace}/{reference['name']}"
        raise PodStartError(CONFIG_ERROR, f"couldn't find key {key} in {place}")
    return data.get(key)


def _from_source(pod: Pod, source: Mapping[str, Any], held: Held) -> str | None:
    """The value of ``valueFrom``: of a key, or of the downward API's fields (podFieldSelectorRuntimeValue);
    None for what is optional and not there, and for what is not modelled."""
    for where in _SOURCES.keys() & source.keys():
        return _key_of(pod, where, source[where], held)
    return field_value(pod, source.get("fieldRef", {}).get("fieldPath", ""))


def field_value(pod: Pod, path: str) -> str | None:
    """A field of the Pod by its path; None for one that is not modelled."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        texts = pod.metadata.labels if subscript[1] == "labels" else pod.metadata.annotations
        return texts.get(subscript[2], "")
    fields = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": str(pod.spec.rest.get("serviceAccountName", "default")),
        "status.hostIP": pod.status.host_ip,
        "status.hostIPs": ",".join(entry.ip for entry in pod.status.host_ips),
        "status.podIP": pod.status.pod_ip,
        "status.podIPs": ",".join(entry.ip for entry in pod.status.pod_ips),
    }
    return fields.get(path)
