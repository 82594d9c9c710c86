"""The member's log between Raft, which asks for appends, and the driver, which syncs them.

Invariants:
- Appends are reported in the order in which they were asked for; an entry is part of the stable
  log that Raft reads only after its append was reported.
- The log is cut only up to a point that the backend holds durably, so whatever is cut can be had
  as a snapshot.

Not here: the files (disk/wal.py), Raft's own bookkeeping of unstable entries (raft/log.py).
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from quorate.member.effects import AppendWork
from quorate.member.limits import Limits
from quorate.raft.memory import MemoryStorage
from quorate.raft.types import HardState, InvariantBroken, Message
from quorate.state.backend import AppliedPoint, Backend


class LogConfig(Protocol):
    """What decides when the log is cut: two of etcd's flags, and its size in memory."""

    @property
    def snapshot_count(self) -> int: ...

    @property
    def snapshot_catch_up_entries(self) -> int: ...

    @property
    def limits(self) -> Limits: ...


class LogKeeper:
    """Stable log, appends under way, and where to cut."""

    def __init__(self, storage: MemoryStorage, backend: Backend, config: LogConfig) -> None:
        self.storage = storage
        self._backend = backend
        self._config = config
        self._bytes_max = config.limits.log_bytes
        self._pending: deque[AppendWork] = deque()
        hard_state, _ = storage.initial_state()
        self._vote = (hard_state.term, hard_state.vote)
        self._bytes = 0
        self.marked = storage.first_index() - 1

    def append_asked(self, message: Message, now: float) -> AppendWork:
        """Raft's STORAGE_APPEND as work for the driver."""
        hard_state = None
        if message.term:
            hard_state = HardState(message.term, message.vote, message.commit)
        vote = self._vote if hard_state is None else (hard_state.term, hard_state.vote)
        snapshot = message.snapshot
        work = AppendWork(
            hard_state, message.entries, snapshot,
            bool(message.entries) or snapshot is not None or vote != self._vote,
            message.responses, now)
        self._vote = vote
        self._pending.append(work)
        return work

    def append_done(self, work: AppendWork) -> None:
        """The driver reports the oldest append."""
        if not self._pending or self._pending.popleft() is not work:
            raise InvariantBroken("appends were reported out of order")
        if work.hard_state is not None:
            self.storage.set_hard_state(work.hard_state)
        if work.snapshot is not None:
            self.storage.apply_snapshot(work.snapshot)
            self.marked = work.snapshot.index
            self._bytes = 0
        if work.entries:
            self.storage.append(work.entries)
            self._bytes += sum(len(entry.data) for entry in work.entries)

    def stalled(self, now: float, limit_s: float) -> bool:
        """Whether the oldest append has been with the disk for too long (lesson L7)."""
        return bool(self._pending) and now - self._pending[0].asked_at > limit_s

    @property
    def pending(self) -> bool:
        """Whether an append is under way."""
        return bool(self._pending)

    def cut_due(self, durable: AppliedPoint) -> bool:
        """Whether enough was appended since the last cut."""
        behind = durable.index - self.marked
        return behind >= self._config.snapshot_count or (
            behind > 0 and self._bytes > self._bytes_max)

    def cut(self, durable: AppliedPoint) -> int:
        """Drop what nobody needs: everything but the last entries for followers that are a
        little behind. The driver has marked `durable` in the WAL before. Returns the first
        index that is kept."""
        self.marked = durable.index
        keep = self._config.snapshot_catch_up_entries if self._bytes <= self._bytes_max else 0
        first = self.storage.first_index()
        index = max(first - 1, durable.index - keep)
        if index >= first:
            self.storage.compact(index)
        self._bytes = self._bytes if keep else 0
        return self.storage.first_index()
