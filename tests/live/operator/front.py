"""Stands before a server and hands on what is asked of it, or answers with a fault of one's choice in its place."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


class Front:
    """A proxy on loopback, on a port from the kernel. `fault` is the status to answer with; 0 hands on."""

    def __init__(self, url: str) -> None:
        """Take the server's address."""
        self.fault = 0
        self.asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(url))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(front, url: str) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # `self` is the handler's
        where = urlsplit(url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                front.asked += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if front.fault:
                    self.send(front.fault, {}, json.dumps({"errors": ["internal error"]}).encode())
                    return
                connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=120)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                try:
                    connection.request(self.command, self.path, body=body or None, headers=headers)
                    reply = connection.getresponse()
                    self.send(reply.status, dict(reply.getheaders()), reply.read())
                finally:
                    connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = answer  # noqa: N815  # http.server's names

            def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
