"""The ConfigMap ``coredns`` in kube-system is the Corefile of the CoreDNS Pods, also while they run.

The kubelet projects a changed ConfigMap into a running Pod's volume when it next syncs the Pod, as
``kubelet.volumes`` has it. Then the plugin ``reload`` finds the file changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from netsim.kubelet.volumes import until_sync
from netsim.objects.core import ConfigMap, Pod
from netsim.objects.meta import ObjectRef
from netsim.planes.protocol import Plane
from netsim.programs.host import Host
from netsim.store.reader import Reader
from netsim.store.store import EventType, StoreEvent

NAMESPACE = "kube-system"
NAME = "coredns"
KEY = "Corefile"


def corefile_of(reader: Reader) -> str:
    """The Corefile as the API has it; empty when there is none."""
    config = reader.find(ConfigMap, NAME, NAMESPACE)
    return "" if config is None else config.data.get(KEY, "")


def is_coredns(pod: Pod) -> bool:
    """Whether a Pod is one of the cluster's DNS servers."""
    return pod.metadata.namespace == NAMESPACE and pod.metadata.labels.get("k8s-app") == "kube-dns"


class CorefileProjection:
    """The kubelets' half: carries a changed Corefile to the running Pods, each at its own time.

    ``host_of`` gives the host of a Pod that runs.
    """

    def __init__(self, plane: Plane, reader: Reader, host_of: Callable[[ObjectRef], Host | None]) -> None:
        self._plane = plane
        self._reader = reader
        self._host_of = host_of

    def feed(self, event: StoreEvent, now: float) -> None:
        """Take in one change of the store."""
        obj = event.object
        if not isinstance(obj, ConfigMap) or event.type is not EventType.MODIFIED:
            return
        if (obj.metadata.namespace, obj.metadata.name) != (NAMESPACE, NAME):
            return
        for pod in self._reader.list(Pod, NAMESPACE):
            host = self._host_of(pod.ref)
            if is_coredns(pod) and host is not None:
                self._plane.call_at(
                    now + until_sync(host, now), partial(self._write, pod.ref, host), background=True
                )

    def _write(self, ref: ObjectRef, host: Host) -> None:
        if self._host_of(ref) is host:
            from netsim.programs.coredns import COREFILE  # the servers run, so that it costs nothing

            host.files[COREFILE] = corefile_of(self._reader)
