"""The plural names under which the API serves kinds, as its messages and ``kubectl`` print them."""

from __future__ import annotations

from netsim.objects.codec import KINDS

_GROUPS = {kind.kind: kind.api_version.rpartition("/")[0] for kind in KINDS}


def plural(kind: str) -> str:
    """``pods`` of ``Pod``; apimachinery ``meta.UnsafeGuessKindToResource`` guesses alike."""
    lower = kind.lower()
    if lower == "endpoints":
        return lower
    if lower.endswith("s"):
        return f"{lower}es"
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    return f"{lower}s"


def resource_of(kind: str) -> str:
    """``deployments.apps``: the plural with the API group, which the core group leaves out."""
    group = _GROUPS.get(kind, "")
    return f"{plural(kind)}.{group}" if group else plural(kind)
