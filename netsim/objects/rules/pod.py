"""Pods and Pod templates (``ValidatePodSpec`` in Kubernetes' ``pkg/apis/core/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import meta, names
from netsim.objects.rules.service import PROTOCOLS
from netsim.objects.yaml_tree import Path

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

MAX_NAMESERVERS = 3  # MaxDNSNameservers: what the libc takes
MAX_SEARCHES = 32  # MaxDNSSearchPaths
MAX_SEARCH_CHARACTERS = 2048  # MaxDNSSearchListChars

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def check_pod_template(
    template: Mapping[str, Any], where: Path, errors: FieldErrors, *, volumes: Iterable[str] = ()
) -> None:
    """The ``template`` of a workload; ``volumes`` are names that the workload adds to those of the Pod."""
    metadata = template.get("metadata", {})
    meta.check_labels(metadata.get("labels", {}), (*where, "labels"), errors)
    meta.check_annotations(metadata.get("annotations", {}), (*where, "annotations"), errors)
    check_pod_spec(template.get("spec", {}), (*where, "spec"), errors, is_pod=False, volumes=volumes)


def check_pod_spec(
    spec: Mapping[str, Any], where: Path, errors: FieldErrors, *, is_pod: bool, volumes: Iterable[str] = ()
) -> None:
    """A Pod's ``spec``, of a Pod itself or in a template."""
    own = (volume.get("name", "") for volume in spec.get("volumes", ()))
    _check_all_containers(spec, {*own, *volumes}, where, errors)
    if spec.get("hostNetwork"):
        _check_host_network_ports(spec, where, errors, is_pod=is_pod)
    if spec["restartPolicy"] not in RESTART_POLICIES:
        errors.unsupported((*where, "restartPolicy"), spec["restartPolicy"], RESTART_POLICIES)
    if spec["dnsPolicy"] not in DNS_POLICIES:
        errors.unsupported((*where, "dnsPolicy"), spec["dnsPolicy"], DNS_POLICIES)
    meta.check_labels(spec.get("nodeSelector", {}), (*where, "nodeSelector"), errors)
    _check_dns_config(spec, (*where, "dnsConfig"), errors)
    for field, rule in (("nodeName", names.subdomain), ("hostname", names.label), ("subdomain", names.label)):
        if spec.get(field):
            errors.each_invalid((*where, field), spec[field], rule(spec[field]))
    for index, toleration in enumerate(spec.get("tolerations", ())):
        _check_toleration(toleration, (*where, "tolerations", index), errors)
    for index, alias in enumerate(spec.get("hostAliases", ())):
        at = (*where, "hostAliases", index)
        errors.each_invalid((*at, "ip"), alias.get("ip", ""), names.address(alias.get("ip", "")))
        for number, hostname in enumerate(alias.get("hostnames", ())):
            errors.each_invalid((*at, "hostnames", number), hostname, names.subdomain(hostname))


def _check_all_containers(
    spec: Mapping[str, Any], volumes: set[str], where: Path, errors: FieldErrors
) -> None:
    containers = spec.get("containers", ())
    if not containers:
        errors.required((*where, "containers"))
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, ())):
            at = (*where, field, index)
            _check_container(container, volumes, at, errors)
            name = container.get("name", "")
            if name in seen:
                errors.duplicate((*at, "name"), name)
            if name or field == "containers":
                seen.add(name)
            for probe in _PROBES:
                if probe in container:
                    _check_probe(container, probe, field, (*at, probe), errors)


def _check_container(
    container: Mapping[str, Any], volumes: set[str], where: Path, errors: FieldErrors
) -> None:
    name = container.get("name", "")
    if name:
        errors.each_invalid((*where, "name"), name, names.label(name))
    else:
        errors.required((*where, "name"))
    if not container.get("image"):
        errors.required((*where, "image"))
    _check_container_ports(container.get("ports", ()), (*where, "ports"), errors)
    _check_environment(container, where, errors)
    for index, mount in enumerate(container.get("volumeMounts", ())):
        at = (*where, "volumeMounts", index)
        if not mount.get("name"):
            errors.required((*at, "name"))
        if mount.get("name", "") not in volumes:
            errors.not_found((*at, "name"), mount.get("name", ""))
        if not mount.get("mountPath"):
            errors.required((*at, "mountPath"))
    if container["imagePullPolicy"] not in PULL_POLICIES:
        errors.unsupported((*where, "imagePullPolicy"), container["imagePullPolicy"], PULL_POLICIES)


