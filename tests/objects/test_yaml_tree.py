"""YAML as kubectl reads it, with the place of everything."""

from __future__ import annotations

import math
from typing import Any

import pytest

from netsim.base.errors import Source
from netsim.objects.yaml_tree import read_documents


def value_of(text: str) -> Any:
    (document,), problems = read_documents(text, "-")
    assert problems == []
    return document.value


SCALARS = {
    "010": 8,
    "08": 8,
    "-010": -8,
    "0o17": 15,
    "0x1f": 31,
    "0x_1f": 31,
    "+0x1f": 31,
    "0b11": 3,
    "-0b11": -3,
    "1_000": 1000,
    "1.0": 1,
    "1.": 1,
    ".5": 0.5,
    "1e3": 1000,
    "1.0e+3": 1000,
    "1e20": 10**20,
    "1e21": 1e21,
    "9999999999999999999999": 1e22,
    "18446744073709551615": 2**64 - 1,
    "1e400": "1e400",
    "2024-01-01": "2024-01-01",
    "8:30": "8:30",
    "1.2.3": "1.2.3",
    "y": True,
    "Yes": True,
    "ON": True,
    "n": False,
    "off": False,
    "no": False,
    "True": True,
    "yEs": "yEs",
    "~": None,
    "null": None,
    "nil": "nil",
    "'010'": "010",
    '"yes"': "yes",
    "!!str 3": "3",
    "!!float 3": 3,
    '!!int "3"': 3,
    "!local x": "x",
    "!!binary aGVsbG8=": "hello",
    "-": "-",
}
"""What sigs.k8s.io/yaml v1.6.0 makes of plain scalars (as JSON); ``-`` alone is read within a flow list."""


@pytest.mark.parametrize("written", SCALARS)
def test_a_scalar_is_read_as_kubectl_reads_it(written: str) -> None:
    wanted = SCALARS[written]
    text = f'["{written}"]' if written == "-" else f"[{written}]"
    (found,) = value_of(text)
    assert found == wanted
    assert type(found) is type(wanted)


def test_infinity_and_nan_are_floats() -> None:
    infinity, nan = value_of("[-.inf, .NaN]")
    assert infinity == -math.inf
    assert math.isnan(nan)


def test_keys_become_text() -> None:
    assert value_of("{1: a, true: b, no: c, 1.5: d, 'on': e, 010: f}") == {
        "1": "a", "true": "b", "false": "c", "1.5": "d", "on": "e", "8": "f",
    }  # fmt: skip


def test_keys_can_be_had_as_they_are_written() -> None:
    (document,), _ = read_documents("on: {y: y}\n", "-")
    assert document.value == {"true": {"true": True}}
    assert document.with_plain_keys().value == {"on": {"y": True}}


def test_anchors_and_merge_keys() -> None:
    text = """\
base: &base {image: nginx, ports: [80]}
other: &other {image: redis, args: [x]}
one:
  <<: *base
  image: httpd
two:
  <<: [*base, *other]
same: *base
"""
    value = value_of(text)
    assert value["one"] == {"image": "httpd", "ports": [80]}
    assert value["two"] == {"image": "nginx", "ports": [80], "args": ["x"]}
    assert value["same"] == value["base"]
    assert value["same"] is not value["base"]


def test_a_merged_value_has_the_place_where_it_was_written() -> None:
    (document,), _ = read_documents("base: &base\n  image: nginx\none:\n  <<: *base\n", "x.yaml")
    assert document.source(("one", "image")) == Source("x.yaml", 2, 10)


def test_json_is_read_with_its_places() -> None:
    (document,), problems = read_documents(
        '{\n\t"kind": "Pod",\n\t"spec": {"a": [1, {"b": null}]}\n}\n', "x.json"
    )
    assert problems == []
    assert document.value == {"kind": "Pod", "spec": {"a": [1, {"b": None}]}}
    assert document.source(("spec", "a", 1, "b")) == Source("x.json", 3, 26)


TWO = """\
# a comment

kind: One
spec:
  list:
    - name: a
    - name: b
---
---
kind: Two
"""


@pytest.mark.parametrize(
    ("number", "path", "value_at", "key_at"),
    [
        (0, (), (3, 1), (3, 1)),
        (0, ("kind",), (3, 7), (3, 1)),
        (0, ("spec", "list"), (6, 5), (5, 3)),
        (0, ("spec", "list", 1), (7, 7), (7, 7)),
        (0, ("spec", "list", 1, "name"), (7, 13), (7, 7)),
        (0, ("spec", "list", 1, "image"), (7, 7), (7, 7)),
        (0, ("spec", "list", 9), (5, 3), (5, 3)),
        (0, ("spec", "ports", 0, "port"), (4, 1), (4, 1)),
        (0, ("status",), (3, 1), (3, 1)),
        (0, ("kind", "x"), (3, 1), (3, 1)),
        (1, ("kind",), (10, 7), (10, 1)),
    ],
)
def test_every_value_and_key_has_its_place(
    number: int, path: tuple[str | int, ...], value_at: tuple[int, int], key_at: tuple[int, int]
) -> None:
    documents, _ = read_documents(TWO, "x.yaml")
    assert documents[number].source(path) == Source("x.yaml", *value_at)
    assert documents[number].key_source(path) == Source("x.yaml", *key_at)


def test_a_key_that_yaml_reads_as_a_boolean_has_its_place() -> None:
    (document,), _ = read_documents("a:\n  on: x\n", "x.yaml")
    assert document.key_source(("a", "true")) == Source("x.yaml", 2, 3)


def test_empty_documents_are_left_out() -> None:
    documents, problems = read_documents("---\n# nothing\n---\nnull\n---\na: 1\n...\n", "-")
    assert [document.value for document in documents] == [{"a": 1}]
    assert problems == []


def test_after_a_syntax_error_reading_goes_on_at_the_next_document() -> None:
    documents, problems = read_documents("a: 1\n---\nb: [\n---\nc: 3\nc: 4\n---\nd: 5\n", "x.yaml")
    assert [document.value for document in documents] == [{"a": 1}, {"d": 5}]
    assert [problem.source for problem in problems] == [Source("x.yaml", 4, 1), Source("x.yaml", 6, 1)]
    assert documents[1].source(("d",)) == Source("x.yaml", 8, 4)


def test_aliases_of_aliases_are_not_expanded_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    documents, problems = read_documents("\n".join(lines), "-")
    assert documents == []
    assert [problem.message for problem in problems] == ["yaml: document contains excessive aliasing"]


def test_nesting_without_end_is_told() -> None:
    documents, problems = read_documents("[" * 5000 + "]" * 5000, "-")
    assert documents == []
    assert [problem.message for problem in problems] == ["yaml: exceeded max depth"]


def test_other_languages_than_english() -> None:
    assert value_of("größe: ☃ 🐍\n") == {"größe": "☃ 🐍"}
