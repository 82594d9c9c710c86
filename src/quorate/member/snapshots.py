"""Maintenance.Snapshot: the state as a snapshot of etcd's, streamed to whoever asks.

Each stream goes: wait until the durable state holds what was applied when the client asked; write
the file in a thread, with pauses; read it in the thread, a few pieces at a time, and send them as
fast as the client takes them. The state is needed for the writing only.

Invariants: sinks are used on the loop's thread only; no step of the loop is longer than sending a
few pieces; a stream that ended has no file.
Not here: the file (disk/etcd_file.py), the forms of messages (api/).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from quorate.disk.etcd_file import Outgoing, Piece
from quorate.disk.lmdb_backend import LmdbBackend
from quorate.member.service import SnapshotSink, SnapshotStream
from quorate.state.errors import Problem, Refused
from quorate.state.etcd_buckets import to_etcd
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire.prometheus import Histogram, exponential

STREAMS_MAX = 4
"""At a time; each has a file of the size of the state, for as long as its client takes."""

PIECES = 8
"""Read at a time: 256 KiB."""

BACKLOG_BYTES_MAX = 1 << 20
"""What a client has not taken; more than a transport keeps before it says when it has room."""

POLL_S = 0.02
"""How often to look whether the state is durable, or the client has taken what it was sent."""

STALL_S_MAX = 300.0
"""A client that takes nothing for this long is given up."""

PAUSE_S = 0.001
"""After each step of writing, about as long as the step: half of a core at most, and the loop need
not fight for the interpreter."""

T = TypeVar("T")


class Snapshots:
    """All snapshot streams of one member."""

    def __init__(self, backend: LmdbBackend, directory: Path) -> None:
        """`directory`: where the files without names are."""
        self._backend = backend
        self.directory = directory
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._streams: set[_Stream] = set()
        self.stopped = False
        self.took_s = Histogram(exponential(0.01, 2, 17))
        """Of those that are complete, sending included."""

    def open(self, sink: SnapshotSink) -> SnapshotStream:
        """See `Service.snapshot`."""
        stream = _Stream(self, sink, self._backend)
        if self.stopped:
            stream.end(Refused(Problem.STOPPED))
        elif len(self._streams) >= STREAMS_MAX:
            stream.end(Refused(Problem.TOO_MANY_REQUESTS, (
                f"etcdserver: {STREAMS_MAX} snapshots are being taken from this member; wait for "
                f"one of them, or ask another member")))
        else:
            self._streams.add(stream)
            stream.begin()
        return stream

    async def stop(self) -> None:
        """End all streams, and wait until nothing reads the backend."""
        self.stopped = True
        for stream in list(self._streams):
            stream.end(Refused(Problem.STOPPED))
        await self._loop.run_in_executor(None, self._thread.shutdown)

    def later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call on the loop."""
        return self._loop.call_later(delay_s, call)

    def now(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def run(self, work: Callable[[], T], done: Callable[[asyncio.Future[T]], None]) -> None:
        """Work in the thread."""
        self._loop.run_in_executor(self._thread, work).add_done_callback(done)

    def forget(self, stream: _Stream) -> None:
        """It has ended."""
        self._streams.discard(stream)


class _Ended(Exception):
    """Nobody wants the file any more."""


class _Stream:
    """One client's; see `service.SnapshotStream`."""

    def __init__(self, owner: Snapshots, sink: SnapshotSink, backend: LmdbBackend) -> None:
        self._owner = owner
        self._sink: SnapshotSink | None = sink
        self._backend = backend
        self._wanted = backend.applied.index
        self._file: Outgoing | None = None
        self._busy = False
        """The thread has the file."""
        self._polling = False
        self._began_at = owner.now()
        self._moved_at = 0.0

    def begin(self) -> None:
        """Write the file as soon as the durable state is new enough."""
        if self._sink is None:
            return
        if self._backend.durable.index < self._wanted:
            self._owner.later(POLL_S, self.begin)
            return
        self._work(self._write, self._written)

    def drained(self) -> None:
        """See `SnapshotStream`."""
        self._go_on()

    def close(self) -> None:
        """See `SnapshotStream`."""
        self._sink = None
        self._owner.forget(self)
        if not self._busy and self._file is not None:
            self._file.close()
            self._file = None

    def end(self, reason: Refused | None) -> None:
        """Nothing more is sent."""
        sink = self._sink
        self.close()
        if sink is not None:
            sink.end(reason)

    # In the thread.

    def _write(self) -> None:
        if self._sink is None:
            raise _Ended
        view = self._backend.view()
        try:
            self._file = Outgoing(self._owner.directory)
            self._file.write(to_etcd(view), self._pause)
        finally:
            view.close()

    def _pause(self) -> None:
        if self._sink is None:
            raise _Ended
        time.sleep(PAUSE_S)

    def _read(self) -> list[Piece]:
        return [] if self._file is None else self._file.read(PIECES)

    # On the loop.

    def _work(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        self._busy = True

        def finished(future: asyncio.Future[T]) -> None:
            self._busy = False
            failure = future.exception()
            if self._sink is None:
                self.close()
            elif failure is not None:
                self.end(Refused(Problem.SNAPSHOT_FAILED, (
                    f"etcdserver: the snapshot could not be written to "
                    f"{self._owner.directory}: {failure}")))
            else:
                done(future.result())

        self._owner.run(work, finished)

    def _written(self, _nothing: None) -> None:
        self._moved_at = self._owner.now()
        self._go_on()

    def _go_on(self) -> None:
        """Fetch the next pieces if the client has taken those before."""
        sink = self._sink
        if sink is None or self._busy or self._file is None:
            return
        if sink.backlog_bytes() <= BACKLOG_BYTES_MAX:
            self._moved_at = self._owner.now()
            self._work(self._read, self._send)
        elif self._owner.now() - self._moved_at > STALL_S_MAX:
            self.end(Refused(Problem.TIMED_OUT))
        elif not self._polling:
            self._polling = True
            self._owner.later(POLL_S, self._poll)

    def _poll(self) -> None:
        self._polling = False
        self._go_on()

    def _send(self, pieces: list[Piece]) -> None:
        sink = self._sink
        if sink is None:
            return
        for piece in pieces:
            sink.send(rpc.SnapshotResponse(remaining_bytes=piece.remaining, blob=piece.data))
        if pieces:
            self._go_on()
        else:
            self._owner.took_s.observe(self._owner.now() - self._began_at)
            self.end(None)
