"""Pods and files as kubectl users name them on a command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netsim.base.errors import UsageError

STDIN = "-"
POD_TYPES = ("pod", "pods", "po")
DEPLOYMENT_TYPES = ("deploy", "deployment", "deployments", "deployment.apps", "deployments.apps")


def pod_target(name: str, namespace: str) -> str:
    """The full name of ``dev/jump``, ``jump``, ``pod/jump``, ``deploy/web`` or ``deploy/prod/web``.

    ``namespace`` is that of names written without one, as kubectl's ``-n``.
    """
    parts = name.split("/")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"not a Pod's name: {name!r}", hint="write dev/jump, jump -n dev, or deploy/web")
    kind = "deploy/" if parts[0] in DEPLOYMENT_TYPES else ""
    if len(parts) > 1 and parts[0] in (*DEPLOYMENT_TYPES, *POD_TYPES):
        parts = parts[1:]
    elif len(parts) == 3:
        raise UsageError(f"unknown kind {parts[0]!r} in {name!r}", hint="write dev/jump or deploy/prod/web")
    if len(parts) == 1:
        parts = [namespace, *parts]
    return kind + "/".join(parts)


def sources(files: Sequence[Path], command: str) -> list[str | Path]:
    """What ``-f`` names: files, directories, and ``-`` for the text on stdin; UsageError when nothing is."""
    if not files:
        raise UsageError(
            f"netsim {command}: which cluster? No file was given",
            hint=f"name its manifests with -f, as in: netsim {command} -f topologies/cross-namespace.yaml …",
        )
    return [sys.stdin.read() + "\n" if str(path) == STDIN else path for path in files]
