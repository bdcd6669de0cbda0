"""What names may look like, and what is said of those that do not.

From apimachinery's ``pkg/util/validation/validation.go`` and ``pkg/api/validate/content``. Each function
gives the list of what is wrong, which is empty for a good name. The API server counts bytes, as ``len``
does for the characters that are allowed at all.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from netsim.base.address import IpAddress

LABEL_LENGTH = 63  # RFC 1035, 2.3.4
SUBDOMAIN_LENGTH = 253  # RFC 1035, 2.3.4, in text form
PORT_NAME_LENGTH = 15  # RFC 6335, 5.1

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SUBDOMAIN_UNDERSCORE = rf"{_LABEL_UNDERSCORE}(\.{_LABEL_UNDERSCORE})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_IS_LABEL = re.compile(_LABEL).fullmatch
_IS_LABEL_1035 = re.compile(_LABEL_1035).fullmatch
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN).fullmatch
_IS_SUBDOMAIN_UNDERSCORE = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch
_IS_QUALIFIED = re.compile(_QUALIFIED).fullmatch
_IS_LABEL_VALUE = re.compile(_LABEL_VALUE).fullmatch
_IS_CONFIG_KEY = re.compile(_CONFIG_KEY).fullmatch
_IS_PORT_NAME = re.compile("[-a-z0-9]+").fullmatch
_IS_PERCENT = re.compile("[0-9]+%").fullmatch
_IS_ENV_NAME = re.compile("[ -<>-~]*").fullmatch  # printable ASCII other than "="

_ALPHANUMERIC_ENDS = "and must start and end with an alphanumeric character"


def label(value: str) -> list[str]:
    """An RFC 1123 label: namespaces, containers, Service ports, hostnames."""
    wrong = _too_long(value, LABEL_LENGTH)
    if _IS_LABEL(value) is None:
        if _IS_SUBDOMAIN(value) is not None:
            wrong.append("must not contain dots")
        else:
            what = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                f"{_ALPHANUMERIC_ENDS}"
            )
            wrong.append(_pattern(what, _LABEL, "my-name", "123-abc"))
    return wrong


def label_1035(value: str) -> list[str]:
    """An RFC 1035 label: the names of Services (the feature RelaxedServiceNameValidation is off in 1.35)."""
    wrong = _too_long(value, LABEL_LENGTH)
    if _IS_LABEL_1035(value) is None:
        what = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
            "alphabetic character, and end with an alphanumeric character"
        )
        wrong.append(_pattern(what, _LABEL_1035, "my-name", "abc-123"))
    return wrong


def subdomain(value: str) -> list[str]:
    """An RFC 1123 subdomain: the names of most objects."""
    wrong = _too_long(value, SUBDOMAIN_LENGTH)
    if _IS_SUBDOMAIN(value) is None:
        what = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            f"{_ALPHANUMERIC_ENDS}"
        )
        wrong.append(_pattern(what, _SUBDOMAIN, "example.com"))
    return wrong


def search_domain(value: str) -> list[str]:
    """An entry of a Pod's DNS search list (RelaxedDNSSearchValidation is on since 1.33): ``.`` and ``_``
    too."""
    if value == ".":
        return []
    name = value.removesuffix(".")
    wrong = _too_long(name, SUBDOMAIN_LENGTH)
    if _IS_SUBDOMAIN_UNDERSCORE(name) is None:
        what = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' "
            f"or '.', {_ALPHANUMERIC_ENDS}"
        )
        wrong.append(_pattern(what, _SUBDOMAIN_UNDERSCORE, "example.com"))
    return wrong


def qualified_name(value: str) -> list[str]:
    """A label's key: ``[prefix/]name``."""
    what = f"must consist of alphanumeric characters, '-', '_' or '.', {_ALPHANUMERIC_ENDS}"
    rule = _pattern(what, _QUALIFIED, "MyName", "my.name", "123-abc")
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {rule} {optional}"]
    wrong = []
    if slash and not prefix:
        wrong.append("prefix part must be non-empty")
    elif slash:
        wrong += [f"prefix part {detail}" for detail in subdomain(prefix)]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > LABEL_LENGTH:
        wrong.append(f"name part must be no more than {LABEL_LENGTH} bytes")
    if _IS_QUALIFIED(name) is None:
        wrong.append(f"name part {rule}")
    return wrong


