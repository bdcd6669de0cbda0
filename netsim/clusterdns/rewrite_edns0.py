"""``rewrite edns0``: options of the query's OPT record set, replaced, appended or removed.

``local CODE DATA|{VARIABLE}``, ``nsid``, ``subnet V4BITS V6BITS``, each with ``set``, ``append``, ``replace``
or ``unset``, and ``revert``. Variables of metadata have no value here, so that their rules do nothing.
Source: coredns ``plugin/rewrite/edns0.go``, ``wire.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network

from netsim.base.errors import CorefileError
from netsim.clusterdns.chain import Request
from netsim.clusterdns.rewriting import RevertOption, Rewritten
from netsim.wire.dns import Edns

ACTIONS = ("set", "append", "replace", "unset")
NSID = 3
SUBNET = 8
_EDNS_SIZE = 4096
_TYPED = frozenset({1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 15, 18})
"""Options for which miekg/dns has a type of its own: ``local`` rules do not see those that are there."""

_Value = Callable[[Request], bytes | None]

_METADATA = re.compile(r"\{[^{}/]+/[^{}]+\}")

_VARIABLES: dict[str, _Value] = {
    "{qname}": lambda request: request.name.encode(),
    "{qtype}": lambda request: request.qtype.to_bytes(2, "big"),
    "{client_ip}": lambda request: request.client.packed,
    "{client_port}": lambda request: request.ports[0].to_bytes(2, "big"),
    "{protocol}": lambda request: request.transport.value.encode(),
    "{server_ip}": lambda request: None,
    "{server_port}": lambda request: request.ports[1].to_bytes(2, "big"),
}


def edns0_rule(words: Sequence[str], echoed: set[int]) -> Callable[[Request], Rewritten]:
    """The rule behind the word ``edns0``. A local option comes back to clients from then on (``echoed``)."""
    if len(words) < 2:
        raise CorefileError("too few arguments for an EDNS0 rule")
    kind, action = words[0].lower(), words[1].lower()
    if action not in ACTIONS:
        raise CorefileError(f'invalid action: "{action}"')
    if action == "unset":
        return _unset(kind, words, echoed)
    reverts = words[-1] == "revert"
    words = words[: len(words) - reverts]
    match kind:
        case "local":
            if len(words) != 4:
                raise CorefileError("EDNS0 local rules require three or four args")
            code = _code(words[2])
            echoed.add(code)
            return _change(code, action, _local_value(words[3]), reverts, visible=code not in _TYPED)
        case "nsid":
            if len(words) != 2:
                raise CorefileError("EDNS0 NSID rules can accept no more than one arg")
            return _change(NSID, action, lambda request: b"", reverts)
        case "subnet":
            if len(words) != 4:
                raise CorefileError("EDNS0 subnet rules require three or four args")
            return _change(SUBNET, action, _subnet_value(words[2], words[3]), reverts)
    raise CorefileError(f'invalid rule type "{kind}"')


def _unset(kind: str, words: Sequence[str], echoed: set[int]) -> Callable[[Request], Rewritten]:
    counts = {"local": ("two", 3), "nsid": ("one", 2), "subnet": ("one", 2)}
    if kind not in counts:
        raise CorefileError(f'invalid rule type "{kind}"')
    title, count = counts[kind]
    if len(words) != count:
        plural = "s" if count == 3 else ""
        raise CorefileError(f"{kind} unset action requires exactly {title} argument{plural}")
    code = {"nsid": NSID, "subnet": SUBNET}.get(kind)
    if code is None:
        code = _code(words[2])
        echoed.add(code)

    def rewrite(request: Request) -> Rewritten:
        edns = request.message.edns or Edns(_EDNS_SIZE)
        return _with(request, edns, [option for option in edns.options if option[0] != code]), ()

    return rewrite


def _change(
    code: int, action: str, value: _Value, reverts: bool, *, visible: bool = True
) -> Callable[[Request], Rewritten]:
    def rewrite(request: Request) -> Rewritten:
        data = value(request)
        if data is None:
            return None
        edns = request.message.edns or Edns(_EDNS_SIZE)
        unfit = _with(request, edns, edns.options)  # a rule that does not fit has made an OPT record, too
        options = list(edns.options)
        there = next((i for i, option in enumerate(options) if option[0] == code), None) if visible else None
        if there is not None and action != "append":
            before = RevertOption(code, options[there][1])
            options[there] = (code, data)
            return _with(request, edns, options), (before,) if reverts else ()
        if action == "replace" or (there is not None and code == SUBNET):
            return unfit
        options.append((code, data))
        return _with(request, edns, options), (RevertOption(code, None),) if reverts else ()

    return rewrite


def _with(request: Request, edns: Edns, options: Sequence[tuple[int, bytes]]) -> Request:
    return request.with_message(request.message._replace(edns=edns._replace(options=tuple(options))))


def _code(text: str) -> int:
    try:
        code = int(text, 0)
    except ValueError:
        raise CorefileError(f'strconv.ParseUint: parsing "{text}": invalid syntax') from None
    if not 0 <= code < 1 << 16:
        raise CorefileError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return code


def _local_value(text: str) -> _Value:
    if text.startswith("{") and text.endswith("}"):
        if text in _VARIABLES:
            return _VARIABLES[text]
        if not _METADATA.fullmatch(text):
            raise CorefileError(f'unsupported variable name "{text}"')
        return lambda request: None
    data = text.encode()
    if text.startswith("0x"):
        try:
            data = bytes.fromhex(text[2:])
        except ValueError:
            raise CorefileError(f"encoding/hex: invalid byte in {text}") from None
    return lambda request: data


def _subnet_value(first: str, second: str) -> _Value:
    bits = []
    for text, most, family in ((first, 32, 4), (second, 128, 6)):
        length = _code(text)
        if length > most:
            raise CorefileError(f"invalid IPv{family} bit mask length {length}")
        bits.append(length)

    def value(request: Request) -> bytes:
        client = request.client
        family, length = (1, bits[0]) if client.version == 4 else (2, bits[1])
        network = ip_network((client, length), strict=False).network_address.packed[: -(-length // 8)]
        return family.to_bytes(2, "big") + bytes([length, 0]) + network

    return value
