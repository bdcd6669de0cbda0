"""HTTP: what the server answers, what the client makes of every kind of answer, and of broken ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsim.base.cause import Cause, Stage
from netsim.base.errors import WireError
from netsim.programs.host import Endpoint, Host, Invocation
from netsim.programs.http import (
    EmptyReply,
    Exchange,
    LookupFailed,
    PartialReply,
    Session,
    Url,
    build_request,
    fetch,
    parse_url,
)
from netsim.programs.http_server import Request, Response, serve_http
from netsim.programs.waiting import Deadline

from .playground import Playground, raw_web_server

MANY_HEADERS = b"".join(b"X-%d: y\r\n" % number for number in range(20000))


class Pieces:
    """A stream that gives prepared pieces and then ends."""

    local = peer = Endpoint.__new__(Endpoint, None, 0)  # type: ignore[arg-type]  # nobody looks

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def read(self, limit: int = 65536, *, timeout: float | None = None) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, data: bytes, *, cause: object = None) -> None:
        raise AssertionError("nothing is to be written")

    def close(self) -> None: ...

    def abort(self) -> None: ...


class NoTime:
    """A host whose clock stands still."""

    def now(self) -> float:
        return 0.0


def receive(*pieces: bytes, method: str = "GET") -> tuple[int, bytes]:
    """Status and body that the client makes of these pieces."""
    exchange = Exchange(Pieces(*pieces), Deadline(NoTime(), None))  # type: ignore[arg-type]  # the part it uses

    async def run() -> tuple[int, bytes]:
        head = await exchange.head()
        return head.status, await exchange.body(method, head)

    coroutine = run()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: tuple[int, bytes] = stop.value
        return result
    raise AssertionError("the client waits for what nobody sends")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://ent.prod:8080/a/b?c=d#e", Url("http", "ent.prod", 8080, "/a/b?c=d")),
        ("ent", Url("http", "ent", 80, "/")),
        ("ent:81", Url("http", "ent", 81, "/")),
        ("10.0.0.1/x", Url("http", "10.0.0.1", 80, "/x")),
        ("https://kubernetes", Url("https", "kubernetes", 443, "/")),
    ],
)
def test_a_url_is_read_as_people_type_it(text: str, url: Url) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize("text", ["", "http://", "http://ent:port/", "http://ent:99999/"])
def test_a_bad_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_url(text)


def test_the_host_header_names_the_port_only_where_it_is_not_the_schemes_own() -> None:
    assert b"\r\nHost: ent:8080\r\n" in build_request("GET", parse_url("ent:8080"), ())
    assert b"\r\nHost: ent\r\n" in build_request("GET", parse_url("ent:80"), ())
    assert build_request("GET", parse_url("ent"), (("Host", "other"),)).count(b"Host:") == 1


REPLIES = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, b"hello"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX: y\r\n\r\n": (
        200,
        b"hello!",
    ),
    b"HTTP/1.0 404 Not Found\r\n\r\nno such page": (404, b"no such page"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n": (204, b""),
}


@pytest.mark.parametrize(("data", "result"), REPLIES.items())
@given(cuts=st.lists(st.integers(0, 90), max_size=6))
def test_a_reply_means_the_same_however_it_is_cut(
    data: bytes, result: tuple[int, bytes], cuts: list[int]
) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places) if a < b]
    assert receive(*pieces) == result


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    assert receive(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", PartialReply),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", PartialReply),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", PartialReply),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", WireError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", WireError),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", WireError),
        (b"HTTP/1.1 200 OK\r\nContent-Len", WireError),
        (b"HTTP/1.1 ok\r\n\r\n", WireError),
        (b"+PONG\r\n", WireError),
        (b"HTTP/1.1 200 OK\r\n" + MANY_HEADERS, WireError),
    ],
)
def test_a_broken_reply_is_an_error_of_its_kind(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        receive(data)


def test_how_much_is_missing_is_told() -> None:
    with pytest.raises(PartialReply) as caught:
        receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    assert caught.value.missing == 7


async def teapot(host: Host, start: Invocation) -> int:
    """Port 80: says what it was asked; /slow takes ten seconds."""

    def handle(request: Request) -> Response:
        if request.path == "/gone":
            return Response("gone\n", 404, headers=(("X-Reason", "moved"),))
        said = f"{request.method} {request.path} {request.query('q', '-')} {len(request.body)}\n"
        return Response(said)

    await serve_http(host, await host.listen(80), handle, server="teapot")
    return 0


@pytest.fixture
def site() -> Playground:
    site = Playground()
    site.serve(teapot)
    return site


def talk(site: Playground, text: str) -> str:
    """What the server says to these bytes, until a second of silence or its FIN."""
    return site.command("nc", "-w", "1", "10.244.2.9", "80", stdin=text).stdout


def test_the_server_answers_in_full_and_keeps_the_connection(site: Playground) -> None:
    assert talk(site, "GET /a%20b?q=1 HTTP/1.1\r\nHost: x\r\n\r\n") == (
        "HTTP/1.1 200 OK\r\nServer: teapot\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n"
        "GET /a b 1 0\n"
    )


def test_several_requests_share_a_connection(site: Playground) -> None:
    request = "POST /p HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    said = talk(site, request + request)
    assert said.count("POST /p - 3\n") == 2


def test_head_has_the_length_and_no_body(site: Playground) -> None:
    said = talk(site, "HEAD /a HTTP/1.1\r\n\r\n")
    assert "Content-Length: 12\r\n" in said
    assert said.endswith("\r\n\r\n")


@pytest.mark.parametrize("request_head", ["GET / HTTP/1.0\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n"])
def test_the_server_closes_when_it_is_asked_to(site: Playground, request_head: str) -> None:
    began = site.plane.now
    assert "Connection: close\r\n" in talk(site, f"{request_head}\r\n")
    assert site.plane.now - began < 0.1


def test_an_error_page_carries_its_headers(site: Playground) -> None:
    said = talk(site, "GET /gone HTTP/1.1\r\n\r\n")
    assert said.startswith("HTTP/1.1 404 Not Found\r\n")
    assert "X-Reason: moved\r\n" in said


@pytest.mark.parametrize(
    "nonsense", ["hello\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nbad\r\n\r\n", "\x16\x03\x01"]
)
def test_what_is_no_request_is_answered_with_400(site: Playground, nonsense: str) -> None:
    assert talk(site, nonsense).startswith("HTTP/1.1 400 Bad Request\r\n")


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(site: Playground) -> None:
    assert talk(site, "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").startswith("HTTP/1.1 400 ")


def test_an_idle_connection_is_closed_after_the_keep_alive_time(site: Playground) -> None:
    began = site.plane.now
    site.shell("printf 'GET / HTTP/1.1\\r\\n\\r\\n' | nc -w 100 10.244.2.9 80")
    assert site.plane.now - began == pytest.approx(75, abs=0.1)


def test_fetch_gives_the_whole_reply_and_where_it_came_from(site: Playground) -> None:
    reply = site.run(fetch(site.jump, "http://ent.prod/x?q=y", headers=(("X-A", "b"),)))
    assert (reply.status, reply.text) == (200, "GET /x y 0\n")
    assert str(reply.peer) == "10.244.2.9:80"
    assert str(reply.local.address) == "10.244.1.5"
    assert reply.head.header("server") == "teapot"


def test_fetch_tries_the_next_address_of_a_name(site: Playground) -> None:
    assert site.run(fetch(site.jump, "http://head/")).status == 200


def asked(site: Playground, *steps: str | float) -> list[tuple[int, bool]]:
    """Of each request of a Session its local port, and whether it opened a connection; numbers are pauses."""

    async def run() -> list[tuple[int, bool]]:
        session = Session(site.jump, timeout=5)
        seen = []
        for step in steps:
            if isinstance(step, float):
                await site.jump.sleep(step)
                continue
            reply = await session.get(step, headers=(), cause=Cause(Stage.PROGRAM, "test"))
            seen.append((reply.local.port, session.is_new))
        session.close()
        return seen

    return site.run(run())


def test_a_session_uses_its_connection_again(site: Playground) -> None:
    (first, opened), (second, again) = asked(site, "http://ent/", "http://ent/gone")
    assert (second, opened, again) == (first, True, False)


def test_a_session_opens_another_where_the_server_has_ended_it(site: Playground) -> None:
    (first, _), (second, opened) = asked(site, "http://ent/", 80.0, "http://ent/")
    assert opened
    assert second != first


def test_a_session_has_one_server_at_a_time(site: Playground) -> None:
    assert [opened for _, opened in asked(site, "http://ent/", "http://ent.prod/", "http://ent.prod/")] == [
        True, True, False,
    ]  # fmt: skip


def test_fetch_follows_no_more_redirects_than_it_may() -> None:
    site = Playground()
    site.serve(raw_web_server)
    assert site.run(fetch(site.jump, "http://ent:8080/redir")).status == 302
    followed = site.run(fetch(site.jump, "http://ent:8080/redir", redirects=3))
    assert (followed.status, followed.redirects, str(followed.url)) == (200, 1, "http://ent:8080/")
    assert site.run(fetch(site.jump, "http://ent:8080/loop", redirects=3)).redirects == 3


def test_fetch_fails_as_a_socket_does(site: Playground) -> None:
    with pytest.raises(LookupFailed) as caught:
        site.run(fetch(site.jump, "http://nosuch/"))
    assert len(caught.value.lookup.queries) == 8
    with pytest.raises(ConnectionRefusedError):
        site.run(fetch(site.jump, "http://ent:81/"))
    began = site.plane.now
    with pytest.raises(TimeoutError):
        site.run(fetch(site.jump, "http://10.97.0.1/", timeout=3))
    assert site.plane.now - began == pytest.approx(3)
