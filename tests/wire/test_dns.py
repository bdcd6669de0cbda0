"""DNS messages, judged by dnspython and dnslib."""

from __future__ import annotations

import struct
from contextlib import suppress

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dnslib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netsim.base.errors import WireError
from netsim.wire import dns as wire
from netsim.wire.dns import A, Edns, Message, Mx, Question, Rcode, Record, Soa, Srv
from netsim.wire.dnsname import name_to_wire, split_name

PRIVATE_TYPE = 65280

words = st.integers(0, 0xFFFF)
longs = st.integers(0, 0xFFFFFFFF)
plain_labels = st.sampled_from([b"svc", b"cluster", b"local", b"prod", b"Ent", b"_http", b"a", b"10-0-0-1"])
labels = plain_labels | st.binary(min_size=1, max_size=12) | st.binary(min_size=63, max_size=63)
names = st.lists(labels, max_size=5).filter(lambda parts: sum(map(len, parts)) + len(parts) < 255)
texts = names.map(lambda parts: dns.name.Name([*parts, b""]).to_text())
host_names = st.lists(plain_labels, min_size=1, max_size=5).map(lambda parts: b".".join(parts).decode() + ".")


def records(owners: st.SearchStrategy[str]) -> st.SearchStrategy[Record]:
    """Records of every type with a form of its own, and of a private one."""
    data = {
        wire.A: st.binary(min_size=4, max_size=4),
        wire.AAAA: st.binary(min_size=16, max_size=16),
        wire.NS: owners,
        wire.CNAME: owners,
        wire.PTR: owners,
        wire.SRV: st.builds(Srv, words, words, words, owners),
        wire.SOA: st.builds(Soa, owners, owners, longs, longs, longs, longs, longs),
        wire.MX: st.builds(Mx, words, owners),
        wire.TXT: st.lists(st.binary(max_size=255), min_size=1, max_size=3).map(tuple),
        PRIVATE_TYPE: st.binary(min_size=1, max_size=40),
    }
    return st.one_of(
        *(
            st.builds(Record, owners, st.just(rtype), st.just(wire.IN), st.integers(0, 0x7FFFFFFF), values)
            for rtype, values in data.items()
        )
    )


@st.composite
def messages(draw: st.DrawFn, owners: st.SearchStrategy[str] = texts) -> Message:
    options = st.tuples(st.integers(65001, 65534), st.binary(max_size=20))
    edns = draw(
        st.none()
        | st.builds(Edns, words, st.just(0), st.booleans(), st.lists(options, max_size=2).map(tuple))
    )
    sections = st.lists(records(owners), max_size=3).map(tuple)
    questions = st.builds(Question, owners, st.sampled_from([1, 28, 33, 12, 255]), st.just(wire.IN))
    rcodes = st.sampled_from([0, 1, 2, 3, 4, 5, 9] + ([16, 23] if edns is not None else []))
    flags = [draw(st.booleans()) for _ in range(7)]
    asked = draw(st.lists(questions, max_size=2).map(tuple))
    return Message(
        draw(words), draw(rcodes), draw(st.sampled_from([0, 2, 4])), *flags,
        asked, draw(sections), draw(sections), draw(sections), edns,
    )  # fmt: skip


def as_seen_by_dnspython(data: bytes) -> tuple[object, ...]:
    """What dnspython reads, in the words of this codec."""
    seen = dns.message.from_wire(data, one_rr_per_rrset=True)
    sections = tuple(
        tuple((rrset.name.to_text(), int(rrset.rdtype), rrset.ttl, rrset[0].to_text()) for rrset in section)
        for section in (seen.answer, seen.authority, seen.additional)
    )
    questions = tuple((q.name.to_text(), int(q.rdtype), int(q.rdclass)) for q in seen.question)
    edns = None
    if seen.edns >= 0:
        options = tuple((int(option.otype), option.to_wire()) for option in seen.options)
        edns = (seen.payload, seen.edns, bool(seen.ednsflags & dns.flags.DO), options)
    return seen.id, int(seen.rcode()), int(seen.opcode()), int(seen.flags) & 0x87B0, questions, sections, edns


