"""Is a document one that the API server would take?

``manifest`` calls ``check_object`` for every document of a kind that netsim models, after strict decoding
and defaults, and ``SharedChecks`` for what concerns several objects: names that are taken, namespaces that
do not exist, addresses and node ports that two Services want. The rules of each kind are modules of
``rules``; what is here is which kind has which.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from netsim.base.address import IpNetwork
from netsim.base.errors import Source
from netsim.objects.field_errors import FieldError, FieldErrors
from netsim.objects.meta import ObjectRef
from netsim.objects.rules import endpoints, meta, names, pod, service, workloads
from netsim.objects.rules.service_addresses import HEADLESS, SINGLE_STACK
from netsim.objects.spelling import did_you_mean

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
"""What every cluster has from its start."""
CONFIG_MAP_BYTES = 1024 * 1024  # MaxSecretSize


class _Kind(NamedTuple):
    name_rule: meta.NameRule
    check: Callable[[Mapping[str, Any], FieldErrors, Sequence[IpNetwork]], None]


def check_object(document: Mapping[str, Any], service_subnets: Sequence[IpNetwork]) -> list[FieldError]:
    """Everything that is wrong with a document of a modelled kind, in the API server's order; Services have
    addresses of the subnets, of which there is one for each family of the cluster."""
    kind = _KINDS[document["kind"]]
    errors = FieldErrors()
    meta.check_metadata(document.get("metadata", {}), kind.name_rule, errors)
    kind.check(document, errors, service_subnets)
    return errors.items


def check_name(metadata: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with the metadata of an object whose kind netsim does not model."""
    errors = FieldErrors()
    meta.check_has_name(metadata, errors)
    meta.check_labels(metadata.get("labels", {}), ("metadata", "labels"), errors)
    return errors.items


class SharedChecks:
    """What one document cannot tell alone. Documents are added in file order; each ``add`` tells what is
    wrong."""

    def __init__(
        self,
        namespaces: Collection[str],
        taken_addresses: Mapping[str, str],
        taken_ports: Mapping[tuple[str, int], str],
    ) -> None:
        """``taken_addresses`` maps addresses of the Service subnet to the Services that have them,
        ``taken_ports`` node ports (protocol, number)."""
        self._namespaces = frozenset(namespaces)
        self._objects: dict[tuple[str, ObjectRef], Source] = {}
        self.addresses = dict(taken_addresses)
        self.node_ports = dict(taken_ports)

    def add(
        self, group: str, ref: ObjectRef, document: Mapping[str, Any], source: Source
    ) -> list[FieldError]:
        """Take note of an object; ``group`` is its API group, empty for the core."""
        errors = FieldErrors()
        self._check_namespace(ref, errors)
        first = self._objects.setdefault((group, ref), source)
        if first is not source:
            message = f'{_resource(ref.kind, group)} "{ref.name}" already exists'
            hint = f"it is also declared in {first}"
            errors.items.append(FieldError(("metadata", "name"), message, hint))
        elif ref.kind == "Service" and not group:
            self._check_allocations(ref, document.get("spec", {}), errors)
        return errors.items

    def release(self, name: str) -> None:
        """The Service of this ``namespace/name`` gives back its address and node ports."""
        self.addresses = {key: owner for key, owner in self.addresses.items() if owner != name}
        self.node_ports = {key: owner for key, owner in self.node_ports.items() if owner != name}

    def _check_namespace(self, ref: ObjectRef, errors: FieldErrors) -> None:
        if not ref.namespace or ref.namespace in self._namespaces or names.label(ref.namespace):
            return
        hint = did_you_mean(ref.namespace, sorted(self._namespaces))
        hint = hint or f"declare it: {{apiVersion: v1, kind: Namespace, metadata: {{name: {ref.namespace}}}}}"
        message = f'namespaces "{ref.namespace}" not found'
        errors.items.append(FieldError(("metadata", "namespace"), message, hint))

    def _check_allocations(self, ref: ObjectRef, spec: Mapping[str, Any], errors: FieldErrors) -> None:
        name = f"{ref.namespace}/{ref.name}"
        self._check_number(name, spec, errors)
        several = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
        for index, address in enumerate(several):
            if not address or address == HEADLESS:
                continue
            owner = self.addresses.setdefault(address, name)
            if owner != name:
                detail = f"failed to allocate IP {address}: provided IP is already allocated"
                at = ("spec", "clusterIP" if spec.get("clusterIP") and not index else "clusterIPs")
                hint = f"Service {owner} has it"
                errors.invalid(("spec", "clusterIPs"), [address], detail, at=at, hint=hint)
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            return
        for index, port in enumerate(spec.get("ports", ())):
            key = (port.get("protocol", "TCP"), port.get("nodePort", 0))
            owner = self.node_ports.setdefault(key, name) if key[1] else name
            if owner != name:
                where = ("spec", "ports", index, "nodePort")
                errors.invalid(
                    where, key[1], "provided port is already allocated", hint=f"Service {owner} has it"
                )

    def _check_number(self, name: str, spec: Mapping[str, Any], errors: FieldErrors) -> None:
        """Two addresses or families need a policy that says so; an update keeps the policy that there is
        (initIPFamilyFields)."""
        policy = spec.get("ipFamilyPolicy", "")
        anyones = service.is_headless(spec) and not spec.get("selector")  # whoever writes its endpoints knows
        if policy not in ("", SINGLE_STACK) or name in self.addresses.values() or (anyones and not policy):
            return
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(spec.get(field, ())) > 1:
                detail = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                errors.invalid(("spec", "ipFamilyPolicy"), SINGLE_STACK, detail, at=("spec", field))


