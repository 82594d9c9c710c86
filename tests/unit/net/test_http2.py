"""HTTP/2 and gRPC: the `h2` library is the client, and judges every byte of the replies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given, settings, strategies as st
from turns import Loop, Transport

from quorate.net import http2
from quorate.net.connections import Connections
from quorate.net.frames import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, HEADERS, PING, PREFACE, PRIORITY,
    RST, SETTINGS, WINDOW, Wrong, frame,
)
from quorate.net.grpc import MESSAGE_BYTES_MAX, Call, Method, literal, opener
from quorate.net.http2 import REQUEST_SECONDS_MAX, Http2Protocol
from quorate.net.reader import CONTINUATIONS_MAX

HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/t/Echo"), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers")]


def message(text: bytes) -> bytes:
    """With its prefix."""
    return b"\0" + len(text).to_bytes(4, "big") + text


class Echo:
    """A gRPC server: a unary echo, a stream of echoes, and a call that is never answered."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.connections = Connections(self.loop)  # type: ignore[arg-type]
        self.transport = Transport()
        self.lost: list[int] = []
        self.hanging: list[Call] = []
        self.protocol = Http2Protocol(
            opener(self), self.connections, self.loop)  # type: ignore[arg-type]
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]

    def method(self, path: bytes) -> Method | None:
        """See `Handler`."""
        return {b"/t/Echo": Method(lambda call, data: call.reply(data or b"")),
                b"/t/Hang": Method(lambda call, _: self.hang(call)),
                b"/t/Stream": Method(self.stream, unary=False)}.get(path)

    def hang(self, call: Call) -> None:
        """Answer later, or never."""
        call.on_lost = lambda: self.lost.append(call.id)
        self.hanging.append(call)

    def stream(self, call: Call, _message: bytes | None) -> None:
        """Every message comes back."""
        self.hang(call)
        call.on_message = call.send
        call.on_end = call.finish

    def send(self, data: bytes) -> bytes:
        """A read of these bytes, and the rest of the turn: what is written."""
        self.transport.writes.clear()
        self.protocol.data_received(data)
        self.loop.turn()
        return b"".join(self.transport.writes)


