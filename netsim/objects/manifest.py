"""Files and text → the Topology and the objects in them, or every mistake at once.

``cluster`` calls ``load``; nothing is half-applied: one mistake anywhere and nothing is returned. The steps are
those of ``kubectl apply`` and the API server behind it: read, recognise the kind, check the fields strictly, set
defaults, validate, and only then build the objects of this room. What is here is the order of the steps, the
search for files, and the report; the steps are modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from netsim.base.errors import ManifestError, Problem, Source, UsageError
from netsim.objects.codec import class_of_kind, object_from_document
from netsim.objects.meta import Object
from netsim.objects.topology import Topology
from netsim.objects.yaml_tree import YamlDocument, read_documents

TEXT = "-"  # what text given in memory is called in positions
SUFFIXES = (".yaml", ".yml", ".json")  # what is read of a directory, as `kubectl apply -f DIRECTORY` does
TOPOLOGY_GROUP = "netsim.dev"


class Foreign(NamedTuple):
    """An object that is kept as it was written: of a kind that netsim does not model, or of another group."""

    api_version: str
    kind: str
    namespace: str
    name: str
    document: dict[str, Any]
    source: Source


class Loaded(NamedTuple):
    """What the files hold. ``warnings`` names what a real cluster would act on and netsim does not."""

    topology: Topology
    objects: tuple[Object, ...]
    foreign: tuple[Foreign, ...]
    warnings: tuple[Problem, ...]


def load(sources: Sequence[str | Path], *, strict: bool = False) -> Loaded:
    """Read files, directories, globs and YAML text (a string of several lines, or one that starts with ``{``).

    Raises ManifestError with every mistake of all files in their order, and with the warnings too when
    ``strict``; UsageError when a source names no file.
    """
    documents, problems = _read(sources)
    objects = []
    foreign = []
    for document in documents:
        value = document.value
        if class_of_kind(value["apiVersion"], value["kind"]) is None:
            metadata = value.get("metadata", {})
            where = (metadata.get("namespace", ""), metadata.get("name", ""))
            foreign.append(Foreign(value["apiVersion"], value["kind"], *where, value, document.source()))
        else:
            objects.append(object_from_document(value, document.source()))
    if problems:
        raise ManifestError(problems)
    return Loaded(Topology(), tuple(objects), tuple(foreign), ())


def _read(sources: Iterable[str | Path]) -> tuple[list[YamlDocument], list[Problem]]:
    documents: list[YamlDocument] = []
    problems: list[Problem] = []
    for text, path in _texts(sources):
        found, wrong = read_documents(text, path)
        documents += found
        problems += wrong
    return documents, problems


def _texts(sources: Iterable[str | Path]) -> Iterable[tuple[str, str]]:
    for source in sources:
        if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
            yield source, TEXT
        else:
            for path in _files(source):
                yield path.read_text(encoding="utf-8-sig"), str(path)


def _files(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return sorted(item for item in path.iterdir() if item.suffix in SUFFIXES and item.is_file())
    if path.is_file():
        return [path]
    found = sorted(Path(name) for name in glob(str(source), recursive=True) if Path(name).is_file())
    if not found:
        raise UsageError(f"no such file: {source}")
    return found
