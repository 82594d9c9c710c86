"""An HTTP server that answers as it is told to, for tests of what asks registries."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer


class Scripted:
    """`answers` are (status, body) in turn, or headers too; `asked` the requests that came, as
    lines of method, target, body. A body None never comes."""

    def __init__(self, server: HTTPServer) -> None:
        self.answers: list[tuple[int, bytes | None] | tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        """Of the last request."""
        self.over = threading.Event()
        self.port = server.server_address[1]


@contextmanager
def scripted(context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """A server on loopback."""
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            script.asked.append(f"{self.command} {self.path} {body}".strip())
            script.headers = dict(self.headers)
            status, data, *more = script.answers.pop(0)
            if data is None:
                script.over.wait(10)
                return
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_CONNECT = _answer

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script = Scripted(server)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        script.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
