"""The pieces of which the Topology's schema is made: pydantic-core schemas, each with a text for the
reference.

``topology_schema`` and ``check_schema`` declare with them, ``topology_reference`` prints them. They are what
pydantic builds from model classes, written down directly: to build them from classes takes pydantic 90 ms at
every start, as much as the rest of netsim. pydantic-core, which validates, is the same.

Values are not converted between types ("3" is no number), null is no value (``topology_schema`` removes
it), and an unknown field is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
    ip_network,
)
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic_core import SchemaValidator

from netsim.objects.rules import names
from netsim.objects.yaml_tree import Path

Schema = dict[str, Any]

DURATION = "duration, as 5s, 200ms or 1m30s"
KEY_MARK = "[key]"  # what pydantic-core adds to the place of an error in a key

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_PERCENT = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


class Field(NamedTuple):
    """A field of a structure; ``text`` says in a line what it is for."""

    schema: Schema
    text: str
    required: bool = False


class Structure:
    """A structure that can validate; and that can be asked what it allows where."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.schema = struct(fields)
        self._validator = SchemaValidator(self.schema)

    def validate(self, value: Any) -> Any:
        """The value with its texts parsed; raises pydantic-core's ValidationError with every mistake."""
        return self._validator.validate_python(value)

    def schema_at(self, where: Path) -> Schema:
        """The schema of the value at a path."""
        schema = self.schema
        for step in where:
            schema = _inner(schema, step)
        return schema


def _inner(schema: Schema, step: str | int) -> Schema:
    match schema["type"]:
        case "typed-dict":
            field = schema["fields"].get(step)
            return cast(Schema, field["schema"]) if field is not None else {"type": "any"}
        case "list":
            return cast(Schema, schema["items_schema"])
        case "dict":
            return cast(Schema, schema["values_schema"])
        case _:
            return {"type": "any"}


def struct(fields: Mapping[str, Field]) -> Schema:
    """A mapping with these fields and no others."""
    described = {
        name: {
            "type": "typed-dict-field",
            "schema": field.schema,
            "required": field.required,
            "metadata": {"text": field.text},
        }
        for name, field in fields.items()
    }
    return {"type": "typed-dict", "fields": described, "extra_behavior": "forbid", "total": False}


def text(least: int = 0) -> Schema:
    """Any text of at least so many characters."""
    return {"type": "str", "strict": True, "min_length": least}


def boolean() -> Schema:
    """true or false."""
    return {"type": "bool", "strict": True}


def number(least: int, most: int | None = None) -> Schema:
    """A whole number in a range, both ends included."""
    schema: Schema = {"type": "int", "strict": True, "ge": least}
    return schema if most is None else {**schema, "le": most}


def one_of(*words: str) -> Schema:
    """One of these words."""
    return {"type": "literal", "expected": list(words)}


def listing(items: Schema, least: int = 0) -> Schema:
    """A list of at least so many items."""
    return {"type": "list", "items_schema": items, "min_length": least, "strict": True}


def mapping(keys: Schema, values: Schema) -> Schema:
    """A mapping whose keys the user chooses."""
    return {"type": "dict", "keys_schema": keys, "values_schema": values, "strict": True}


def anything(form: str) -> Schema:
    """A mapping that another schema validates; ``form`` says what it is."""
    return {"type": "dict", "strict": True, "metadata": {"form": form}}


def either(message: str, *choices: Schema) -> Schema:
    """One of several forms; ``message`` completes "must be"."""
    wrong = {"custom_error_type": "either", "custom_error_message": message}
    return {"type": "union", "choices": list(choices), **wrong}


def parsed(parse: Callable[[str], Any], form: str) -> Schema:
    """Text that ``parse`` turns into a value, or refuses with a ValueError that says what it must be."""
    function = {"type": "no-info", "function": parse}
    return {"type": "function-after", "schema": text(), "function": function, "metadata": {"form": form}}


def port_number() -> Schema:
    """A key that is a TCP port: JSON has only text as keys."""
    return parsed(_port, "port number")


class Pair(NamedTuple):
    """What there is of each family; the second may be absent."""

    ipv4: Any
    ipv6: Any = None


def address() -> Schema:
    """An IPv4 address."""
    return parsed(parse_address, "IPv4 address")


def addresses() -> Schema:
    """An IPv4 address, or one of each family: a ``Pair``."""
    return parsed(_addresses, "IPv4 address, or IPv4,IPv6")


def network() -> Schema:
    """An IPv4 network in CIDR notation."""
    return parsed(_network, "CIDR")


def networks() -> Schema:
    """An IPv4 network, or one of each family, as kubeadm writes them: a ``Pair``."""
    return parsed(_networks, "CIDR, or IPv4,IPv6")


def node_port_address() -> Schema:
    """What kube-proxy's nodePortAddresses lists, as text."""
    return parsed(_node_port_address, "CIDR or primary")


def duration() -> Schema:
    """A length of time, which becomes seconds."""
    return parsed(_seconds, DURATION)


def share() -> Schema:
    """A percentage above 0, which becomes a number from 0 to 1."""
    return parsed(_share, "percentage")


def regular_expression() -> Schema:
    """A regular expression of Python's kind."""
    return parsed(_pattern, "regular expression")


def name(rule: Callable[[str], list[str]]) -> Schema:
    """Text that follows a rule of ``rules.names``."""

    def check(value: str) -> str:
        wrong = rule(value)
        if wrong:
            raise ValueError(f'Invalid value: "{value}": {wrong[0]}')
        return value

    return parsed(check, "name")


def target() -> Schema:
    """What stands for an address or a set of addresses."""
    return parsed(_target, "target")


