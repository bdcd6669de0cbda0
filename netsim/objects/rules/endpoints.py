"""Endpoints and EndpointSlices (``ValidateEndpoints`` in Kubernetes'
``pkg/apis/core/validation/validation.go``, and ``pkg/apis/discovery/validation/validation.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import names
from netsim.objects.rules.service import PROTOCOLS
from netsim.objects.yaml_tree import Path

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ADDRESSES = 100
MAX_ENDPOINTS = 1000


def check_endpoints(document: Mapping[str, Any], errors: FieldErrors) -> None:
    """An Endpoints object."""
    for index, subset in enumerate(document.get("subsets", ())):
        where: Path = ("subsets", index)
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.required(where, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field, ())):
                _check_address(address, (*where, field, number), errors)
        ports = subset.get("ports", ())
        for number, port in enumerate(ports):
            _check_endpoints_port(port, len(ports) > 1, (*where, "ports", number), errors)


def _check_address(address: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    ip = address.get("ip", "")
    errors.each_invalid((*where, "ip"), ip, names.address(ip))
    _check_hostname_and_node(address, where, errors)
    errors.each_invalid((*where, "ip"), ip, names.endpoint_address(ip))


def _check_hostname_and_node(endpoint: Mapping[str, Any], where: Path, errors: FieldErrors) -> None:
    if endpoint.get("hostname"):
        errors.each_invalid((*where, "hostname"), endpoint["hostname"], names.label(endpoint["hostname"]))
    if "nodeName" in endpoint:
        errors.each_invalid((*where, "nodeName"), endpoint["nodeName"], names.subdomain(endpoint["nodeName"]))


def _check_endpoints_port(
    port: Mapping[str, Any], needs_name: bool, where: Path, errors: FieldErrors
) -> None:
    name = port.get("name", "")
    if name:
        errors.each_invalid((*where, "name"), name, names.label(name))
    elif needs_name:
        errors.required((*where, "name"))
    number = port.get("port", 0)
    errors.each_invalid((*where, "port"), number, names.port_number(number))
    if port["protocol"] not in PROTOCOLS:
        errors.unsupported((*where, "protocol"), port["protocol"], PROTOCOLS)


def check_endpoint_slice(document: Mapping[str, Any], errors: FieldErrors) -> None:
    """An EndpointSlice."""
    kind = document.get("addressType", "")
    if not kind:
        errors.required(("addressType",))
    elif kind not in ADDRESS_TYPES:
        errors.unsupported(("addressType",), kind, ADDRESS_TYPES)
    seen: set[str] = set()
    for index, port in enumerate(document.get("ports", ())):
        _check_slice_port(port, seen, ("ports", index), errors)
    endpoints = document.get("endpoints", ())
    if len(endpoints) > MAX_ENDPOINTS:
        errors.too_many(("endpoints",), len(endpoints), MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(endpoints):
        where: Path = ("endpoints", index)
        addresses = endpoint.get("addresses", ())
        if not addresses:
            errors.required((*where, "addresses"), "must contain at least 1 address")
        elif len(addresses) > MAX_ADDRESSES:
            errors.too_many((*where, "addresses"), len(addresses), MAX_ADDRESSES)
        for number, address in enumerate(addresses):
            _check_slice_address(address, kind, (*where, "addresses", number), errors)
        _check_hostname_and_node(endpoint, where, errors)


def _check_slice_port(port: Mapping[str, Any], seen: set[str], where: Path, errors: FieldErrors) -> None:
    name = port["name"]
    if name:
        errors.each_invalid((*where, "name"), name, names.label(name))
    if name in seen:
        errors.duplicate((*where, "name"), name)
    seen.add(name)
    if port["protocol"] not in PROTOCOLS:
        errors.unsupported((*where, "protocol"), port["protocol"], PROTOCOLS)
    if "appProtocol" in port:
        protocol = port["appProtocol"]
        errors.each_invalid((*where, "appProtocol"), protocol, names.qualified_name(protocol))


def _check_slice_address(address: str, kind: str, where: Path, errors: FieldErrors) -> None:
    if kind not in ("IPv4", "IPv6"):
        return
    wrong = names.address(address)
    if wrong:
        errors.each_invalid(where, address, wrong)
        return
    is_v4 = isinstance(names.sloppy_address(address), IPv4Address)
    if is_v4 != (kind == "IPv4"):
        errors.invalid(where[:-1], address, f"must be an {kind} address", at=where)
    errors.each_invalid(where, address, names.endpoint_address(address))
