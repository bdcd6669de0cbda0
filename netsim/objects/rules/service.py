"""Services (``validateService`` in Kubernetes' ``pkg/apis/core/validation/validation.go``, and the
allocators of ``pkg/registry/core/service``, which refuse ports out of range); their addresses are in
``service_addresses``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netsim.base.address import IpNetwork
from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import meta, names
from netsim.objects.rules.service_addresses import HEADLESS, check_addresses
from netsim.objects.yaml_tree import Path

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
NODE_PORTS = range(30000, 32768)  # kube-apiserver's --service-node-port-range
ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
MAX_AFFINITY_SECONDS = 86400  # MaxClientIPServiceAffinitySeconds

_SPEC: Path = ("spec",)
_PORTS: Path = ("spec", "ports")


def check_service(spec: Mapping[str, Any], subnets: Sequence[IpNetwork], errors: FieldErrors) -> None:
    """A Service's ``spec``; ``subnets`` are where its addresses must be, one of each family there is."""
    kind = spec["type"]
    ports = spec.get("ports", ())
    if not ports and not is_headless(spec) and kind != "ExternalName":
        errors.required(_PORTS, hint="a Service needs a port, unless it is headless (clusterIP: None)")
    _check_type(spec, errors)
    port_names: set[str] = set()
    for index, port in enumerate(ports):
        _check_port(port, len(ports) > 1, port_names, (*_PORTS, index), errors)
    meta.check_labels(spec.get("selector", {}), (*_SPEC, "selector"), errors)
    _check_affinity(spec, errors)
    if kind != "ExternalName":
        check_addresses(spec, subnets, errors)
    for index, address in enumerate(spec.get("externalIPs", ())):
        where = (*_SPEC, "externalIPs", index)
        wrong = names.address(address)
        errors.each_invalid(where, address, wrong or names.endpoint_address(address))
    if kind not in TYPES:
        errors.unsupported((*_SPEC, "type"), kind, TYPES)
    _check_port_clashes(spec, errors)
    _check_traffic_policies(spec, errors)
    _check_load_balancer(spec, errors)


def is_headless(spec: Mapping[str, Any]) -> bool:
    """Whether a Service document asks for no address."""
    return spec.get("clusterIP") == HEADLESS or spec.get("clusterIPs", ("",))[:1] == [HEADLESS]


