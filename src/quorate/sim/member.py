"""One simulated member: the shipped core, WAL and state on a simulated disk.

Differences from a real member (member/runtime.py): syncs and backend commits take simulated
time, snapshot images travel as objects, and `crash` may happen between any two events.

Not here: the faults (world.py), what clients do (client.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from quorate.disk.files import SimFiles
from quorate.disk.memory_backend import MemoryBackend
from quorate.disk.wal import SnapshotMark, Wal, WalMetadata
from quorate.member.build import build_core, open_log
from quorate.member.core import CoreConfig, MemberCore
from quorate.member.effects import AppendWork
from quorate.member.requests import RequestIds
from quorate.member.serving import MemberService
from quorate.raft.types import (
    ConfState, HardState, InvariantBroken, Message, MessageType, Snapshot, Storage,
)
from quorate.sim.clock import Clock
from quorate.state.backend import AppliedPoint
from quorate.state.machine import Machine
from quorate.state.members import Member

WAL_DIR = "wal"
BACKEND_COMMIT_S = 0.1
SEGMENT_BYTES = 16 << 10
"""Small, so that a short run rolls and releases segments."""

REQUEST_BYTES_MAX = 1 << 20

TAIL = 20
"""Entries at the end of the log that no storage step may change (lesson L20)."""


@dataclass(frozen=True, slots=True)
class SimSettings:
    """Drawn per seed."""

    cluster_id: int
    members: tuple[Member, ...]
    sync_s_min: float
    sync_s_max: float
    snapshot_count: int
    snapshot_catch_up_entries: int

    @property
    def conf_state(self) -> ConfState:
        """The first configuration."""
        return ConfState(voters=tuple(sorted(member.id for member in self.members)))


class SimMember:
    """A member that can crash and come back."""

    def __init__(
        self, member_id: int, settings: SimSettings, clock: Clock, rng: random.Random,
        send: Callable[[Message, object], None], observe: Callable[[SimMember], None],
    ) -> None:
        self.id = member_id
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._send = send
        self._observe = observe
        self._files = SimFiles()
        self.life = 0
        self._syncing: list[AppendWork] = []
        self._queue: list[AppendWork] = []
        self._images: dict[tuple[int, int], tuple[AppliedPoint, list[bytes]]] = {}
        self.backend = MemoryBackend()
        self.core: MemberCore | None = None
        self._bootstrap()

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.core is not None

    # Life.

    def _bootstrap(self) -> None:
        point = AppliedPoint(1, 1, self._settings.conf_state)
        machine = Machine(self.backend)
        for member in self._settings.members:
            machine.members.add(member)
        self.backend.advance(point)
        self._commit_backend()
        Wal.create(
            self._files, WAL_DIR, WalMetadata(self._settings.cluster_id, self.id),
            SnapshotMark(*point), HardState(1, 0, 1), SEGMENT_BYTES).close()

    def start(self) -> None:
        """Come up from what is on the disk."""
        self.life += 1
        self._wal, contents = Wal.open(self._files, WAL_DIR, SEGMENT_BYTES)
        log = open_log(contents, self.backend.applied)
        config = CoreConfig(
            self._settings.cluster_id, self.id, snapshot_count=self._settings.snapshot_count,
            snapshot_catch_up_entries=self._settings.snapshot_catch_up_entries)
        self.stable: Storage = log
        self.core = build_core(
            config, log, self.backend, RequestIds(self.id, self.life),
            lambda tick: self._rng.randrange(tick, 2 * tick), self._clock.now,
            durable=lambda: self.backend.durable)
        self.service = MemberService(
            self.core, lambda: None, version="simulated", request_bytes_max=REQUEST_BYTES_MAX)
        self._repeat(config.tick_s, self._tick)
        self._repeat(BACKEND_COMMIT_S, self._commit_and_cut)

    def crash(self) -> None:
        """Stop at once: un-synced bytes and memory are lost."""
        self.core = None
        self._syncing, self._queue = [], []
        self._images.clear()
        self._files.crash(self._rng)
        self.backend.crash()

    # One turn.

    def turn(self) -> None:
        """Drain the core until it has nothing more to say."""
        core = self.core
        if core is None:
            return
        while effects := core.drain(self._clock.now):
            for message in effects.messages:
                self._send_message(message)
            if effects.appends:
                self._append(effects.appends)
            for waiter, outcome in effects.replies:
                waiter(outcome)
        self._observe(self)

    def snapshot_sent(self, to: int, ok: bool) -> None:
        """What became of a snapshot that this member sent."""
        if self.core is not None:
            self.core.node.report_snapshot(to, ok)
            self.turn()

    def receive(self, message: Message, image: object) -> bool:
        """A message arrived; whether the member is up."""
        if self.core is None:
            return False
        if message.type is MessageType.SNAP and message.snapshot is not None:
            assert isinstance(image, tuple)
            self._images[message.snapshot.index, message.snapshot.term] = image
        self.core.receive(message, self._clock.now)
        self.turn()
        return True

    def lost(self, member_id: int) -> None:
        """The connection to a member broke."""
        if self.core is not None:
            self.core.peer_lost(member_id, self._rng.uniform(0.0, 0.03), self._clock.now)
            self.turn()

    def _tick(self) -> None:
        assert self.core is not None
        self.core.tick(self._clock.now)
        self.turn()

    def _repeat(self, interval_s: float, call: Callable[[], None]) -> None:
        life = self.life

        def again() -> None:
            if life == self.life and self.core is not None:
                call()
                self._clock.after(interval_s, again)

        self._clock.after(interval_s * self._rng.random(), again)

    def _send_message(self, message: Message) -> None:
        if message.type is not MessageType.SNAP:
            self._send(message, None)
            return
        point, chunks = self.backend.dump()
        self._send(*_with_image(message, point, list(chunks)))

    # Disk.

    def _append(self, works: list[AppendWork]) -> None:
        self._queue += works
        if not self._syncing:
            self._write()

    def _write(self) -> None:
        works, self._queue = self._queue, []
        for work in works:
            if work.snapshot is not None:
                snapshot = work.snapshot
                self._wal.mark_snapshot(snapshot.index, snapshot.term, snapshot.conf_state)
            self._wal.append(work.hard_state, work.entries)
        self._syncing = works
        if not any(work.must_sync for work in works):
            self._synced(self.life)
            return
        life = self.life
        delay_s = self._rng.uniform(self._settings.sync_s_min, self._settings.sync_s_max)
        self._clock.after(delay_s, lambda: self._sync(life))

    def _sync(self, life: int) -> None:
        if life == self.life and self.core is not None:
            self._wal.sync()
            self._synced(life)
            self.turn()

    def _synced(self, life: int) -> None:
        assert self.core is not None
        works, self._syncing = self._syncing, []
        for work in works:
            if work.snapshot is not None:
                point, chunks = self._images.pop((work.snapshot.index, work.snapshot.term))
                self.backend.load(point, iter(chunks))
            log = self.core.node.raft.log
            last = log.last_index()
            first = max(log.first_index(), last - TAIL)
            before = [(index, log.term(index)) for index in range(first, last + 1)]
            self.core.append_done(work)
            if not all(log.matches(term, index) for index, term in before):
                raise InvariantBroken(
                    f"a storage step changed the log of {self.id}, which was {before}")
        if self._queue and life == self.life:
            self._write()

    def _commit_backend(self) -> None:
        batch = self.backend.freeze()
        if batch is not None:
            self.backend.write(batch)
            self.backend.thaw(batch)

    def _commit_and_cut(self) -> None:
        assert self.core is not None
        self._commit_backend()
        self.core.machine.scrub(100)
        durable = self.backend.durable
        if not self._syncing:
            self._wal.note_synced()
        if not self._syncing and self.core.log.cut_due(durable):
            self._wal.mark_snapshot(durable.index, durable.term, durable.conf_state)
            self._wal.sync()
            self._wal.release(self.core.log.cut(durable))


def _with_image(
    message: Message, point: AppliedPoint, chunks: list[bytes]
) -> tuple[Message, object]:
    snapshot = Snapshot(point.index, point.term, point.conf_state)
    return replace(message, snapshot=snapshot), (point, chunks)
