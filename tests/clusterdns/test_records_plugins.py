"""The plugins that have records of their own: hosts, template, file, and k8s_external's corners."""

from __future__ import annotations

import pytest

from netsim.base.errors import CorefileError, WireError
from netsim.clusterdns.gotemplate import Template, TemplateError
from netsim.clusterdns.zonefile import parse_record, parse_zone
from netsim.wire import dns
from netsim.wire.dns import Edns, Rcode
from tests.clusterdns.world import World, address_of, answering, lines, values

UPSTREAM = "192.0.2.1"
ELSEWHERE = answering(address_of("elsewhere."))


def serving(body: str, files: dict[str, str] | None = None, *, onward: bool = True) -> World:
    last = f"\n forward . {UPSTREAM}" if onward else ""
    return World(f". {{\n{body}{last}\n}}", files=files or {}, upstreams={UPSTREAM: ELSEWHERE})


class TestHosts:
    FILE = "192.0.2.10 A.example a # a comment\n2001:db8::1%eth0 a.example\n192.0.2.11 *.wild.example\nx y\n"

    def hosts(self, options: str = "") -> World:
        return serving(f" hosts /h {{\n{options}\n }}", {"/h": self.FILE}).start()

    def test_addresses_of_a_family_and_nodata_for_others(self) -> None:
        coredns = self.hosts()
        assert lines(coredns.ask("A.Example.").answers) == ["a.example. 3600 A 192.0.2.10"]
        assert values(coredns.ask("a.example.", "AAAA")) == ["2001:db8::1"]
        reply = coredns.ask("a.", "AAAA")
        assert (reply.rcode, reply.answers, reply.authority) == (Rcode.NOERROR, (), ())

    def test_a_miss_is_servfail_without_and_goes_on_with_fallthrough(self) -> None:
        assert self.hosts().ask("b.example.").rcode == Rcode.SERVFAIL
        assert values(self.hosts("fallthrough").ask("b.example.")) == ["203.0.113.80"]
        assert self.hosts("fallthrough other").ask("b.example.").rcode == Rcode.SERVFAIL

    def test_other_types_go_on_only_if_it_says_so(self) -> None:
        assert self.hosts("fallthrough").ask("a.example.", "MX").answers == ()
        assert self.hosts("fallthrough\nfallthrough_unsupported").ask("a.example.", "MX").answers

    def test_reverse_names_one_record_per_name(self) -> None:
        reply = self.hosts().ask("10.2.0.192.in-addr.arpa.", "PTR")
        assert values(reply) == ["a.", "a.example."]
        assert values(self.hosts("no_reverse").ask("10.2.0.192.in-addr.arpa.", "PTR")) == ["203.0.113.80"]

    def test_a_wildcard_stands_for_one_label(self) -> None:
        assert values(self.hosts().ask("x.wild.example.")) == ["192.0.2.11"]
        assert self.hosts().ask("x.y.wild.example.").rcode == Rcode.SERVFAIL

    def test_the_file_is_read_again(self) -> None:
        files = {"/h": "192.0.2.1 a\n"}
        coredns = serving(" hosts /h {\n  reload 7s\n  ttl 9\n }", files).start()
        files["/h"] = "192.0.2.2 a\n"
        coredns.until(6.9)
        assert lines(coredns.ask("a.").answers) == ["a. 9 A 192.0.2.1"]
        coredns.until(7.0)
        assert values(coredns.ask("a.")) == ["192.0.2.2"]

    def test_inline_lines_come_after_those_of_the_file(self) -> None:
        coredns = serving(" hosts /h {\n  192.0.2.2 a\n }", {"/h": "192.0.2.1 a"}).start()
        assert [dns.render_rdata(record) for record in coredns.ask("a.").answers] == [
            "192.0.2.1",
            "192.0.2.2",
        ]


