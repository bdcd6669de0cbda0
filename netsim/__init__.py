"""netsim: a Kubernetes network in one Python process. Manifests in, explained packets out.

``netsim.run(...)`` gives a running ``Cluster``; it is imported when it is first used, so that
``import netsim`` costs nothing. The rooms below are described in docs/design.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsim.cluster import Cluster, run

__all__ = ["Cluster", "__version__", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Cluster", "run"):
        from netsim import cluster

        return getattr(cluster, name)
    raise AttributeError(f"module 'netsim' has no attribute {name!r}")
