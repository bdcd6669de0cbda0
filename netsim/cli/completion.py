"""Shell completion: putting it in place, and names read from the files on the command line so far."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from netsim.base.errors import UsageError

if TYPE_CHECKING:
    from netsim.objects.manifest import Loaded

VARIABLE = "_NETSIM_COMPLETE"  # click's name for a program called netsim
FISH_FILE = "fish/completions/netsim.fish"  # which fish reads by itself
SHELLS = ("bash", "zsh", "fish")


def install(command: click.Command) -> str:
    """Write the completion script for the user's shell, let the shell read it, and say what was done.

    Raises UsageError when $SHELL is none of bash, zsh and fish.
    """
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise UsageError(f"no completion for the shell {shell!r}", hint="set SHELL to bash, zsh or fish")
    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(command, {}, "netsim", VARIABLE).source()
    if shell == "fish":
        path = _config_home() / FISH_FILE
        _write(path, script)
        return f"{path} written; it works in the next shell"
    path = _config_home() / f"netsim/completion.{shell}"
    _write(path, script)
    startup = Path.home() / f".{shell}rc"
    line = f"source {path}"
    present = startup.read_text(encoding="utf-8") if startup.exists() else ""
    if line not in present.splitlines():
        with startup.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n" if not present or present.endswith("\n") else f"\n{line}\n")
    return f"{path} written, and read by {startup}; it works in the next shell"


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def pods_declared(files: Iterable[Path], incomplete: str) -> list[str]:
    """``dev/jump`` for a Pod, ``deploy/prod/web`` for a Deployment; nothing when the files are wrong."""
    prefixes = {"Pod": "", "Deployment": "deploy/", "StatefulSet": "sts/", "DaemonSet": "ds/"}
    loaded = _loaded(files)
    names = [
        f"{prefixes[item.kind]}{item.metadata.namespace}/{item.metadata.name}"
        for item in (loaded.objects if loaded is not None else ())
        if item.kind in prefixes
    ]
    return sorted(name for name in names if name.startswith(incomplete))


def objects_declared(files: Iterable[Path], kind: str, incomplete: str) -> list[str]:
    """``dev/ent`` for each object of that kind (in small letters); nothing when the files are wrong."""
    loaded = _loaded(files)
    names = [
        f"{item.metadata.namespace}/{item.metadata.name}".removeprefix("/")
        for item in (loaded.objects if loaded is not None else ())
        if item.kind.lower() == kind
    ]
    return sorted(name for name in names if name.startswith(incomplete))


def namespaces_declared(files: Iterable[Path], incomplete: str) -> list[str]:
    """Those that objects are in, and those that every cluster has; nothing when the files are wrong."""
    loaded = _loaded(files)
    if loaded is None:
        return []
    found = {item.metadata.namespace for item in loaded.objects if item.metadata.namespace}
    found |= {item.metadata.name for item in loaded.objects if item.kind == "Namespace"}
    return sorted(name for name in found | {"default", "kube-system"} if name.startswith(incomplete))


def nodes_declared(files: Iterable[Path], incomplete: str) -> list[str]:
    """The nodes of the Topology; nothing when the files are wrong."""
    loaded = _loaded(files)
    nodes = loaded.topology.nodes if loaded is not None else ()
    return sorted(node.name for node in nodes if node.name.startswith(incomplete))


def _loaded(files: Iterable[Path]) -> Loaded | None:
    from netsim.base.errors import NetsimError
    from netsim.objects.manifest import load

    try:
        return load([str(path) for path in files])
    except (NetsimError, OSError):
        return None
