"""HTTP/2 as bytes on a socket, for tests that must be able to write what no client would.

Owns frames, header blocks that use no table, and a blocking connection. Flow control is left out
by asking for the largest windows. Not here: what is wrong with a request (nonsense_*.py).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
HEAD = struct.Struct(">IBI")
WINDOW_MAX = 2**31 - 1


def frame(type_: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame; the payload must be shorter than 16 MiB."""
    return HEAD.pack(len(payload) << 8 | type_, flags, stream_id) + payload


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """HPACK's numbers (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out, value = bytearray((first | most,)), value - most
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal(name: bytes, value: bytes) -> bytes:
    """A header that no table takes up."""
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def fields(path: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a gRPC request."""
    return [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
            (b":authority", b"member"), (b"content-type", b"application/grpc"),
            (b"te", b"trailers")]


def block(headers: list[tuple[bytes, bytes]]) -> bytes:
    """A header block."""
    return b"".join(literal(name, value) for name, value in headers)


def message(data: bytes) -> bytes:
    """gRPC's framing."""
    return b"\0" + len(data).to_bytes(4, "big") + data


def request(stream_id: int, path: bytes, data: bytes) -> bytes:
    """A whole unary call."""
    out = frame(HEADERS, END_HEADERS, stream_id, block(fields(path)))
    body = message(data)
    for at in range(0, len(body), 16384):
        last = at + 16384 >= len(body)
        out += frame(DATA, END_STREAM if last else 0, stream_id, body[at:at + 16384])
    return out


def hello(stream_window: int = WINDOW_MAX, connection_window: int = WINDOW_MAX) -> bytes:
    """How a client begins."""
    return (PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, stream_window))
            + frame(WINDOW, 0, 0, (connection_window - 65_535).to_bytes(4, "big")))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the server."""

    type: int
    flags: int
    stream_id: int
    payload: bytes


class Reader:
    """Bytes of a server into frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def read(self, data: bytes) -> list[Frame]:
        """The frames that are complete now."""
        data, at, out = self._buffer + data, 0, []
        while len(data) - at >= 9:
            size_type, flags, stream_id = HEAD.unpack_from(data, at)
            stop = at + 9 + (size_type >> 8)
            if stop > len(data):
                break
            out.append(Frame(size_type & 0xFF, flags, stream_id, data[at + 9:stop]))
            at = stop
        self._buffer = data[at:]
        return out


def connect(port: int, timeout_s: float) -> socket.socket:
    """A connection whose writes leave at once."""
    sock = socket.create_connection(("127.0.0.1", port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
