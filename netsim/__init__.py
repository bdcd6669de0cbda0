"""netsim: a Kubernetes network in one Python process. Manifests in, explained packets out.

``netsim.run(...)`` gives a running ``Cluster``; it is imported when it is first used, so that
``import netsim`` costs nothing. Its reference is docs/api.md; docs/design.md
describes the rooms below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsim.base.errors import ConvergenceError, GaveUp, ManifestError, NetsimError, UsageError
    from netsim.cluster import Cluster, run

__all__ = [
    "Cluster",
    "ConvergenceError",
    "GaveUp",
    "ManifestError",
    "NetsimError",
    "UsageError",
    "__version__",
    "run",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Cluster", "run"):
        from netsim import cluster

        return getattr(cluster, name)
    if name in __all__:
        from netsim.base import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'netsim' has no attribute {name!r}")
