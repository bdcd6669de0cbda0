"""A new Pod of a template, as its controller makes it (``pkg/controller/controller_utils.go``,
GetPodFromTemplate)."""

from __future__ import annotations

from collections.abc import Mapping

from netsim.controllers.ownership import controller_reference
from netsim.objects.apps import PodTemplateSpec
from netsim.objects.core import Pod, PodSpec
from netsim.objects.meta import EMPTY, Object, ObjectMeta


def pod_of(
    owner: Object,
    template: PodTemplateSpec,
    *,
    name: str = "",
    prefix: str = "",
    labels: Mapping[str, str] = EMPTY,
    annotations: Mapping[str, str] = EMPTY,
    spec: PodSpec | None = None,
) -> Pod:
    """A Pod that ``owner`` manages, with ``labels`` and ``annotations`` beside the template's.

    It has that name, or one that begins with ``prefix`` (the owner's own name when there is none).
    """
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generate_name="" if name else prefix or f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels={**template.metadata.labels, **labels} if labels else template.metadata.labels,
            annotations={**template.metadata.annotations, **annotations},
            finalizers=template.metadata.finalizers,
            owner_references=(controller_reference(owner),),
        ),
        spec=template.spec if spec is None else spec,
        source=owner.source,
    )
