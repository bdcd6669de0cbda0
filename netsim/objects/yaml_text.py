"""Documents as YAML, in the style of ``kubectl get -o yaml``: keys by name, lists not indented.

A text that would read as something else is in double quotes, one of several lines is a literal block, as
go-yaml (v2, encode.go, ``stringv``) writes them.
"""

from __future__ import annotations

from typing import Any

import yaml

STRING = "tag:yaml.org,2002:str"
OTHER_BREAKS = "\x85\u2028\u2029"  # which readers fold as they fold line feeds
SHORT_BOOLEANS = frozenset("yYnN")  # YAML 1.1 has them, and PyYAML reads them as texts


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None
    if any(character in text for character in OTHER_BREAKS):
        style = '"'
    elif "\n" in text:
        style = "|"
    elif text in SHORT_BOOLEANS or _meaning(dumper, text) != STRING:
        style = '"'
    return dumper.represent_scalar(STRING, text, style=style)


def _meaning(dumper: _Dumper, text: str) -> str:
    """The tag that a reader gives to the text without quotes."""
    plain_and_not_quoted = (True, False)
    tag = dumper.resolve(yaml.ScalarNode, text, plain_and_not_quoted)  # type: ignore[no-untyped-call]  # in its stubs
    return str(tag)


_Dumper.add_representer(str, _text)


def yaml_from_document(document: object) -> str:
    """One YAML document, without a marker before it."""
    return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=2**31)
