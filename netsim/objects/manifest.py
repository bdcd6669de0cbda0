"""Files and text → the Topology and the objects in them, or every mistake at once.

``cluster`` calls ``load``; nothing is half-applied: one mistake anywhere and nothing is returned. The steps
are those of ``kubectl apply`` and the API server behind it: read (``sources``, ``yaml_tree``), find the
kind (``recognise``), check the fields strictly (``known_fields``), set defaults (``defaults``), validate
(``validate``), and only then build the objects (``codec``). What is here is the order of the steps and the
report.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from netsim.base.address import IpNetwork
from netsim.base.errors import ManifestError, Problem, Source, UsageError
from netsim.objects import known_fields, unmodelled
from netsim.objects.codec import object_from_document
from netsim.objects.defaults import NAMESPACE, set_defaults
from netsim.objects.field_errors import FieldError, render_path
from netsim.objects.known_fields import Mistake
from netsim.objects.meta import Object, ObjectRef
from netsim.objects.recognise import Recognised, flatten, recognise
from netsim.objects.sources import TEXT, beside, read_source
from netsim.objects.topology import DNS_OFFSET, Change, Topology
from netsim.objects.validate import NAMESPACES, SharedChecks, check_name, check_object
from netsim.objects.yaml_tree import Path as FieldPath
from netsim.objects.yaml_tree import YamlDocument

APPLY = "apply"  # of a Topology's changes: what brings more documents
SERVER_OWNED = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Metadata that the API server sets (``rest.BeforeCreate``); in a file it is what ``kubectl get -o yaml``
left."""