class TestTemplate:
    def test_groups_by_name_and_number(self) -> None:
        body = (
            ' template IN A example {\n  match "^(?P<x>[0-9]+)-([0-9]+)[.]example[.]$"\n'
            '  answer "{{ .Name }} 60 IN A 10.0.{{ .Group.x }}.{{ index .Match 2 }}"\n'
            '  additional "{{ .Zone }} 60 {{ .Class }} TXT \\"{{ .Type }} {{ .Remote }}\\""\n }'
        )
        reply = serving(body).ask("4-5.Example.")
        assert lines(reply.answers) == ["4-5.example. 60 A 10.0.4.5"]
        assert lines(reply.additional) == ['example. 60 TXT "A 10.244.1.9"']

    def test_another_type_passes_and_a_pattern_that_does_not_fit_is_servfail(self) -> None:
        body = ' template IN A example {\n  match "^a[.]"\n  answer "{{ .Name }} A 10.0.0.1"\n }'
        assert lines(serving(body).ask("a.example.").answers) == ["a.example. 3600 A 10.0.0.1"]
        assert values(serving(body).ask("b.example.", "AAAA")) == ["203.0.113.80"]
        assert serving(body).ask("b.example.").rcode == Rcode.SERVFAIL

    def test_an_alias_is_followed(self) -> None:
        body = ' template IN ANY here {\n  answer "{{ .Name }} 60 IN CNAME there."\n }'
        assert values(serving(body).ask("a.here.")) == ["203.0.113.80", "there."]
        assert values(serving(body).ask("a.here.", "TXT")) == ["there."]

    def test_rcode_and_extended_error(self) -> None:
        body = ' template ANY ANY example {\n  rcode REFUSED\n  ederror 18 "not here"\n }'
        reply = serving(body).ask("a.example.", edns=Edns(1232))
        assert (reply.rcode, reply.edns) == (
            Rcode.REFUSED,
            Edns(1232, do=True, options=((15, b"\0\x12not here"),)),
        )

    def test_a_record_that_is_none_is_servfail(self) -> None:
        coredns = serving(' template IN A example {\n  answer "{{ .Name }} IN A nowhere"\n }')
        assert coredns.ask("a.example.").rcode == Rcode.SERVFAIL

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("{{ .Name }}-{{- .Group.a }}", "n-7"),
            ("{{ $x := parseInt .Group.h 16 8 }}{{ $x }}", "31"),
            ('{{ printf "%03d %s %x" 7 .Name 255 }}', "007 n ff"),
            ('{{ if eq .Name "n" }}yes{{ else }}no{{ end }}', "yes"),
            ('{{ if and .Group.a (ne .Name "n") }}1{{ else if true }}2{{ end }}', "2"),
            ('{{ .Group.h | printf "%q" }}', '"1f"'),
            ("{{/* nothing */}}a{{ len .Match }}", "a2"),
            ("{{ .Nope }}", "<no value>"),
        ],
    )
    def test_the_language(self, text: str, shown: str) -> None:
        data = {"Name": "n", "Group": {"a": "7", "h": "1f"}, "Match": ["n", "7"]}
        assert Template(text).render(data) == shown

    @pytest.mark.parametrize(
        "text", ["{{", "{{ end }}", "{{ if .X }}", "{{ range .X }}{{ end }}", "{{ }}", "{{ $ }"]
    )
    def test_what_is_no_template(self, text: str) -> None:
        with pytest.raises(TemplateError):
            Template(text)


ZONE = """\
$TTL 1h
@       SOA ns hostmaster ( 7 ; serial
            2h 30m 1w 5m )
        NS  ns
        NS  ns.elsewhere.
ns      A   192.0.2.53
www     60 IN A 192.0.2.80
        TXT "two words" plain
alias   CNAME www
out     CNAME elsewhere.
loop    CNAME loop
*.wild  A   192.0.2.99
a.b.c   A   192.0.2.1
sub     NS  ns.sub
ns.sub  A   192.0.2.54
old     DNAME new
x.new   A   192.0.2.2
_s._tcp SRV 1 2 80 www
@       MX  10 www
"""


