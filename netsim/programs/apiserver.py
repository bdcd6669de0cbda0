"""The API server as the network sees it: a listener on 6443 that closes what comes.

``cluster`` starts it on the control-plane node, behind the ``kubernetes`` Service. The real one speaks TLS
and asks for credentials; this one has no certificate to show, so a TLS client sees the connection end in
the handshake. ``docs/fidelity.md`` says so.
"""

from __future__ import annotations

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Host, Invocation, Stream

API_PORT = 6443
READ_TIMEOUT = 10.0  # net/http handshake patience of the real server
# What Go's net/http says to plain HTTP on a TLS port (net/http/server.go).
PLAIN_HTTP = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
CLOSED = Cause(Stage.PROGRAM, "kube-apiserver: no TLS here, the connection is closed")


async def api_server(host: Host, start: Invocation) -> int:
    """Accept on 6443, read what the client says first, and close."""
    listener = await host.listen(API_PORT)
    while True:
        stream = await listener.accept()
        host.spawn(_answer(stream), "kube-apiserver connection")


async def _answer(stream: Stream) -> None:
    try:
        first = await stream.read(timeout=READ_TIMEOUT)
        if first[:1].isalpha():
            await stream.write(PLAIN_HTTP, cause=CLOSED)
    except OSError:
        pass
    stream.close()