def _resource(kind: str, group: str) -> str:
    """``deployments.apps``: how the API server names a kind in some messages."""
    lower = kind.lower()
    if lower.endswith("s"):
        plural = lower if lower == "endpoints" else f"{lower}es"
    else:
        plural = f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
    return f"{plural}.{group}" if group else plural


def _check_nothing(document: Mapping[str, Any], errors: FieldErrors, subnets: Sequence[IpNetwork]) -> None:
    pass


def _check_controller_revision(
    document: Mapping[str, Any], errors: FieldErrors, subnets: Sequence[IpNetwork]
) -> None:
    if document.get("data") is None:
        errors.required(("data",), "data is mandatory")
    if document.get("revision", 0) < 0:
        errors.invalid(("revision",), document["revision"], "must be greater than or equal to 0")


def _check_config_map(document: Mapping[str, Any], errors: FieldErrors, subnets: Sequence[IpNetwork]) -> None:
    data, binary = document.get("data", {}), document.get("binaryData", {})
    for field, entries in (("data", data), ("binaryData", binary)):
        for key in entries:
            errors.each_invalid((f"{field}[{key}]",), key, names.config_key(key), at=(field, key))
    for key in data:
        if key in binary:
            detail = "duplicate of key present in binaryData"
            errors.invalid((f"data[{key}]",), key, detail, at=("data", key))
    if sum(len(text) for entries in (data, binary) for text in entries.values()) > CONFIG_MAP_BYTES:
        errors.too_long(("data",), CONFIG_MAP_BYTES)


def _check_secret(document: Mapping[str, Any], errors: FieldErrors, subnets: Sequence[IpNetwork]) -> None:
    data = document.get("data", {})
    for key, text in data.items():
        errors.each_invalid((f"data[{key}]",), key, names.config_key(key), at=("data", key))
        try:
            base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        except ValueError:
            hint = "write plain text under stringData"
            errors.invalid((f"data[{key}]",), text, "illegal base64 data", at=("data", key), hint=hint)
    if sum(len(text) for text in data.values()) * 3 // 4 > CONFIG_MAP_BYTES:
        errors.too_long(("data",), CONFIG_MAP_BYTES)


def _check_pod(document: Mapping[str, Any], errors: FieldErrors, subnets: Sequence[IpNetwork]) -> None:
    pod.check_pod_spec(document.get("spec", {}), ("spec",), errors, is_pod=True)


_KINDS: dict[str, _Kind] = {
    "ConfigMap": _Kind(names.subdomain, _check_config_map),
    "ControllerRevision": _Kind(names.subdomain, _check_controller_revision),
    "DaemonSet": _Kind(names.subdomain, lambda d, e, _: workloads.check_daemon_set(d["spec"], e)),
    "Deployment": _Kind(names.subdomain, lambda d, e, _: workloads.check_deployment(d["spec"], e)),
    "EndpointSlice": _Kind(names.subdomain, lambda d, e, _: endpoints.check_endpoint_slice(d, e)),
    "Endpoints": _Kind(names.subdomain, lambda d, e, _: endpoints.check_endpoints(d, e)),
    "Job": _Kind(names.subdomain, lambda d, e, _: workloads.check_job(d["spec"], e)),
    "Namespace": _Kind(names.label, _check_nothing),
    "Node": _Kind(names.subdomain, _check_nothing),
    "Pod": _Kind(names.subdomain, _check_pod),
    "ReplicaSet": _Kind(names.subdomain, lambda d, e, _: workloads.check_replica_set(d["spec"], e)),
    "ReplicationController": _Kind(
        names.subdomain, lambda d, e, _: workloads.check_replication_controller(d["spec"], e)
    ),
    "Secret": _Kind(names.subdomain, _check_secret),
    "Service": _Kind(names.label_1035, lambda d, e, subnets: service.check_service(d["spec"], subnets, e)),
    "StatefulSet": _Kind(names.label, lambda d, e, _: workloads.check_stateful_set(d["spec"], e)),
}
