"""A Service's ClusterIPs and families (``ValidateServiceClusterIPsRelatedFields`` in Kubernetes'
``pkg/apis/core/validation/validation.go``), and what the allocators refuse because the cluster has no such
family or address (``pkg/registry/core/service/storage/alloc.go``, ``ipallocator``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from netsim.base.address import IpAddress, IpNetwork
from netsim.objects.field_errors import FieldErrors
from netsim.objects.rules import names
from netsim.objects.yaml_tree import Path

HEADLESS = "None"
FAMILIES = ("IPv4", "IPv6")
SINGLE_STACK, REQUIRE_DUAL_STACK = "SingleStack", "RequireDualStack"
POLICIES = ("PreferDualStack", REQUIRE_DUAL_STACK, SINGLE_STACK)
NOT_DUAL = "a Topology makes it dual-stack with two networks for podSubnet and serviceSubnet"

_WHERE: Path = ("spec", "clusterIPs")
_FAMILIES: Path = ("spec", "ipFamilies")
_POLICY: Path = ("spec", "ipFamilyPolicy")


def check_addresses(spec: Mapping[str, Any], subnets: Sequence[IpNetwork], errors: FieldErrors) -> None:
    """``clusterIP``, ``clusterIPs``, ``ipFamilies`` and ``ipFamilyPolicy`` of a Service that has addresses;
    ``subnets`` are where they may be, one of each family that the cluster has."""
    single, several = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    families: Sequence[str] = spec.get("ipFamilies", ())
    if single and several and several[0] != single:
        errors.invalid(_WHERE, several, "first value must match `clusterIP`")
    elif several and not single:
        errors.invalid(_WHERE, several, "must be empty when `clusterIP` is not specified")
    _check_words(spec, families, errors)
    addresses = several or ([single] if single else [])
    parsed = list(_parsed(addresses, bool(several), errors))
    if None in parsed or (HEADLESS in addresses and len(addresses) > 1):
        return
    held = [f"IPv{address.version}" for address in parsed if address is not None]
    if len(addresses) > 2:
        errors.invalid(_WHERE, addresses, "may only hold up to 2 values")
    elif len(held) == 2 and held[0] == held[1]:
        errors.invalid(_WHERE, addresses, "may specify no more than one IP for each IP family")
    for index, (address, own, family) in enumerate(zip(addresses, held, families, strict=False)):
        if own != family and family in FAMILIES:
            at = (*_WHERE, index) if several else ("spec", "clusterIP")
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.invalid((*_WHERE, index), address, detail, at=at)
    _check_against_cluster(spec, subnets, [str(address) for address in parsed], errors)


def _check_words(spec: Mapping[str, Any], families: Sequence[str], errors: FieldErrors) -> None:
    for index, family in enumerate(families):
        if family not in FAMILIES:
            errors.unsupported((*_FAMILIES, index), family, FAMILIES)
        if family in families[:index]:
            errors.duplicate((*_FAMILIES, index), family)
    if spec.get("ipFamilyPolicy", SINGLE_STACK) not in POLICIES:
        errors.unsupported(_POLICY, spec["ipFamilyPolicy"], POLICIES)


def _parsed(addresses: Sequence[str], listed: bool, errors: FieldErrors) -> Iterator[IpAddress | None]:
    """The addresses, None for one that is none; nothing for a headless Service's ``None``."""
    for index, address in enumerate(addresses):
        at = (*_WHERE, index) if listed else ("spec", "clusterIP")
        if address == HEADLESS:
            if len(addresses) > 1:
                errors.invalid(_WHERE, addresses, "'None' must be the first and only value")
            continue
        wrong = names.address(address)
        hint = "write None, with a capital N, for a headless Service" if address.lower() == "none" else ""
        errors.each_invalid((*_WHERE, index), address, wrong, at=at, hint=hint)
        yield None if wrong else names.sloppy_address(address)


def _check_against_cluster(
    spec: Mapping[str, Any], subnets: Sequence[IpNetwork], addresses: Sequence[str], errors: FieldErrors
) -> None:
    """initIPFamilyFields, and the ranges of the allocators."""
    configured = {f"IPv{subnet.version}": subnet for subnet in subnets}
    families: Sequence[str] = spec.get("ipFamilies", ())
    headless = spec.get("clusterIP") == HEADLESS or spec.get("clusterIPs", [""])[:1] == [HEADLESS]
    if headless and not spec.get("selector"):
        return
    if spec.get("ipFamilyPolicy") == REQUIRE_DUAL_STACK and len(configured) < len(FAMILIES):
        detail = "this cluster is not configured for dual-stack services"
        errors.invalid(_POLICY, REQUIRE_DUAL_STACK, detail, hint=NOT_DUAL)
    for index, family in enumerate(families):
        if family in FAMILIES and family not in configured:
            detail = "not configured on this cluster"
            errors.invalid((*_FAMILIES, index), family, detail, hint=NOT_DUAL)
    for index, address in enumerate(addresses):
        parsed = names.sloppy_address(address)
        at = (*_WHERE, index) if spec.get("clusterIPs") else ("spec", "clusterIP")
        family = f"IPv{parsed.version}" if parsed is not None else ""
        subnet = configured.get(family)
        if subnet is None:
            if index >= len(families):
                detail = f"{family} is not configured on this cluster"
                errors.invalid((*_WHERE, index), [address], detail, at=at)
        elif parsed not in subnet:
            detail = (
                f"failed to allocate IP {parsed}: the provided IP ({parsed}) is not in the valid range. "
                f"The range of valid IPs is {subnet}"
            )
            has = f"the Topology's networking.serviceSubnet is {subnet}"
            hint = f"{has}: write an address of it, or none at all"
            errors.invalid(_WHERE, [address], detail, at=at, hint=hint)
