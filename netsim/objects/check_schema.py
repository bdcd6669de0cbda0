"""What a check of a Topology may say: the verbs, and what each can expect.

``topology_schema`` reads checks with ``read_check``. A verb is one entry of ``VERBS``; what it does is for
the room ``checks``. DESIGN: exactly one verb in each check, and ``expect: {not: …}`` turns the expectation
round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from netsim.base.errors import Source
from netsim.objects.node_tables import NODE_TABLES
from netsim.objects.schema_parts import (
    Field,
    Schema,
    Structure,
    anything,
    boolean,
    duration,
    either,
    endpoint,
    listing,
    mapping,
    number,
    one_of,
    origin,
    regular_expression,
    struct,
    target,
    text,
    url,
)
from netsim.objects.spelling import did_you_mean
from netsim.objects.topology import LIBCS, PROXY_MODES, ROUND_ROBIN, Check
from netsim.objects.yaml_tree import Path

EAI_ERRORS = ("EAI_NONAME", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_ADDRFAMILY")  # getaddrinfo(3)
GO_ERRORS = (
    "no such host", "server misbehaving", "i/o timeout", "connection refused", "no suitable address found",
)  # fmt: skip
RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")  # RFC 1035, 4.1.1
RECORD_TYPES = ("A", "AAAA", "ANY", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
ICMP_ERRORS = (
    "port-unreachable", "host-unreachable", "net-unreachable", "protocol-unreachable", "admin-prohibited",
    "ttl-exceeded",
)  # fmt: skip
LARGEST_PING = 65507  # bytes after the ICMP header in an IPv4 packet of 65,535 bytes

_TARGETS = listing(target(), least=1)
_ORDER = either("rr, or a list of targets", one_of(ROUND_ROBIN), listing(target()))
_LINES = either("a line, or a list of lines", text(), listing(text()))
_COUNT = Field(number(1, 100_000), "how often; 1 if it is not said")
_EVERY = Field(
    duration(),
    "begin one so often, whether the one before has ended or not; one after the other if it is not said",
)
_BALANCED = Field(boolean(), "whether each got an equal share, by a chi-square test at 1 %")
_TARGETS_SEEN = Field(number(1), "how many different addresses they landed at")
_REACHED = Field(_TARGETS, "where it landed: at each of these targets, and nowhere else")


class Verb(NamedTuple):
    """One thing that a check can do. ``has_origin``: it is done from somewhere, so ``from`` is needed."""

    name: str
    text: str
    value: Schema
    more: Mapping[str, Field]
    expect: Mapping[str, Field]
    has_origin: bool = True


VERBS: tuple[Verb, ...] = (
    Verb(
        "resolve",
        "a name, with the libc of the Pod: its search list, its retries",
        text(least=1),
        {
            "type": Field(one_of("A", "AAAA"), "only addresses of this type; both if it is not said"),
            "libc": Field(one_of(*LIBCS), "whose resolver; that of the image if it is not said"),
        },
        {
            "addresses": Field(listing(target()), "the set of addresses"),
            "error": Field(one_of(*EAI_ERRORS, *GO_ERRORS), "getaddrinfo's error, or the text of Go's"),
            "queries": Field(
                either("a number, or the list of queries in order", number(0), listing(text())),
                "how many queries were sent, or which: `ent.dev.svc.cluster.local. A`, or the names alone",
            ),
            "after": Field(duration(), "the shortest virtual time that it takes"),
            "within": Field(duration(), "the longest virtual time that it may take"),
        },
    ),
    Verb(
        "query",
        "one DNS question, as `dig` asks it: no search list",
        struct(
            {
                "name": Field(text(least=1), "the name, absolute", required=True),
                "type": Field(one_of(*RECORD_TYPES), "the record type; A if it is not said"),
                "server": Field(target(), "who is asked; the nameserver of `from` if it is not said"),
            }
        ),
        {},
        {
            "rcode": Field(one_of(*RCODES), "the response code"),
            "answer": Field(
                listing(text()),
                "all records of the answer section: their data, or lines as dig prints them, or targets",
            ),
            "authority": Field(listing(text()), "all of the authority section"),
            "additional": Field(listing(text()), "all of the additional section"),
        },
    ),
    Verb(
        "connect",
        "a connection to NAME:PORT: the name is resolved, then Service, NAT and routes decide",
        endpoint(),
        {
            "protocol": Field(
                one_of("tcp", "udp"),
                "tcp if it is not said; by udp one datagram is sent, and it is ok when an answer comes",
            ),
            "count": _COUNT,
            "every": _EVERY,
            "via": Field(
                text(least=1),
                "a node: NAME is a Service, as `svc/prod/web`, and is dialled at the node's address and the "
                "node port of its PORT",
            ),
        },
        {
            "reached": _REACHED,
            "result": Field(one_of("ok", "refused", "timeout", "unreachable"), "ok if it is not said"),
            "balanced": _BALANCED,
            "targets": _TARGETS_SEEN,
            "order": Field(
                _ORDER,
                "the targets in the order in which they were reached, one per connection; `rr`: each in "
                "turn, and again in the same order",
            ),
            "source": Field(target(), "whom the server saw; of a node any of its addresses"),
            "path": Field(
                listing(text()),
                "the hosts that the first packet passed, both ends included, without switches",
            ),
            "encapsulation": Field(one_of("vxlan", "none"), "the tunnel between the nodes"),
        },
    ),
    Verb(
        "get",
        "a page by HTTP",
        url(),
        {
            "count": _COUNT,
            "every": _EVERY,
            "headers": Field(mapping(text(), text()), "more request headers"),
            "keepAlive": Field(
                boolean(),
                "one connection for all requests, one after the other, for as long as the server keeps it; "
                "each has its own if it is not said",
            ),
        },
        {
            "status": Field(number(100, 599), "the status code"),
            "lost": Field(number(0), "how many got no answer: no address, no connection, or a broken one"),
            "body": Field(regular_expression(), "a regular expression that is found in the body"),
            "reached": _REACHED,
            "balanced": _BALANCED,
            "targets": _TARGETS_SEEN,
        },
    ),
    Verb(
        "ping",
        "an ICMP echo to a target or a name",
        text(least=1),
        {
            "count": _COUNT,
            "size": Field(number(0, LARGEST_PING), "bytes of data; 56 if it is not said"),
            "df": Field(boolean(), "whether routers may not fragment it"),
        },
        {
            "result": Field(one_of("ok", "timeout", "unreachable"), "ok if it is not said"),
            "ttl": Field(number(0, 255), "the time to live with which the reply arrived"),
            "lost": Field(number(0), "how many got no reply"),
            "error": Field(one_of(*ICMP_ERRORS), "the ICMP error that came instead of a reply"),
            "errorFrom": Field(target(), "who sent it; of a node, from any of its addresses"),
        },
    ),
    Verb(
        "exec",
        "a command in the Pod",
        listing(text(), least=1),
        {"stdin": Field(text(), "what the command reads")},
        {
            "exit": Field(number(0, 255), "its exit status"),
            "stdout": Field(regular_expression(), "a regular expression that is found in its output"),
        },
    ),
    Verb(
        "table",
        "what a node's table holds",
        struct(
            {
                "node": Field(text(least=1), "the name of the node", required=True),
                "show": Field(one_of(*NODE_TABLES), "which table", required=True),
            }
        ),
        {},
        {
            "contains": Field(_LINES, "text that stands in it"),
            "lacks": Field(_LINES, "text that does not stand in it"),
        },
        has_origin=False,
    ),
    Verb(
        "capture",
        "the packets that pass an interface while another check runs",
        struct(
            {
                "on": Field(text(least=1), "the interface, as `node1/eth0`", required=True),
                "filter": Field(text(), "which packets count; all if it is not said"),
            }
        ),
        {
            "during": Field(
                anything("check"),
                "the check that makes the packets; what it expects must hold, too",
                required=True,
            )
        },
        {
            "count": Field(number(0), "how many packets"),
            "fields": Field(
                mapping(text(), either("text or a number", text(), number(0))),
                "what each of them has in one of its headers, by Wireshark's names: `ip.dst`, `udp.port` …",
            ),
        },
        has_origin=False,
    ),
)
"""Every verb, in the order of the reference."""

_BY_NAME = {verb.name: verb for verb in VERBS}
_COMMON = ("name", "from", "at", "kubeProxyMode", "expect")

Validate = Callable[[Structure, Any, Path], "dict[str, Any] | None"]
Refuse = Callable[[Path, str, str], None]
"""Tells that something is wrong: where, what, and a hint."""


def fields_of(verb: Verb) -> dict[str, Field]:
    """All fields of a check with that verb."""
    expect = dict(verb.expect)
    return {
        "name": Field(text(least=1), "what the check is called; made of the verb if it is not said"),
        "from": Field(origin(), "where it is done: a Pod, a node or an external host", verb.has_origin),
        "at": Field(duration(), "when, counted from the moment at which the cluster has converged"),
        "kubeProxyMode": Field(
            either(
                f"{', '.join(PROXY_MODES)}, or a list of these",
                one_of(*PROXY_MODES),
                listing(one_of(*PROXY_MODES), least=1),
            ),
            "in which modes of kube-proxy it is made; in another it is left out",
        ),
        verb.name: Field(verb.value, verb.text, required=True),
        **verb.more,
        "expect": Field(
            struct({**expect, "not": Field(struct(expect), "the opposite is expected")}),
            "what must be so",
        ),
    }


def read_check(
    document: Any, where: Path, source: Source, validate: Validate, refuse: Refuse
) -> Check | None:
    """The check in a document, or None after ``refuse`` or ``validate`` has told what is wrong with it."""
    named = [key for key in document if key in _BY_NAME]
    if len(named) != 1:
        _refuse_verbs(document, named, where, refuse)
        return None
    verb = _BY_NAME[named[0]]
    values = validate(_structure(verb.name), document, where)
    if values is None:
        return None
    expect = values.get("expect", {})
    negate = "not" in expect
    if negate and len(expect) > 1:
        refuse((*where, "expect", "not"), "must stand alone in `expect`", "put all of it under `not`")
        return None
    arguments = {key: value for key, value in values.items() if key not in _COMMON}
    if "during" in arguments:
        inner = read_check(arguments["during"], (*where, "during"), source, validate, refuse)
        if inner is None:
            return None
        if inner.modes:
            at = (*where, "during", "kubeProxyMode")
            refuse(at, "is for the capture to say", "put it beside `capture`")
            return None
        arguments["during"] = inner
    return Check(
        name=values.get("name") or _title(verb.name, values),
        origin=values.get("from", ""),
        verb=verb.name,
        arguments=arguments,
        expect=expect["not"] if negate else expect,
        source=source,
        negate=negate,
        at=values.get("at"),
        modes=_modes(values.get("kubeProxyMode", ())),
    )


def _modes(value: str | list[str] | tuple[()]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _refuse_verbs(document: Any, named: list[str], where: Path, refuse: Refuse) -> None:
    verbs = ", ".join(_BY_NAME)
    if named:
        refuse((*where, named[1]), f"a check does one thing, and this one does {' and '.join(named)}", "")
        return
    unknown = [key for key in document if key not in _COMMON]
    hint = next((found for key in unknown if (found := did_you_mean(key, _BY_NAME))), "")
    refuse(where, f"a check needs one of {verbs}", hint)


def _title(verb: str, values: Mapping[str, Any]) -> str:
    value = values[verb]
    if isinstance(value, list):
        value = " ".join(value)
    elif isinstance(value, dict):
        value = " ".join(str(part) for part in value.values())
    origin = f" from {values['from']}" if "from" in values else ""
    return f"{verb} {value}{origin}"


@cache
def _structure(verb: str) -> Structure:
    return Structure(fields_of(_BY_NAME[verb]))