def origin() -> Schema:
    """What can open a connection: a target that is a Pod, a node or an external host."""
    return parsed(_origin, "origin")


def held_object() -> Schema:
    """``KIND/NAME`` or ``KIND/NAMESPACE/NAME``."""
    return parsed(_held_object, "KIND/NAMESPACE/NAME")


def workload(*kinds: str) -> Schema:
    """The same of something that has a Pod template; ``kinds`` are kubectl's short names."""
    known = {name: None for kind in kinds for name in (kind, _WORKLOADS[kind], f"{_WORKLOADS[kind]}s")}

    def check(value: str) -> str:
        if value.partition("/")[0].lower() not in known:
            raise ValueError(f"must be a workload, as deploy/prod/web; its kind one of {', '.join(kinds)}")
        return _held_object(value)

    return parsed(check, "workload")


def endpoint() -> Schema:
    """``NAME:PORT``."""
    return parsed(_endpoint, "NAME:PORT")


def url() -> Schema:
    """An http URL."""
    return parsed(_url, "URL")


def parse_address(value: str) -> IPv4Address:
    """The address; ValueError says what it must be."""
    try:
        return IPv4Address(value)
    except AddressValueError:
        raise ValueError("must be an IPv4 address, as 192.168.10.10") from None


def _addresses(value: str) -> Pair:
    first, comma, second = value.partition(",")
    if not comma and ":" not in value:
        return Pair(parse_address(value))
    try:
        return Pair(IPv4Address(first), IPv6Address(second))
    except AddressValueError:
        raise ValueError(
            "must be an IPv4 address, or one and an IPv6 address behind it, as 192.168.10.10,fd00:192::10"
        ) from None


def _node_port_address(value: str) -> str:
    if value != "primary":
        try:
            ip_network(value)
        except ValueError:
            raise ValueError("must be a network, as 192.168.10.0/24, or primary") from None
    return value


def _networks(value: str) -> Pair:
    first, comma, second = value.partition(",")
    if not comma and ":" not in value:
        return Pair(_network(value))
    if " " in value:
        raise ValueError("must have no space beside the comma, as 10.244.0.0/16,fd00:10:244::/56")
    if ":" in first:
        raise ValueError("must begin with an IPv4 network: IPv6 as the primary family is not built")
    if ":" not in second or "," in second:
        raise ValueError("must be an IPv4 network, or one and an IPv6 one, as 10.244.0.0/16,fd00:10:244::/56")
    return Pair(_network(first), _network6(second))


def _network6(value: str) -> IPv6Network:
    try:
        return IPv6Network(value)
    except (AddressValueError, NetmaskValueError):
        raise ValueError("must be an IPv6 network behind the comma, as fd00:10:244::/56") from None
    except ValueError:
        whole = IPv6Network(value, strict=False)
        raise ValueError(f"must be the first address of the network: {whole}") from None


def _network(value: str) -> IPv4Network:
    try:
        return IPv4Network(value)
    except (AddressValueError, NetmaskValueError):
        raise ValueError("must be an IPv4 network, as 10.244.0.0/16") from None
    except ValueError:
        whole = IPv4Network(value, strict=False)
        raise ValueError(f"must be the first address of the network: {whole}") from None


def _port(value: str) -> int:
    if not value.isascii() or not value.isdigit() or names.port_number(int(value)):
        raise ValueError("must be a port from 1 to 65535")
    return int(value)


def _seconds(value: str) -> float:
    if _DURATION.fullmatch(value) is None:
        raise ValueError(f"must be a {DURATION}")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION_PART.findall(value))


def _share(value: str) -> float:
    number = value.removesuffix("%")
    if number == value or _PERCENT.fullmatch(number) is None or not 0.0 < float(number) <= 100.0:
        raise ValueError("must be a percentage above 0% and up to 100%, as 20%")
    return float(number) / 100.0


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    return value


_ORIGINS = "dev/jump, deploy/prod/web, node/node1 or external/client"
_WORKLOADS = {
    "deploy": "deployment",
    "sts": "statefulset",
    "ds": "daemonset",
    "rs": "replicaset",
    "rc": "replicationcontroller",
}
_PARTS = {
    **dict.fromkeys((*_WORKLOADS, *_WORKLOADS.values(), "job", "pod", "svc"), (2, 3)),
    **dict.fromkeys(("node", "external"), (2,)),
}
"""How many parts a target of each kind has; a Pod without a kind has one or two."""


def _target(value: str) -> str:
    parts = value.split("/")
    wanted = _PARTS.get(parts[0], (1, 2))
    is_address = names.sloppy_address(value) is not None
    good = not value.replace(".", "").isdigit() and not any(names.subdomain(part) for part in parts)
    if not is_address and not (good and len(parts) in wanted):
        raise ValueError(f"must be a target: svc/dev/ent, {_ORIGINS}, or an address")
    return value


def _origin(value: str) -> str:
    if value.startswith("svc/") or names.sloppy_address(value) is not None:
        raise ValueError(f"must be a Pod, a node or an external host: {_ORIGINS}")
    return _target(value)


def _held_object(value: str) -> str:
    kind, *rest = value.split("/")
    if not kind or len(rest) not in (1, 2) or any(names.subdomain(part) for part in rest):
        raise ValueError(
            "must be KIND/NAMESPACE/NAME, as svc/prod/web, or KIND/NAME in the namespace default"
        )
    return value


def _endpoint(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or names.port_number(int(port)) or " " in host:
        raise ValueError("must be NAME:PORT, as ent.prod:8080")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "https":
        raise ValueError("must be an http URL: https is not built yet")
    try:
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        good = False
    if not good:
        raise ValueError("must be a URL, as http://ent.prod:8080/")
    return value
