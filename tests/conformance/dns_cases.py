"""dns-cases.json: a cluster's objects and Corefile, and what its CoreDNS answers, as bytes over the Server.

Replies are read and upstreams answer with dnspython, so that no codec of ours judges itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import yaml

from netsim.base.errors import CorefileError
from netsim.base.rng import Rng
from netsim.clusterdns.chain import Transport
from netsim.clusterdns.server import Server
from netsim.clusterdns.zone import KubernetesZone
from netsim.objects.codec import object_from_document
from netsim.objects.meta import Object
from netsim.objects.multicluster import service_import
from netsim.wire import dns as wire
from netsim.wire.dns import Edns, Message
from tests.clusterdns.world import World
from tests.conformance.case import Case, Difference, compare

Json = Mapping[str, Any]

_CLIENT = "10.250.0.9"  # nobody's address in any of the clusters
_SERIAL = re.compile(r"( SOA \S+ \S+ )\d+")
_HEADER_BITS = {
    "aa": dns.flags.AA,
    "ra": dns.flags.RA,
    "tc": dns.flags.TC,
    "rd": dns.flags.RD,
    "ad": dns.flags.AD,
}


def cases(content: Json) -> Iterator[Case]:
    """One case per question, HTTP request and Corefile."""
    for cluster in content["clusters"]:
        yield from _questions(cluster)
        for number, request in enumerate(cluster.get("http_cases", ()), 1):
            about = f"GET :{request['port']}{request['path']} — {request.get('note', '')}"
            yield Case(f"{cluster['name']}/http-{number}", about, _http(cluster, request))
    for number, item in enumerate(content["corefile_cases"], 1):
        yield Case(f"corefile/{number}", item["name"], _corefile(item))


def _questions(cluster: Json) -> Iterator[Case]:
    timeline = Timeline(cluster)
    for number, question in enumerate(cluster["cases"], 1):
        about = f"{question['qname']} {question['qtype']} — {question.get('note', '')}"
        run = _on(timeline, number - 1) if "at" in question else _alone(cluster, question)
        yield Case(f"{cluster['name']}/{number}", about, run)


def _on(timeline: Timeline, index: int) -> Callable[[], list[Difference]]:
    return lambda: timeline.result(index)


def _alone(cluster: Json, question: Json) -> Callable[[], list[Difference]]:
    return lambda: judge(question, Cluster(cluster).question(question))


class Cluster(World):
    """A case's cluster with its CoreDNS. ``mocks`` are the upstreams by address; events change them."""

    def __init__(self, cluster: Json) -> None:
        own = cluster.get("coredns", {})
        self.mocks = {
            address.removesuffix(":53"): dict(mock) for address, mock in cluster.get("upstreams", {}).items()
        }
        super().__init__(
            cluster["corefile"],
            objects(cluster.get("manifests", "")),
            {address: partial(_mock_answer, mock) for address, mock in self.mocks.items()},
            files={"/etc/resolv.conf": own.get("resolv_conf", ""), **cluster.get("files", {})},
            env=own.get("env", {}),
            addresses=own.get("pod_ips", ()),
            synced=own.get("synced", True),
        )

    def question(self, question: Json) -> dns.message.Message:
        """Ask, and read the reply."""
        client = question.get("client", {})
        edns = None
        if "edns_size" in client:
            edns = Edns(client["edns_size"], client.get("edns_version", 0), client.get("do", False))
        self.ask(
            question["qname"],
            question["qtype"],
            qclass=int(dns.rdataclass.from_text(question.get("qclass", "IN"))),
            port=int(question.get("port", 53)),
            transport=Transport(client.get("proto", "udp")),
            client=ip_address(client.get("ip", _CLIENT)),
            edns=edns,
        )
        return dns.message.from_wire(self.data, one_rr_per_rrset=True)

    def change(self, event: Json) -> None:
        """One of the cluster's events."""
        self.until(event["at"])
        self.apply(*objects(event.get("apply", "")))
        gone = event.get("delete")
        if gone is not None:
            self.delete(
                next(
                    obj
                    for obj in self.objects()
                    if (obj.kind, obj.metadata.namespace, obj.metadata.name)
                    == (gone["kind"], gone.get("namespace", ""), gone["name"])
                )
            )
        for address, change in event.get("upstream_change", {}).items():
            self.mocks[address.removesuffix(":53")].update(change)


