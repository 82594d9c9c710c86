"""The log as a node sees it: what is stable, through `Storage`, and the unstable tail in front.

Entries move: unstable → in progress (handed out to be written) → stable (reported back). The
unstable tail may be rewritten by a new leader while older writes of the same indexes are still in
progress; a report is believed only if it names the term of what is there now (lesson L20).

Invariants: applied ≤ applying ≤ committed ≤ last index; `offset` is the index of the first
unstable entry; entries before `offset_in_progress` have been handed out.

Not here: what commits (core.py), the files (disk/).
"""

from __future__ import annotations

from quorate.raft.errors import LogLost
from quorate.raft.types import (
    Compacted, Entry, InvariantBroken, Snapshot, Storage, StorageError, Unavailable,
)

NO_LIMIT = 2**64 - 1


ENTRY_OVERHEAD_BYTES = 16
"""What an entry takes beside its data, about: limits are bounds, not contracts."""


def encoded_size(entries: tuple[Entry, ...]) -> int:
    """Bytes of the entries as raftpb messages, about: what size limits count."""
    return ENTRY_OVERHEAD_BYTES * len(entries) + payload_size(entries)


def payload_size(entries: tuple[Entry, ...]) -> int:
    """Bytes of the entries' data alone."""
    return sum([len(entry.data) for entry in entries])


def limit_size(entries: tuple[Entry, ...], limit: int) -> tuple[Entry, ...]:
    """The longest prefix within `limit` encoded bytes, but at least one entry."""
    if limit >= NO_LIMIT or len(entries) <= 1:
        return entries
    size = 0
    for count, entry in enumerate(entries):
        size += ENTRY_OVERHEAD_BYTES + len(entry.data)
        if size > limit and count:
            return entries[:count]
    return entries


