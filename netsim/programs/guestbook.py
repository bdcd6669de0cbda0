"""The guestbook's front ends: the PHP one on port 80, and the Go one on port 3000.

Both write to one Redis and read from another, each found by its Service's name, as in the sources of
kubernetes/examples (web/guestbook, web/guestbook-go) and of GKE's quickstart. Each request connects anew, as
PHP does. The pages are netsim's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Host, Invocation, Program
from netsim.programs.http import LookupFailed
from netsim.programs.http_server import Request, Response
from netsim.programs.redis.client import open_client
from netsim.programs.redis.resp import ErrorReply, Reply, Words
from netsim.programs.redis.settings import PORT, guestbook_host
from netsim.programs.servers import serve_ports, static_files
from netsim.programs.terminal import text_from_bytes

PATIENCE = 5.0
"""Seconds that Predis waits for a connection, its ``timeout``."""
READ_PATIENCE = 60.0
"""Seconds that PHP waits for a reply, its ``default_socket_timeout``."""
ROOT = "/var/www/html"
INDEX = """<!DOCTYPE html>
<html>
<head><title>Guestbook</title></head>
<body>
<h2>Guestbook</h2>
<form id="form"><input name="message" placeholder="Messages"><button>Submit</button></form>
<ul id="messages"></ul>
<script>
const url = "guestbook.php?key=messages";
const list = document.getElementById("messages");
let messages = [];
function show() {
  list.replaceChildren(...messages.map(text => {
    const line = document.createElement("li");
    line.textContent = text;
    return line;
  }));
}
fetch(url + "&cmd=get").then(reply => reply.json()).then(reply => {
  messages = reply.data.split(",").filter(text => text);
  show();
});
document.getElementById("form").onsubmit = event => {
  event.preventDefault();
  messages.push(event.target.message.value);
  event.target.reset();
  show();
  fetch(url + "&cmd=set&value=" + encodeURIComponent(messages.join(",")));
};
</script>
</body>
</html>
"""
PHPINFO = "<!DOCTYPE html>\n<html><head><title>phpinfo()</title></head><body><h1>PHP</h1></body></html>\n"
GO_INDEX = """<!DOCTYPE html>
<html>
<head><title>Guestbook</title></head>
<body>
<h1>Guestbook</h1>
<p>See <a href="/lrange/guestbook">/lrange/guestbook</a>, <a href="/env">/env</a>,
<a href="/info">/info</a>; /rpush/guestbook/TEXT adds a line.</p>
</body>
</html>
"""


class Backends(NamedTuple):
    """The Services to write to and to read from; ``key`` is fixed, or None: the request names it."""

    leader: str
    follower: str
    key: str | None = None


MASTER_AND_SLAVE = Backends("redis-master", "redis-slave")
"""The images up to v4."""
LEADER_AND_FOLLOWER = Backends("redis-leader", "redis-follower", "guestbook")
"""gb-frontend from v5 on."""


class RedisFailed(Exception):
    """A Redis could not be asked, or answered with an error; the text is what the client library says."""


async def _ask(host: Host, name: str, words: Words) -> Reply:
    """One command on a connection of its own; RedisFailed in Predis' words."""
    shown = words[0].decode()
    cause = Cause(Stage.PROGRAM, f"guestbook sends {shown} to {name}")
    where = f"[tcp://{name}:{PORT}]"
    try:
        client = await open_client(host, name, PORT, cause=cause, timeout=PATIENCE)
        try:
            reply = await client.ask(*words, cause=cause, timeout=READ_PATIENCE)
        finally:
            client.close()
    except LookupFailed:
        reason = f"php_network_getaddresses: getaddrinfo for {name} failed: Name or service not known"
        raise RedisFailed(f"{reason} {where}") from None
    except TimeoutError:
        raise RedisFailed(f"Connection timed out {where}") from None
    except (OSError, WireError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RedisFailed(f"{reason} {where}") from None
    if isinstance(reply, ErrorReply):
        raise RedisFailed(reply.text)
    return reply


def php_front_end(backends: Backends) -> Program:
    """``guestbook.php`` and its page, behind Apache on port 80."""

    async def run(host: Host, start: Invocation) -> int:
        pages = static_files(host, ROOT, {"index.html": INDEX}, "Apache")

        async def handle(request: Request) -> Response:
            if request.path != "/guestbook.php":
                return _page(pages(request))
            fields = dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))
            if "cmd" not in fields:
                return Response(PHPINFO, content_type="text/html; charset=UTF-8")
            try:
                return Response(await _php(host, start, backends, fields), content_type="application/json")
            except RedisFailed as error:
                return Response(_fatal(str(error)), 500, "application/json")

        return await serve_ports(host, {80: handle}, "Apache")

    return run


php_with_master_and_slave = php_front_end(MASTER_AND_SLAVE)
php_with_leader_and_follower = php_front_end(LEADER_AND_FOLLOWER)


def _page(response: object) -> Response:
    assert isinstance(response, Response)  # static files need no waiting
    return response


async def _php(host: Host, start: Invocation, backends: Backends, fields: Mapping[str, str]) -> str:
    """guestbook.php: JSON as it prints it, without escaping the value."""
    key = (backends.key if backends.key is not None else fields.get("key", "")).encode()
    if fields["cmd"] == "set":
        leader = guestbook_host(backends.leader, start.env)
        await _ask(host, leader, (b"SET", key, fields.get("value", "").encode()))
        return '{"message": "Updated"}'
    value = await _ask(host, guestbook_host(backends.follower, start.env), (b"GET", key))
    return f'{{"data": "{text_from_bytes(value) if isinstance(value, bytes) else ""}"}}'


def _fatal(message: str) -> str:
    """What PHP prints of an exception that nobody catches."""
    return (
        "<br />\n<b>Fatal error</b>:  Uncaught Predis\\Connection\\ConnectionException: "
        f"{message} in {ROOT}/guestbook.php\n"
    )


async def go_front_end(host: Host, start: Invocation) -> int:
    """guestbook-go on port 3000: lists at /lrange/KEY, /rpush/KEY/VALUE; /info and /env."""
    leader, follower = MASTER_AND_SLAVE.leader, MASTER_AND_SLAVE.follower

    async def handle(request: Request) -> Response:
        match request.path.strip("/").split("/"):
            case ["lrange", key]:
                return await _list(host, follower, key)
            case ["rpush", key, value]:
                await _ask(host, leader, (b"RPUSH", key.encode(), value.encode()))
                return await _list(host, follower, key)
            case ["info"]:
                info = await _ask(host, leader, (b"INFO",))
                return Response(info if isinstance(info, bytes) else "")
            case ["env"]:
                return Response(json.dumps(dict(start.env), indent=2, sort_keys=True))
            case [""] | ["index.html"]:
                return Response(GO_INDEX, content_type="text/html; charset=utf-8")
        return Response("404 page not found\n", 404)

    async def guarded(request: Request) -> Response:
        """Panics are caught, and told to the client (negroni's Recovery)."""
        try:
            return await handle(request)
        except RedisFailed as error:
            return Response(f"PANIC: {error}\n", 500)

    return await serve_ports(host, {3000: guarded}, "guestbook")


async def _list(host: Host, follower: str, key: str) -> Response:
    members = await _ask(host, follower, (b"LRANGE", key.encode(), b"0", b"-1"))
    texts = (
        [text_from_bytes(m) for m in members if isinstance(m, bytes)] if isinstance(members, tuple) else []
    )
    return Response(json.dumps(texts, indent=2, ensure_ascii=False))
