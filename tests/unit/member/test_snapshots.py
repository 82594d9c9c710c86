"""Snapshot streams: new enough, as fast as the client, and gone without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

import pytest

from quorate.disk.lmdb_backend import LmdbBackend
from quorate.member import snapshots
from quorate.member.service import SnapshotStream
from quorate.member.snapshots import STREAMS_MAX, Snapshots
from quorate.raft.types import ConfState
from quorate.state.backend import AppliedPoint
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Machine
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire.bbolt import Reader


class Sink:
    """A client that takes everything, or nothing."""

    def __init__(self, *, takes: bool = True) -> None:
        self.got: list[rpc.SnapshotResponse] = []
        self.ended: list[Refused | None] = []
        self.takes = takes

    def send(self, response: rpc.SnapshotResponse) -> None:
        """See `SnapshotSink`."""
        assert not self.ended
        self.got.append(response)

    def backlog_bytes(self) -> int:
        """See `SnapshotSink`."""
        return 0 if self.takes else sum(len(one.blob) for one in self.got)

    def end(self, reason: Refused | None) -> None:
        """See `SnapshotSink`."""
        self.ended.append(reason)

    @property
    def file(self) -> Reader:
        """What came, whose hash is right."""
        data = b"".join(one.blob for one in self.got[:-1])
        assert self.got[-1].blob == sha256(data).digest()
        return Reader(data)


class World:
    """A backend with keys, and its snapshots."""

    def __init__(self, directory: Path, keys: int) -> None:
        (directory / "db").mkdir()  # as a member does
        self.backend = LmdbBackend(str(directory / "db"))
        self.directory = directory / "snap"
        self.directory.mkdir()
        self._machine = Machine(self.backend)
        self._index = 0
        for n in range(keys):
            self.put(b"%06d" % n)
        self.commit()
        self.snapshots = Snapshots(self.backend, self.directory)

    def put(self, key: bytes) -> None:
        """Apply a change, in memory."""
        self._machine.apply_command(rpc.PutRequest(key=key, value=b"v" * 100), 1)
        self._index += 1
        self.backend.advance(AppliedPoint(self._index, 1, ConfState((1,))))

    def commit(self) -> None:
        """Make it durable."""
        batch = self.backend.freeze()
        if batch is not None:
            self.backend.write(batch)
            self.backend.thaw(batch)

    async def until(self, done: Callable[[], object]) -> None:
        """Let the loop run."""
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.002)


def run(
    tmp_path: Path, keys: int, play: Callable[[World], Awaitable[None]]
) -> None:
    """Play with a world, and close it; nothing is left in its directory."""
    async def all_() -> None:
        world = World(tmp_path, keys)
        try:
            await play(world)
        finally:
            await world.snapshots.stop()
            world.backend.close()
        assert list(world.directory.iterdir()) == []

    asyncio.run(all_())


def test_a_snapshot_has_what_was_applied_when_it_was_asked_for(tmp_path: Path) -> None:
    """Also what was not durable then; it waits for that."""
    async def play(world: World) -> None:
        world.put(b"new")
        sink = Sink()
        world.snapshots.open(sink)
        await asyncio.sleep(0.05)
        assert not sink.got
        world.commit()
        await world.until(lambda: sink.ended)

        assert sink.ended == [None]
        assert len(list(sink.file.pairs(b"key"))) == 11
        assert dict(sink.file.pairs(b"meta"))[b"consistent_index"] == (11).to_bytes(8, "big")

    run(tmp_path, 10, play)


def test_a_client_that_takes_nothing_is_sent_little(tmp_path: Path) -> None:
    """And everything when it goes on: memory is bounded."""
    async def play(world: World) -> None:
        sink = Sink(takes=False)
        stream = world.snapshots.open(sink)
        await world.until(lambda: sink.backlog_bytes() > snapshots.BACKLOG_BYTES_MAX)
        await asyncio.sleep(0.1)
        assert sink.backlog_bytes() <= snapshots.BACKLOG_BYTES_MAX + snapshots.PIECES * (32 << 10)
        sink.takes = True
        stream.drained()
        await world.until(lambda: sink.ended)

        assert sink.ended == [None]
        assert len(list(sink.file.pairs(b"key"))) == 15_000

    run(tmp_path, 15_000, play)


def test_a_client_that_takes_nothing_for_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file would be there for good."""
    monkeypatch.setattr(snapshots, "STALL_S_MAX", 0.1)
    monkeypatch.setattr(snapshots, "BACKLOG_BYTES_MAX", 1000)

    async def play(world: World) -> None:
        sink = Sink(takes=False)
        world.snapshots.open(sink)
        await world.until(lambda: sink.ended)
        reason = sink.ended[0]
        assert reason is not None and reason.problem is Problem.TIMED_OUT

    run(tmp_path, 5000, play)


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.03])
def test_a_client_may_go_at_any_time(tmp_path: Path, after_s: float) -> None:
    """Nothing is sent to it any more, and others are served."""
    async def play(world: World) -> None:
        gone, sink = Sink(), Sink()
        stream = world.snapshots.open(gone)
        await asyncio.sleep(after_s)
        stream.close()
        got = len(gone.got)
        world.snapshots.open(sink)
        await world.until(lambda: sink.ended)
        assert (len(gone.got), gone.ended or [None]) == (got, [None])
        assert sink.ended == [None]

    run(tmp_path, 3000, play)


def test_so_many_at_a_time(tmp_path: Path) -> None:
    """One more is refused in words; there is room again when one has gone."""
    async def play(world: World) -> None:
        world.put(b"not durable")
        streams: list[SnapshotStream] = [
            world.snapshots.open(Sink()) for _ in range(STREAMS_MAX)]
        sink = Sink()
        world.snapshots.open(sink)
        reason = sink.ended[0]
        assert reason is not None and reason.problem is Problem.TOO_MANY_REQUESTS
        assert "ask another member" in reason.detail
        streams[0].close()
        sink = Sink()
        world.snapshots.open(sink)
        assert not sink.ended

    run(tmp_path, 10, play)


def test_a_member_that_stops_ends_them(tmp_path: Path) -> None:
    """In the middle of writing, too; then none begins."""
    async def play(world: World) -> None:
        sink, late = Sink(), Sink()
        world.snapshots.open(sink)
        await asyncio.sleep(0.005)
        await world.snapshots.stop()
        world.snapshots.open(late)
        for one in (sink, late):
            reason = one.ended[0]
            assert reason is not None and reason.problem is Problem.STOPPED

    run(tmp_path, 20_000, play)


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    """The client learns why."""
    async def play(world: World) -> None:
        world.snapshots.directory = tmp_path / "none"
        sink = Sink()
        world.snapshots.open(sink)
        await world.until(lambda: sink.ended)
        reason = sink.ended[0]
        assert reason is not None and reason.problem is Problem.SNAPSHOT_FAILED
        assert "No such file or directory" in reason.detail

    run(tmp_path, 10, play)
