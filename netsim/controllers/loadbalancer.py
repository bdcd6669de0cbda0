"""Gives Services of type LoadBalancer their address, as an allocator for sites without a cloud does.

``standard`` runs it where the Topology has a pool; without one nobody answers for such Services and their
EXTERNAL-IP stays ``<pending>``, as on a bare cluster. Addresses are given in ascending order; one that the
Service asks for (``spec.loadBalancerIP``) is honoured, and a Service of another implementation
(``spec.loadBalancerClass``) left alone. The pool has IPv4 addresses only. Source: MetalLB
``controller/service.go`` and ``internal/allocator/allocator.go``, the messages and the Event of a refusal
too (there is none before the Service has its cluster address). Who announces the address
is ``proxy.announcer``'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

from netsim.controllers.controller import Outcome, Report, Update, Wait
from netsim.controllers.services import gave_back
from netsim.objects.core import Service, ServiceStatus
from netsim.objects.meta import ObjectRef
from netsim.objects.rules.service_addresses import REQUIRE_DUAL_STACK
from netsim.store.events import Reporter
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

LOAD_BALANCER = "loadBalancer"  # the field of a Service's status
NOTHING_FREE = "no available IPs"
REPORTER = Reporter("metallb-controller")


class LoadBalancerAllocator:
    """Subjects are Services. ``addresses`` are what there is to give, as numbers."""

    name = "load-balancer"
    kinds = (Service.kind,)

    def __init__(self, addresses: Sequence[int]) -> None:
        self._addresses = addresses

    def subjects(self, event: StoreEvent, reader: Reader) -> Iterable[ObjectRef]:
        """The Service; when one went or gave its address back, also those that wait for one."""
        yield event.object.ref
        if gave_back(event, Index.INGRESS):
            for waiting in reader.holders(Index.INGRESS, ""):
                yield waiting.ref

    def reconcile(self, subject: ObjectRef, reader: Reader, now: float) -> Outcome:
        """Give an address, or take it back from a Service that is no load balancer any more."""
        service = reader.find(Service, subject.name, subject.namespace)
        if service is None:
            return Outcome()
        given = ingress_addresses(service)
        if service.spec.type != "LoadBalancer":
            return Outcome([_with_ingress(service, ())] if given else [])
        if service.spec.rest.get("loadBalancerClass"):
            return Outcome()
        wanted = service.spec.rest.get("loadBalancerIP", "")
        if given and (not wanted or given == [wanted]):
            return Outcome()
        refused = self._refusal(service, wanted, reader)
        if not refused:
            address = wanted or self._free_address(subject, reader)
            if address:
                return Outcome([_with_ingress(service, ({"ip": address, "ipMode": "VIP"},))])
        text = f'Failed to allocate IP for "{_key(subject)}": {refused or NOTHING_FREE}'
        writes = [_with_ingress(service, ())] if given else []
        told = [Report(service, "AllocationFailed", text, REPORTER, warning=True)]
        wait = Wait(subject, text if _takes_ipv4(service) else f"{text} ({_lacking(service)})")
        return Outcome(writes, waits=[wait], reports=told if service.spec.cluster_ip else [])

    def _free_address(self, subject: ObjectRef, reader: Reader) -> str:
        """The first address of the pool that no other Service has, or nothing."""
        candidates = (str(IPv4Address(number)) for number in self._addresses)
        return next((text for text in candidates if not _other_holders(text, subject, reader)), "")

    def _refusal(self, service: Service, wanted: str, reader: Reader) -> str:
        """Why the Service cannot have the address that it asks for, or any (allocateIPs); empty if it can."""
        if not wanted:
            return "" if _takes_ipv4(service) else NOTHING_FREE
        try:
            address = ip_address(wanted)
        except ValueError:
            return f'invalid spec.loadBalancerIP "{wanted}"'
        if [f"IPv{address.version}"] != list(service.spec.ip_families or ("IPv4",)):
            return f'requested loadBalancer IP(s) ["{wanted}"] does not match the ipFamily of the service'
        if address.version != 4 or int(address) not in self._addresses:
            return f'["{wanted}"] is not allowed in config'
        others = _other_holders(wanted, service.ref, reader)
        if others:
            shown = ",".join(map(_key, others))
            return f'can\'t change sharing key for "{_key(service.ref)}", address also in use by {shown}'
        return ""


def _key(ref: ObjectRef) -> str:
    return f"{ref.namespace}/{ref.name}"


def ingress_addresses(service: Service) -> list[str]:
    """The addresses that a load balancer has given to a Service."""
    return [entry.get("ip", "") for entry in _ingress(service)]


def _ingress(service: Service) -> Sequence[Mapping[str, Any]]:
    status: Mapping[str, Any] = service.status.rest.get(LOAD_BALANCER) or {}
    return status.get("ingress") or ()


def _with_ingress(service: Service, ingress: Sequence[Mapping[str, str]]) -> Update:
    value = {"ingress": list(ingress)} if ingress else {}
    return Update(replace(service, status=ServiceStatus({**service.status.rest, LOAD_BALANCER: value})))


def _takes_ipv4(service: Service) -> bool:
    """Whether IPv4 addresses alone can serve the Service: one that is IPv6, or requires both families, is not
    served by halves."""
    families = service.spec.ip_families or ("IPv4",)
    return "IPv4" in families and service.spec.ip_family_policy != REQUIRE_DUAL_STACK


def _lacking(service: Service) -> str:
    """What MetalLB's text leaves out: why an IPv4 pool has nothing for the Service."""
    both = service.spec.ip_family_policy == REQUIRE_DUAL_STACK
    return f"the pool is IPv4, and the Service {'requires both families' if both else 'is IPv6'}"


def _other_holders(address: str, subject: ObjectRef, reader: Reader) -> list[ObjectRef]:
    return [holder.ref for holder in reader.holders(Index.INGRESS, address) if holder.ref != subject]