def printed(record: Record) -> str:
    text = wire.render_rdata(record)
    return text.lower() if record.rtype == PRIVATE_TYPE else text  # dnspython writes hex in small letters


def as_seen_here(data: bytes) -> tuple[object, ...]:
    seen = wire.parse(data)
    sections = tuple(
        tuple((r.name, r.rtype, r.ttl, printed(r)) for r in section)
        for section in (seen.answers, seen.authority, seen.additional)
    )
    flags = wire.flags_of(seen) & 0x87B0
    edns = None if seen.edns is None else tuple(seen.edns)
    questions = tuple(map(tuple, seen.questions))
    return seen.id, int(seen.rcode), seen.opcode, flags, questions, sections, edns


class TestRoundTrips:
    @given(messages(), st.sampled_from([0, 65535]))
    def test_what_is_built_is_read_back(self, message: Message, uncompressed: int) -> None:
        assert wire.parse(wire.build(message, uncompressed=uncompressed)) == message

    @given(messages(), st.sampled_from([0, 65535]))
    def test_dnspython_reads_the_same_from_what_is_built(self, message: Message, uncompressed: int) -> None:
        data = wire.build(message, uncompressed=uncompressed)
        assert as_seen_by_dnspython(data) == as_seen_here(data)

    @given(messages())
    def test_what_dnspython_writes_is_read_back(self, message: Message) -> None:
        theirs = dns.message.from_wire(wire.build(message), one_rr_per_rrset=True)
        data = theirs.to_wire(max_size=65535)
        assert as_seen_by_dnspython(data) == as_seen_here(data)

    @given(messages(host_names))
    def test_what_dnslib_writes_is_read_back(self, message: Message) -> None:
        edns = None if message.edns is None else message.edns._replace(options=())  # it loses empty ones
        message = message._replace(rcode=message.rcode & 0xF, edns=edns)
        theirs = dnslib.DNSRecord.parse(wire.build(message))
        assert wire.parse(theirs.pack()) == message

    @given(messages(host_names))
    def test_compression_never_makes_a_message_longer(self, message: Message) -> None:
        assert len(wire.build(message)) <= len(wire.build(message, uncompressed=65535))


def test_the_target_of_srv_is_never_compressed_but_pointed_at() -> None:
    """RFC 2782; the additional record's owner is a pointer to it."""
    target = "ent.prod.svc.cluster.local."
    srv = Record(target, wire.SRV, wire.IN, 5, Srv(0, 100, 80, target))
    message = Message(1, answers=(srv,), additional=(Record(target, A, wire.IN, 5, bytes(4)),))
    assert wire.build(message).count(b"\3ent\4prod") == 2


