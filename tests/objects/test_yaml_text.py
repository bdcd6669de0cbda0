"""YAML comes out as kubectl prints it, and reads back as what it was."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netsim.objects.yaml_text import yaml_from_document


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", "web"),
        ("80", '"80"'),
        ("true", '"true"'),
        ("y", '"y"'),
        ("", '""'),
        ("2026-01-01T00:00:00Z", '"2026-01-01T00:00:00Z"'),
        ("10.96.0.1", "10.96.0.1"),
        ("a: b", "'a: b'"),
        (80, "80"),
        ([], "[]"),
        ({}, "{}"),
        (None, "null"),
        (["b", "a"], "\n- b\n- a"),
        ("a\nb\n", "|\n  a\n  b"),
    ],
)
def test_values_are_written_as_kubectl_writes_them(value: object, text: str) -> None:
    space = "" if text.startswith("\n") else " "
    assert yaml_from_document({"key": value}) == f"key:{space}{text}\n"


def test_keys_come_by_name_and_long_lines_stay_whole() -> None:
    long = "word " * 60 + "end"
    assert yaml_from_document({"b": long, "a": {"d": 1, "c": 2}}) == f"a:\n  c: 2\n  d: 1\nb: {long}\n"


def test_a_value_that_comes_twice_is_written_twice() -> None:
    labels = {"app": "web"}
    assert "&" not in yaml_from_document({"a": labels, "b": labels})


TEXTS = st.text(max_size=12)


@given(
    st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans() | st.lists(TEXTS, max_size=3), max_size=4)
)
def test_it_reads_back_as_what_it_was(document: dict[str, object]) -> None:
    assert yaml.safe_load(yaml_from_document(document)) == document