def _check_type(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    kind = spec["type"]
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        detail = f"may not be set to 'None' for {kind} services"
        errors.invalid((*_SPEC, "clusterIPs", 0), HEADLESS, detail, at=(*_SPEC, "clusterIP"))
    if kind != "ExternalName":
        return
    if spec.get("clusterIP") or spec.get("clusterIPs"):
        errors.forbidden(
            (*_SPEC, "clusterIPs"), "may not be set for ExternalName services", at=(*_SPEC, "clusterIP")
        )
    for field in ("ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            errors.forbidden((*_SPEC, field), "may not be set for ExternalName services")
    name = spec.get("externalName", "").removesuffix(".")
    if name:
        errors.each_invalid((*_SPEC, "externalName"), name, names.subdomain(name))
    else:
        errors.required((*_SPEC, "externalName"))


def _check_port(
    port: Mapping[str, Any], needs_name: bool, seen: set[str], where: Path, errors: FieldErrors
) -> None:
    name = port.get("name", "")
    if name:
        errors.each_invalid((*where, "name"), name, names.label(name))
        if name in seen:
            errors.duplicate((*where, "name"), name)
        seen.add(name)
    elif needs_name:
        errors.required((*where, "name"), hint="a Service with several ports needs a name for each")
    number = port.get("port", 0)
    errors.each_invalid((*where, "port"), number, names.port_number(number))
    if port["protocol"] not in PROTOCOLS:
        errors.unsupported((*where, "protocol"), port["protocol"], PROTOCOLS)
    target = port["targetPort"]
    errors.each_invalid((*where, "targetPort"), target, names.port_number_or_name(target))
    if "appProtocol" in port:
        protocol = port["appProtocol"]
        errors.each_invalid((*where, "appProtocol"), protocol, names.qualified_name(protocol))


def _check_affinity(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    affinity = spec["sessionAffinity"]
    if affinity not in ("ClientIP", "None"):
        errors.unsupported((*_SPEC, "sessionAffinity"), affinity, ("ClientIP", "None"))
    elif affinity == "ClientIP":
        seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
        if not 0 < seconds <= MAX_AFFINITY_SECONDS:
            where = (*_SPEC, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
            errors.invalid(where, seconds, f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}")


def _check_port_clashes(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    node_ports: set[tuple[str, int]] = set()
    ports: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.get("ports", ())):
        where = (*_PORTS, index)
        protocol, number, node_port = port["protocol"], port.get("port", 0), port.get("nodePort", 0)
        if node_port and spec["type"] == "ClusterIP":
            errors.forbidden((*where, "nodePort"), "may not be used when `type` is 'ClusterIP'")
        elif node_port and node_port not in NODE_PORTS:
            errors.invalid((*where, "nodePort"), node_port, NOT_A_NODE_PORT)
        if node_port:
            if (protocol, node_port) in node_ports:
                errors.duplicate((*where, "nodePort"), node_port)
            node_ports.add((protocol, node_port))
        if (protocol, number) in ports:
            errors.duplicate_struct(where, _struct(protocol, number))
        ports.add((protocol, number))


def _struct(protocol: str, number: int) -> str:
    empty = '"TargetPort":0,"NodePort":0'
    return f'{{"Name":"","Protocol":"{protocol}","AppProtocol":null,"Port":{number},{empty}}}'


NOT_A_NODE_PORT = (
    "provided port is not in the valid range. The range of valid ports is "
    f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
)


def _check_load_balancer(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    """Fields that only a load balancer has (validateLoadBalancerClassField, validateService)."""
    balances = spec["type"] == "LoadBalancer"
    ranges = spec.get("loadBalancerSourceRanges", ())
    where = (*_SPEC, "loadBalancerSourceRanges")
    if ranges and not balances:  # the API server prints the field with a capital L
        errors.forbidden((*_SPEC, "LoadBalancerSourceRanges"), ONLY_BALANCED, at=where)
    for index, text in enumerate(ranges):
        wrong = names.cidr(text.strip())
        errors.each_invalid((*_SPEC, "LoadBalancerSourceRanges", index), text, wrong, at=(*where, index))
    if not balances and "allocateLoadBalancerNodePorts" in spec:
        errors.forbidden((*_SPEC, "allocateLoadBalancerNodePorts"), ONLY_BALANCED)
    chosen = spec.get("loadBalancerClass")
    if chosen is not None:
        where = (*_SPEC, "loadBalancerClass")
        if balances:
            errors.each_invalid(where, chosen, names.qualified_name(chosen))
        else:
            errors.forbidden(where, ONLY_BALANCED)
    health = spec.get("healthCheckNodePort", 0)
    if health and not (balances and spec.get("externalTrafficPolicy") == "Local"):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.invalid((*_SPEC, "healthCheckNodePort"), health, detail)


def _check_traffic_policies(spec: Mapping[str, Any], errors: FieldErrors) -> None:
    policies = ("Cluster", "Local")
    external = spec.get("externalTrafficPolicy", "")
    kind = spec["type"]
    reachable = kind in ("LoadBalancer", "NodePort") or (
        kind == "ClusterIP" and bool(spec.get("externalIPs"))
    )
    where = (*_SPEC, "externalTrafficPolicy")
    if external and not reachable:
        errors.invalid(where, external, "may only be set for externally-accessible services")
    elif external and external not in policies:
        errors.unsupported(where, external, policies)
    internal = spec.get("internalTrafficPolicy", "Cluster")
    if internal not in policies:
        errors.unsupported((*_SPEC, "internalTrafficPolicy"), internal, policies)
    distribution = spec.get("trafficDistribution", "PreferClose")
    choices = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution not in choices:
        errors.unsupported((*_SPEC, "trafficDistribution"), distribution, choices)
