"""Which objects ``netsim show`` lists: by kind, name, namespace and labels, as ``kubectl get`` does."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from netsim.base.errors import UsageError
from netsim.objects.codec import document_from_object
from netsim.objects.core import Pod
from netsim.objects.meta import Object
from netsim.store.reader import Reader
from netsim.store.selectors import Selector


class Wanted(NamedTuple):
    """What is asked for. ``names`` are ``jump`` or ``dev/jump``; none means all. ``namespace`` None: of all;
    ``node`` keeps the Pods of that node alone."""

    kind: type[Object]
    names: Sequence[str] = ()
    namespace: str | None = "default"
    selector: Selector | None = None
    node: str | None = None


def listed(reader: Reader, wanted: Wanted) -> list[Object]:
    """The objects, by namespace and name; UsageError for a name that there is not."""
    kind = wanted.kind
    if wanted.names:
        found = [_named(reader, kind, name, wanted.namespace) for name in wanted.names]
    else:
        found = list(reader.list(kind, wanted.namespace if kind.namespaced else None, wanted.selector))
    found = [item for item in found if wanted.node is None or _is_on(item, wanted.node)]
    return sorted(found, key=lambda item: (item.metadata.namespace, item.metadata.name))


def _is_on(item: Object, node: str) -> bool:
    return isinstance(item, Pod) and item.spec.node_name == node


def _named(reader: Reader, kind: type[Object], name: str, namespace: str | None) -> Object:
    space, _, plain = name.rpartition("/")
    if not kind.namespaced:
        space = ""
    elif not space:
        if namespace is None:
            raise UsageError(
                f"{name} of which namespace?", hint=f"write NAMESPACE/{name}, or -n NAMESPACE instead of -A"
            )
        space = namespace
    found = reader.find(kind, plain, space)
    if found is not None:
        return found
    where = f" in namespace {space}" if kind.namespaced else ""
    raise UsageError(
        f'{resource_name(kind)} "{plain}" not found{where}', hint=_near(reader, kind, space, plain)
    )


def _near(reader: Reader, kind: type[Object], namespace: str, name: str) -> str:
    """Objects of that name elsewhere, or of a similar one."""
    known = {_full(item): item.metadata.name for item in reader.list(kind)}
    close = [full for full, plain in known.items() if plain == name]
    close = close or difflib.get_close_matches(f"{namespace}/{name}".lstrip("/"), known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(sorted(close))}?" if close else ""


def _full(item: Object) -> str:
    meta = item.metadata
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def resource_name(kind: type[Object]) -> str:
    """``pod``, ``deployment.apps``: what ``kubectl get -o name`` writes before the slash."""
    group, slash, _ = kind.api_version.rpartition("/")
    return f"{kind.kind.lower()}.{group}" if slash else kind.kind.lower()


def document_of(found: Sequence[Object], *, alone: bool) -> dict[str, Any]:
    """The one object, when it was asked for ``alone`` by its name; else a List, as kubectl makes one."""
    documents = [document_from_object(item) for item in found]
    if alone:
        return documents[0]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": documents}