# Where Services may be when the Topology could not be read.
_ANYWHERE: tuple[IpNetwork, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


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
    documents: Mapping[ObjectRef, YamlDocument]

    def source(self, ref: ObjectRef, *where: str | int) -> Source | None:
        """Where a field of an object was written (``"spec", "ports", 0``); None if netsim made the object."""
        document = self.documents.get(ref)
        return document.key_source(where) if document is not None else None


class Existing(NamedTuple):
    """The cluster to which documents are added while it runs; ``addresses`` and ``node_ports`` are those
    of its Services."""

    topology: Topology
    namespaces: Collection[str]
    addresses: Mapping[str, str]  # address → namespace/name
    node_ports: Mapping[tuple[str, int], str]  # protocol, number → namespace/name
    uids: Collection[str] = ()  # of all its objects


def load(sources: Sequence[str | Path], *, strict: bool = False, existing: Existing | None = None) -> Loaded:
    """Read files, directories, globs and YAML text (a string of several lines, or one that starts with
    ``{``).

    Raises ManifestError with every mistake of all files in their order, and with the warnings too when
    ``strict``; UsageError when a source names nothing that can be read. With ``existing`` there may be no
    Topology, and the namespaces and addresses of the running cluster count.
    """
    report = _Report()
    documents = _read(sources, report)
    recognised = _recognise(documents, report)
    topology = Topology() if existing is None else existing.topology
    services = topology.networking.service_subnets
    for document, what in recognised:
        if what is Recognised.TOPOLOGY:
            before = len(report.problems)
            topology = _topology(document, report, existing)
            wrong = len(report.problems) > before
            services = _ANYWHERE if wrong else topology.networking.service_subnets
    taken = {} if services is _ANYWHERE else _addresses_of_every_cluster(topology)
    loading = _Loading(services, existing, recognised, report, taken)
    for document, what in recognised:
        if what is Recognised.MODELLED:
            loading.add(document)
        elif what is not Recognised.TOPOLOGY:
            loading.keep(document, what)
    topology = _with_changes(topology, recognised, loading, report)
    report.raise_if_wrong(strict)
    return Loaded(
        topology, tuple(loading.objects), tuple(loading.foreign), tuple(report.warnings), loading.documents
    )


def _addresses_of_every_cluster(topology: Topology) -> dict[str, str]:
    """The addresses that the API server and kube-dns have before any file is applied."""
    first = topology.networking.service_subnet.network_address
    dns = topology.dns.cluster_ip or first + DNS_OFFSET
    return {str(first + 1): "default/kubernetes", str(dns): "kube-system/kube-dns"}


class _Report:
    """The mistakes and warnings so far, and the files they are in, in the order in which these were read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.files: list[str] = []

    def raise_if_wrong(self, strict: bool) -> None:
        self.warnings.sort(key=self._position)
        problems = [*self.problems, *self.warnings] if strict else self.problems
        if problems:
            raise ManifestError(sorted(problems, key=self._position))

    def _position(self, problem: Problem) -> tuple[int, int, int]:
        source = problem.source
        order = self.files.index(source.path) if source.path in self.files else len(self.files)
        return order, source.line, source.column


def _read(sources: Iterable[str | Path], report: _Report) -> list[YamlDocument]:
    """Every document of the sources, and of the files that a Topology among them names."""
    seen: set[Path] = set()
    documents: list[YamlDocument] = []
    queue = list(sources)
    while queue:
        source = queue.pop(0)
        found, wrong = read_source(source, seen)
        report.problems += wrong
        report.files += dict.fromkeys(item.source.path for item in wrong)
        report.files += dict.fromkeys(item.path for item in found)
        for document in found:
            queue += _manifests_of(document, report)
        documents += found
    if not documents and not report.problems:
        raise UsageError(
            "no objects in the input", hint="a manifest has at least apiVersion, kind and metadata"
        )
    return documents


def _manifests_of(document: YamlDocument, report: _Report) -> list[Path]:
    """The files that a Topology names, relative to its own; one that matches nothing is a mistake."""
    value = document.value
    if not isinstance(value, dict) or value.get("kind") != "Topology":
        return []
    spec = value.get("spec")
    patterns = spec.get("manifests") if isinstance(spec, dict) else None
    found: list[Path] = []
    for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
        if not isinstance(pattern, str):
            continue
        found += _matching(document, pattern, ("spec", "manifests", index), report)
    return found


def _matching(document: YamlDocument, pattern: str, where: FieldPath, report: _Report) -> list[Path]:
    """The files that a pattern in a Topology names; none is a mistake."""
    matches = beside(document.path, pattern)
    if matches:
        return matches
    base = Path() if document.path == TEXT else Path(document.path).parent
    message = f"{render_path(where)}: no file matches {base / pattern}"
    hint = "paths are relative to the Topology's file"
    report.problems.append(Problem(document.source(where), message, render_path(where), hint))
    return []


def _recognise(documents: Iterable[YamlDocument], report: _Report) -> list[tuple[YamlDocument, Recognised]]:
    recognised: list[tuple[YamlDocument, Recognised]] = []
    first: Source | None = None
    for document in (part for whole in documents for part in flatten(whole)):
        what = recognise(document)
        if isinstance(what, Problem):
            report.problems.append(what)
            continue
        if what is Recognised.TOPOLOGY:
            if first is not None:
                hint = f"the first is in {first}"
                report.problems.append(Problem(document.source(), "a second Topology", "kind", hint))
                continue
            first = document.source()
        recognised.append((document, what))
    return recognised


def _topology(document: YamlDocument, report: _Report, existing: Existing | None) -> Topology:
    if existing is not None:
        hint = "change the file and start the cluster again"
        report.problems.append(
            Problem(document.source(), "a running cluster keeps its Topology", "kind", hint)
        )
        return existing.topology
    from netsim.objects.topology_schema import read_topology  # pydantic takes long to import

    topology, problems = read_topology(document.with_plain_keys())
    report.problems += problems
    return topology


def _with_changes(
    topology: Topology,
    recognised: Iterable[tuple[YamlDocument, Recognised]],
    loading: _Loading,
    report: _Report,
) -> Topology:
    """The Topology with the objects that its changes apply, each checked against what is there by then."""
    if not topology.changes:
        return topology
    document = next(item for item, what in recognised if what is Recognised.TOPOLOGY)
    written = document.value["spec"]["changes"]
    if len(written) != len(topology.changes):  # one of them is wrong, as the report says by now
        return topology
    read: dict[int, Change] = {}
    for index in sorted(range(len(written)), key=lambda index: topology.changes[index].at):
        change = read[index] = topology.changes[index]
        if change.action == "delete":
            loading.forget(change.arguments["delete"])
        if change.action == APPLY:
            parts = _recognise(_applied(document, index, report), report)
            loading = loading.after(topology, parts)
            for part, what in parts:
                if what is Recognised.MODELLED:
                    loading.add(part)
                elif what is Recognised.TOPOLOGY:
                    _topology(part, report, loading.existing)
                else:
                    loading.keep(part, what)
            read[index] = change._replace(objects=tuple(loading.objects))
    return topology._replace(changes=tuple(read[index] for index in sorted(read)))


def _applied(document: YamlDocument, index: int, report: _Report) -> list[YamlDocument]:
    """The documents of one ``apply``: of files, and written there."""
    where: FieldPath = ("spec", "changes", index, APPLY)
    value = document.value["spec"]["changes"][index][APPLY]
    listed = [(where, value)]
    if isinstance(value, list):
        listed = [((*where, number), item) for number, item in enumerate(value)]
    found: list[YamlDocument] = []
    for place, item in listed:
        if isinstance(item, dict):
            found.append(document.part(place, item))
            continue
        for path in _matching(document, item, place, report):
            documents, wrong = read_source(path, set())
            report.problems += wrong
            report.files += dict.fromkeys([str(path)])
            found += documents
    return found


class _Loading:
    """The objects of one ``load`` as they are built."""

    def __init__(
        self,
        services: Sequence[IpNetwork],
        existing: Existing | None,
        recognised: Iterable[tuple[YamlDocument, Recognised]],
        report: _Report,
        taken: Mapping[str, str] | None = None,
    ) -> None:
        """``taken`` are the addresses of the Services that every cluster has, when none runs yet."""
        self.objects: list[Object] = []
        self.foreign: list[Foreign] = []
        self.documents: dict[ObjectRef, YamlDocument] = {}
        self.existing = existing
        self._services = services
        self._uids = frozenset(existing.uids if existing is not None else ())
        self._report = report
        declared = {_name_of(item) for item, _ in recognised if item.value.get("kind") == "Namespace"}
        known = (*NAMESPACES, *(existing.namespaces if existing is not None else ()))
        self._namespaces = {*declared, *known}
        self._shared = SharedChecks(
            self._namespaces,
            existing.addresses if existing is not None else taken or {},
            existing.node_ports if existing is not None else {},
        )

    def after(self, topology: Topology, recognised: Iterable[tuple[YamlDocument, Recognised]]) -> _Loading:
        """What is added to these objects later; an address that one of them chose is not free by then."""
        shared = self._shared
        existing = Existing(topology, self._namespaces, shared.addresses, shared.node_ports)
        return _Loading(self._services, existing, recognised, self._report)

    def forget(self, target: str) -> None:
        """``svc/prod/web`` is deleted by then: what it chose is free again."""
        kind, *rest = target.split("/")
        if kind in ("svc", "service", "services"):
            self._shared.release("/".join(rest) if len(rest) > 1 else f"{NAMESPACE}/{rest[0]}")

    def add(self, document: YamlDocument) -> None:
        """A document of a kind that netsim models: check it, and build its object if nothing is wrong."""
        value, mistakes = known_fields.conform(document.value)
        metadata = _prepare(value)
        ref = ObjectRef(value["kind"], metadata.get("namespace", ""), metadata.get("name", ""))
        tell = self._teller(document, ref)
        _tell_mistakes(mistakes, tell)
        errors: list[FieldError] = []
        if not any(mistake.of_type for mistake in mistakes):
            set_defaults(value)
            errors = _without_consequences(check_object(value, self._services), mistakes)
        errors += self._shared.add(_group(value), ref, value, document.source())
        for error in errors:
            tell(document.source(error.at), error.message, error.at, error.hint)
        if mistakes or errors:
            return
        self.objects.append(object_from_document(value, document.source()))
        self.documents[ref] = document
        owners = metadata.get("ownerReferences", ())
        if owners and not any(owner.get("uid") in self._uids for owner in owners):
            self._warn_of_owners(document, ref, owners)
        for left_out in unmodelled.field_warnings(value):
            self._warn(document.key_source(left_out.where), ref, left_out.message, left_out.where)

    def keep(self, document: YamlDocument, what: Recognised) -> None:
        """A document that is kept as it is, and warned of when a real cluster would act on it."""
        value = document.value
        api_version, kind = value["apiVersion"], value["kind"]
        if what is Recognised.BUILT_IN:
            value, mistakes = known_fields.conform(value)
            metadata = _prepare(value)
            warning = unmodelled.kind_warning(kind)
        else:
            metadata, mistakes = known_fields.conform_metadata(value)
            warning = unmodelled.foreign_warning(api_version, kind)
        ref = ObjectRef(kind, metadata.get("namespace", ""), metadata.get("name", ""))
        tell = self._teller(document, ref)
        _tell_mistakes(mistakes, tell)
        if any(mistake.of_type for mistake in mistakes):
            return  # its metadata may be among what could not be read
        errors = _without_consequences(check_name(metadata), mistakes)
        errors += self._shared.add(_group(value), ref, value, document.source())
        for error in errors:
            tell(document.source(error.at), error.message, error.at, error.hint)
        if mistakes or errors:
            return
        self.foreign.append(Foreign(api_version, kind, ref.namespace, ref.name, value, document.source()))
        if warning:
            self._warn(document.source(("kind",)), ref, warning, ("kind",))

    def _teller(self, document: YamlDocument, ref: ObjectRef) -> _Tell:
        def tell(source: Source | None, message: str, where: FieldPath, hint: str) -> None:
            at = document.key_source(where) if source is None else source
            self._report.problems.append(Problem(at, f"{_title(ref)}: {message}", render_path(where), hint))

        return tell

    def _warn_of_owners(self, document: YamlDocument, ref: ObjectRef, owners: list[dict[str, Any]]) -> None:
        """Objects from files get new uids, so what was dumped from another cluster has no owner any more."""
        named = ", ".join(f"{owner.get('kind', '')} {owner.get('name', '')}" for owner in owners)
        message = (
            "the garbage collector deletes it at once: "
            f"its owner {named}, by that uid, is not in this cluster"
        )
        hint = (
            "remove ownerReferences to keep it, or leave it out and give its owner, which makes it anew "
            "(kubectl get -o yaml prints both)"
        )
        where = ("metadata", "ownerReferences")
        self._warn(document.key_source(where), ref, message, where, hint)

    def _warn(self, source: Source, ref: ObjectRef, message: str, where: FieldPath, hint: str = "") -> None:
        self._report.warnings.append(Problem(source, f"{_title(ref)}: {message}", render_path(where), hint))


_Tell = Callable[[Source | None, str, FieldPath, str], None]


def _tell_mistakes(mistakes: Iterable[Mistake], tell: _Tell) -> None:
    for mistake in mistakes:
        tell(None, mistake.message, mistake.where, mistake.hint)


def _without_consequences(errors: Iterable[FieldError], mistakes: Sequence[Mistake]) -> list[FieldError]:
    """The errors other than a missing value beside an unknown field: most often that is it, misspelt."""
    parents = {mistake.where[:-1] for mistake in mistakes}
    return [error for error in errors if not (error.is_required and error.at[:-1] in parents)]


def _prepare(value: dict[str, Any]) -> dict[str, Any]:
    """Put a document of a built-in kind into the state in which the API server gets it: with a namespace if
    its kind has one, and without what only the server may set. Gives its metadata."""
    metadata: dict[str, Any] = value.setdefault("metadata", {})
    for field in SERVER_OWNED:
        metadata.pop(field, None)
    if value["kind"] != "Node":
        value.pop("status", None)
    if known_fields.is_namespaced(value["kind"]):
        if not metadata.get("namespace"):
            metadata["namespace"] = NAMESPACE
    else:
        metadata.pop("namespace", None)
    return metadata


def _group(value: Mapping[str, Any]) -> str:
    return str(value["apiVersion"]).rpartition("/")[0]


def _name_of(document: YamlDocument) -> str:
    metadata = document.value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _title(ref: ObjectRef) -> str:
    return str(ref) if ref.name else ref.kind