class Client:
    """`h2` on the other side."""

    def __init__(self, server: Echo) -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.status: dict[int, str] = {}
        self.resets: dict[int, int] = {}
        self.gone: h2.events.ConnectionTerminated | None = None
        server.loop.turn()
        self.take(b"".join(server.transport.writes))
        self.exchange()

    def exchange(self) -> None:
        """Send what there is, and take the reply."""
        self.take(self.server.send(self.h2.data_to_send()))

    def take(self, data: bytes) -> None:
        """Bytes from the server."""
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.DataReceived():
                    assert event.stream_id is not None
                    assert event.data is not None
                    self.bodies[event.stream_id] = (
                        self.bodies.get(event.stream_id, b"") + event.data)
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    assert event.headers is not None
                    fields = dict(event.headers)
                    assert event.stream_id is not None
                    if "grpc-status" in fields:
                        self.status[event.stream_id] = str(fields["grpc-status"])
                case h2.events.StreamReset():
                    assert event.stream_id is not None
                    self.resets[event.stream_id] = int(event.error_code or 0)
                case h2.events.ConnectionTerminated():
                    self.gone = event

    def call(self, path: str, body: bytes = b"", *, end: bool = True, **more: str) -> int:
        """Begin a call; its id."""
        head = [*HEAD[:2], (":path", path), *HEAD[3:],
                *((k.replace("_", "-"), v) for k, v in more.items())]
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, head)
        if body or end:
            self.body(stream, body, end=end)
        return stream

    def body(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Send in frames."""
        while len(body) > FRAME_BYTES_MAX:
            self.h2.send_data(stream, body[:FRAME_BYTES_MAX])
            body = body[FRAME_BYTES_MAX:]
        self.h2.send_data(stream, body, end_stream=end)


@pytest.fixture
def server() -> Echo:
    """A server with one connection."""
    return Echo()


@pytest.fixture
def client(server: Echo) -> Client:
    """A client on it."""
    return Client(server)


def raw(server: Echo, *frames: bytes) -> bytes:
    """These frames after a proper beginning."""
    return server.send(PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames))


def goaway_code(written: bytes) -> int | None:
    """The code of the last frame if that is a GOAWAY."""
    at, last = 0, None
    while at < len(written):
        size = int.from_bytes(written[at:at + 3], "big")
        last = (written[at + 3], written[at + 9:at + 9 + size])
        at += 9 + size
    if last is None or last[0] != 7:
        return None
    return int.from_bytes(last[1][4:8], "big")


BLOCK = b"".join(literal(k.encode(), v.encode()) for k, v in HEAD)


def test_calls_of_one_read_are_answered_in_one_write(client: Client, server: Echo) -> None:
    """Whatever their number."""
    ids = [client.call("/t/Echo", message(b"%d" % n)) for n in range(50)]
    client.exchange()

    assert len(server.transport.writes) == 1
    assert [client.bodies[i] for i in ids] == [message(b"%d" % n) for n in range(50)]
    assert {client.status[i] for i in ids} == {"0"}


def test_a_call_in_single_bytes(client: Client, server: Echo) -> None:
    """However it arrives; and the block that comes again means the same."""
    for _ in range(3):
        stream = client.call("/t/Echo", message(b"hello"))
        for byte in client.h2.data_to_send():
            client.take(server.send(bytes((byte,))))
        assert client.bodies[stream] == message(b"hello")


def test_messages_are_found_in_any_pieces(client: Client) -> None:
    """Two in one frame, one in many."""
    stream = client.call("/t/Stream", message(b"a") + message(b"bc")[:3], end=False)
    client.exchange()
    assert client.bodies[stream] == message(b"a")
    for piece in (message(b"bc")[3:6], message(b"bc")[6:] + message(b"")):
        client.h2.send_data(stream, piece)
        client.exchange()
    client.h2.end_stream(stream)
    client.exchange()

    assert client.bodies[stream] == message(b"a") + message(b"bc") + message(b"")
    assert client.status[stream] == "0"


def test_a_reply_waits_for_the_clients_windows(client: Client, server: Echo) -> None:
    """Large replies share the connection's window and go on as it opens."""
    big = [client.call("/t/Echo", message(bytes(60_000))) for _ in range(2)]
    client.exchange()
    assert sum(len(client.bodies.get(s, b"")) for s in big) == 65_535
    client.h2.increment_flow_control_window(100_000)
    client.exchange()

    assert [len(client.bodies[s]) for s in big] == [60_005, 60_005]
    assert {client.status[s] for s in big} == {"0"}


def test_what_a_client_sent_is_credited(client: Client) -> None:
    """A stream may go on for ever."""
    stream = client.call("/t/Stream", end=False)
    for _ in range(1000):
        client.h2.send_data(stream, message(bytes(16_000)))
        client.h2.increment_flow_control_window(20_000)
        client.h2.increment_flow_control_window(20_000, stream)
        client.exchange()

    assert len(client.bodies[stream]) == 1000 * 16_005


@pytest.mark.parametrize(("path", "body", "more", "status"), [
    ("/t/Nothing", message(b""), {}, "12"),
    ("/t/Echo", b"\1" + message(b"x")[1:], {}, "12"),
    ("/t/Echo", message(b"x"), {"grpc_encoding": "gzip"}, "12"),
    ("/t/Echo", b"", {}, "13"),
    ("/t/Echo", message(b"x")[:-1], {}, "13"),
    ("/t/Echo", message(b"x") + message(b"y"), {}, "13"),
    ("/t/Echo", b"\0" + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"), {}, "8"),
    ("/t/Echo", message(b"x"), {"grpc_timeout": "1x"}, "13"),
])
def test_what_is_no_call_has_a_status(
    client: Client, path: str, body: bytes, more: dict[str, str], status: str
) -> None:
    """And the connection goes on."""
    wrong = client.call(path, body, **more)
    client.exchange()
    right = client.call("/t/Echo", message(b"x"))
    client.exchange()

    assert client.status[wrong] == status
    assert client.status[right] == "0"


def test_a_deadline_ends_a_call(client: Client, server: Echo) -> None:
    """With its status, and whoever serves it is told."""
    stream = client.call("/t/Hang", message(b""), grpc_timeout="500m")
    client.exchange()
    timer = server.loop.timers[-1]
    server.transport.writes.clear()
    timer.call()
    server.loop.turn()
    client.take(b"".join(server.transport.writes))

    assert (timer.at, client.status[stream], server.lost) == (0.5, "4", [stream])


def test_a_client_that_gives_up_is_noticed(client: Client, server: Echo) -> None:
    """By a reset, or by its connection."""
    first = client.call("/t/Hang", message(b""))
    second = client.call("/t/Hang", message(b""))
    client.h2.reset_stream(first)
    client.exchange()
    assert server.lost == [first]
    server.hanging[0].reply(b"too late")
    server.protocol.connection_lost(None)

    assert server.lost == [first, second]


def test_a_server_that_stops_says_goodbye(client: Client, server: Echo) -> None:
    """What is under way is answered; nothing new is taken."""
    client.call("/t/Hang", message(b""))
    client.exchange()
    server.connections.drain()
    server.loop.turn()
    late = frame(HEADERS, END_HEADERS | END_STREAM, 99, BLOCK)
    refused = server.send(late)
    assert not server.transport.closed
    server.hanging[0].reply(b"done")
    server.loop.turn()

    assert refused == frame(RST, 0, 99, Wrong.REFUSED_STREAM.to_bytes(4, "big"))
    assert server.transport.closed


def test_too_many_streams_are_refused(
    client: Client, server: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one; the others go on."""
    monkeypatch.setattr(http2, "STREAMS_MAX", 3)
    ids = [client.call("/t/Hang", message(b"")) for _ in range(4)]
    client.exchange()

    assert client.resets == {ids[3]: Wrong.REFUSED_STREAM}
    assert len(server.hanging) == 3


def test_a_client_that_does_not_read_is_not_read(client: Client, server: Echo) -> None:
    """Until it does."""
    server.transport.unsent = http2.UNREAD_BYTES_MAX + 1
    client.call("/t/Echo", message(b"x"))
    client.exchange()
    assert server.transport.paused
    server.protocol.resume_writing()

    assert not server.transport.paused


PINGS = [frame(PING, 0, 0, bytes(8))] * 5
FLOODS = {
    "resets": ([f for n in range(1, 4001, 2) for f in (
        frame(HEADERS, END_HEADERS, n, BLOCK),
        frame(RST, 0, n, bytes(4)))], Wrong.ENHANCE_YOUR_CALM),
    "pings": (PINGS, Wrong.ENHANCE_YOUR_CALM),
    "settings": ([frame(SETTINGS, 0, 0)] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "priorities": ([frame(PRIORITY, 0, 1, bytes(5))] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "small window updates": (
        [frame(WINDOW, 0, 0, (1).to_bytes(4, "big"))] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "empty data": ([frame(HEADERS, END_HEADERS, 1, BLOCK)] + [frame(DATA, 0, 1)] * 10_001,
                   Wrong.ENHANCE_YOUR_CALM),
    "continuations": ([frame(HEADERS, 0, 1, BLOCK)]
                      + [frame(CONTINUATION, 0, 1)] * (CONTINUATIONS_MAX + 1),
                      Wrong.ENHANCE_YOUR_CALM),
    "header bomb": ([frame(HEADERS, END_HEADERS, 1, b"\x40\x01x\x7f\x81\x1e" + b"a" * 4000
                           + b"\xbe" * 8000)], Wrong.COMPRESSION_ERROR),
    "unknown frames": ([frame(99, 0, 0)] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "large frame": ([b"\xff\xff\xff\0\0\0\0\0\1"], Wrong.FRAME_SIZE_ERROR),
    "data beyond the window": ([frame(HEADERS, END_HEADERS, 1, BLOCK)] + [
        frame(DATA, 0, 1, message(bytes(1 << 21))[:FRAME_BYTES_MAX])]
        + [frame(DATA, 0, 1, bytes(FRAME_BYTES_MAX))] * 300, None),
    "even stream": ([frame(HEADERS, END_HEADERS, 2, BLOCK)], Wrong.PROTOCOL_ERROR),
    "interrupted block": ([frame(HEADERS, 0, 1, BLOCK), frame(PING, 0, 0, bytes(8))],
                          Wrong.PROTOCOL_ERROR),
    "window overflow": ([frame(WINDOW, 0, 0, (2**31 - 1).to_bytes(4, "big"))],
                        Wrong.FLOW_CONTROL_ERROR),
    "idle data": ([frame(DATA, 0, 7, b"x")], Wrong.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_with_a_word(server: Echo, name: str) -> None:
    """Which limit was exceeded; and nothing is kept."""
    frames, code = FLOODS[name]
    written = raw(server, *frames)

    if code is not None:
        assert goaway_code(written) == code
        assert server.transport.closed
    server.protocol.connection_lost(None)


def test_slow_clients_are_cut_off(server: Echo) -> None:
    """Half a preface, half a frame, half a message."""
    for data in (PREFACE[:10], PREFACE + frame(SETTINGS, 0, 0) + b"\0\0",
                 PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, BLOCK)):
        other = Echo()
        other.send(data)
        other.protocol.check_deadline(REQUEST_SECONDS_MAX + 1)
        assert other.transport.closed
    raw(server, frame(HEADERS, END_HEADERS, 1, BLOCK), frame(DATA, 0, 1, message(b"xy")[:-1]))
    server.transport.writes.clear()
    server.protocol.check_deadline(REQUEST_SECONDS_MAX + 1)
    server.loop.turn()

    assert not server.transport.closed
    assert b"grpc-status\x014" in b"".join(server.transport.writes)


def _chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return
        yield data[at:at + size]
        at += size


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(1, 50), min_size=1))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(data: bytes, proper: bool, sizes: list[int]) -> None:
    """Whatever comes, in whatever pieces."""
    server = Echo()
    for chunk in _chunks((PREFACE + frame(SETTINGS, 0, 0) if proper else b"") + data, sizes):
        server.send(chunk)


_FRAMES = st.builds(
    frame, st.integers(0, 10), st.sampled_from((0, 1, 4, 5, 8, 0x20, 0x2d, 0xff)),
    st.integers(0, 6), st.one_of(
        st.binary(max_size=40), st.just(BLOCK), st.just(message(b"x")),
        st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big"))))


@given(st.lists(_FRAMES, max_size=30))
@settings(max_examples=500, deadline=None)
def test_no_frames_raise(frames: list[bytes]) -> None:
    """Well-formed frames in any order; in the end the connection can be lost."""
    server = Echo()
    raw(server, *frames)
    server.protocol.check_deadline(1e9)
    server.protocol.connection_lost(None)


@given(st.lists(st.tuples(
    st.sampled_from(("/t/Echo", "/t/Hang", "/t/Stream", "/t/None")), st.binary(max_size=60),
    st.integers(0, 65_535)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_reply_is_right_to_h2(calls: list[tuple[str, bytes, int]]) -> None:
    """The oracle raises at the first byte that is not."""
    client = Client(Echo())
    for path, body, window in calls:
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        stream = client.call(path, message(body) * (body[:1] > b"\x80") + message(body))
        client.exchange()
        if window % 3 == 0 and stream not in client.status:
            client.h2.reset_stream(stream)
        client.exchange()
