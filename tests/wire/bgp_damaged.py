"""Malformed BGP messages, each with the NOTIFICATION that it deserves."""

from __future__ import annotations

from netsim.wire import bgp

IDENTIFIER = bytes([10, 0, 0, 1])
ORIGIN = bytes([0x40, 1, 1, 0])
AS_PATH = bytes([0x40, 2, 6, 2, 1, 0, 0, 0xFC, 0])
NEXT_HOP = bytes([0x40, 3, 4, 192, 168, 10, 11])
MED = bytes([0x80, 4, 4, 0, 0, 0, 1])
MULTICAST_HOP = bytes([0x40, 3, 4, 224, 0, 0, 1])
SHORT_REACH = bytes([0x80, 14, 4, 0, 1, 1, 0])
NLRI = bytes([8, 10])


def message(kind: int, body: bytes) -> bytes:
    return bgp.MARKER + (19 + len(body)).to_bytes(2, "big") + bytes([kind]) + body


def open_message(parameters: bytes = b"", *, version: int = 4, my_as: int = 64512, hold: int = 90) -> bytes:
    head = bytes([version]) + my_as.to_bytes(2, "big") + hold.to_bytes(2, "big") + IDENTIFIER
    return message(bgp.OPEN, head + bytes([len(parameters)]) + parameters)


def update(attributes: bytes, nlri: bytes = NLRI, *, withdrawn: bytes = b"") -> bytes:
    fields = len(withdrawn).to_bytes(2, "big") + withdrawn + len(attributes).to_bytes(2, "big") + attributes
    return message(bgp.UPDATE, fields + nlri)


def with_attribute(attribute: bytes) -> bytes:
    return update(ORIGIN + AS_PATH + NEXT_HOP + attribute)


