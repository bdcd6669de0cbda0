"""What a kubelet tells about its Pods, in the words of Kubernetes 1.35.

``worker`` records these as Events. Sources: ``pkg/kubelet/events/event.go`` for the reasons,
``kuberuntime/kuberuntime_container.go`` and ``kuberuntime_manager.go``, ``images/image_manager.go``,
``prober/prober.go`` for the texts. Images are on the node already, so that nothing is ever pulled.
"""

from __future__ import annotations

from typing import NamedTuple

from netsim.base.errors import PodStartError
from netsim.kubelet.probes import ProbeSpec, Verdict
from netsim.objects.core import Pod
from netsim.resolver.resolvconf import PodEvent

MOST_OUTPUT = 10 * 1024  # prober.go: maxProbeMessageLength, of what a probe has said


class Told(NamedTuple):
    """An Event about a Pod or one of its containers."""

    reason: str
    message: str
    warning: bool = False


CREATED = Told("Created", "Container created")
STARTED = Told("Started", "Container started")


def pulled(image: str) -> Told:
    """The image is there."""
    return Told(
        "Pulled", f'Container image "{image}" already present on machine and can be accessed by the pod'
    )


def refused(error: PodStartError) -> Told:
    """The sandbox cannot be made."""
    return Told(error.reason, error.message, warning=True)


def not_created(error: PodStartError) -> Told:
    """A container cannot be created (kuberuntime: startContainer)."""
    return Told("Failed", f"Error: {error.message}", warning=True)


FAILED_MOUNT = "FailedMount"


def not_mounted(volume: str, error: PodStartError) -> Told:
    """A volume cannot be set up (volume/util/operationexecutor: GenerateMountVolumeFunc)."""
    text = f'MountVolume.SetUp failed for volume "{volume}" : {error.message}'
    return Told(error.reason, text, warning=True)


def of_dns(event: PodEvent) -> Told:
    """What deciding on the Pod's resolv.conf brought to light (network/dns/dns.go)."""
    return Told(event.reason, event.message, warning=True)


def stopping(container: str) -> Told:
    """A container is ended with its Pod."""
    return Told("Killing", f"Stopping container {container}")


def failed_for_good(container: str, spec: ProbeSpec, *, restarts: bool) -> Told:
    """A container is ended because of a probe."""
    ending = ", will be restarted" if restarts else ""
    return Told("Killing", f"Container {container} failed {spec.kind} probe{ending}")


def unhealthy(spec: ProbeSpec, verdict: Verdict) -> Told:
    """One attempt of a probe has failed."""
    text = f"{spec.kind.capitalize()} probe failed: {verdict.text}"
    return Told("Unhealthy", text[:MOST_OUTPUT], warning=True)


def backing_off(container: str, pod: Pod) -> Told:
    """A container that has failed is not started again yet (doBackOff)."""
    meta = pod.metadata
    text = f"Back-off restarting failed container {container} in pod {meta.name}_{meta.namespace}({meta.uid})"
    return Told("BackOff", text, warning=True)


def field_of(container: str, *, init: bool) -> str:
    """What an Event about a container calls it (container/ref.go, fieldPath)."""
    return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
