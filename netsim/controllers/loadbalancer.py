"""Gives Services of type LoadBalancer their address, as an allocator for sites without a cloud does.

``standard`` runs it where the Topology has a pool; without one nobody answers for such Services and their
EXTERNAL-IP stays ``<pending>``, as on a bare cluster. Addresses are given in ascending order; one that the
Service asks for (``spec.loadBalancerIP``) is honoured, and a Service of another implementation
(``spec.loadBalancerClass``) left alone. The pool has IPv4 addresses only. Source: MetalLB
``controller/service.go`` and ``internal/allocator/allocator.go``, the messages too. Who announces the address
is ``proxy.announcer``'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from netsim.controllers.controller import Outcome, Update, Wait
from netsim.controllers.services import gave_back
from netsim.objects.core import Service, ServiceStatus
from netsim.objects.meta import ObjectRef
from netsim.store.indexes import Index
from netsim.store.reader import Reader
from netsim.store.store import StoreEvent

LOAD_BALANCER = "loadBalancer"  # the field of a Service's status


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
        if not given and not _takes_ipv4(service):
            return Outcome(waits=[Wait(subject, self._refusal(subject, ""))])
        if given and (not wanted or given == [wanted]):
            return Outcome()
        address = next((text for text in self._candidates(wanted) if _is_free(text, subject, reader)), None)
        if address is not None:
            return Outcome([_with_ingress(service, ({"ip": address, "ipMode": "VIP"},))])
        writes = [_with_ingress(service, ())] if given else []
        return Outcome(writes, waits=[Wait(subject, self._refusal(subject, wanted))])

    def _candidates(self, wanted: str) -> Iterator[str]:
        if not wanted:
            yield from (str(IPv4Address(number)) for number in self._addresses)
        elif self._is_ours(wanted):
            yield wanted

    def _is_ours(self, address: str) -> bool:
        try:
            return int(IPv4Address(address)) in self._addresses
        except AddressValueError:
            return False

    def _refusal(self, subject: ObjectRef, wanted: str) -> str:
        why = "no available IPs"
        if wanted:
            taken = self._is_ours(wanted)
            why = (
                f"address {wanted} is in use by another" if taken else f'"{wanted}" is not allowed in config'
            )
        return f'Failed to allocate IP for "{subject.namespace}/{subject.name}": {why}'


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
    return "IPv4" in families and service.spec.ip_family_policy != "RequireDualStack"


def _is_free(address: str, subject: ObjectRef, reader: Reader) -> bool:
    return all(holder.ref == subject for holder in reader.holders(Index.INGRESS, address))