class Log:
    """Stable storage plus unstable tail."""

    def __init__(self, storage: Storage, max_applying_bytes: int) -> None:
        self.storage = storage
        self._max_applying_bytes = max_applying_bytes
        self._applying_bytes = 0
        self._applying_paused = False
        first, last = storage.first_index(), storage.last_index()
        self.committed = first - 1
        self.applying = first - 1
        self.applied = first - 1
        self.snapshot: Snapshot | None = None
        self._snapshot_in_progress = False
        self._entries: tuple[Entry, ...] = ()
        self.offset = last + 1
        self.offset_in_progress = last + 1

    # Reading.

    def first_index(self) -> int:
        """The first index that is there."""
        return self.snapshot.index + 1 if self.snapshot else self.storage.first_index()

    def last_index(self) -> int:
        """The last index that is there."""
        if self._entries:
            return self.offset + len(self._entries) - 1
        return self.snapshot.index if self.snapshot else self.storage.last_index()

    def last_term(self) -> int:
        """The term of the last index."""
        return self._entries[-1].term if self._entries else self.term(self.last_index())

    def term(self, index: int) -> int:
        """The term at an index from `first_index - 1` on; raises StorageError."""
        if index >= self.offset:
            if index - self.offset < len(self._entries):
                return self._entries[index - self.offset].term
        elif self.snapshot is None:
            return self.storage.term(index)
        elif self.snapshot.index == index:
            return self.snapshot.term
        if index + 1 < self.first_index():
            raise Compacted(index)
        if index > self.last_index():
            raise Unavailable(index)
        return self.storage.term(index)

    def matches(self, term: int, index: int) -> bool:
        """Whether the entry at `index` is of `term`."""
        try:
            return self.term(index) == term
        except StorageError:
            return False

    def is_up_to_date(self, term: int, index: int) -> bool:
        """Whether a log that ends like this is at least as new as this one (paper 5.4.1)."""
        last_term = self.last_term()
        return term > last_term or (term == last_term and index >= self.last_index())

    def entries(self, low: int, limit: int) -> tuple[Entry, ...]:
        """Everything from `low` on, within `limit` bytes; raises Compacted."""
        last = self.last_index()
        return () if low > last else self._slice(low, last + 1, limit)

    def slice(self, low: int, high: int, limit: int) -> tuple[Entry, ...]:
        """Entries of [low, high) within `limit` bytes; raises Compacted."""
        if high > self.last_index() + 1:
            raise InvariantBroken(f"slice [{low}, {high}) of a log that ends at "
                                  f"{self.last_index()}")
        return self._slice(low, high, limit)

    def _slice(self, low: int, high: int, limit: int) -> tuple[Entry, ...]:
        if low < self.first_index():
            raise Compacted(low)
        if low >= high:
            return ()
        offset = self.offset
        if low >= offset:
            return limit_size(self._entries[low - offset:high - offset], limit)
        cut = min(high, offset)
        stable = self.storage.entries(low, cut, limit)
        if high <= offset or len(stable) < cut - low:
            return stable
        return limit_size(stable + self._entries[:high - offset], limit)

    def conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """(index, term) of the last entry up to `index` whose term is at most `term`; term 0
        when it is not known. One round trip then skips a whole diverging term."""
        while index > 0:
            try:
                ours = self.term(index)
            except StorageError:
                return index, 0
            if ours <= term:
                return index, ours
            index -= 1
        return 0, 0

    # Writing.

    def append(self, entries: tuple[Entry, ...]) -> int:
        """Put entries after, or in place of, what is unstable there; the new last index."""
        if entries:
            first = entries[0].index
            if first <= self.committed:
                raise InvariantBroken(f"entry {first} would replace a committed one "
                                      f"(committed {self.committed})")
            self._truncate_and_append(first, entries)
        return self.last_index()

    def maybe_append(
        self, prev_term: int, prev_index: int, entries: tuple[Entry, ...], commit: int
    ) -> int | None:
        """A leader's append; the last new index, or None if the logs do not agree before it."""
        if not self.matches(prev_term, prev_index):
            return None
        last_new = prev_index + len(entries)
        for position, entry in enumerate(entries):
            if not self.matches(entry.term, entry.index):
                self.append(entries[position:])
                break
        self.commit_to(min(commit, last_new))
        return last_new

    def _truncate_and_append(self, first: int, entries: tuple[Entry, ...]) -> None:
        if first == self.offset + len(self._entries):
            self._entries += entries
        elif first <= self.offset:
            self._entries = entries
            self.offset = first
            self.offset_in_progress = first
        else:
            self._entries = self._entries[:first - self.offset] + entries
            self.offset_in_progress = min(self.offset_in_progress, first)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot."""
        self.committed = snapshot.index
        self.snapshot = snapshot
        self._snapshot_in_progress = False
        self._entries = ()
        self.offset = self.offset_in_progress = snapshot.index + 1

    # Handing out to be written.

    def next_unstable(self) -> tuple[Entry, ...]:
        """Entries that were not handed out yet."""
        return self._entries[self.offset_in_progress - self.offset:]

    @property
    def has_unstable(self) -> bool:
        """Whether anything is not known to be stable."""
        return bool(self._entries)

    def has_next(self, allow_unstable: bool) -> bool:
        """Whether anything waits to be handed out, be it to be written or to be applied."""
        return (self.offset_in_progress < self.offset + len(self._entries)
                or (self.snapshot is not None and not self._snapshot_in_progress)
                or (self.applying < self.committed and self.has_next_committed(allow_unstable)))

    @property
    def next_snapshot(self) -> Snapshot | None:
        """A snapshot that was not handed out yet."""
        return None if self._snapshot_in_progress else self.snapshot

    def accept_unstable(self) -> None:
        """Everything so far has been handed out."""
        self.offset_in_progress = self.offset + len(self._entries)
        if self.snapshot is not None:
            self._snapshot_in_progress = True

    def stable_to(self, term: int, index: int) -> None:
        """The entry at `index` of `term`, and all before it, are stable; ignored if what is there
        now is another entry."""
        position = index - self.offset
        if not 0 <= position < len(self._entries) or self._entries[position].term != term:
            return
        self._entries = self._entries[position + 1:]
        self.offset = index + 1
        self.offset_in_progress = max(self.offset_in_progress, self.offset)

    def stable_snapshot_to(self, index: int) -> None:
        """The snapshot at `index` is stable."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self._snapshot_in_progress = False

    # Committing and applying.

    def commit_to(self, index: int) -> None:
        """Everything up to `index` is committed; never goes back. Raises LogLost."""
        if index <= self.committed:
            return
        if index > self.last_index():
            raise LogLost(index, self.last_index())
        self.committed = index

    def maybe_commit(self, term: int, index: int) -> bool:
        """Commit up to `index` if the entry there is of the leader's own `term` (figure 8)."""
        if index > self.committed and term and self.matches(term, index):
            self.commit_to(index)
            return True
        return False

    def _max_appliable(self, allow_unstable: bool) -> int:
        return self.committed if allow_unstable else min(self.committed, self.offset - 1)

    def next_committed(self, allow_unstable: bool) -> tuple[Entry, ...]:
        """Entries that may be applied now."""
        if not self.has_next_committed(allow_unstable):
            return ()
        limit = self._max_applying_bytes - self._applying_bytes
        return self.slice(self.applying + 1, self._max_appliable(allow_unstable) + 1, limit)

    def has_next_committed(self, allow_unstable: bool) -> bool:
        """Whether there are any."""
        if self._applying_paused or self.snapshot is not None:
            return False
        return self.applying < self._max_appliable(allow_unstable)

    def accept_applying(self, entries: tuple[Entry, ...], allow_unstable: bool) -> None:
        """These were handed out to be applied."""
        self.applying = entries[-1].index
        self._applying_bytes += encoded_size(entries)
        self._applying_paused = (
            self._applying_bytes >= self._max_applying_bytes
            or self.applying < self._max_appliable(allow_unstable))

    def applied_to(self, index: int, size: int) -> None:
        """Everything up to `index` is applied; `size` encoded bytes are out of the way."""
        if not self.applied <= index <= self.committed:
            raise InvariantBroken(f"applied {index} outside [{self.applied}, {self.committed}]")
        self.applied = index
        self.applying = max(self.applying, index)
        self._applying_bytes = max(0, self._applying_bytes - size)
        self._applying_paused = self._applying_bytes >= self._max_applying_bytes