class TestFile:
    def zone(self, options: str = "", files: dict[str, str] | None = None, *, onward: bool = True) -> World:
        body = f" file /db example {{\n{options}\n }}"
        return serving(body, files or {"/db": ZONE}, onward=onward).start()

    @pytest.mark.parametrize(
        ("name", "qtype", "rcode", "answers"),
        [
            ("www", "A", 0, ["www.example. 60 A 192.0.2.80"]),
            ("WWW", "TXT", 0, ['www.example. 3600 TXT "two words" "plain"']),
            ("www", "MX", 0, []),
            ("none", "A", 3, []),
            ("alias", "A", 0, ["alias.example. 3600 CNAME www.example.", "www.example. 60 A 192.0.2.80"]),
            ("alias", "CNAME", 0, ["alias.example. 3600 CNAME www.example."]),
            ("out", "A", 0, ["elsewhere. 300 A 203.0.113.80", "out.example. 3600 CNAME elsewhere."]),
            ("x.wild", "A", 0, ["x.wild.example. 3600 A 192.0.2.99"]),
            ("x.y.wild", "A", 0, ["x.y.wild.example. 3600 A 192.0.2.99"]),
            ("x.wild", "AAAA", 0, []),
            ("b.c", "A", 0, []),
            ("sub", "A", 0, []),
            ("deep.sub", "A", 0, []),
            ("x.old", "A", 0, [
                "old.example. 3600 DNAME new.example.", "x.new.example. 3600 A 192.0.2.2",
                "x.old.example. 3600 CNAME x.new.example.",
            ]),
        ],
    )  # fmt: skip
    def test_what_a_name_has(self, name: str, qtype: str, rcode: int, answers: list[str]) -> None:
        reply = self.zone().ask(f"{name}.example.", qtype)
        assert (reply.rcode, lines(reply.answers)) == (rcode, answers)

    def test_the_apex(self) -> None:
        coredns = self.zone()
        soa = "ns.example. hostmaster.example. 7 7200 1800 604800 300"
        assert values(coredns.ask("example.", "SOA")) == [soa]
        reply = coredns.ask("example.", "NS")
        assert values(reply) == ["ns.elsewhere.", "ns.example."]
        assert lines(coredns.ask("none.example.").authority) == [f"example. 3600 SOA {soa}"]

    def test_addresses_of_targets_come_along(self) -> None:
        reply = self.zone().ask("_s._tcp.example.", "SRV")
        assert lines(reply.additional) == ["www.example. 60 A 192.0.2.80"]
        assert reply.authoritative

    def test_a_delegation_is_not_authoritative_and_has_glue(self) -> None:
        reply = self.zone().ask("deep.sub.example.")
        assert not reply.authoritative
        assert lines(reply.authority) == ["sub.example. 3600 NS ns.sub.example."]
        assert lines(reply.additional) == ["ns.sub.example. 3600 A 192.0.2.54"]

    def test_a_circle_of_aliases_ends(self) -> None:
        reply = self.zone().ask("loop.example.")
        assert {record.name for record in reply.answers} == {"loop.example."}

    def test_fallthrough_is_for_missing_names(self) -> None:
        assert values(self.zone("fallthrough").ask("none.example.")) == ["203.0.113.80"]
        assert self.zone("fallthrough").ask("www.example.", "MX").answers == ()

    def test_a_newer_serial_is_taken_within_the_interval(self) -> None:
        files = {"/db": ZONE}
        coredns = self.zone("reload 10s", files)
        files["/db"] = ZONE.replace("192.0.2.80", "192.0.2.81")
        coredns.until(10)
        assert values(coredns.ask("www.example.")) == ["192.0.2.80"]
        files["/db"] = ZONE.replace("192.0.2.80", "192.0.2.81").replace("( 7", "( 8")
        coredns.until(20)
        assert values(coredns.ask("www.example.")) == ["192.0.2.81"]
        files["/db"] = "nonsense"
        coredns.until(30)
        assert values(coredns.ask("www.example.")) == ["192.0.2.81"]
        assert "Parsing zone" in coredns.server.log.render()

    def test_a_missing_file_is_servfail_until_it_is_there(self) -> None:
        files: dict[str, str] = {"/other": ""}
        coredns = self.zone("", files)
        assert coredns.ask("www.example.").rcode == Rcode.SERVFAIL
        files["/db"] = ZONE
        coredns.until(60)
        assert values(coredns.ask("www.example.")) == ["192.0.2.80"]

    @pytest.mark.parametrize(
        "text",
        [
            "www A 1.2.3.4",
            "@ SOA a b 1 2 3 4 5\nwww A nowhere",
            "@ SOA a b (1 2 3 4 5",
            "$GENERATE 1-2 a A 1.2.3.$",
        ],
    )
    def test_a_wrong_file_is_refused(self, text: str) -> None:
        with pytest.raises(CorefileError):
            self.zone(files={"/db": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a. 60 IN A 10.0.0.1", "a. 60 A 10.0.0.1"),
        ("a. IN 60 AAAA 2001:db8::1", "a. 60 AAAA 2001:db8::1"),
        ("a. A 10.0.0.1 ; comment", "a. 3600 A 10.0.0.1"),
        ("a. 1h MX 10 b.", "a. 3600 MX 10 b."),
        ('a. TXT "semi;colon" b\\"c', 'a. 3600 TXT "semi;colon" "b\\"c"'),
        ("a. TYPE65280 \\# 2 abcd", "a. 3600 TYPE65280 \\# 2 ABCD"),
        ("a. TYPE1 \\# 4 0a000001", "a. 3600 A 10.0.0.1"),
        ('a. CAA 0 issue "ca.example"', 'a. 3600 CAA 0 issue "ca.example"'),
        (
            'a. NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.b',
            'a. 3600 NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.b.',
        ),
        ("a. DS 1 8 1 AABB", "a. 3600 DS 1 8 1 AABB"),
        ("a. HTTPS 1 b alpn=h2", "a. 3600 HTTPS 1 b. alpn=h2"),
        ("a. RP b c.d", "a. 3600 RP b. c.d."),
    ],
)
def test_a_line_of_a_zone_file(text: str, expected: str) -> None:
    assert lines([parse_record(text)]) == [expected]


@pytest.mark.parametrize(
    "text", ["", "a.", "a. A", "a. A 1.2.3", "a. NOPE x", "a. PTR b c", "a. DS x", "a..b. A 1.2.3.4"]
)
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(WireError):
        parse_record(text)


def test_a_class_is_kept() -> None:
    assert parse_record("a. 60 CH TXT b").rclass == dns.CHAOS


def test_origins_and_includes() -> None:
    files = {"more": "x A 10.0.0.2\n"}
    records = parse_zone("$ORIGIN b.\n$TTL 5\nx A 10.0.0.1\n$INCLUDE more c.\n", "a.", files)
    assert lines(records) == ["x.b. 5 A 10.0.0.1", "x.c. 5 A 10.0.0.2"]