CASES: dict[str, tuple[bytes, int, int, bytes]] = {
    # name: (bytes, code, subcode, the NOTIFICATION's data)
    "marker": (b"\xff" * 15 + b"\xfe", 1, 1, b""),
    "marker's first octet": (b"\0", 1, 1, b""),
    "too short": (bgp.MARKER + bytes([0, 18, 4]), 1, 2, bytes([0, 18])),
    "too long": (bgp.MARKER + bytes([16, 1, 2]), 1, 2, bytes([16, 1])),
    "short OPEN": (bgp.MARKER + bytes([0, 28, 1]), 1, 2, bytes([0, 28])),
    "short UPDATE": (bgp.MARKER + bytes([0, 22, 2]), 1, 2, bytes([0, 22])),
    "short NOTIFICATION": (bgp.MARKER + bytes([0, 20, 3]), 1, 2, bytes([0, 20])),
    "long KEEPALIVE": (bgp.MARKER + bytes([0, 20, 4]), 1, 2, bytes([0, 20])),
    "long ROUTE-REFRESH": (bgp.MARKER + bytes([0, 24, 5]), 1, 2, bytes([0, 24])),
    "type 0": (bgp.MARKER + bytes([0, 19, 0]), 1, 3, b"\0"),
    "type 6": (bgp.MARKER + bytes([0, 19, 6]), 1, 3, b"\6"),
    "version 3": (open_message(version=3), 2, 1, bytes([0, 4])),
    "AS 0": (open_message(my_as=0), 2, 2, b""),
    "four-octet AS 0": (open_message(bytes([2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0, 0])), 2, 2, b""),
    "identifier 0": (message(1, bytes([4, 0xFC, 0, 0, 90, 0, 0, 0, 0, 0])), 2, 3, b""),
    "parameter 1": (open_message(bytes([1, 0])), 2, 4, b""),
    "hold time 1": (open_message(hold=1), 2, 6, b""),
    "hold time 2": (open_message(hold=2), 2, 6, b""),
    "parameters' length": (message(1, bytes([4, 0xFC, 0, 0, 90, 10, 0, 0, 1, 3, 2, 0])), 2, 0, b""),
    "parameter cut off": (open_message(bytes([2, 5, 1])), 2, 0, b""),
    "parameter's head cut off": (open_message(bytes([2])), 2, 0, b""),
    "capability cut off": (open_message(bytes([2, 3, 1, 4, 0])), 2, 0, b""),
    "capability's length": (open_message(bytes([2, 4, 65, 2, 0, 1])), 2, 0, b""),
    "withdrawn length": (message(2, bytes([0, 9, 0, 0])), 3, 1, b""),
    "attributes' length": (message(2, bytes([0, 0, 0, 9, 0])), 3, 1, b""),
    "attribute cut off": (update(bytes([0x40, 1, 9, 0])), 3, 1, b""),
    "attribute's head cut off": (update(bytes([0x50, 1, 0])), 3, 1, b""),
    "attribute twice": (with_attribute(ORIGIN), 3, 1, b""),
    "unknown well-known": (with_attribute(bytes([0x40, 99, 1, 7])), 3, 2, bytes([0x40, 99, 1, 7])),
    "no ORIGIN": (update(AS_PATH + NEXT_HOP), 3, 3, b"\1"),
    "no AS_PATH": (update(ORIGIN + NEXT_HOP), 3, 3, b"\2"),
    "no NEXT_HOP": (update(ORIGIN + AS_PATH), 3, 3, b"\3"),
    "no attributes": (update(b""), 3, 3, b"\1"),
    "ORIGIN optional": (update(b"\xc0" + ORIGIN[1:]), 3, 4, b"\xc0" + ORIGIN[1:]),
    "ORIGIN partial": (update(b"\x60" + ORIGIN[1:]), 3, 4, b"\x60" + ORIGIN[1:]),
    "MED transitive": (with_attribute(b"\xc0" + MED[1:]), 3, 4, b"\xc0" + MED[1:]),
    "MED partial": (with_attribute(b"\xa0" + MED[1:]), 3, 4, b"\xa0" + MED[1:]),
    "ORIGIN's length": (update(bytes([0x40, 1, 2, 0, 0])), 3, 5, bytes([0x40, 1, 2, 0, 0])),
    "NEXT_HOP's length": (update(bytes([0x40, 3, 1, 9])), 3, 5, bytes([0x40, 3, 1, 9])),
    "long head": (update(bytes([0x50, 1, 0, 2, 0, 0])), 3, 5, bytes([0x50, 1, 0, 2, 0, 0])),
    "AGGREGATOR's length": (with_attribute(bytes([0xC0, 7, 1, 9])), 3, 5, bytes([0xC0, 7, 1, 9])),
    "COMMUNITIES' length": (with_attribute(bytes([0xC0, 8, 1, 9])), 3, 5, bytes([0xC0, 8, 1, 9])),
    "empty COMMUNITIES": (with_attribute(bytes([0xC0, 8, 0])), 3, 5, bytes([0xC0, 8, 0])),
    "CLUSTER_LIST's length": (with_attribute(bytes([0x80, 10, 1, 9])), 3, 5, bytes([0x80, 10, 1, 9])),
    "ORIGIN 3": (update(bytes([0x40, 1, 1, 3])), 3, 6, bytes([0x40, 1, 1, 3])),
    "next hop 0": (update(bytes([0x40, 3, 4, 0, 0, 0, 0])), 3, 8, bytes([0x40, 3, 4, 0, 0, 0, 0])),
    "next hop multicast": (update(MULTICAST_HOP), 3, 8, MULTICAST_HOP),
    "MP_REACH cut off": (with_attribute(SHORT_REACH), 3, 9, SHORT_REACH),
    "MP_REACH next hop": (
        with_attribute(bytes([0x80, 14, 21, 0, 1, 1, 16, *bytes(17)])),
        3,
        9,
        bytes([0x80, 14, 21, 0, 1, 1, 16, *bytes(17)]),
    ),
    "MP_UNREACH cut off": (with_attribute(bytes([0x80, 15, 2, 0, 1])), 3, 9, bytes([0x80, 15, 2, 0, 1])),
    "two next hops": (with_attribute(bytes([0x80, 14, 11, 0, 1, 1, 4, 1, 1, 1, 1, 0, 8, 11])), 3, 9, b""),
    "prefix of 33 bits": (update(ORIGIN + AS_PATH + NEXT_HOP, bytes([33, 1, 2, 3, 4, 5])), 3, 10, b""),
    "prefix cut off": (update(ORIGIN + AS_PATH + NEXT_HOP, bytes([24, 1, 2])), 3, 10, b""),
    "withdrawn prefix cut off": (update(b"", b"", withdrawn=bytes([24, 1, 2])), 3, 10, b""),
    "AS_PATH cut off": (update(ORIGIN + bytes([0x40, 2, 3, 2, 1, 0])), 3, 11, b""),
    "AS_PATH head cut off": (update(ORIGIN + bytes([0x40, 2, 1, 2])), 3, 11, b""),
    "AS_PATH segment type": (update(ORIGIN + bytes([0x40, 2, 6, 3, 1, 0, 0, 0, 1])), 3, 11, b""),
    "AS_PATH segment empty": (update(ORIGIN + bytes([0x40, 2, 2, 2, 0])), 3, 11, b""),
    "AS_PATH with AS 0": (update(ORIGIN + bytes([0x40, 2, 6, 2, 1, 0, 0, 0, 0])), 3, 11, b""),
}  # fmt: skip