class Timeline:
    """The timed questions of a cluster, which run in order on one clock and share one cache."""

    def __init__(self, cluster: Json) -> None:
        self._content = cluster
        self._events = sorted(cluster.get("events", ()), key=lambda event: float(event["at"]))
        self._results: list[list[Difference]] = []
        self._cluster: Cluster | None = None

    def result(self, index: int) -> list[Difference]:
        """The differences of one question; those before it are asked first."""
        if self._cluster is None:
            self._cluster = Cluster(self._content)
        while len(self._results) <= index:
            question = self._content["cases"][len(self._results)]
            while self._events and self._events[0]["at"] <= question["at"]:
                self._cluster.change(self._events.pop(0))
            self._cluster.until(question["at"])
            self._results.append(judge(question, self._cluster.question(question)))
        return self._results[index]


@lru_cache
def objects(text: str) -> Sequence[Object]:
    """The objects of a YAML text, as they are written: nothing is defaulted."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    return tuple(
        service_import(document) if document["kind"] == "ServiceImport" else object_from_document(document)
        for document in documents
    )


def _mock_answer(mock: Json, query: Message) -> bytes | None:
    if mock.get("down"):
        return None
    asked = dns.message.from_wire(wire.build(query))
    question = asked.question[0]
    key = f"{question.name.to_text().lower()} {dns.rdatatype.to_text(question.rdtype)}"
    wanted = mock.get("responses", {}).get(key) or mock.get("default") or {"rcode": "REFUSED"}
    reply = dns.message.make_response(asked, recursion_available=wanted.get("ra", True))
    if wanted.get("aa"):
        reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.from_text(wanted.get("rcode", "NOERROR")))
    for name in ("answer", "authority", "additional"):
        section = getattr(reply, name)
        for line in wanted.get(name, ()):
            owner, ttl, rclass, rtype, data = line.split(None, 4)
            section.append(dns.rrset.from_text(owner, int(ttl), rclass, rtype, data))
    return reply.to_wire()


# --- judging -------------------------------------------------------------------------------------------


def judge(question: Json, reply: dns.message.Message) -> list[Difference]:
    """Where a reply differs from the case."""
    found = compare("rcode", question["rcode"], dns.rcode.to_text(reply.rcode()))
    if "answer_count" in question:
        lines = _lines(reply.answer)
        found += compare("number of answers", question["answer_count"], len(lines))
        pattern = question.get("answer_match", "*")
        found += compare("answers of another form", [], [x for x in lines if not fnmatchcase(x, pattern)])
    else:
        for section in ("answer", "authority", "additional"):
            found += _judge_section(question, section, _lines(getattr(reply, section)))
    for flag, expected in question.get("flags", {}).items():
        found += compare(f"flag {flag}", expected, bool(reply.flags & _HEADER_BITS[flag]))
    if "edns_response" in question:
        got = {"udp_size": reply.payload, "do": bool(reply.ednsflags & dns.flags.DO)}
        found += compare("OPT", question["edns_response"], got if reply.edns >= 0 else None)
    return found


def _judge_section(question: Json, section: str, lines: list[str]) -> list[Difference]:
    expected = list(question.get(section, ()))
    if any(" SOA " in line and "SERIAL" in line for line in expected):
        lines = [_SERIAL.sub(r"\1SERIAL", line) for line in lines]
    if question.get("order") != "exact":
        expected, lines = sorted(expected), sorted(lines)
    return compare(section, expected, lines)


def _lines(section: Sequence[dns.rrset.RRset]) -> list[str]:
    return [rrset.to_text() for rrset in section]


# --- pages and Corefiles -------------------------------------------------------------------------------


def _http(cluster: Json, request: Json) -> Callable[[], list[Difference]]:
    def run() -> list[Difference]:
        world = Cluster(cluster)
        if cluster.get("upstreams"):
            world.ask("www.example.com.", "A")  # metrics appear with the first forwarded query
        page = world.server.page(request["port"], request["path"])
        found = compare("status", request["status"], page.status)
        if "body" in request:
            found += compare("body", request["body"], page.text)
        missing = [text for text in request.get("body_contains", ()) if text not in page.text]
        return found + compare("what the body lacks", [], missing)

    return run


def _corefile(item: Json) -> Callable[[], list[Difference]]:
    def run() -> list[Difference]:
        files = {"/etc/resolv.conf": "nameserver 192.0.2.1\n"}
        error = None
        try:
            Server(item["corefile"], KubernetesZone(), Rng(1), files=files, env={"NETSIM_PORT": "53"})
        except CorefileError as refused:
            error = str(refused)
        if item["valid"]:
            return compare("startup error", None, error)
        text = item.get("error_contains", "")
        return [] if error is not None and text in error else [Difference("startup error", text, error)]

    return run
