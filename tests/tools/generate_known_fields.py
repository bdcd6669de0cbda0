"""Write ``netsim/objects/known_fields.json``: the fields of every built-in kind, and their types.

Run it from the top of the checkout when another Kubernetes version is emulated, and commit what it writes::

    python tests/tools/generate_known_fields.py

It reads the JSON schemas that the kubernetes-validate package carries (a development dependency; nothing of
it is needed at run time) and keeps names and types only, no prose. The format is described in
``netsim/objects/known_fields.py``.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "1.35.0"
OUTPUT = Path(__file__).resolve().parents[2] / "netsim" / "objects" / "known_fields.json"

NOT_APPLICABLE = {
    "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Binding", "ComponentStatus",
    "DeleteOptions", "Eviction", "Scale", "Status", "TokenRequest", "WatchEvent",
}  # fmt: skip
"""What has a group, version and kind, but is not an object that one creates from a file."""

CLUSTER_SCOPED = {
    "APIService", "CSIDriver", "CSINode", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
    "CustomResourceDefinition", "DeviceClass", "FlowSchema", "IPAddress", "IngressClass",
    "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass",
    "PriorityLevelConfiguration", "ResourceSlice", "RuntimeClass", "SelfSubjectAccessReview",
    "SelfSubjectReview", "SelfSubjectRulesReview", "ServiceCIDR", "StorageClass", "SubjectAccessReview",
    "TokenReview",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
    "VolumeAttachment", "VolumeAttributesClass",
}  # fmt: skip
"""Kinds without a namespace (`kubectl api-resources --namespaced=false`); the schemas do not say."""

PREFIXES = (
    "io.k8s.api.",
    "io.k8s.apimachinery.pkg.apis.",
    "io.k8s.apiextensions-apiserver.pkg.apis.",
    "io.k8s.kube-aggregator.pkg.apis.",
)
SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "I",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "t",
}
"""Types with their own JSON form."""


def main() -> None:
    OUTPUT.write_text(generate(), encoding="utf-8")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


def generate() -> str:
    """The text of the file, in an order that does not change from run to run."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}-local"
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    kinds = dict(sorted(_kinds(definitions)))
    types = dict(sorted(_types(definitions, set(kinds.values()))))
    cluster = sorted({name.rpartition("/")[2] for name in kinds} & CLUSTER_SCOPED)
    missing = CLUSTER_SCOPED - set(cluster)
    if missing:
        raise SystemExit(
            f"CLUSTER_SCOPED names kinds that version {VERSION} does not have: {sorted(missing)}"
        )
    return (
        json.dumps({"version": VERSION, "cluster": cluster, "kinds": kinds, "types": types}, indent=0) + "\n"
    )


def _kinds(definitions: dict[str, Any]) -> list[tuple[str, str]]:
    """``apps/v1/Deployment`` and its type, for each kind that a cluster serves by default: since 1.24 that is
    the stable versions only (kubernetes.io/docs/reference/using-api/, "beta APIs off by default")."""
    kinds = []
    for name, schema in definitions.items():
        for identity in schema.get("x-kubernetes-group-version-kind", ()):
            group, version, kind = identity["group"], identity["version"], identity["kind"]
            stable = version[1:].isdigit()
            if stable and kind not in NOT_APPLICABLE and "metadata" in schema.get("properties", {}):
                if "items" in schema["properties"] and kind.endswith("List"):
                    continue
                kinds.append((f"{group}/{version}/{kind}" if group else f"{version}/{kind}", short(name)))
    return kinds


def _types(definitions: dict[str, Any], wanted: set[str]) -> list[tuple[str, str]]:
    """Every type that the kinds need: ``name=type`` for each field, separated by blanks."""
    by_short_name = {short(name): schema for name, schema in definitions.items()}
    done: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        fields = by_short_name[name].get("properties", {})
        done[name] = " ".join(
            f"{field}={code(schema, definitions)}" for field, schema in sorted(fields.items())
        )
        used = {part.partition("=")[2].lstrip("[]{}") for part in done[name].split()}
        wanted |= {part for part in used if "." in part and part not in done}
    return list(done.items())


def code(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The code of one field's type."""
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    if reference in SPECIAL:
        return SPECIAL[reference]
    if reference:
        target = definitions[reference]
        return short(reference) if "properties" in target else code(target, definitions)
    kind = schema.get("type", "object")
    kind = next(name for name in kind if name != "null") if isinstance(kind, list) else kind
    if kind == "array":
        return "[]" + code(schema["items"], definitions)
    if kind == "object":
        values = schema.get("additionalProperties")
        return "{}" + code(values, definitions) if isinstance(values, dict) else "a"
    simple = {
        "string": "s",
        "boolean": "b",
        "number": "n",
        "integer": "l" if schema.get("format") == "int64" else "i",
    }
    return "B" if schema.get("format") == "byte" else simple[kind]


def short(name: str) -> str:
    """``io.k8s.api.core.v1.ServicePort`` → ``core.v1.ServicePort``."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


if __name__ == "__main__":
    main()
