"""Many watches over few connections, and puts, for scripts/watchers: its own small HTTP/2 client.

While a put's events come in they are only counted, by a mark that the value carries: that costs
the client next to nothing, so what is measured is the member. What came is read in full
afterwards: which revisions each watch was given, in which order.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from dataclasses import dataclass

from h2wire import (
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST, SETTINGS, WINDOW, WINDOW_MAX, Reader,
    block, connect, fields, frame, hello, message, request,
)

from quorate.wire._generated import rpc_pb2 as rpc

MARK_BYTES = 16
WAIT_S_MAX = 120.0
Range = tuple[bytes, bytes]


class Lost(Exception):
    """Events did not come, or in the wrong order."""


def mark(number: int) -> bytes:
    """What tells the events of one put."""
    return b"<mark %08d>" % number + b"<"


class Watches:
    """One connection: streams, each with some watches. With a `window`, that is all the client
    takes until `resume`."""

    def __init__(self, port: int, streams: list[list[Range]], window: int = WINDOW_MAX) -> None:
        self._sock = connect(port, WAIT_S_MAX)
        self._reader = Reader()
        self._partial: dict[int, bytearray] = {}
        self._raw: list[bytes] = []
        self._tail = b""
        self._stalled = window != WINDOW_MAX
        self._received = 0
        self.revisions: dict[tuple[int, int], list[int]] = {}
        """By stream and watch."""
        self._sock.sendall(hello(window))
        for number, ranges in enumerate(streams):
            self._open(2 * number + 1, ranges)
        expected = sum(map(len, streams))
        while len(self.revisions) < expected:
            self.read()

    def _open(self, stream_id: int, ranges: list[Range]) -> None:
        self._sock.sendall(frame(HEADERS, END_HEADERS, stream_id, block(
            fields(b"/etcdserverpb.Watch/Watch"))) + b"".join(
                frame(DATA, 0, stream_id, message(rpc.WatchRequest(
                    create_request=rpc.WatchCreateRequest(key=key, range_end=end),
                ).SerializeToString())) for key, end in ranges))
        self._partial[stream_id] = bytearray()

    def fileno(self) -> int:
        """For select."""
        return self._sock.fileno()

    def count(self, marked: bytes) -> int:
        """How many events with this mark have come with one read."""
        data = self._receive()
        text = self._tail + data
        self._tail = text[-(MARK_BYTES - 1):]
        self._raw.append(data)
        return text.count(marked)

    def _receive(self) -> bytes:
        data = self._sock.recv(1 << 20)
        if not data:
            raise Lost("the member closed the connection")
        return data

    def read(self) -> None:
        """One more read, in full."""
        self._raw.append(self._receive())
        self.digest()

    def digest(self) -> None:
        """Read in full what was only counted."""
        raw, self._raw = self._raw, []
        for one in self._reader.read(b"".join(raw)):
            if one.type in (RST, GOAWAY) or (one.type == HEADERS and one.flags & END_STREAM):
                raise Lost(f"a stream ended: {one}")
            if one.type == SETTINGS and not one.flags & ACK:
                self._sock.sendall(frame(SETTINGS, ACK, 0))
            if one.type == DATA:
                self._data(one.stream_id, one.payload)

    def _data(self, stream_id: int, payload: bytes) -> None:
        partial = self._partial[stream_id]
        partial += payload
        at = 0
        while len(partial) - at >= 5:
            stop = at + 5 + int.from_bytes(partial[at + 1:at + 5], "big")
            if stop > len(partial):
                break
            self._response(stream_id, rpc.WatchResponse.FromString(bytes(partial[at + 5:stop])))
            at = stop
        del partial[:at]

    def _response(self, stream_id: int, response: rpc.WatchResponse) -> None:
        if response.canceled:
            raise Lost(f"a watch was cancelled: {response}")
        if response.created:
            self.revisions[stream_id, response.watch_id] = []
            return
        known = self.revisions[stream_id, response.watch_id]
        known += [event.kv.mod_revision for event in response.events]

    def resume(self) -> None:
        """Take everything from now on."""
        if self._stalled:
            self._sock.sendall(b"".join(
                frame(WINDOW, 0, stream_id, (1 << 30).to_bytes(4, "big"))
                for stream_id in self._partial))

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


@dataclass
class Putter:
    """Puts over a connection of their own."""

    port: int

    def __post_init__(self) -> None:
        self._sock = connect(self.port, WAIT_S_MAX)
        self._reader = Reader()
        self._next = 1
        self._sock.sendall(hello())

    def send(self, key: bytes, value: bytes) -> float:
        """Send a put; when."""
        data = request(self._next, b"/etcdserverpb.KV/Put", rpc.PutRequest(
            key=key, value=value).SerializeToString())
        self._next += 2
        began = time.perf_counter()
        self._sock.sendall(data)
        return began

    def revision(self) -> int:
        """That of the put that was sent last."""
        answer = b""
        while True:
            for one in self._reader.read(self._sock.recv(1 << 16)):
                if one.type == SETTINGS and not one.flags & ACK:
                    self._sock.sendall(frame(SETTINGS, ACK, 0))
                if one.stream_id == self._next - 2 and one.type == DATA:
                    answer += one.payload
                if one.stream_id == self._next - 2 and one.flags & END_STREAM and (
                        one.type == HEADERS):
                    return int(rpc.PutResponse.FromString(answer[5:]).header.revision)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


def gather(watches: Iterable[Watches], marked: bytes, count: int) -> float:
    """When the last of so many events with the mark has come."""
    by_number = {one.fileno(): one for one in watches}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    deadline = time.perf_counter() + WAIT_S_MAX
    got = 0
    while got < count:
        for number, _ in poll.poll(1000):
            got += by_number[number].count(marked)
        if time.perf_counter() > deadline:
            raise Lost(f"{got} of {count} events came within {WAIT_S_MAX} s")
    return time.perf_counter()


__all__ = ["Lost", "Putter", "Watches", "gather", "mark"]
