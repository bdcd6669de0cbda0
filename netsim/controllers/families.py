"""The IP families of Services, as the API server fills them in before it allocates addresses.

``services`` asks for each Service that lacks something. What a cluster cannot have is refused when a file is
read (``objects.rules.service_addresses``). Source: ``pkg/registry/core/service/storage/alloc.go``,
initIPFamilyFields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from netsim.objects.core import ServiceSpec
from netsim.objects.rules.service_addresses import FAMILIES, REQUIRE_DUAL_STACK, SINGLE_STACK


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``."""
    return f"IPv{ip_address(address).version}"


def with_families(spec: ServiceSpec, configured: Sequence[str]) -> ServiceSpec:
    """The spec with its policy and families; ``configured`` are the cluster's families, the primary first.

    A headless Service without a selector has both families even where the cluster has one: whoever writes its
    endpoints knows.
    """
    anyones = spec.cluster_ip == "None" and not spec.selector
    policy = spec.ip_family_policy or (REQUIRE_DUAL_STACK if anyones else SINGLE_STACK)
    families = list(spec.ip_families)
    if spec.cluster_ip != "None":
        families += [family_of(address) for address in spec.cluster_ips[len(families) :]]
    families = families or [configured[0]]
    if policy != SINGLE_STACK and len(families) == 1 and (anyones or len(configured) == len(FAMILIES)):
        families += [family for family in FAMILIES if family not in families]
    return replace(spec, ip_family_policy=policy, ip_families=tuple(families))