def label_value(value: str) -> list[str]:
    """The value of a label."""
    wrong = _too_long(value, LABEL_LENGTH, "bytes")
    if _IS_LABEL_VALUE(value) is None:
        what = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            f"{_ALPHANUMERIC_ENDS}"
        )
        wrong.append(_pattern(what, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return wrong


def config_key(value: str) -> list[str]:
    """A key in a ConfigMap."""
    wrong = _too_long(value, SUBDOMAIN_LENGTH)
    if _IS_CONFIG_KEY(value) is None:
        what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        wrong.append(_pattern(what, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        wrong.append(f"must not be '{value}'")
    elif value.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def env_name(value: str) -> list[str]:
    """The name of an environment variable (RelaxedEnvironmentVariableValidation is on since 1.32)."""
    if _IS_ENV_NAME(value) is None:
        return [
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        ]
    return []


def port_number(value: int) -> list[str]:
    """A port from 1 to 65535."""
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(value: str) -> list[str]:
    """The name of a container port (IANA_SVC_NAME, RFC 6335)."""
    wrong = _too_long(value, PORT_NAME_LENGTH)
    if _IS_PORT_NAME(value) is None:
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def port_number_or_name(value: int | str) -> list[str]:
    """A target port."""
    return port_number(value) if isinstance(value, int) else port_name(value)


def percent(value: str) -> list[str]:
    """``25%``."""
    if _IS_PERCENT(value) is not None:
        return []
    what = "a valid percent string must be a numeric string followed by an ending '%'"
    return [_pattern(what, "[0-9]+%", "1%", "93%")]


def address(value: str) -> list[str]:
    """An IP address. Zeros in front of a number are allowed, and ignored (StrictIPCIDRValidation is off in
    1.35)."""
    if sloppy_address(value) is None:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def cidr(value: str) -> list[str]:
    """An IP prefix, with or without bits behind the mask (``IsValidCIDRForLegacyField``)."""
    base, slash, length = value.partition("/")
    parsed = sloppy_address(base)
    most = 32 if parsed is not None and parsed.version == 4 else 128
    if parsed is not None and slash and length.isascii() and length.isdigit() and int(length) <= most:
        return []
    return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def sloppy_address(value: str) -> IpAddress | None:
    """The address as Kubernetes' ``ParseIPSloppy`` reads it: ``010.0.0.1`` is ``10.0.0.1``."""
    try:
        return ip_address(value)
    except ValueError:
        pass
    parts = value.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    try:
        return IPv4Address(".".join(str(int(part)) for part in parts))
    except AddressValueError:
        return None


def endpoint_address(value: str) -> list[str]:
    """What an endpoint may not be though it is an address (``ValidateEndpointIP``)."""
    parsed = sloppy_address(value)
    if parsed is None:
        return ["must be a valid IP address"]
    wrong = []
    if parsed.is_unspecified:
        wrong.append(f"may not be unspecified ({value})")
    if parsed.is_loopback:
        wrong.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        wrong.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if _is_link_local_multicast(parsed):
        wrong.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return wrong


def _is_link_local_multicast(parsed: IpAddress) -> bool:
    if isinstance(parsed, IPv6Address):
        return parsed.packed[0] == 0xFF and parsed.packed[1] & 0x0F == 0x02
    return parsed.packed[:3] == b"\xe0\x00\x00"


def _too_long(value: str, most: int, unit: str = "characters") -> list[str]:
    return [f"must be no more than {most} {unit}"] if len(value) > most else []


def _pattern(what: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{what} (e.g. {listed}regex used for validation is '{pattern}')"
