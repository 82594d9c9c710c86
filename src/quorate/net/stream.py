"""One HTTP/2 stream: a request and its reply, with the flow control of both.

Subclasses take what arrives (grpc.py). Not here: frames of the connection (http2.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from quorate.net.frames import (
    DATA, END_HEADERS, END_STREAM, FRAME, HEADERS, RST, Wrong, frame,
)

if TYPE_CHECKING:
    from quorate.net.http2 import Http2Protocol


class Stream:
    """One request and its reply. Subclasses take what arrives."""

    __slots__ = ("_out", "_out_bytes", "began", "connection", "ended", "finished", "id", "kept",
                 "received_bytes", "window")

    def __init__(self, connection: Http2Protocol, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.window = connection.initial_window
        """What the client still takes."""
        self.kept = 0
        """Bytes received of what is not complete."""
        self.received_bytes = 0
        """Not credited yet."""
        self.began: float | None = None
        """When what is not complete began."""
        self.ended = False
        """The client has sent all."""
        self.finished = False
        """The reply is complete, or nobody wants it."""
        self._out: deque[tuple[int, bytes, bool]] = deque()
        """Frames that wait for room: type, payload, whether the last."""
        self._out_bytes = 0
        """Of their payloads."""

    # For subclasses.

    def received(self, data: bytes) -> None:
        """A piece of the body."""
        raise NotImplementedError

    def complete(self) -> None:
        """The body is complete."""
        raise NotImplementedError

    def lost(self) -> None:
        """The client does not want a reply any more, or is gone."""

    def writable(self) -> None:
        """What waited for the client to read has been sent."""

    def late(self) -> None:
        """What began has not come in time."""
        self.reset(Wrong.CANCEL)

    # For the reply.

    def send_headers(self, block: bytes, *, last: bool = False) -> None:
        """A header block; with `last` the reply is complete."""
        if self.finished:
            return
        if self._out:
            self._wait(HEADERS, block, last)
        else:
            self._headers_out(block, last)

    def send_data(self, data: bytes) -> None:
        """A piece of the body, as soon as the client's windows allow."""
        if self.finished:
            return
        size, connection = len(data), self.connection
        if not self._out and size <= self.window and size <= connection.window and (
                size <= connection.frame_max):
            return self._data_out(data)
        self._wait(DATA, data, False)
        self.pump()

    def send_whole(self, head: bytes, data: bytes, trailers: bytes) -> None:
        """A whole reply at once."""
        connection, size = self.connection, len(data)
        if (self.finished or self._out or size > self.window or size > connection.window
                or size > connection.frame_max):
            self.send_headers(head)
            self.send_data(data)
            self.send_headers(trailers, last=True)
            return
        self.window -= size
        connection.window -= size
        pack, stream_id = FRAME.pack, self.id
        connection.write(b"".join((
            pack(len(head) << 8 | HEADERS, END_HEADERS, stream_id), head,
            pack(size << 8 | DATA, 0, stream_id), data,
            pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id),
            trailers)))
        connection.sent_something()
        self._finish()

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._out_bytes + self.connection.buffered()

    def reset(self, code: Wrong) -> None:
        """End it without (the rest of) a reply."""
        if not self.finished:
            self.finished = True
            self._out.clear()
            self._out_bytes = 0
            self.connection.write(frame(RST, 0, self.id, code.to_bytes(4, "big")))
            self.connection.forget(self)

    def pump(self) -> bool:
        """Send what the windows allow; whether something still waits."""
        connection = self.connection
        while self._out:
            type_, data, last = self._out[0]
            if type_ == DATA:
                room = min(self.window, connection.window, connection.frame_max)
                if room < len(data):
                    if room > 0:
                        self._data_out(data[:room])
                        self._out[0] = (DATA, data[room:], last)
                        self._out_bytes -= room
                        continue
                    connection.wait(self)
                    return True
            self._out.popleft()
            self._out_bytes -= len(data)
            if type_ == DATA:
                self._data_out(data)
            else:
                self._headers_out(data, last)
        return False

    def _wait(self, type_: int, payload: bytes, last: bool) -> None:
        self._out.append((type_, payload, last))
        self._out_bytes += len(payload)

    def _data_out(self, data: bytes) -> None:
        connection, size = self.connection, len(data)
        self.window -= size
        connection.window -= size
        connection.write(FRAME.pack(size << 8 | DATA, 0, self.id) + data)
        connection.sent_something()

    def _headers_out(self, block: bytes, last: bool) -> None:
        flags = END_HEADERS | (END_STREAM if last else 0)
        self.connection.write(frame(HEADERS, flags, self.id, block))
        self.connection.sent_something()
        if last:
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        if not self.ended:  # there is no need for the rest of the request
            self.connection.write(
                frame(RST, 0, self.id, Wrong.NO_ERROR.to_bytes(4, "big")))
        self.connection.forget(self)