class TestDamage:
    @given(st.binary(max_size=120))
    @example(b"")
    def test_random_bytes_raise_nothing_but_wire_error(self, data: bytes) -> None:
        with suppress(WireError):
            wire.parse(data)

    @given(st.binary(min_size=1, max_size=80), st.integers(1, 3), st.integers(0, 3))
    def test_random_bytes_behind_a_header_raise_nothing_but_wire_error(
        self, data: bytes, questions: int, answers: int
    ) -> None:
        with suppress(WireError):
            wire.parse(struct.pack("!HHHHHH", 1, 0, questions, answers, 1, 1) + data)

    @given(messages(), st.data())
    def test_flipped_bytes_raise_nothing_but_wire_error(self, message: Message, data: st.DataObject) -> None:
        damaged = bytearray(wire.build(message))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with suppress(WireError, IndexError):
            wire.render_record(wire.parse(bytes(damaged)).answers[0])

    @given(messages().filter(lambda message: message.answers or message.questions or message.edns))
    def test_every_truncation_is_refused(self, message: Message) -> None:
        whole = wire.build(message)
        for length in range(len(whole)):
            with pytest.raises(WireError):
                wire.parse(whole[:length])

    HEADER = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0)

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [
            (b"\xc0\x0c", "does not point backwards"),
            (b"\xc0\x0e\xc0\x0c", "does not point backwards"),
            (b"\x01a\xc0\x0c", "does not point backwards"),
            (b"\xc0", "past the end"),
            (b"\x05abc", "past the end"),
            (b"\x40a\x00", "label type"),
            (b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 3 + b"\x00", "more than 255"),
        ],
    )
    def test_a_bad_name_is_refused(self, name: bytes, complaint: str) -> None:
        with pytest.raises(WireError, match=complaint):
            wire.parse(self.HEADER + name + (b"" if "past" in complaint else b"\0\1\0\1"))

    def test_bytes_after_the_last_record_are_passed_over(self) -> None:
        query = wire.query(1, "a.", A)
        assert wire.parse(query + b"junk") == wire.parse(query)

    def test_two_opt_records_are_refused(self) -> None:
        query = bytearray(wire.query(1, "a.", A, edns_size=1232))
        query[11] = 2
        with pytest.raises(WireError, match="two OPT"):
            wire.parse(bytes(query) + bytes(query)[-11:])

    @pytest.mark.parametrize(
        "name", ["a..b.", ".a.", "x" * 64 + ".", "é.", "a\\", "a\\25.", "\\300.", "a." * 128]
    )
    def test_what_cannot_be_a_name_is_not_built(self, name: str) -> None:
        with pytest.raises(WireError):
            wire.query(1, name, A)

    @pytest.mark.parametrize(
        "record",
        [
            Record("a.", wire.A, wire.IN, 1, b"\1\2\3"),
            Record("a.", wire.AAAA, wire.IN, 1, b"\1\2\3\4"),
            Record("a.", wire.TXT, wire.IN, 1, ()),
            Record("a.", wire.TXT, wire.IN, 1, (b"x" * 256,)),
            Record("a.", wire.MX, wire.IN, 1, Mx(70000, "b.")),
            Record("a.", wire.A, wire.IN, -1, b"\1\2\3\4"),
        ],
    )
    def test_a_record_that_cannot_be_is_not_built(self, record: Record) -> None:
        with pytest.raises(WireError):
            wire.build(Message(1, answers=(record,)))


