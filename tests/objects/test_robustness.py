"""Whatever stands in a file: it is read, or its mistakes are told. Nothing else is ever raised."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.errors import ManifestError, UsageError
from netsim.objects.manifest import load

ROOT = Path(__file__).parents[2]
TEXTS = [
    *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "topologies").glob("*.yaml"))),
    (Path(__file__).parent / "golden" / "unmodelled.yaml").read_text(encoding="utf-8"),
    (Path(__file__).parent / "golden" / "pod.yaml").read_text(encoding="utf-8"),
    (Path(__file__).parent / "golden" / "endpoints.yaml").read_text(encoding="utf-8"),
]
DOCUMENTS: list[Any] = [document for text in TEXTS for document in yaml.safe_load_all(text)]

WORDS = st.sampled_from(
    ["", "a", "None", "name", "10.0.0.1", "ClusterIP", "RollingUpdate", "25%", "metadata"]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.floats(allow_nan=False)
    | WORDS
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mangled(draw: st.DrawFn) -> Any:
    """A good document in which one part has become something else."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    part = document
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = draw(st.sampled_from(keys))
        inner = part[key]
        if not inner or not isinstance(inner, dict | list) or draw(st.integers(0, 4)) == 0:
            part[key] = draw(ANYTHING)
            return document
        part = inner


@given(mangled())
def test_a_document_with_anything_in_it(document: Any) -> None:
    _load(json.dumps(document))


@given(ANYTHING)
def test_anything_as_a_document(document: Any) -> None:
    _load(json.dumps(document) + "\n")


@given(st.text("abc:-[]{}#&*!|>'\"%@` \n\t\0é", max_size=40))
def test_any_text(text: str) -> None:
    _load(text + "\n")


def _load(text: str) -> None:
    try:
        load([text])
    except ManifestError as error:
        assert error.problems
        assert all(problem.source.line >= 1 and problem.source.column >= 1 for problem in error.problems)
    except UsageError as error:
        assert error.message == "no objects in the input"
