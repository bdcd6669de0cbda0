"""Which program runs where: images in Pods, the resolver on the router, pages on external hosts.

``cluster`` asks here; what an image does is ``programs.images``' table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from netsim.base.errors import UsageError
from netsim.cluster.corefile import corefile_of, is_coredns
from netsim.cluster.furniture import api_host
from netsim.clusterdns.zone import KubernetesZone
from netsim.cni.fabric import ROUTER, upstream_resolver
from netsim.cni.names import node_host
from netsim.objects.core import Pod
from netsim.objects.topology import Topology
from netsim.plan.entries import HostName
from netsim.planes.protocol import Plane
from netsim.programs.apiserver import api_server
from netsim.programs.host import Host, Invocation, Program
from netsim.programs.images import program_for
from netsim.programs.servers import pages
from netsim.store.reader import Reader


def image_program(topology: Topology, custom: Mapping[str, Program]) -> Callable[[str], Program]:
    """What an image runs: the caller's own programs first, then the Topology's, then the table."""
    checked = {pattern: _checked(pattern, program) for pattern, program in custom.items()}
    return lambda image: program_for(image, checked, topology.images)


def _checked(pattern: str, program: Program) -> Program:
    """A caller's program, which may be a function that returns a coroutine; UsageError when it returns
    anything else."""
    if iscoroutinefunction(program):
        return program

    async def run(host: Host, start: Invocation) -> int:
        running: object = program(host, start)
        if not isawaitable(running):
            raise no_program(pattern)
        code: int = await running
        return code

    return run


def no_program(pattern: str) -> UsageError:
    """What was handed over for an image pattern cannot be run."""
    return UsageError(
        f"the program for {pattern!r} is not a coroutine function of a host and an invocation",
        hint="write `async def api(host, start): …`, and hand over `api` itself",
    )


def pod_services(reader: Reader, zone: KubernetesZone, pod: Pod) -> Mapping[str, Any]:
    """What a Pod's programs are granted: CoreDNS reads the API through the zone, others get nothing."""
    return {"zone": zone, "corefile": corefile_of(reader)} if is_coredns(pod) else {}


def start_infrastructure(topology: Topology, plane: Plane) -> None:
    """Start what runs outside of Pods: the site's resolver, the API server, the external hosts' pages."""
    resolver = f"nameserver {upstream_resolver(topology)}\n"
    records = {
        host.name: tuple(address for address in (host.address, host.address6) if address is not None)
        for host in topology.external_hosts
        if "." in host.name
    }
    _start(plane, ROUTER, "resolver", _resolver, Invocation("resolver", services={"records": records}))
    api = node_host(api_host(topology))
    _start(plane, api, "kube-apiserver", api_server, Invocation("kube-apiserver"))
    for node in topology.nodes:
        plane.host(node_host(node.name)).files["/etc/resolv.conf"] = resolver
    for external in topology.external_hosts:
        name = HostName(external.name)
        plane.host(name).files["/etc/resolv.conf"] = resolver
        if external.http:
            _start(plane, name, "httpd", pages(external.http), Invocation("httpd"))


async def _resolver(host: Host, start: Invocation) -> int:
    from netsim.programs.dns import upstream

    return await upstream(host, start)


def _start(plane: Plane, name: HostName, title: str, program: Program, start: Invocation) -> None:
    plane.start(plane.host(name), lambda host: program(host, start), title)
