"""The generated files say what the code says, and what the reference shows can be used."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from netsim.objects.check_schema import VERBS
from netsim.objects.manifest import load
from tests.tools import generate_known_fields, generate_topology_reference
from tests.tools.generate_topology_reference import PAGE, SCHEMA

EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))


def test_the_topology_reference_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == generate_topology_reference.page()


def test_the_json_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == generate_topology_reference.schema()


def test_the_known_fields_are_up_to_date() -> None:
    output = generate_known_fields.OUTPUT
    assert output.read_text(encoding="utf-8") == generate_known_fields.generate()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_reference_loads(example: str) -> None:
    assert load([example], strict=True).topology.checks


def test_the_reference_shows_every_verb() -> None:
    shown = {check.verb for example in EXAMPLES for check in load([example]).topology.checks}
    assert shown == {verb.name for verb in VERBS}


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
def test_every_topology_loads_without_a_warning(path: Path) -> None:
    loaded = load([path], strict=True)
    assert loaded.objects
    assert bool(loaded.topology.checks) == ("kind: Topology" in path.read_text(encoding="utf-8"))


def topology_documents() -> list[Any]:
    texts = [*EXAMPLES, *(path.read_text(encoding="utf-8") for path in TOPOLOGIES)]
    documents = [document for text in texts for document in yaml.safe_load_all(text)]
    return [document for document in documents if document["kind"] == "Topology"]


def test_the_json_schema_accepts_what_load_accepts() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    documents = topology_documents()
    assert len(documents) >= len(EXAMPLES)
    for document in documents:
        assert [error.message for error in validator.iter_errors(_json(document))] == []


def test_the_json_schema_refuses_an_unknown_field() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    document = {"apiVersion": "netsim.dev/v1alpha1", "kind": "Topology", "spec": {"sed": 1}}
    assert [list(error.path) for error in validator.iter_errors(document)] == [["spec"]]


def _json(document: Any) -> Any:
    """The document as an editor sees it: JSON has only text as keys, and YAML's ``on`` is text to it."""
    if isinstance(document, dict):
        return {"on" if key is True else str(key): _json(value) for key, value in document.items()}
    return [_json(item) for item in document] if isinstance(document, list) else document
