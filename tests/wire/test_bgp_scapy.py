"""BGP messages against scapy: both build the same bytes, and each reads the other's.

scapy holds one community per attribute and one segment per AS4_PATH, and takes the default route among others
for a path identifier (RFC 7911); those are left to test_bgp.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import bgp as scapy_bgp

from netsim.base.address import render_ip
from netsim.wire import bgp
from netsim.wire.bgp_attributes import (
    AS_SEQUENCE,
    AS_TRANS,
    PathAttributes,
    Prefix,
    Segment,
    build_attributes,
)
from tests.wire.bgp_values import attributes, hosts, notifications, opens, prefixes, refreshes
from tests.wire.strategies import longs, words

prefix_tuples = st.lists(prefixes.filter(lambda prefix: prefix.length > 0), max_size=8).map(tuple)


@contextmanager
def as_numbers_of(octets: int) -> Iterator[None]:
    """scapy reads AS_PATH by a global switch."""
    before = scapy_bgp.bgp_module_conf.use_2_bytes_asn
    scapy_bgp.bgp_module_conf.use_2_bytes_asn = octets == 2
    try:
        yield
    finally:
        scapy_bgp.bgp_module_conf.use_2_bytes_asn = before


def framed(kind: int, message: Any) -> bytes:
    return bytes(scapy_bgp.BGPHeader(type=kind) / message)


def read(data: bytes, *, four_octet: bool = True) -> bgp.Message:
    frames, rest = bgp.split(data)
    assert rest == b"" and len(frames) == 1
    return bgp.parse(frames[0], four_octet=four_octet)


def number(packed: bytes) -> int:
    return int.from_bytes(packed, "big")


def nlri(prefixes: tuple[Prefix, ...]) -> list[Any]:
    return [scapy_bgp.BGPNLRI_IPv4(prefix=str(prefix)) for prefix in prefixes]


def as_path(path: PathAttributes, four_octet: bool) -> Any:
    layer = scapy_bgp.BGPPAAS4BytesPath if four_octet else scapy_bgp.BGPPAASPath
    segments = [
        layer.ASPathSegment(segment_type=kind, segment_value=list(asns)) for kind, asns in path.as_path or ()
    ]
    return layer(segments=segments)


def values(path: PathAttributes, four_octet: bool) -> Iterator[tuple[int, Any]]:
    """Type codes and scapy's attribute values of what is present."""
    yield 1, scapy_bgp.BGPPAOrigin(origin=path.origin)
    yield 2, as_path(path, four_octet)
    yield 3, scapy_bgp.BGPPANextHop(next_hop=render_ip(path.next_hop or b""))
    if path.med is not None:
        yield 4, scapy_bgp.BGPPAMultiExitDisc(med=path.med)
    if path.local_pref is not None:
        yield 5, scapy_bgp.BGPPALocalPref(local_pref=path.local_pref)
    if path.aggregator is not None and not four_octet:
        address = render_ip(path.aggregator.address)
        yield 7, scapy_bgp.BGPPAAggregator(aggregator_asn=path.aggregator.asn, speaker_address=address)
    if path.communities:
        yield 8, scapy_bgp.BGPPACommunity(community=path.communities[0])
    if path.originator_id is not None:
        yield 9, scapy_bgp.BGPPAOriginatorID(originator_id=render_ip(path.originator_id))
    if path.cluster_list:
        yield 10, scapy_bgp.BGPPAClusterList(cluster_list=[number(item) for item in path.cluster_list])


def scapy_update(update: bgp.Update, four_octet: bool) -> Any:
    path_attr = []
    for code, value in values(update.attributes, four_octet) if update.announced else ():
        flags = scapy_bgp.attributes_flags[code]
        path_attr.append(scapy_bgp.BGPPathAttr(type_flags=flags, type_code=code, attribute=value))
    return scapy_bgp.BGPUpdate(
        withdrawn_routes=nlri(update.withdrawn), path_attr=path_attr, nlri=nlri(update.announced)
    )


def representable(path: PathAttributes, four_octet: bool) -> PathAttributes:
    """What scapy can say of a route."""
    return path._replace(
        communities=path.communities[:1],
        aggregator=None if four_octet else path.aggregator,
        atomic_aggregate=False,
        unknown=(),
        partial=(),
    )


