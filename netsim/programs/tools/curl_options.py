"""curl's command line: its options as one value, with curl's own words for what it does not know."""

from __future__ import annotations

from getopt import GetoptError, gnu_getopt
from typing import NamedTuple

from netsim.programs.http import Headers
from netsim.programs.tools.names import literal

USER_AGENT = "curl/8.5.0"
_SHORT = "#0123446ab:A:b:c:C:d:D:e:E:fF:gGhH:iIjJkK:lLm:M:nNo:OpP:qQ:r:RsST:u:U:vVw:x:X:y:Y:z:Z"
_LONG = (
    "cacert=",
    "compressed", "connect-timeout=", "connect-to=", "data=", "data-ascii=", "data-binary=", "data-raw=",
    "data-urlencode=", "dump-header=", "fail", "fail-early", "fail-with-body", "get", "globoff",
    "head", "header=", "help", "http0.9", "http1.0", "http1.1", "http2", "http2-prior-knowledge", "include",
    "insecure",
    "interface=", "ipv4", "ipv6", "json=", "keepalive-time=", "location", "location-trusted", "max-redirs=",
    "max-time=", "no-buffer", "no-keepalive", "no-progress-meter", "noproxy=", "output=", "progress-bar",
    "proxy=", "referer=", "remote-name", "request=", "resolve=", "retry=", "retry-all-errors",
    "retry-connrefused", "retry-delay=", "retry-max-time=", "show-error", "silent", "tcp-nodelay", "url=",
    "user=", "user-agent=", "verbose", "version", "write-out=",
)  # fmt: skip
_NAMES = {
    "s": "silent", "S": "show-error", "v": "verbose", "i": "include", "I": "head", "o": "output",
    "O": "remote-name", "w": "write-out", "m": "max-time", "H": "header", "X": "request", "d": "data",
    "data-ascii": "data", "data-binary": "data", "data-raw": "data", "data-urlencode": "data",
    "L": "location",
    "location-trusted": "location", "f": "fail", "fail-with-body": "fail-with-body", "4": "ipv4", "6": "ipv6",
    "A": "user-agent", "G": "get", "e": "referer", "V": "version", "h": "help", "D": "dump-header",
    "u": "user",
    "k": "insecure",
}  # fmt: skip


class BadOption(Exception):
    """What curl says about the command line."""


class Settings(NamedTuple):
    """The options that count; times in seconds, None without a limit."""

    urls: tuple[str, ...]
    flags: frozenset[str]
    outputs: tuple[str, ...]
    method: str
    headers: Headers
    body: bytes
    write_out: str
    max_time: float | None
    connect_timeout: float | None
    max_redirects: int
    retries: int
    resolve: tuple[tuple[str, int, str], ...]
    authority: str

    def on(self, flag: str) -> bool:
        return flag in self.flags


def read_settings(args: tuple[str, ...]) -> Settings:
    """The command line as curl reads it; raises BadOption."""
    try:
        pairs, operands = gnu_getopt(list(args), _SHORT, _LONG)
    except GetoptError as error:
        dashes = "-" if len(error.opt) == 1 else "--"
        what = "requires parameter" if "requires argument" in error.msg else "is unknown"
        raise BadOption(f"option {dashes}{error.opt}: {what}") from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        bare = name.lstrip("-")
        given.setdefault(_NAMES.get(bare, bare), []).append(value)

    def last(name: str, default: str = "") -> str:
        return given.get(name, [default])[-1]

    def seconds(name: str) -> float | None:
        text = last(name)
        if text and not text.replace(".", "", 1).isdecimal():
            raise BadOption(f"option --{name}: expected a proper numerical parameter")
        return float(text) or None if text else None

    def whole(name: str, default: int) -> int:
        text = last(name, str(default))
        if not text.isdecimal():
            raise BadOption(f"option --{name}: expected a proper numerical parameter")
        return int(text)

    body = "&".join(given.get("data", [])) or last("json")
    headers = _headers(given, body=bool(body))
    default_method = "HEAD" if "head" in given else "POST" if body and "get" not in given else "GET"
    urls = (*given.get("url", ()), *operands)
    if body and "get" in given:
        urls, body = tuple(f"{url}{'&' if '?' in url else '?'}{body}" for url in urls), ""
    return Settings(
        urls, frozenset(given), tuple(given.get("output", ())), last("request", default_method), headers,
        body.encode(), last("write-out"), seconds("max-time"), seconds("connect-timeout"),
        whole("max-redirs", 50), whole("retry", 0),
        tuple(_resolve_entry(text) for text in given.get("resolve", ())), last("cacert"),
    )  # fmt: skip


def _headers(given: dict[str, list[str]], *, body: bool) -> Headers:
    """curl's own headers and the user's, who may replace (``X: y``) or remove (``X:``) them."""
    own = {"User-Agent": given.get("user-agent", [USER_AGENT])[-1], "Accept": "*/*"}
    if "referer" in given:
        own["Referer"] = given["referer"][-1]
    if "user" in given:
        from base64 import b64encode

        own["Authorization"] = "Basic " + b64encode(given["user"][-1].encode()).decode()
    if "json" in given:
        own |= {"Content-Type": "application/json", "Accept": "application/json"}
    elif body:
        own["Content-Type"] = "application/x-www-form-urlencoded"
    asked = [
        (name.strip(), value.strip())
        for name, _, value in (h.partition(":") for h in given.get("header", ()))
    ]
    replaced = {name.lower() for name, _ in asked}
    kept = [(name, value) for name, value in own.items() if name.lower() not in replaced]
    return (*kept, *((name, value) for name, value in asked if value))


def _resolve_entry(text: str) -> tuple[str, int, str]:
    parts = text.lstrip("+").split(":", 2)
    if len(parts) != 3 or not parts[1].isdecimal() or literal(parts[2].strip("[]")) is None:
        raise BadOption(f"Couldn't parse CURLOPT_RESOLVE entry '{text}'")
    return parts[0], int(parts[1]), parts[2]
