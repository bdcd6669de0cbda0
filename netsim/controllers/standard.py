"""The list of all controllers: ``cluster`` runs these; a new controller is one line here."""

from __future__ import annotations

from netsim.base.rng import Rng
from netsim.controllers.controller import Controller
from netsim.controllers.daemonset import DaemonSetController
from netsim.controllers.deployment import DeploymentController
from netsim.controllers.endpoints import EndpointsController
from netsim.controllers.endpointslices import EndpointSliceController
from netsim.controllers.garbage import GarbageCollector
from netsim.controllers.job import JobController
from netsim.controllers.loadbalancer import LoadBalancerAllocator
from netsim.controllers.mirroring import EndpointSliceMirroring
from netsim.controllers.namespaces import NamespaceController
from netsim.controllers.nodeipam import NodeIpam
from netsim.controllers.nodelifecycle import NodeLifecycle, PodGarbage, TaintEviction
from netsim.controllers.replicaset import ReplicaSetController
from netsim.controllers.scheduler import Scheduler
from netsim.controllers.services import ServiceAllocator
from netsim.controllers.statefulset import StatefulSetController
from netsim.objects.topology import LoadBalancer, Networking
from netsim.objects.workloads import ReplicationController


def standard_controllers(
    networking: Networking, rng: Rng, load_balancer: LoadBalancer | None = None
) -> tuple[Controller, ...]:
    """The controllers in the order in which ``Manager.waiting`` lists what they wait for."""
    return (
        NodeIpam(networking.pod_subnets),
        ServiceAllocator(networking.service_subnets, rng.derive("services")),
        *((LoadBalancerAllocator(load_balancer.addresses),) if load_balancer is not None else ()),
        DeploymentController(),
        ReplicaSetController(),
        ReplicaSetController(ReplicationController),
        StatefulSetController(),
        DaemonSetController(),
        JobController(),
        NodeLifecycle(),
        TaintEviction(),
        PodGarbage(),
        Scheduler(),
        EndpointSliceController(),
        EndpointsController(),
        EndpointSliceMirroring(),
        GarbageCollector(),
        NamespaceController(),
    )
