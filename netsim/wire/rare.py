"""Data of rare record types, which the codec keeps as bytes, from their presentation form.

dnslib knows the forms. Zone files and templates have such records (``clusterdns.zonefile``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netsim.base.errors import WireError

_NAMES: Mapping[str, int] = {"HTTPS": 1, "NAPTR": 5, "NSEC": 0, "RRSIG": 7}
"""Which word of a type's data is a domain name."""


def rdata_from_words(type_name: str, words: Sequence[str], absolute: Callable[[str], str]) -> bytes:
    """The data; ``absolute`` makes whole names of relative ones. WireError when it cannot be read."""
    from dnslib import RDMAP, DNSBuffer

    known = RDMAP.get(type_name)
    if known is None:
        raise WireError("zone", f"data of type {type_name} is read in the form \\# alone")
    place = _NAMES.get(type_name)
    buffer = DNSBuffer()
    try:
        whole = [absolute(word) if index == place else word for index, word in enumerate(words)]
        known.fromZone(whole).pack(buffer)
    except Exception as error:  # dnslib raises anything on words that are not what their type wants
        raise WireError("zone", f"data of type {type_name}: {error}") from None
    return bytes(buffer.data)
