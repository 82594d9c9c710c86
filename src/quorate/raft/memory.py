"""The stable log in memory: what the WAL holds, as Raft reads it.

Etcd keeps its stable log the same way (MemoryStorage). One entry before the first is remembered
as (index, term), so that `term(first_index - 1)` is known.

Invariant: entries are contiguous. Not here: durability (disk/wal.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quorate.raft.log import limit_size
from quorate.raft.types import (
    Compacted, ConfState, Entry, HardState, InvariantBroken, Snapshot, Unavailable,
)


class MemoryStorage:
    """A `types.Storage`. `snapshot_source`, if set, is asked for snapshots."""

    def __init__(self) -> None:
        self.snapshot_source: Callable[[], Snapshot] | None = None
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        self._entries: list[Entry] = []
        self._base_index = 0
        self._base_term = 0
        self._conf_state: ConfState | None = None

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What a node starts from."""
        return self._hard_state, self._conf_state or self._snapshot.conf_state

    def start_with(self, conf_state: ConfState) -> None:
        """The configuration to start from, where it is newer than the snapshot's."""
        self._conf_state = conf_state

    def set_hard_state(self, state: HardState) -> None:
        """Term, vote and commit are stable."""
        if state.term < self._hard_state.term:
            raise InvariantBroken(f"term fell from {self._hard_state.term} to {state.term}")
        self._hard_state = state

    def first_index(self) -> int:
        """The first entry kept."""
        return self._base_index + 1

    def last_index(self) -> int:
        """The last entry kept."""
        return self._base_index + len(self._entries)

    def term(self, index: int) -> int:
        """See `types.Storage`."""
        position = index - self._base_index - 1
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        if position == -1:
            return self._base_term
        raise Compacted(index) if position < 0 else Unavailable(index)

    def entries(self, low: int, high: int, max_bytes: int) -> tuple[Entry, ...]:
        """See `types.Storage`."""
        if low <= self._base_index:
            raise Compacted(low)
        base = self._base_index + 1
        if high > base + len(self._entries):
            raise Unavailable(high)
        return limit_size(tuple(self._entries[low - base:high - base]), max_bytes)

    def snapshot(self) -> Snapshot:
        """See `types.Storage`."""
        return self.snapshot_source() if self.snapshot_source is not None else self._snapshot

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries are stable; they replace what was there from their first index on."""
        if not entries:
            return
        first = entries[0].index
        if first <= self._base_index:
            entries = entries[self._base_index + 1 - first:]
            if not entries:
                return
            first = entries[0].index
        if first > self.last_index() + 1:
            raise InvariantBroken(f"entry {first} after a log that ends at {self.last_index()}")
        del self._entries[first - self._base_index - 1:]
        self._entries.extend(entries)

    def create_snapshot(self, index: int, conf_state: ConfState | None, data: bytes) -> Snapshot:
        """Remember a snapshot at `index` as what `snapshot` returns."""
        self._snapshot = Snapshot(
            index, self.term(index), conf_state or self._snapshot.conf_state, data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Drop everything up to and including `index`; raises Compacted, Unavailable."""
        if index <= self._base_index:
            raise Compacted(index)
        term = self.term(index)
        del self._entries[:index - self._base_index]
        self._base_index, self._base_term = index, term

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """A snapshot is stable and stands for the log up to it."""
        if 0 < snapshot.index <= self._snapshot.index:
            raise Compacted(snapshot.index)
        self._snapshot = snapshot
        self._conf_state = None
        self._base_index, self._base_term = snapshot.index, snapshot.term
        self._entries = []