def _check_environment(container: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    """ValidateEnv and ValidateEnvFrom; of what a variable is taken from, ConfigMaps and Secrets."""
    for index, variable in enumerate(container.get("env", ())):
        at = (*where, "env", index)
        if variable.get("name"):
            errors.each_invalid((*at, "name"), variable["name"], names.env_name(variable["name"]))
        else:
            errors.required((*at, "name"))
        source = variable.get("valueFrom") or {}
        for field in ("configMapKeyRef", "secretKeyRef"):
            if field in source:
                _check_key_reference(source[field] or {}, (*at, "valueFrom", field), errors)
    for index, source in enumerate(container.get("envFrom", ())):
        at = (*where, "envFrom", index)
        fields = [field for field in ("configMapRef", "secretRef") if field in source]
        if not fields:
            errors.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
        for field in fields:
            name = (source[field] or {}).get("name", "")
            if name:
                errors.each_invalid((*at, field, "name"), name, names.subdomain(name))
            else:
                errors.required((*at, field, "name"))


def _check_key_reference(reference: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    name, key = reference.get("name", ""), reference.get("key", "")
    errors.each_invalid((*where, "name"), name, names.subdomain(name))
    if key:
        errors.each_invalid((*where, "key"), key, names.config_key(key))
    else:
        errors.required((*where, "key"))


def _check_container_ports(ports: list[Mapping[str, Any]], where: Path, errors: FieldErrors) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = (*where, index)
        name = port.get("name", "")
        if name:
            wrong = names.port_name(name)
            errors.each_invalid((*at, "name"), name, wrong)
            if not wrong and name in seen:
                errors.duplicate((*at, "name"), name)
            seen.add(name)
        if port.get("containerPort"):
            number = port["containerPort"]
            errors.each_invalid((*at, "containerPort"), number, names.port_number(number))
        else:
            errors.required((*at, "containerPort"))
        if port.get("hostPort"):
            errors.each_invalid((*at, "hostPort"), port["hostPort"], names.port_number(port["hostPort"]))
        if port["protocol"] not in PROTOCOLS:
            errors.unsupported((*at, "protocol"), port["protocol"], PROTOCOLS)


def _check_probe(
    container: Mapping[str, Any], probe: str, field: str, where: Path, errors: FieldErrors
) -> None:
    if field == "initContainers" and container.get("restartPolicy") != "Always":
        errors.forbidden(where, "may not be set for init containers without restartPolicy=Always")
        return
    settings = container[probe]
    handlers = [handler for handler in _HANDLERS if handler in settings]
    if not handlers:
        errors.required(where, "must specify a handler type")
    for extra in handlers[1:]:
        errors.forbidden((*where, extra), "may not specify more than 1 handler type")
    for handler in handlers[:1]:
        at = (*where, handler)
        if handler == "exec":
            if not settings[handler].get("command"):
                errors.required((*at, "command"))
        else:
            port = settings[handler].get("port", 0)
            errors.each_invalid((*at, "port"), port, names.port_number_or_name(port))


def _check_host_network_ports(
    spec: Mapping[str, Any], where: Path, errors: FieldErrors, *, is_pod: bool
) -> None:
    for index, container in enumerate(spec.get("containers", ())):
        for number, port in enumerate(container.get("ports", ())):
            host_port = port.get("hostPort", 0)
            if (is_pod or host_port) and host_port != port.get("containerPort", 0):
                at = (*where, "containers", index, "ports", number, "hostPort")
                errors.invalid(at, host_port, "must match `containerPort` when `hostNetwork` is true")


def _check_dns_config(spec: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    config = spec.get("dnsConfig")
    if spec["dnsPolicy"] == "None":
        if config is None:
            errors.required(where, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errors.required((*where, "nameservers"), detail)
            return
    if config is None:
        return
    servers, searches = config.get("nameservers", []), config.get("searches", [])
    if len(servers) > MAX_NAMESERVERS:
        detail = f"must not have more than {MAX_NAMESERVERS} nameservers"
        errors.invalid((*where, "nameservers"), servers, detail)
    for index, server in enumerate(servers):
        errors.each_invalid((*where, "nameservers", index), server, names.address(server))
    at = (*where, "searches")
    if len(searches) > MAX_SEARCHES:
        errors.invalid(at, searches, f"must not have more than {MAX_SEARCHES} search paths")
    if len(" ".join(searches)) > MAX_SEARCH_CHARACTERS:
        limit = f"{MAX_SEARCH_CHARACTERS} characters (including spaces)"
        detail = f"must not have more than {limit} in the search list"
        errors.invalid(at, searches, detail)
    for index, search in enumerate(searches):
        value = search if search == "." else search.removesuffix(".")
        errors.each_invalid((*at, index), value, names.search_domain(search))
    for index, option in enumerate(config.get("options", ())):
        if not option.get("name"):
            errors.required((*where, "options", index), "must not be empty")


def _check_toleration(toleration: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        errors.each_invalid((*where, "key"), key, names.qualified_name(key))
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.invalid((*where, "operator"), operator, detail)
    if "tolerationSeconds" in toleration and effect != "NoExecute":
        errors.invalid(
            (*where, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
    if operator in ("", "Equal"):
        wrong = names.label_value(value)
        if wrong:
            errors.invalid((*where, "operator"), value, ";".join(wrong), at=(*where, "value"))
    elif operator == "Exists":
        if value:
            errors.invalid((*where, "operator"), value, "value must be empty when `operator` is 'Exists'")
    else:
        errors.unsupported((*where, "operator"), operator, ("Equal", "Exists"))
    if effect and effect not in TAINT_EFFECTS:
        errors.unsupported((*where, "effect"), effect, TAINT_EFFECTS)
