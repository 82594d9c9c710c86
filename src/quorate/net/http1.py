"""HTTP/1.1 server protocol: bytes in, requests out, replies in order.

Callback style on `asyncio.Protocol`; no task or coroutine per request. Replies of one loop turn on
one connection leave as one write. An idle keep-alive connection may stay for ever (Patroni comes
back every loop_wait); a request that has begun must be complete within a deadline.

Invariants: replies leave in the order of their requests; nothing a client sends raises into the
loop; every buffer has a limit.

Not here: what requests mean (api/, peers/), TLS (a later issue).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools

from quorate.net.connections import READ_BYTES_MUCH, Connections, Link

HEAD_BYTES_MAX = 64 << 10

PIPELINE_MAX = 64
"""Requests of one connection that wait for a reply; beyond it, the socket is not read."""

REQUEST_SECONDS_MAX = 15.0
"""From the first byte of a request to its last."""

_LINE_BYTES = 4
"""Of a header besides name and value."""

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 410: "Gone", 412: "Precondition Failed",
    413: "Request Entity Too Large", 415: "Unsupported Media Type", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 503: "Service Unavailable", 504: "Gateway Timeout",
}


class Request:
    """One request. The path is as sent, without the query."""

    __slots__ = ("_raw_headers", "body", "method", "path", "query")

    def __init__(
        self, method: str, path: str, query: str, raw_headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self._raw_headers = raw_headers

    def header(self, name: bytes) -> bytes:
        """The first of that name, which is given in lower case; empty if there is none."""
        for key, value in self._raw_headers:
            if key.lower() == name:
                return value
        return b""

    @property
    def headers(self) -> dict[str, str]:
        """By name in lower case; made when asked for, which most requests never are."""
        return {name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in self._raw_headers}


class BodySink(Protocol):
    """Takes a body in pieces."""

    def write(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def lost(self) -> None:
        """The connection broke before the end."""
        ...


class Handler(Protocol):
    """What a server does with requests. Must not raise."""

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """The request is complete."""
        ...

    def streams_body(self, request: Request, exchange: Exchange) -> BodySink | None:
        """Asked after the head: where to put the body, or None to get it whole."""
        ...


class Exchange:
    """The reply to one request."""

    __slots__ = ("_chunked", "_connection", "_done", "_keep_alive", "_out", "_started",
                 "on_disconnected", "on_drained", "sends_body")

    def __init__(self, connection: Http1Protocol, *, keep_alive: bool, head: bool) -> None:
        self._connection = connection
        self._keep_alive = keep_alive
        self._out: list[bytes] = []
        self._started = self._done = self._chunked = False
        self.sends_body = not head
        self.on_disconnected: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None

    @property
    def peer(self) -> str:
        """Address of the client, for messages."""
        return self._connection.peer

    @property
    def done(self) -> bool:
        """Whether the reply is complete."""
        return self._done

    def respond(
        self, status: int, body: bytes, content_type: str = "application/json",
        headers: bytes = b"",
    ) -> None:
        """The whole reply. `headers` are complete lines."""
        head = _head(status, content_type, headers, len(body), self._keep_alive)
        self._out.append(head + body if self.sends_body else head)
        self._done = True
        self._connection.flush_soon()

    def start(
        self, status: int, content_type: str = "application/json", headers: bytes = b""
    ) -> None:
        """A reply in chunks; the head leaves at once."""
        self._chunked = True
        self._put(_head(status, content_type, headers, None, self._keep_alive))

    def write(self, data: bytes) -> None:
        """One chunk."""
        if data and not self._done:
            self._put(b"%x\r\n%b\r\n" % (len(data), data))

    def flush(self) -> None:
        """Let what was written leave now, not at the end of the turn."""
        self._connection.flush_now()

    def end(self) -> None:
        """No more chunks."""
        if not self._done:
            self._done = True
            self._put(b"0\r\n\r\n")

    def abort(self) -> None:
        """Close the connection without (the rest of) a reply."""
        self._done = True
        self._connection.abort()

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        return sum(map(len, self._out)) + self._connection.buffered()

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._connection.flush_soon()

    def take(self) -> tuple[list[bytes], bool, bool]:
        """(bytes, whether complete, whether the connection goes on): for the connection."""
        out, self._out = self._out, []
        return out, self._done, self._keep_alive


def _head(
    status: int, content_type: str, headers: bytes, length: int | None, keep_alive: bool
) -> bytes:
    key = (status, content_type, keep_alive)
    start = _HEADS.get(key)
    if start is None:
        lines = f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n"
        if content_type:
            lines += f"Content-Type: {content_type}\r\n"
        if not keep_alive:
            lines += "Connection: close\r\n"
        start = lines.encode()
        if len(_HEADS) < 1000:
            _HEADS[key] = start
    if length is None:
        return b"%b%bTransfer-Encoding: chunked\r\n\r\n" % (start, headers)
    return b"%b%bContent-Length: %d\r\n\r\n" % (start, headers, length)


_HEADS: dict[tuple[int, str, bool], bytes] = {}


class Http1Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, handler: Handler, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._handler = handler
        self._connections = connections
        self._loop = loop
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._link: Link | None = None
        self._waiting: deque[Exchange] = deque()
        self._flushing = self._reading_paused = False
        self._began: float | None = None
        self._head_bytes = 0
        self.peer = ""
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._continued = False
        self._body: bytes | bytearray = b""
        self._sink: BodySink | None = None
        self._exchange: Exchange | None = None
        self._request: Request | None = None

    # Connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._link = Link(transport)  # type: ignore[arg-type]  # uvloop's is no subclass
        self.peer = self._link.peer
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._link is not None:
            self._link.lost()
            self._link = None
        self._connections.remove(self)
        if self._sink is not None:
            self._sink.lost()
            self._sink = None
        for exchange in self._waiting:
            if exchange.on_disconnected is not None:
                exchange.on_disconnected()
        self._waiting.clear()
        self._reset()
        self._parser = None  # it knows this object, which would wait for the garbage collector

    def abort(self) -> None:
        """Close now."""
        if self._link is not None:
            self._link.transport.abort()

    def close_if_idle(self) -> None:
        """Close unless a reply is owed."""
        if self._link is not None and not self._waiting and self._began is None:
            self._link.transport.close()

    def check_deadline(self, now: float) -> None:
        """Close if a request has been coming in for too long."""
        if self._began is not None and now - self._began > REQUEST_SECONDS_MAX:
            self.abort()

    def buffered(self) -> int:
        """Bytes the transport still has."""
        return 0 if self._link is None else self._link.buffered()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._waiting and self._waiting[0].on_drained is not None:
            self._waiting[0].on_drained()

    # Reading.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._parser is None:
            return
        if self._began is None:
            self._began = self._loop.time()
        if self._request is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._request is None and self._head_bytes > HEAD_BYTES_MAX:
                raise _TooLarge(431, f"the head is larger than {HEAD_BYTES_MAX} bytes")
        except httptools.HttpParserUpgrade:
            self._refuse(501, "protocol upgrades are not served here")
        except _TooLarge as large:
            self._refuse(large.status, str(large))
        except httptools.HttpParserError as wrong:  # also wraps what a callback raised
            cause = wrong.__context__
            if isinstance(cause, _TooLarge):
                self._refuse(cause.status, str(cause))
            else:
                self._refuse(400, f"malformed request: {wrong}")
        if self._began is not None and self._link is not None:
            self._link.quick_ack()
            self._continue(self._link)
        if len(data) >= READ_BYTES_MUCH:
            self._read_later()

    def _read_later(self) -> None:
        """Let others have their turn."""
        if self._link is None or self._reading_paused or self._link.transport.is_closing():
            return
        self._link.transport.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._link is not None and not self._reading_paused:
            self._link.transport.resume_reading()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._reset()

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header, or a trailer after a body in chunks, which nobody reads."""
        if self._request is None:
            self._headers.append((name, value))
            return
        self._head_bytes += len(name) + len(value) + _LINE_BYTES
        if self._head_bytes > HEAD_BYTES_MAX:
            raise _TooLarge(431, f"head and trailers are larger than {HEAD_BYTES_MAX} bytes")

    def on_headers_complete(self) -> None:
        """httptools: the head is there."""
        self._head_bytes = 0
        if self._parser is None:
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        self._request = Request(method, path, query, self._headers)
        keep_alive = self._parser.should_keep_alive() and not self._connections.draining
        self._exchange = Exchange(self, keep_alive=keep_alive, head=method == "HEAD")
        self._waiting.append(self._exchange)
        self._sink = self._handler.streams_body(self._request, self._exchange)

    def _continue(self, link: Link) -> None:
        """Say once that a body may come, to a client that asks before it sends one."""
        if self._request is None or self._continued:
            return
        self._continued = True
        if any(name.lower() == b"expect" for name, _ in self._headers):
            link.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        if self._sink is not None:
            self._began = self._loop.time()
            self._sink.write(body)
            return
        limit = self._connections.body_bytes_max
        if len(self._body) + len(body) > limit:
            raise _TooLarge(413, f"the body is larger than {limit} bytes")
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """httptools: the request is complete."""
        self._began = None
        request, exchange, sink, body = self._request, self._exchange, self._sink, self._body
        self._reset()
        self._head_bytes = 0  # that of trailers
        if request is None or exchange is None:
            return
        if sink is not None:
            sink.end()
        else:
            request.body = bytes(body)
            self._handler.on_request(request, exchange)
        if len(self._waiting) >= PIPELINE_MAX and self._link is not None:
            self._reading_paused = True
            self._link.transport.pause_reading()

    def _refuse(self, status: int, text: str) -> None:
        """Say what is wrong and close: after malformed input nothing can be read."""
        if self._link is None:
            return
        owed = [data for exchange in self._waiting for data in exchange.take()[0]]
        body = text.encode()
        owed += (_head(status, "text/plain", b"", len(body), False), body)
        self._link.transport.write(b"".join(owed))
        self._link.transport.close()

    # Writing.

    def flush_soon(self) -> None:
        """Write what is ready at the end of this turn."""
        if not self._flushing:
            self._flushing = True
            self._connections.flush_soon(self)

    def flush_now(self) -> None:
        """Write straight to the socket what it takes. The loop's transport would keep the bytes
        until the loop polls again, which a sync on the loop delays."""
        if self._link is None or not self._link.direct:
            return
        if len(self._waiting) != 1 or self._waiting[0].done:
            return
        data = b"".join(self._waiting[0].take()[0])
        if data:
            self._link.send(data)

    def flush(self) -> None:
        """Write the replies that are complete, and what there is of the first that is not."""
        self._flushing = False
        if self._link is None:
            return
        out: list[bytes] = []
        keep_alive = True
        while self._waiting:
            data, done, keep_alive = self._waiting[0].take()
            out += data
            if not done:
                keep_alive = True
                break
            self._waiting.popleft()
            if not keep_alive:
                break
        if out:
            self._link.send(out[0] if len(out) == 1 else b"".join(out))
        if not keep_alive:
            self._link.transport.close()
        elif self._connections.draining:
            self.close_if_idle()
        elif self._reading_paused and len(self._waiting) < PIPELINE_MAX // 2:
            self._reading_paused = False
            self._link.transport.resume_reading()


class _TooLarge(Exception):
    """A limit was exceeded."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
