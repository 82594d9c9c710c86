"""Attempts through a socket, and what became of each: the client's side of scripts/malformed.

A batch is sent in one write, followed by something valid whose answer shows that the member has
seen the batch. Where something is missing that the member would wait for, the client ends its half
of the connection, and the member must close. Whatever does neither in time is `Hung`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from dataclasses import dataclass

from h2wire import (
    ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS, RST, SETTINGS, Frame, Reader,
    connect, frame, hello,
)
from nonsense import Attempt

ANSWER_S_MAX = 20.0
"""For the answer to a batch; the machine may be busy with something else."""

SILENCE_S = 0.3
"""HTTP/1.1: after so long the probe is taken for a part of what was sent."""

_RESPONSE = re.compile(rb"HTTP/1\.[01] (\d\d\d) ")
_GOOD = b"grpc-status\x010"


class Hung(Exception):
    """Neither an answer nor the end of the connection."""


@dataclass
class Tally:
    """What became of the attempts."""

    sent: int = 0
    errors: int = 0
    """Answers that are errors, of a request or of the connection."""
    fine: int = 0
    """Answers that are none: what was wrong left something right."""
    ignored: int = 0
    """No answer was due, and the connection went on."""
    closed: int = 0
    """Connections that the member ended."""


class Door:
    """One port of one member, through one connection at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock: socket.socket | None = None

    def close(self) -> None:
        """Drop the connection."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def receive(self, deadline: float) -> bytes:
        """More bytes; none at the end of the connection. Raises TimeoutError."""
        assert self.sock is not None
        self.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            return self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    def send(self, data: bytes) -> None:
        """All of it, or as much as the member takes before it closes."""
        assert self.sock is not None
        self.sock.settimeout(ANSWER_S_MAX)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            self.sock.sendall(data)

    def half_close(self) -> None:
        """The client sends no more."""
        assert self.sock is not None
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)


class Http2Door(Door):
    """Attempts on streams of their own."""

    STREAMS_MAX = 400
    """Of one connection; then another one is made."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._next = 1
        self._reader = Reader()

    def streams(self, count: int, *, fresh: bool) -> list[int]:
        """Ids for a batch."""
        if fresh or self.sock is None or self._next > 2 * self.STREAMS_MAX:
            self.close()
            self.sock = connect(self.port, ANSWER_S_MAX)
            self._next, self._reader = 1, Reader()
            if not fresh:
                self.send(hello())
                self._read_until(set(), 1, Tally())
        ids = list(range(self._next, self._next + 2 * count, 2))
        self._next += 2 * count
        return ids

    def attempt(self, batch: list[Attempt], ids: list[int], tally: Tally) -> None:
        """Send a batch and see what becomes of it."""
        data = b"".join(one.data for one in batch)
        settings = _settings_asked(data)
        cut = settings is None or any(one.cut or one.fresh for one in batch)
        self.send(data if cut else data + frame(SETTINGS, 0, 0))
        if cut:
            self.half_close()
        due = {i for one, i in zip(batch, ids, strict=True) if one.must_end}
        before = tally.errors + tally.fine
        open_ = self._read_until(due, 10**9 if cut else (settings or 0) + 1, tally)
        handled = len(batch) if open_ or cut else min(
            len(batch), tally.errors + tally.fine - before + 1)
        tally.sent += handled
        if not open_:
            tally.closed += 1
            self.close()
        else:
            tally.ignored += max(0, handled - (tally.errors + tally.fine - before))

    def _read_until(self, due: set[int], settled: int, tally: Tally) -> bool:
        """Until all streams that are due have ended and so many settings are acknowledged; whether
        the connection is open."""
        deadline = time.monotonic() + ANSWER_S_MAX
        while due or settled > 0:
            try:
                data = self.receive(deadline)
            except TimeoutError:
                raise Hung(f"no answer within {ANSWER_S_MAX} s: streams {sorted(due)[:9]}, "
                           f"settings to be acknowledged {settled}") from None
            if not data:
                return False
            for one in self._reader.read(data):
                settled -= one.type == SETTINGS and bool(one.flags & ACK)
                self._count(one, due, tally)
        return True

    def _count(self, one: Frame, due: set[int], tally: Tally) -> None:
        if one.type == GOAWAY:
            tally.errors += 1
        elif one.type == RST and one.payload != bytes(4):
            tally.errors += 1
            due.discard(one.stream_id)
        elif one.type == HEADERS and one.flags & END_STREAM:
            if _GOOD in one.payload:
                tally.fine += 1
            else:
                tally.errors += 1
            due.discard(one.stream_id)


def _settings_asked(data: bytes) -> int | None:
    """How many settings want to be acknowledged; None if something in there is not complete."""
    at, block_open, settings = 0, False, 0
    while at < len(data):
        if at + 9 > len(data):
            return None
        size_type, flags, stream_id = HEAD.unpack_from(data, at)
        size, type_ = size_type >> 8, size_type & 0xFF
        if size > 16384:  # the member closes at the head of it
            return settings
        at += 9 + size
        settings += type_ == SETTINGS and not flags & ACK and not stream_id and not size % 6
        if type_ in (HEADERS, CONTINUATION):
            block_open = not flags & END_HEADERS
    return None if block_open or at > len(data) else settings


class Http1Door(Door):
    """Attempts one after the other."""

    REQUESTS_MAX = 400

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._left = 0

    def streams(self, count: int, *, fresh: bool) -> list[int]:
        """A connection for so many."""
        if fresh or self.sock is None or self._left < count:
            self.close()
            self.sock = connect(self.port, ANSWER_S_MAX)
            self._left = self.REQUESTS_MAX
        self._left -= count
        return [0] * count

    def attempt(self, batch: list[Attempt], _ids: list[int], tally: Tally) -> None:
        """Send a batch and see what becomes of it."""
        cut = any(one.cut or one.fresh for one in batch)
        probe = b"" if cut else b"GET /version HTTP/1.1\r\nHost: m\r\n\r\n"
        self.send(b"".join(one.data for one in batch) + probe)
        if cut:
            self.half_close()
        answer, open_ = self._read(probe)
        statuses = [int(status) for status in _RESPONSE.findall(answer) if status != b"100"]
        if open_ and probe:
            del statuses[-1:]  # that of the probe
        tally.errors += sum(status >= 400 for status in statuses)
        tally.fine += sum(status < 400 for status in statuses)
        handled = len(batch) if open_ or cut else min(len(batch), max(1, len(statuses)))
        if open_ and all(one.must_end for one in batch) and len(statuses) != len(batch):
            raise Hung(f"{len(batch)} requests got {len(statuses)} answers")
        tally.sent += handled
        tally.ignored += max(0, handled - len(statuses)) if open_ else 0
        if not open_:
            tally.closed += 1
            self.close()

    def _read(self, probe: bytes) -> tuple[bytes, bool]:
        """(what came, whether the connection is open)."""
        parts: list[bytes] = []
        began, ended = time.monotonic(), not probe
        tail = b""
        while not (probe and tail.endswith(b'"}') and b'{"etcdserver"' in tail):
            silent = began + (ANSWER_S_MAX if ended else SILENCE_S)
            try:
                data = self.receive(max(silent, time.monotonic() + SILENCE_S))
            except TimeoutError:
                if ended:
                    raise Hung(f"the connection stays open: {b''.join(parts)[-200:]!r}") from None
                ended, began = True, time.monotonic()
                self.half_close()
                continue
            if not data:
                return b"".join(parts), False
            parts.append(data)
            tail = (tail + data)[-200:]
        return b"".join(parts), True
