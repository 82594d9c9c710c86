"""The receiving end of a message stream: a long GET that this end opens, and its frames.

Framing (surface §13): 8-byte big-endian length, then a raftpb message; length 0 is a sign of life.
The receiver gives up when it has heard nothing for LIVE_S_MAX, whatever the kernel thinks of the
connection.

Not here: reconnecting (transport.py), the sending end (server.py).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus

import httptools

from quorate.peers.counts import PeerCounts
from quorate.raft.types import Message
from quorate.wire.raft import WireError, decode_message

FRAME_BYTES_MAX = 64 << 20
"""Above the largest append: 1 MiB of entries, or a single entry of any allowed size."""

LIVE_S = 1.0
LIVE_S_MAX = 5.0
"""Sign-of-life interval, and the silence after which a stream is dead (etcd: 5 s deadlines)."""

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class FrameReader:
    """Bytes in, messages out."""

    def __init__(self, deliver: Callable[[Message], None]) -> None:
        self._deliver = deliver
        self._buffer = bytearray()

    def feed(self, data: bytes) -> int:
        """Take a piece of the stream; how many messages it completed. Raises WireError, after
        which the stream is useless."""
        buffer = self._buffer
        buffer += data
        at = messages = 0
        while len(buffer) - at >= 8:
            length = int.from_bytes(buffer[at:at + 8], "big")
            if length > FRAME_BYTES_MAX:
                raise WireError(f"a frame of {length} bytes, the limit is {FRAME_BYTES_MAX}")
            end = at + 8 + length
            if len(buffer) < end:
                break
            if length:
                self._deliver(decode_message(bytes(buffer[at + 8:end])))
                messages += 1
            at = end
        if at:
            del buffer[:at]
        return messages


def frame(data: bytes) -> bytes:
    """A message as it is sent."""
    return len(data).to_bytes(8, "big") + data


class StreamClient(asyncio.Protocol):
    """One connection to a peer's stream. `ended(text, lost)` is called once: why, and whether
    the peer's end broke an established stream."""

    def __init__(
        self, request: bytes, deliver: Callable[[Message], None],
        ended: Callable[[str, bool], None], established: Callable[[], None],
        counts: PeerCounts,
    ) -> None:
        self._counts = counts
        self._request = request
        self._reader = FrameReader(deliver)
        self._ended = ended
        self._established = established
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._status = 0
        self._error = ""
        self.heard = asyncio.get_running_loop().time()

    @property
    def refused_as_removed(self) -> bool:
        """Whether the peer says that this member was removed."""
        return self._status == HTTPStatus.GONE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self._socket = transport.get_extra_info("socket")
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.write(self._request)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.heard = asyncio.get_running_loop().time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, WireError) as malformed:
            self.close(f"malformed stream: {malformed}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        text = self._error or (str(exc) if exc else "closed by the other end")
        self._ended(text, self._status == 200 and not self._error)

    def close(self, why: str) -> None:
        """Give the stream up."""
        self._error = why
        if self._transport is not None:
            self._transport.abort()

    def on_headers_complete(self) -> None:
        """httptools: the answer's head."""
        self._status = self._parser.get_status_code()
        if self._status == 200:
            self._established()

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        if self._status == 200:
            self._counts.received_bytes += len(body)
            self._counts.received_messages += self._reader.feed(body)
        else:
            self._error = f"refused with {self._status}: {body[:200].decode('utf-8', 'replace')}"

    def on_message_complete(self) -> None:
        """httptools: the other end ended the stream."""
        if self._transport is not None:
            self._transport.close()