@given(withdrawn=prefix_tuples, announced=prefix_tuples, long=st.booleans(), data=st.data())
def test_update(
    withdrawn: tuple[Prefix, ...], announced: tuple[Prefix, ...], long: bool, data: st.DataObject
) -> None:
    path = representable(data.draw(attributes(long)), long)
    update = bgp.Update(withdrawn, path, announced) if announced else bgp.Update(withdrawn)
    with as_numbers_of(4 if long else 2):
        theirs = framed(2, scapy_update(update, long))
        ours = bgp.build(update, four_octet=long)
        assert ours == theirs
        assert read(theirs, four_octet=long) == update
        seen = scapy_bgp.BGPHeader(ours)[scapy_bgp.BGPUpdate]
        assert [item.prefix for item in seen.withdrawn_routes] == [str(prefix) for prefix in withdrawn]
        assert [item.prefix for item in seen.nlri] == [str(prefix) for prefix in announced]
        if announced:
            (segments,) = [item.attribute.segments for item in seen.path_attr if item.type_code == 2]
            shown = [(item.segment_type, tuple(item.segment_value)) for item in segments]
            assert shown == list(path.as_path or ())


@given(opens)
def test_open(message: bgp.Open) -> None:
    data = bgp.build(message)
    seen = scapy_bgp.BGPHeader(data)[scapy_bgp.BGPOpen]
    assert (seen.version, seen.my_as, seen.hold_time) == (4, message.my_as, message.hold_time)
    assert seen.bgp_id == render_ip(message.identifier)


@given(asn=st.integers(1, 0xFFFFFFFF), hold_time=st.integers(3, 0xFFFF), identifier=hosts)
def test_standard_open(asn: int, hold_time: int, identifier: bytes) -> None:
    message = bgp.standard_open(asn, hold_time, identifier)
    capabilities = [
        scapy_bgp.BGPCapMultiprotocol(afi=1, safi=1),
        scapy_bgp.BGPCapGeneric(code=2, length=0),
        scapy_bgp.BGPCapFourBytesASN(asn=asn),
    ]
    parameters = b"".join(bytes(capability) for capability in capabilities)
    layer = scapy_bgp.BGPOpen(
        my_as=asn if asn <= 0xFFFF else AS_TRANS,
        hold_time=hold_time,
        bgp_id=render_ip(identifier),
        opt_params=[
            scapy_bgp.BGPOptParam(param_type=2, param_length=len(parameters), param_value=parameters)
        ],
    )
    assert bgp.build(message) == framed(1, layer)
    assert read(framed(1, layer)) == message


@given(notifications)
def test_notification(message: bgp.Notification) -> None:
    layer = scapy_bgp.BGPNotification(
        error_code=message.code, error_subcode=message.subcode, data=message.data
    )
    assert bgp.build(message) == framed(3, layer)
    assert read(framed(3, layer)) == message


def test_keepalive() -> None:
    assert bgp.build(bgp.Keepalive()) == bytes(scapy_bgp.BGPKeepAlive())
    assert read(bytes(scapy_bgp.BGPKeepAlive())) == bgp.Keepalive()


@given(refreshes)
def test_route_refresh(message: bgp.RouteRefresh) -> None:
    layer = framed(5, scapy_bgp.BGPRouteRefresh(afi=message.afi, subtype=0, safi=message.safi))
    assert bgp.build(message) == layer
    assert read(layer) == message


@given(hops=st.lists(longs, min_size=1, max_size=5), first=words, next_hop=hosts)
def test_as4_path(hops: list[int], first: int, next_hop: bytes) -> None:
    long = [0x10000 | hop for hop in hops]
    four = scapy_bgp.BGPPathAttr(
        type_flags=0xC0, type_code=17, attribute=scapy_bgp.BGPPAAS4Path(segment_value=[1 + first, *long])
    )
    path = PathAttributes(0, (Segment(AS_SEQUENCE, (1 + first, *long)),), next_hop)
    assert build_attributes(path, False).endswith(bytes(four))