def addresses(count: int, name: str = "big.load.svc.cluster.local.") -> tuple[Record, ...]:
    return tuple(Record(name, A, wire.IN, 5, bytes((10, 0, n // 256, n % 256))) for n in range(count))


class TestLimit:
    """miekg/dns Msg.Truncate; the counts are those of a real CoreDNS for 100 addresses of one name."""

    QUERY = wire.parse(wire.query(7, "big.load.svc.cluster.local.", A))
    EDNS_QUERY = wire.parse(wire.query(7, "big.load.svc.cluster.local.", A, edns_size=1232))

    @pytest.mark.parametrize(("query", "limit", "kept"), [(QUERY, 512, 29), (EDNS_QUERY, 1232, 73)])
    def test_whole_records_are_kept_and_tc_is_set(self, query: Message, limit: int, kept: int) -> None:
        data = wire.build(
            wire.reply(query, answers=addresses(100), edns=query.edns), limit=limit, uncompressed=limit
        )
        message = wire.parse(data)
        assert len(data) <= limit
        assert message.truncated
        assert message.answers == addresses(kept)
        assert message.edns == query.edns

    def test_a_message_that_fits_without_compression_is_not_compressed(self) -> None:
        reply = wire.reply(self.QUERY, answers=addresses(2))
        data = wire.build(reply, limit=512, uncompressed=512)
        assert data.count(b"\3big\4load") == 3
        assert not wire.parse(data).truncated

    def test_nothing_follows_a_record_that_did_not_fit(self) -> None:
        long = Record("big.load.svc.cluster.local.", wire.TXT, wire.IN, 5, (b"x" * 255,) * 2)
        reply = wire.reply(self.QUERY, answers=(long,), additional=addresses(1))
        message = wire.parse(wire.build(reply, limit=512))
        assert (message.answers, message.additional, message.truncated) == ((), (), True)

    @given(messages(host_names), st.integers(100, 700))
    def test_what_is_kept_is_a_prefix_and_within_the_limit(self, message: Message, limit: int) -> None:
        message = message._replace(questions=message.questions[:1], truncated=False)
        data = wire.build(message, limit=limit)
        kept = wire.parse(data)
        everything = message.answers + message.authority + message.additional
        remaining = kept.answers + kept.authority + kept.additional
        assert remaining == everything[: len(remaining)]
        assert kept.truncated == (remaining != everything)
        assert kept.edns == message.edns
        if remaining:
            assert len(data) <= limit


class TestNames:
    @given(names)
    def test_text_and_wire_agree_with_dnspython(self, parts: list[bytes]) -> None:
        name = dns.name.Name([*parts, b""])
        assert name_to_wire(name.to_text()) == name.to_wire()
        assert len(split_name(name.to_text())) == len(parts)

    def test_the_root_has_no_labels(self) -> None:
        assert split_name(".") == []
        assert name_to_wire(".") == b"\0"

    def test_case_is_kept(self) -> None:
        assert wire.parse(wire.query(1, "EnT.Prod.", A)).questions[0].name == "EnT.Prod."


class TestText:
    @pytest.mark.parametrize(
        ("record", "line"),
        [
            (
                Record("example.com.", 1, 1, 3600, bytes((192, 0, 2, 1))),
                "example.com.\t\t3600\tIN\tA\t192.0.2.1",
            ),
            (
                Record("ent.prod.svc.cluster.local.", 28, 1, 30, bytes(15) + b"\1"),
                "ent.prod.svc.cluster.local. 30\tIN\tAAAA\t::1",
            ),
            (Record(".", 6, 1, 5, Soa("a.", "b.", 1, 2, 3, 4, 5)), ".\t\t\t5\tIN\tSOA\ta. b. 1 2 3 4 5"),
            (Record("a.", 33, 1, 5, Srv(0, 50, 80, "b.")), "a.\t\t\t5\tIN\tSRV\t0 50 80 b."),
            (Record("a.", 16, 1, 5, (b'say "hi"\n', b"")), 'a.\t\t\t5\tIN\tTXT\t"say \\"hi\\"\\010" ""'),
            (Record("a.", 15, 3, 5, Mx(10, "b.")), "a.\t\t\t5\tCH\tMX\t10 b."),
            (
                Record("a.", 65, 1, 5, bytes.fromhex("000100000100030268 32".replace(" ", ""))),
                "a.\t\t\t5\tIN\tHTTPS\t1 . alpn=h2",
            ),
            (Record("a.", 65, 1, 5, b"\0"), "a.\t\t\t5\tIN\tHTTPS\t\\# 1 00"),
            (Record("a.", 65280, 77, 5, b""), "a.\t\t\t5\tCLASS77\tTYPE65280 \\# 0"),
        ],
    )
    def test_a_record_is_printed_as_dig_prints_it(self, record: Record, line: str) -> None:
        assert wire.render_record(record) == line

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("a", 1),
            ("AAAA", 28),
            ("HTTPS", 65),
            ("TYPE65", 65),
            ("type1234", 1234),
            ("TYPE70000", None),
            ("X", None),
        ],
    )
    def test_a_type_is_read_by_name_or_number(self, text: str, number: int | None) -> None:
        assert wire.type_number(text) == number

    def test_unknown_numbers_have_names(self) -> None:
        assert wire.type_name(1234) == "TYPE1234"
        assert wire.class_name(77) == "CLASS77"
        assert wire.rcode_name(Rcode.NXDOMAIN) == "NXDOMAIN"
        assert wire.rcode_name(11) == "RCODE11"


class TestReply:
    def test_a_reply_copies_what_a_reply_copies(self) -> None:
        query = Message(
            9, recursion_desired=True, checking_disabled=True, authentic=True,
            questions=(Question("a.", A),), edns=Edns(),
        )  # fmt: skip
        reply = wire.reply(query, rcode=Rcode.NXDOMAIN, authoritative=True)
        assert reply == Message(
            9, Rcode.NXDOMAIN, response=True, authoritative=True, recursion_desired=True,
            checking_disabled=True, questions=(Question("a.", A),),
        )  # fmt: skip

    def test_an_extended_rcode_needs_an_opt_record(self) -> None:
        message = Message(1, Rcode.BADVERS)
        with pytest.raises(WireError, match="OPT"):
            wire.build(message)
        assert wire.parse(wire.build(message._replace(edns=Edns()))).rcode is Rcode.BADVERS
