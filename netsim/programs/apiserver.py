"""The API server as an anonymous client meets it: TLS on 6443, and 403 for every path.

``cluster`` starts it on the control-plane node, behind the ``kubernetes`` Service. The API itself has its
own room; here is what a Pod sees that asks without credentials.
"""

from __future__ import annotations

import json

from netsim.base.cause import Cause, Stage
from netsim.programs.host import Host, Invocation, Stream
from netsim.programs.http_server import Request, Response, converse

API_PORT = 6443
HANDSHAKE_TIMEOUT = 10.0  # net/http: tlsHandshakeTimeout of the real server
# What Go's net/http says to plain HTTP on a TLS port (net/http/server.go).
PLAIN_HTTP = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
SERVER = "kube-apiserver"


async def api_server(host: Host, start: Invocation) -> int:
    """Serve on 6443 until cancelled."""
    listener = await host.listen(API_PORT)
    while True:
        stream = await listener.accept()
        host.spawn(_answer(host, stream), f"{SERVER}: connection")


async def _answer(host: Host, stream: Stream) -> None:
    from netsim.programs.tls import TlsStream, server_context  # ssl costs 15 ms of every start

    try:
        first = await stream.read(timeout=HANDSHAKE_TIMEOUT)
        if first[:1].isalpha():
            await stream.write(PLAIN_HTTP, cause=Cause(Stage.PROGRAM, f"{SERVER}: HTTP on a TLS port"))
            stream.close()
            return
        secured = TlsStream(stream, server_context(), received=first)
        await secured.handshake(timeout=HANDSHAKE_TIMEOUT)
    except OSError:  # ssl.SSLError is one: the client is gone, silent, or does not trust us
        stream.abort()
        return
    await converse(host, secured, _forbidden, SERVER)


def _forbidden(request: Request) -> Response:
    """The Status that RBAC gives to ``system:anonymous`` (apiserver endpoints/handlers/responsewriters)."""
    user = 'User "system:anonymous" cannot'
    message = f'forbidden: {user} {request.method.lower()} path "{request.path}"'
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "Forbidden",
        "details": {},
        "code": 403,
    }
    return Response(json.dumps(status, indent=2), 403, "application/json")
