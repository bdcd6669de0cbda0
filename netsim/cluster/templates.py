"""Changes of a workload's Pod template that users ask for by name.

``Cluster.set_image`` calls ``with_image``. Source: kubectl ``pkg/cmd/set/set_image.go``, its messages too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netsim.base.errors import UsageError
from netsim.objects.apps import Deployment, PodTemplateSpec, ReplicaSet
from netsim.objects.meta import Object
from netsim.objects.workloads import DaemonSet, ReplicationController, StatefulSet


def with_image(found: Object, image: str, container: str | None = None) -> Object:
    """The workload with another image in its template: in the container of that name, None: in all.

    Raises UsageError when there is no such container, or no template.
    """
    if not isinstance(found, Deployment | ReplicaSet | ReplicationController | StatefulSet | DaemonSet):
        raise UsageError(f"{found.ref}: its image cannot be set")
    template = _changed(found.spec.template, image, container)
    spec: Any = replace(found.spec, template=template)
    return replace(found, spec=spec)


def _changed(template: PodTemplateSpec, image: str, container: str | None) -> PodTemplateSpec:
    spec = template.spec
    known = [held.name for held in (*spec.init_containers, *spec.containers)]
    if container is not None and container not in known:
        message = f'unable to find container named "{container}"'
        raise UsageError(message, hint=f"there are {', '.join(known)}")

    def chosen(name: str) -> bool:
        return container in (None, name)

    return replace(
        template,
        spec=replace(
            spec,
            containers=tuple(replace(c, image=image) if chosen(c.name) else c for c in spec.containers),
            init_containers=tuple(
                replace(c, image=image) if container == c.name else c for c in spec.init_containers
            ),
        ),
    )
