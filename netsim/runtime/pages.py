"""Text pages over HTTP on a socket of the operating system, for health checks and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]
Page: TypeAlias = Callable[[str], tuple[int, str]]

PATIENCE = 10.0
"""Seconds that a client may take for its request."""


class PageServer:
    """Serves GET: ``page`` gives status and text for a path, and is called in the event loop.

    Raises OSError when the address cannot be bound.
    """

    def __init__(self, address: Address, page: Page) -> None:
        loop = asyncio.get_running_loop()

        def shown(path: str) -> tuple[int, str]:
            result: Future[tuple[int, str]] = Future()
            loop.call_soon_threadsafe(lambda: result.set_result(page(path)))
            return result.result(PATIENCE)

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE

            def do_GET(self) -> None:
                status, text = shown(self.path.partition("?")[0])
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Requests are not logged."""

        self._server = ThreadingHTTPServer(address, Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, name="pages", daemon=True).start()

    @property
    def address(self) -> Address:
        host, port, *_ = self._server.server_address
        return str(host), port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
