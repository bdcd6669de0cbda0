"""Domain names on the wire and as text (RFC 1035 sections 3.1 and 4.1.4).

For ``wire.dns``, and for whoever looks into a name's labels. Text is absolute, with a trailing dot; a byte
that would be misread is escaped as BIND and dnspython do: ``\\.`` for a dot inside a label, ``\\032`` for
a space.
"""

from __future__ import annotations

import re
from struct import Struct

from netsim.base.errors import WireError

MAXIMUM_NAME = 255  # octets on the wire, RFC 1035 section 2.3.4
MAXIMUM_LABEL = 63

_REMEMBERED = 4096
_SHORT = Struct("!H")
_POINTER = 0xC0
_POINTER_REACH = 0x4000

_WITH_LENGTH = [bytes((length,)) for length in range(MAXIMUM_LABEL + 1)]
_SPECIAL = b'."();@$\\'
_PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte not in _SPECIAL)
_ESCAPE = re.compile(r"\\(\d{3}|\D)", re.DOTALL)
_LABEL = re.compile(r"(?:[^.\\]|\\\d{3}|\\\D)+", re.DOTALL)


def refuse(message: str) -> WireError:
    """The error of this codec."""
    return WireError("DNS", message)


def _escaped_label(label: bytes) -> str:
    return "".join(
        chr(byte) if byte in _PLAIN else f"\\{chr(byte)}" if byte in _SPECIAL else f"\\{byte:03d}"
        for byte in label
    )


def split_name(name: str) -> list[str]:
    """The labels of a name, still escaped, leftmost first; the root has none."""
    body = name[:-1] if name.endswith(".") else name
    if "\\" not in name:
        return body.split(".") if body else []
    labels = _LABEL.findall(name)
    if name not in (joined := ".".join(labels), joined + "."):
        raise refuse(f"name {name!r} has an empty label or an unfinished escape")
    return labels


def _label_bytes(label: str) -> bytes:
    try:
        if "\\" not in label:
            raw = label.encode("ascii")
        else:
            plain = _ESCAPE.sub(lambda m: chr(int(m[1])) if len(m[1]) == 3 else m[1], label)
            raw = plain.encode("latin-1")
    except UnicodeEncodeError:
        raise refuse(f"label {label!r} is not ASCII") from None
    if not 0 < len(raw) <= MAXIMUM_LABEL:
        raise refuse(f"label {label!r} has {len(raw)} octets, not 1 to {MAXIMUM_LABEL}")
    return raw


class _Wires(dict[str, bytes]):
    """Names and their bytes, as they were last read or written: a server writes mostly what it has read."""

    def __missing__(self, name: str) -> bytes:
        wire = b"".join([_WITH_LENGTH[len(raw)] + raw for raw in _labels(name)]) + b"\0"
        if len(wire) > MAXIMUM_NAME:
            raise refuse(f"name {name!r} has {len(wire)} octets, more than {MAXIMUM_NAME}")
        self.keep(name, wire)
        return wire

    def keep(self, name: str, wire: bytes) -> None:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[name] = wire


_wires = _Wires()


def name_to_wire(name: str) -> bytes:
    """A name without compression; the final dot may be missing. WireError when it cannot be a name."""
    return _wires[name]


def _labels(name: str) -> list[bytes]:
    if "\\" not in name and name.isascii():
        labels = (name[:-1] if name.endswith(".") else name).encode().split(b".")
        if labels == [b""]:
            return []
        if b"" not in labels and max(map(len, labels)) <= MAXIMUM_LABEL:
            return labels
    return [_label_bytes(label) for label in split_name(name)]


def parse_name(data: bytes, offset: int) -> tuple[str, int]:
    """The name at ``offset`` and the offset after it. A pointer must point before its own segment."""
    labels: list[bytes] = []
    after = -1
    begin = segment = offset
    size = 1
    try:
        while length := data[offset]:
            if length <= MAXIMUM_LABEL:
                start = offset + 1
                offset = start + length
                labels.append(data[start:offset])
                size += length + 1
                if size > MAXIMUM_NAME:
                    raise refuse(f"a name has more than {MAXIMUM_NAME} octets")
            elif length >= _POINTER:
                target = (length & 0x3F) << 8 | data[offset + 1]
                if target >= segment:
                    raise refuse("a compression pointer does not point backwards")
                if after < 0:
                    after = offset + 2
                segment = offset = target
            else:
                raise refuse(f"label type {length >> 6:#04b} is unknown")
    except IndexError:
        raise refuse("a name runs past the end") from None
    joined = b".".join(labels)
    if len(joined.translate(None, _PLAIN)) <= len(labels) - 1:
        text = joined.decode("ascii") + "."
    else:
        text = ".".join(map(_escaped_label, labels)) + "."
    if after >= 0:
        return text, after
    offset += 1
    _wires.keep(text, bytes(data[begin:offset]))
    return text, offset


def put_name(out: bytearray, name: str, table: dict[str, int] | None, compress: bool = True) -> None:
    """Append a name. As miekg/dns, a name that may not be compressed itself can still be pointed at."""
    if table is None:
        out += name_to_wire(name)
        return
    name_to_wire(name)
    rest = split_name(name)
    start = 0
    while start < len(rest):
        suffix = ".".join(rest[start:])
        pointer = table.get(suffix)
        if pointer is None:
            if len(out) < _POINTER_REACH:
                table[suffix] = len(out)
        elif compress:
            out += _SHORT.pack(_POINTER << 8 | pointer)
            return
        raw = _label_bytes(rest[start])
        out.append(len(raw))
        out += raw
        start += 1
    out.append(0)
