"""A gRPC server that echoes, and the `h2` library as its client, which judges every byte."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
from turns import Loop, Transport

from quorate.net.connections import MESSAGE_BYTES_MAX, Connections
from quorate.net.frames import FRAME_BYTES_MAX
from quorate.net.grpc import Call, Method, literal, opener
from quorate.net.http2 import Http2Protocol

HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/t/Echo"), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers")]

BLOCK = b"".join(literal(k.encode(), v.encode()) for k, v in HEAD)


def message(text: bytes) -> bytes:
    """With its prefix."""
    return b"\0" + len(text).to_bytes(4, "big") + text


class Echo:
    """A gRPC server: a unary echo, a stream of echoes, and a call that is never answered."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.loop = Loop()
        self.connections = Connections(
            self.loop, message_bytes_max)  # type: ignore[arg-type]
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
