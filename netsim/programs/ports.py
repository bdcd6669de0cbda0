"""Port numbers as people and manifests write them."""

from __future__ import annotations

import errno

LAST_PORT = 65535


def port_from_text(text: str) -> int | None:
    """A port as typed, or None for what is none."""
    return int(text) if text.isdecimal() and 0 < int(text) <= LAST_PORT else None


def port_to_open(text: str) -> int:
    """A port as a server's flag has it; OSError EINVAL, which ends the server, for what is none."""
    port = port_from_text(text)
    if port is None:
        raise OSError(errno.EINVAL, f"invalid port {text!r}")
    return port
