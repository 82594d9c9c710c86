"""HTTP/1.1: what comes in pieces, in rows, or broken."""

import gc
import tracemalloc
import weakref

import pytest
from turns import Loop, Transport

from quorate.net.connections import READ_BYTES_MUCH, Connections
from quorate.net.http1 import (
    HEAD_BYTES_MAX, REQUEST_SECONDS_MAX, Exchange, Http1Protocol, Request,
)


class Server:
    """A handler that keeps what it gets, and one connection to it."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Exchange]] = []
        self.loop = Loop()
        self.connections = Connections(self.loop)  # type: ignore[arg-type]
        self.transport = Transport()
        self.protocol = Http1Protocol(
            self, self.connections, self.loop)  # type: ignore[arg-type]
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """Keep it."""
        self.requests.append((request, exchange))

    def streams_body(self, _request: Request, _exchange: Exchange) -> None:
        """Whole bodies."""

    def send(self, data: bytes) -> None:
        """Bytes from the client."""
        self.protocol.data_received(data)


@pytest.fixture
def server() -> Server:
    """A server with one connection."""
    return Server()


GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_request_in_single_bytes(server: Server) -> None:
    """However it arrives."""
    for byte in b"POST /v3/kv/put?a=b HTTP/1.1\r\nContent-Length: 3\r\nX-Y: z\r\n\r\nabc":
        server.send(bytes((byte,)))
    request, _ = server.requests[0]

    assert (request.method, request.path, request.query, request.body) == (
        "POST", "/v3/kv/put", "a=b", b"abc")
    assert request.headers["x-y"] == "z"


def test_replies_keep_the_order_of_requests(server: Server) -> None:
    """The second answer waits for the first; both leave as one write."""
    server.send(GET + GET)
    (_, first), (_, second) = server.requests
    second.respond(200, b"two")
    server.loop.turn()
    assert server.transport.writes == []
    first.respond(200, b"one")
    server.loop.turn()

    assert len(server.transport.writes) == 1
    assert server.transport.writes[0].index(b"one") < server.transport.writes[0].index(b"two")


def test_a_get_with_a_body(server: Server) -> None:
    """Patroni asks for the version that way."""
    server.send(b"GET /version HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" + GET)

    assert [request.body for request, _ in server.requests] == [b"{}", b""]


def test_a_chunked_body(server: Server) -> None:
    """Put together."""
    server.send(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert server.requests[0][0].body == b"abcde"


def test_a_stream_of_chunks(server: Server) -> None:
    """The head leaves at once, then a chunk a write."""
    server.send(GET)
    exchange = server.requests[0][1]
    exchange.start(200)
    server.loop.turn()
    assert b"Transfer-Encoding: chunked" in server.transport.writes[0]
    exchange.write(b"hello")
    server.loop.turn()
    exchange.end()
    server.loop.turn()

    assert server.transport.writes[1:] == [b"5\r\nhello\r\n", b"0\r\n\r\n"]
    assert not server.transport.closed


def test_head_gets_no_body(server: Server) -> None:
    """But its length."""
    server.send(b"HEAD /x HTTP/1.1\r\n\r\n")
    server.requests[0][1].respond(200, b"hello")
    server.loop.turn()

    assert b"Content-Length: 5" in server.transport.writes[0]
    assert b"hello" not in server.transport.writes[0]


def test_connection_close_is_honoured(server: Server) -> None:
    """After the reply."""
    server.send(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
    server.requests[0][1].respond(200, b"")
    server.loop.turn()

    assert b"Connection: close" in server.transport.writes[0]
    assert server.transport.closed


@pytest.mark.parametrize(("data", "status"), [
    (b"nonsense\r\n\r\n", b"400"),
    (b"GET /" + b"x" * (HEAD_BYTES_MAX + 1), b"431"),
    (b"POST /x HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * ((4 << 20) + 1), b"413"),
])
def test_what_is_malformed_or_too_large(server: Server, data: bytes, status: bytes) -> None:
    """An answer in words, then the end."""
    server.send(data)

    assert server.transport.writes[0].startswith(b"HTTP/1.1 " + status)
    assert server.transport.closed


def test_a_request_that_does_not_come_to_an_end(server: Server) -> None:
    """It has a deadline; an idle connection has none."""
    server.loop.now = 1000.0
    server.protocol.check_deadline(server.loop.now)
    assert not server.transport.closed
    server.send(b"GET /slow")
    server.protocol.check_deadline(server.loop.now + REQUEST_SECONDS_MAX + 1)

    assert server.transport.closed


def test_a_client_that_asks_before_it_sends(server: Server) -> None:
    """100 Continue, once."""
    server.send(b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    server.send(b"a")
    server.send(b"b")

    assert server.transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    assert server.requests[0][0].body == b"ab"


def test_draining_closes_what_is_idle_and_finishes_the_rest(server: Server) -> None:
    """A reply that is owed is sent first."""
    server.send(GET)
    server.connections.drain()
    assert not server.transport.closed
    server.requests[0][1].respond(200, b"bye")
    server.loop.turn()

    assert b"bye" in server.transport.writes[0]
    assert server.transport.closed


def test_a_lost_client_is_reported_to_its_streams(server: Server) -> None:
    """Once."""
    server.send(GET)
    lost: list[bool] = []
    server.requests[0][1].on_disconnected = lambda: lost.append(True)
    server.protocol.connection_lost(None)

    assert lost == [True]


CHUNKED = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_trailers_without_end(server: Server) -> None:
    """They count as a head does, and are not kept."""
    server.send(CHUNKED + b"2\r\nab\r\n0\r\n")
    for _ in range(100):
        server.send(b"T: xxxxxxxx\r\n" * 100)

    assert server.transport.writes[0].startswith(b"HTTP/1.1 431")
    assert server.transport.closed


def test_trailers_are_no_headers(server: Server) -> None:
    """A few are allowed and ignored."""
    body = b"x" * (2 * HEAD_BYTES_MAX)
    trailer = b"Expect: 100-continue\r\n"
    server.send(CHUNKED + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailer) + GET)

    assert [r.path for r, _ in server.requests] == ["/x", "/version"]
    assert "expect" not in server.requests[0][0].headers
    assert server.transport.writes == []


def test_a_body_in_tiny_pieces_takes_no_more_memory_than_another(server: Server) -> None:
    """Not an object a piece."""
    server.send(CHUNKED)
    tracemalloc.start()
    for _ in range(20):
        server.send(b"2\r\nab\r\n" * 10_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    server.send(b"0\r\n\r\n")

    assert server.requests[0][0].body == b"ab" * 200_000
    assert most < 4 * 400_000


@pytest.mark.parametrize("data", [GET, CHUNKED + b"2\r\nab\r\n", b"nonsense\r\n\r\n"])
def test_a_lost_connection_is_forgotten_at_once(server: Server, data: bytes) -> None:
    """What it had read does not wait for the garbage collector, which comes late."""
    gc.collect()
    gc.disable()
    try:
        server.send(data)
        server.requests.clear()
        server.protocol.connection_lost(None)
        protocol = weakref.ref(server.protocol)
        del server.protocol
        server.loop.turn()

        assert protocol() is None
    finally:
        gc.enable()


def test_a_client_that_sends_much_waits_for_the_others(server: Server) -> None:
    """It is read again in the next turn."""
    server.send(CHUNKED + b"40000\r\n" + bytes(READ_BYTES_MUCH))
    assert server.transport.paused
    server.loop.turn()

    assert not server.transport.paused
