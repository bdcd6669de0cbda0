"""The volumes of a Pod that are files of the API: ConfigMaps, Secrets, the downward API, and projected.

``worker`` mounts them. Sources: MakePayload in pkg/volume/configmap/configmap.go and in
pkg/volume/secret/secret.go, collectData in pkg/volume/projected/projected.go and in
pkg/volume/downwardapi/downwardapi.go; subPath as in kubelet_pods.go (makeMounts).
Modes are of no account, and every other kind of volume holds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from netsim.base.errors import PodStartError
from netsim.kubelet import events
from netsim.kubelet.environment import decoded, field_value
from netsim.kubelet.files import TOKEN, authority
from netsim.objects.core import ConfigMap, Container, Pod, Secret
from netsim.objects.meta import ObjectRef
from netsim.programs.host import Host
from netsim.store.reader import Reader

# pkg/util/goroutinemap/exponentialbackoff: initialDurationBeforeRetry, maxDurationBeforeRetry
FIRST_RETRY = 0.5
LAST_RETRY = 122.0
# The kubelet syncs a Pod again after syncFrequency, 1 min, and up to half as much more (pkg/kubelet/
# pod_workers.go, workerResyncIntervalJitterFactor).
SYNC_INTERVAL = 60.0
SYNC_JITTER = 0.5
ROOT_CA = "kube-root-ca.crt"  # what the root-ca-cert-publisher of a real cluster puts into each namespace

_NO_KEY: Mapping[type[ConfigMap] | type[Secret], str] = {
    ConfigMap: "configmap references non-existent config key",
    Secret: "references non-existent secret key",
}

Files: TypeAlias = Mapping[str, str]
"""Texts by their path within a volume; octets that are no UTF-8 are surrogates."""


def until_sync(host: Host, now: float) -> float:
    """How long after a change at ``now`` the kubelet syncs a Pod that runs on ``host``."""
    chance = host.rng.derive(f"sync at {now}")
    interval = SYNC_INTERVAL * (1 + SYNC_JITTER * chance.random())
    return interval * chance.random()  # how much is left of it


class Volumes:
    """What one Pod mounts. ``refused`` says what keeps it from starting; ``tell`` records an Event."""

    def __init__(self, reader: Reader, tell: Callable[[events.Told], None]) -> None:
        self.refused = ""
        self._reader = reader
        self._tell = tell
        self._held: dict[str, Files] = {}

    async def set_up(self, kubelet: Host, pod_now: Callable[[], Pod]) -> None:
        """Read every volume, again and again until what it must have is there."""
        wait = FIRST_RETRY
        while refused := self._read(pod_now()):
            self.refused = refused
            await kubelet.sleep(wait, background=True)
            wait = min(2 * wait, LAST_RETRY)
        self.refused = ""

    def mount(self, container: Container, host: Host) -> None:
        """Give a container that is about to start its files."""
        host.files.update(_mounted(container, self._held, with_sub_paths=True))

    def refresh(self, pod: Pod, containers: Iterable[Container], host: Host) -> None:
        """Carry what has changed into containers that run; what is mounted by subPath stays as it was.

        A volume that cannot be read any more keeps its files, as the Event says.
        """
        before = self._held
        self._read(pod)
        for container in containers:
            new = _mounted(container, self._held, with_sub_paths=False)
            for path in _mounted(container, before, with_sub_paths=False).keys() - new.keys():
                host.files.pop(path, None)
            host.files.update(new)

    def _read(self, pod: Pod) -> str:
        """Read each volume; says which could not be, and why."""
        held, refused = dict(self._held), ""
        for volume in pod.spec.rest.get("volumes") or ():
            try:
                held[volume["name"]] = _payload(self._reader, pod, volume)
            except PodStartError as error:
                told = events.not_mounted(volume["name"], error)
                self._tell(told)
                refused = told.message
        self._held = held
        return refused


def takes_from(pod: Pod, changed: ObjectRef) -> bool:
    """Whether a ConfigMap or Secret is in one of the Pod's volumes."""
    if pod.metadata.namespace != changed.namespace:
        return False
    sources = [source for volume in pod.spec.rest.get("volumes") or () for source in _sources(volume)]
    named = {
        ConfigMap.kind: [source["configMap"].get("name") for source in sources if "configMap" in source],
        Secret.kind: [_secret_name(source["secret"]) for source in sources if "secret" in source],
    }
    return changed.name in named.get(changed.kind, ())


