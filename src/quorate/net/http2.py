"""HTTP/2 server protocol (RFC 9113): frames in, streams out. Callbacks only, no task per stream.

What a stream means is the business of the `Stream` subclass that the server makes for each request
(grpc.py). Frames of one read are handled in one go; everything for one connection that a loop turn
brings leaves as one write.

Invariants: nothing that a client sends raises into the loop; every buffer, table and count has a
limit, and a client that exceeds one is told which before its connection closes; what is received
is credited to the client's windows only when it is not kept any more.

Not here: header blocks (headers.py), messages and status (grpc.py), TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.net.connections import READ_BYTES_MUCH, Connections, Link
from quorate.net.flood import KEEP_ALIVE, FloodGuard, KeepAlive, PingPolicy
from quorate.net.frames import (
    ACK, DATA, END_STREAM, FRAME_BYTES_MAX, GOAWAY, HEADERS, INITIAL_WINDOW, MAX_FRAME, PADDED,
    PING, PRIORITY, PUSH, RST, SETTING, SETTINGS, WINDOW, WINDOW_MAX, Fatal, Wrong, frame,
    goaway, unpadded,
)
from quorate.net.headers import Head, HeaderDecoder, Malformed, Unreadable
from quorate.net.outlet import Outlet
from quorate.net.reader import HEADER_BLOCK_BYTES_MAX, FrameReader
from quorate.net.stream import Stream

STREAMS_MAX = 10_000
"""Of one connection at once: watches, mostly."""

UPDATE_BYTES_CHEAP = 1024
"""Window updates below this count as control frames."""

REQUEST_SECONDS_MAX = 15.0
"""From the first byte of a frame, a header block or a message to its last."""

Opener = Callable[["Http2Protocol", int, Head], Stream]
"""Makes the stream of a request."""


class Http2Protocol(Outlet):
    """One connection."""

    def __init__(
        self, opener: Opener, connections: Connections, loop: asyncio.AbstractEventLoop,
        keep_alive: KeepAlive = KEEP_ALIVE,
    ) -> None:
        self._opener = opener
        super().__init__(connections, loop)
        self._keep_alive = keep_alive
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[Stream, None] = {}
        """Streams that wait for the connection's window or their own, in turn."""
        self._last_id = 0
        self._reader = FrameReader(self._frame)
        self._going = False
        self._began: float | None = None
        """When what is incomplete began, be it a frame, a header block or the connection."""
        self._headers = HeaderDecoder()
        self._received = self._kept = 0
        self._guard = FloodGuard()
        self._pings = PingPolicy(keep_alive.min_s)
        self._heard_at = loop.time()
        self._pinged_at: float | None = None
        self.message_bytes_max = connections.message_bytes_max
        self._stream_window = connections.body_bytes_max
        self._receive_window = min(2 * self._stream_window, WINDOW_MAX)
        """What a client may make a member keep of messages that are not complete."""
        self.window = self.initial_window = 65_535
        self.frame_max = FRAME_BYTES_MAX

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """For timers of streams."""
        return self._loop

    # Connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._link = Link(transport)  # type: ignore[arg-type]  # uvloop's is no subclass
        self._connections.add(self)
        self._began = self._loop.time()
        settings = ((3, STREAMS_MAX), (INITIAL_WINDOW, self._stream_window),
                    (6, HEADER_BLOCK_BYTES_MAX))
        self.write(frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*one) for one in settings))
                   + frame(WINDOW, 0, 0, (self._receive_window - 65_535).to_bytes(4, "big")))

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._link is not None:
            self._link.lost()
            self._link = None
        self._connections.remove(self)
        streams, self._streams = self._streams, {}
        self._waiting.clear()
        for stream in streams.values():
            stream.finished = True
            stream.lost()
        self._reader.drop()

    def close_if_idle(self) -> None:
        """Take no new streams; close when there is none left."""
        if self._link is None:
            return
        if not self._going:
            self._going = True
            self.write(goaway(self._last_id, Wrong.NO_ERROR, ""))
        if not self._streams:
            self.flush()

    def check_deadline(self, now: float) -> None:
        """Close if something has been coming in for too long, or nobody is there."""
        if self._began is not None and now - self._began > REQUEST_SECONDS_MAX:
            return self.abort()
        if self._kept:
            for stream in [s for s in self._streams.values()
                           if s.began is not None and now - s.began > REQUEST_SECONDS_MAX]:
                stream.late()
        if self._pinged_at is not None:
            if now - self._pinged_at > self._keep_alive.timeout_s:
                self.abort()
        elif now - self._heard_at > self._keep_alive.interval_s:
            self._pinged_at = now
            self.write(frame(PING, 0, 0, bytes(8)))
        return None

    # Reading.

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard_at, self._pinged_at = self._loop.time(), None
        try:
            self._reader.read(data)
        except Fatal as fatal:
            self._fail(fatal)
            return
        self._credit()
        if len(data) >= READ_BYTES_MUCH:
            self.read_later()
        if self._reader.between_frames:
            self._began = None
            return
        if self._began is None:
            self._began = self._heard_at
        if self._link is not None:
            self._link.quick_ack()

    def _frame(self, type_: int, flags: int, stream_id: int, payload: bytes) -> bool:
        """One frame; whether to go on reading."""
        if type_ == DATA:
            self._on_data(flags, stream_id, payload)
        elif type_ == HEADERS:
            self._on_headers(flags, stream_id, payload)
        elif type_ == WINDOW:
            self._on_window(stream_id, payload)
        else:
            if not self._guard.control(self._loop.time()):
                raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too many control frames")
            handle = _OTHERS.get(type_)
            if handle is not None:
                handle(self, flags, stream_id, payload)
        return self._link is not None

    def _on_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        if not stream_id & 1:
            raise Fatal(Wrong.PROTOCOL_ERROR, f"stream {stream_id} is not a client's")
        stream = self._streams.get(stream_id)
        try:
            if stream is not None or stream_id <= self._last_id:
                self._headers.skip(block)
                if stream is not None and not flags & END_STREAM:
                    raise Fatal(Wrong.PROTOCOL_ERROR, f"stream {stream_id} was opened twice")
                if stream is not None:
                    self._end(stream)
                return
            self._last_id = stream_id
            head = self._headers.request(block)
        except Unreadable as wrong:
            raise Fatal(Wrong.COMPRESSION_ERROR, str(wrong)) from wrong
        except Malformed:
            return self._reject(stream_id, Wrong.PROTOCOL_ERROR)
        if len(self._streams) >= STREAMS_MAX or self._going:
            return self._reject(stream_id, Wrong.REFUSED_STREAM)
        stream = self._streams[stream_id] = self._opener(self, stream_id, head)
        if stream.finished:  # it was answered at once
            self._streams.pop(stream_id, None)
        elif flags & END_STREAM:
            self._end(stream)
        return None

    def _reject(self, stream_id: int, code: Wrong) -> None:
        if not self._guard.reset(self._loop.time()):
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too many streams were rejected")
        self.write(frame(RST, 0, stream_id, code.to_bytes(4, "big")))

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._received += size
        if self._received > self._receive_window:
            raise Fatal(Wrong.FLOW_CONTROL_ERROR, "more data than the connection's window allows")
        stream = self._streams.get(stream_id)
        if stream is None:
            if not stream_id or stream_id > self._last_id:
                raise Fatal(Wrong.PROTOCOL_ERROR, f"data for stream {stream_id}, which is idle")
            return  # it has been reset, which the client may not know yet
        stream.received_bytes += size
        if stream.ended or stream.received_bytes > self._stream_window:
            self._streams.pop(stream_id)
            stream.finished = True
            self._keep(stream, 0)
            stream.lost()
            code = Wrong.STREAM_CLOSED if stream.ended else Wrong.FLOW_CONTROL_ERROR
            return self._reject(stream_id, code)
        data = unpadded(payload) if flags & PADDED else payload
        if data:
            stream.received(data)
        elif not flags & END_STREAM and not self._guard.control(self._loop.time()):
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too many empty frames")
        if flags & END_STREAM and not stream.finished:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        if not stream.ended:
            stream.ended = True
            stream.complete()

    def _on_priority(self, _flags: int, _stream_id: int, payload: bytes) -> None:
        if len(payload) != 5:
            raise Fatal(Wrong.FRAME_SIZE_ERROR, "a priority has 5 bytes")

    def _on_reset(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fatal(Wrong.FRAME_SIZE_ERROR, "a reset has 4 bytes")
        if not stream_id or stream_id > self._last_id:
            raise Fatal(Wrong.PROTOCOL_ERROR, f"a reset of stream {stream_id}, which is idle")
        if not self._guard.reset(self._loop.time()):
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too many streams were reset")
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.finished = True
            self.forget(stream)
            stream.lost()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) % 6 or (flags & ACK and payload):
            raise Fatal(Wrong.FRAME_SIZE_ERROR, "malformed settings")
        if flags & ACK:
            return
        for name, value in SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW:
                if value > WINDOW_MAX:
                    raise Fatal(Wrong.FLOW_CONTROL_ERROR, f"a window of {value}")
                change, self.initial_window = value - self.initial_window, value
                for stream in self._streams.values():
                    self._widen(stream, change)
            elif name == MAX_FRAME:
                if not FRAME_BYTES_MAX <= value < 1 << 24:
                    raise Fatal(Wrong.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.frame_max = min(value, 64 << 10)
        self.write(frame(SETTINGS, ACK, 0))
        self._pump()

    def _on_push(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise Fatal(Wrong.PROTOCOL_ERROR, "clients do not push")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise Fatal(Wrong.FRAME_SIZE_ERROR, "a ping has 8 bytes and no stream")
        if flags & ACK:
            return
        if not self._pings.ping(self._loop.time(), active=bool(self._streams)):
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too_many_pings")
        self.write(frame(PING, ACK, 0, payload))

    def _on_goaway(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        """The client opens no more streams; it will close."""

    def _on_window(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Fatal(Wrong.FRAME_SIZE_ERROR, "a window update has 4 bytes")
        more = int.from_bytes(payload, "big") & WINDOW_MAX
        if more < UPDATE_BYTES_CHEAP and not self._guard.control(self._loop.time()):
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, "too many small window updates")
        if stream_id:
            stream = self._streams.get(stream_id)
            if stream is None:
                if stream_id > self._last_id:
                    raise Fatal(Wrong.PROTOCOL_ERROR, f"stream {stream_id} is idle")
                return
            if not more:
                return stream.reset(Wrong.PROTOCOL_ERROR)
            self._widen(stream, more)
            if stream in self._waiting:
                self._pump()
            return
        if not more or self.window + more > WINDOW_MAX:
            raise Fatal(Wrong.FLOW_CONTROL_ERROR if more else Wrong.PROTOCOL_ERROR,
                        f"the connection's window cannot grow by {more}")
        self.window += more
        self._pump()

    def _widen(self, stream: Stream, more: int) -> None:
        stream.window += more
        if stream.window > WINDOW_MAX:
            raise Fatal(Wrong.FLOW_CONTROL_ERROR, f"the window of stream {stream.id} overflows")

    def _fail(self, fatal: Fatal) -> None:
        """Say what is wrong and close."""
        self.write(goaway(self._last_id, fatal.code, str(fatal)))
        self.flush()
        if self._link is not None:
            self._link.transport.close()

    # What is kept and credited.

    def _keep(self, stream: Stream, size: int) -> None:
        """So much of what a stream received is not complete."""
        self._kept += size - stream.kept
        stream.kept = size

    def _credit(self) -> None:
        """Let the client send again what is not kept."""
        free = self._received - self._kept
        if free >= self._receive_window // 4 and self._link is not None:
            self._received -= free
            self.write(frame(WINDOW, 0, 0, free.to_bytes(4, "big")))

    # For streams.

    def kept(self, stream: Stream, size: int) -> None:
        """A stream keeps so much for now; when that is less than it received, and much, the client
        may send it more."""
        if size != stream.kept:
            self._keep(stream, size)
        if size:
            if stream.began is None:
                stream.began = self._loop.time()
            return
        stream.began = None
        if stream.received_bytes >= self._stream_window // 4 and not stream.ended:
            self.write(frame(WINDOW, 0, stream.id, stream.received_bytes.to_bytes(4, "big")))
            stream.received_bytes = 0

    def forget(self, stream: Stream) -> None:
        """A stream is over."""
        self._streams.pop(stream.id, None)
        self._waiting.pop(stream, None)
        if stream.kept:
            self._keep(stream, 0)
        if self._going and not self._streams:
            self.flush_soon()

    def wait(self, stream: Stream) -> None:
        """A stream waits for room."""
        self._waiting[stream] = None

    def sent_something(self) -> None:
        """Something useful left."""
        self._pings.sent = True

    def _pump(self) -> None:
        for stream in list(self._waiting):
            del self._waiting[stream]
            if not stream.pump() and not stream.finished:
                stream.writable()
            if self.window <= 0:
                break

    # See `Outlet`.

    @property
    def over(self) -> bool:
        """No stream is left, and none will come."""
        return self._going and not self._streams

    def drained(self) -> None:
        """Streams may go on."""
        for stream in list(self._streams.values()):
            stream.writable()


_OTHERS: dict[int, Callable[[Http2Protocol, int, int, bytes], None]] = {
    PRIORITY: Http2Protocol._on_priority, RST: Http2Protocol._on_reset,
    SETTINGS: Http2Protocol._on_settings, PUSH: Http2Protocol._on_push,
    PING: Http2Protocol._on_ping, GOAWAY: Http2Protocol._on_goaway}
"""By type; others are ignored."""
