"""Why a BGP speaker refuses a message: NOTIFICATION codes and subcodes, and the exception that carries them.

The codecs in ``wire.bgp`` raise ``BgpError``; the session that catches it sends its code, subcode and data.
"""

from __future__ import annotations

from enum import IntEnum

from netsim.base.errors import WireError


class ErrorCode(IntEnum):
    """RFC 4271 section 4.5; ROUTE_REFRESH is RFC 7313's."""

    MESSAGE_HEADER = 1
    OPEN_MESSAGE = 2
    UPDATE_MESSAGE = 3
    HOLD_TIMER_EXPIRED = 4
    FSM = 5
    CEASE = 6
    ROUTE_REFRESH = 7


# RFC 4271 section 6.1
NOT_SYNCHRONIZED, BAD_LENGTH, BAD_TYPE = 1, 2, 3
# Section 6.2, and RFC 5492 for the capability.
UNSUPPORTED_VERSION, BAD_PEER_AS, BAD_IDENTIFIER, UNSUPPORTED_PARAMETER = 1, 2, 3, 4
UNACCEPTABLE_HOLD_TIME, UNSUPPORTED_CAPABILITY = 6, 7
# Section 6.3
MALFORMED_ATTRIBUTES, UNRECOGNIZED_WELL_KNOWN, MISSING_WELL_KNOWN, BAD_FLAGS = 1, 2, 3, 4
BAD_ATTRIBUTE_LENGTH, INVALID_ORIGIN, INVALID_NEXT_HOP, BAD_OPTIONAL = 5, 6, 8, 9
INVALID_NETWORK, MALFORMED_AS_PATH = 10, 11
# RFC 6608
UNEXPECTED_IN_OPEN_SENT, UNEXPECTED_IN_OPEN_CONFIRM, UNEXPECTED_IN_ESTABLISHED = 1, 2, 3
# RFC 4486
ADMINISTRATIVE_SHUTDOWN, PEER_DECONFIGURED, CONNECTION_REJECTED, COLLISION = 2, 3, 5, 7

_TEXTS = {
    (1, 0): "Invalid message header",
    (1, 1): "Connection not synchronized",
    (1, 2): "Bad message length",
    (1, 3): "Bad message type",
    (2, 0): "Invalid OPEN message",
    (2, 1): "Unsupported version number",
    (2, 2): "Bad peer AS",
    (2, 3): "Bad BGP identifier",
    (2, 4): "Unsupported optional parameter",
    (2, 5): "Authentication failure",
    (2, 6): "Unacceptable hold time",
    (2, 7): "Required capability missing",
    (3, 0): "Invalid UPDATE message",
    (3, 1): "Malformed attribute list",
    (3, 2): "Unrecognized well-known attribute",
    (3, 3): "Missing mandatory attribute",
    (3, 4): "Invalid attribute flags",
    (3, 5): "Invalid attribute length",
    (3, 6): "Invalid ORIGIN attribute",
    (3, 7): "AS routing loop",
    (3, 8): "Invalid NEXT_HOP attribute",
    (3, 9): "Optional attribute error",
    (3, 10): "Invalid network field",
    (3, 11): "Malformed AS_PATH",
    (4, 0): "Hold timer expired",
    (5, 0): "Finite state machine error",
    (5, 1): "Unexpected message in OpenSent state",
    (5, 2): "Unexpected message in OpenConfirm state",
    (5, 3): "Unexpected message in Established state",
    (6, 0): "Cease",
    (6, 1): "Maximum number of prefixes reached",
    (6, 2): "Administrative shutdown",
    (6, 3): "Peer de-configured",
    (6, 4): "Administrative reset",
    (6, 5): "Connection rejected",
    (6, 6): "Other configuration change",
    (6, 7): "Connection collision resolution",
    (6, 8): "Out of Resources",
    (6, 9): "Hard reset",
    (7, 0): "Invalid ROUTE-REFRESH message",
    (7, 1): "Invalid ROUTE-REFRESH message length",
}


def error_text(code: int, subcode: int) -> str:
    """What a code and subcode say, in BIRD's words (its bgp_error_dsc)."""
    return _TEXTS.get((code, subcode)) or _TEXTS.get((code, 0)) or f"Unknown error {code}.{subcode}"


class BgpError(WireError):
    """A message that must be answered with NOTIFICATION ``code``, ``subcode`` and ``data``."""

    def __init__(self, code: int, subcode: int, message: str, *, data: bytes = b"") -> None:
        super().__init__("bgp", f"{error_text(code, subcode)}: {message}")
        self.code = code
        self.subcode = subcode
        self.data = data