def _sources(volume: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The sources of a projected volume; any other is its own only one."""
    if "projected" in volume:
        found: Iterable[Mapping[str, Any]] = volume["projected"].get("sources") or ()
        return found
    return (volume,)


def _secret_name(source: Mapping[str, Any]) -> str:
    """A volume says ``secretName``, a projection ``name``."""
    return str(source.get("secretName") or source.get("name", ""))


def _payload(reader: Reader, pod: Pod, volume: Mapping[str, Any]) -> Files:
    """What a volume holds; of two sources of one path the later wins."""
    files: dict[str, str] = {}
    for source in _sources(volume):
        if "configMap" in source:
            named = source["configMap"]
            data = _config_map(reader, pod, named.get("name", ""))
            files.update(_chosen(data, named, ConfigMap, named.get("name", "")))
        elif "secret" in source:
            named = source["secret"]
            name = _secret_name(named)
            secret = reader.find(Secret, name, pod.metadata.namespace)
            files.update(_chosen(None if secret is None else decoded(secret.data), named, Secret, name))
        elif "downwardAPI" in source:
            files.update(_downward(pod, source["downwardAPI"].get("items") or ()))
        elif "serviceAccountToken" in source:
            files[source["serviceAccountToken"]["path"]] = TOKEN
    return files


def _config_map(reader: Reader, pod: Pod, name: str) -> Files | None:
    found = reader.find(ConfigMap, name, pod.metadata.namespace)
    if found is not None:
        return {**found.data, **decoded(found.binary_data)}
    return {"ca.crt": authority()} if name == ROOT_CA else None


def _chosen(
    data: Files | None, source: Mapping[str, Any], kind: type[ConfigMap] | type[Secret], name: str
) -> Files:
    """Every key as a file of its name, or those of ``items`` under their paths."""
    optional = bool(source.get("optional"))
    if data is None:
        if not optional:
            raise PodStartError(events.FAILED_MOUNT, f'{kind.kind.lower()} "{name}" not found')
        data = {}
    if not source.get("items"):
        return data
    for item in source["items"]:
        if item["key"] not in data and not optional:
            raise PodStartError(events.FAILED_MOUNT, f"{_NO_KEY[kind]}: {item['key']}")
    return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}


def _downward(pod: Pod, items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The Pod's own fields, all labels or annotations as lines (pkg/fieldpath, FormatMap); resources are not
    modelled."""
    maps = {"metadata.labels": pod.metadata.labels, "metadata.annotations": pod.metadata.annotations}
    for item in items:
        path = item.get("fieldRef", {}).get("fieldPath", "")
        if path in maps:
            pairs = sorted(maps[path].items())
            yield (
                item["path"],
                "\n".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in pairs),
            )
        elif (value := field_value(pod, path)) is not None:
            yield item["path"], value


def _mounted(container: Container, held: Mapping[str, Files], *, with_sub_paths: bool) -> Files:
    """A container's files of its volumes, by their absolute path."""
    files: dict[str, str] = {}
    for mount in container.rest.get("volumeMounts") or ():
        target, inside = mount["mountPath"].rstrip("/"), mount.get("subPath", "").strip("/")
        if inside and not with_sub_paths:
            continue
        for path, text in held.get(mount["name"], {}).items():
            if not inside or path == inside:
                files[target if inside else f"{target}/{path}"] = text
            elif path.startswith(f"{inside}/"):
                files[target + path.removeprefix(inside)] = text
    return files
