"""The write-ahead log: docs/formats/wal.md describes every byte.

A log is a row of segments `<sequence>-<first index>.wal`, hex, preallocated with zeroes. A record
is: length (4 bytes), CRC-32 (4), type (1), payload. The CRC is seeded with cluster, member, segment
and offset, so a record of another place does not pass, and a later one can be found behind damage.
All numbers are little-endian.

Invariants:
- Term and vote are one record, so neither is ever there without the other.
- A record is never changed; entries from an index on are superseded by later ones of that index.
- What `sync` has returned for is never cut: after a sync the next record says up to where
  everything is safe (SYNCED), and damage before such a mark is `WalDamaged`. Damage after the last
  mark is a torn tail that nobody can have relied on.
- A segment is begun only when the one before is synced, so damage in an earlier one is rot.

Not here: when to sync (member/appender.py), what to keep (member/logkeeper.py).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import NamedTuple
from zlib import crc32

from quorate.disk.files import File, Files
from quorate.raft.types import ConfState, Entry, HardState
from quorate.wire.raft import (
    WireError, decode_conf_state, encode_conf_state, encode_entries, encode_entry,
    encode_hard_state,
)

SEGMENT_BYTES = 8 << 20
"""A segment is cut after this. Small enough that zero-filling one takes milliseconds and that a
member with little traffic wastes little disk; a record may make a segment longer."""

RECORD_BYTES_MAX = 64 << 20
"""A longer length is damage, not a record."""

BATCH_BYTES_MAX = 1 << 20
"""Of a record with several entries."""

MAGIC = b"qwal"
FORMAT_VERSION = 1
HEADER = struct.Struct("<4sHHQQQI")
RECORD = struct.Struct("<IIB")
_SEED = struct.Struct("<QQQQ")


class RecordType(IntEnum):
    """What a payload is."""

    ENTRY = 1
    HARD_STATE = 2
    SNAPSHOT = 3
    ENTRIES = 5
    """Several entries, each after its length."""
    SYNCED = 4
    """Everything in this segment before the payload's offset was synced."""


@dataclass(frozen=True, slots=True)
class WalMetadata:
    """Whose log it is."""

    cluster_id: int
    member_id: int


@dataclass(frozen=True, slots=True)
class SnapshotMark:
    """Up to here the state is elsewhere; entries after it are needed."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()


@dataclass(frozen=True, slots=True)
class WalContents:
    """What a log holds: entries after the mark, contiguous. `repaired` says what was cut."""

    metadata: WalMetadata
    hard_state: HardState
    snapshot: SnapshotMark
    entries: tuple[Entry, ...]
    repaired: str | None


class WalDamaged(Exception):
    """The log cannot be trusted; the text says where and what to do."""


class WalSyncFailed(Exception):
    """The disk did not take the log. Final: what is on disk is unknown from now on."""


@dataclass(slots=True)
class Segment:
    """A file of the log; `last_index` is the highest index in it or before it."""

    name: str
    sequence: int
    last_index: int


class Extent(NamedTuple):
    """Offsets in a segment."""

    path: str
    synced: int
    written: int


class Wal:
    """An open log, positioned at its end."""

    def __init__(
        self, files: Files, directory: str, metadata: WalMetadata, segment_bytes: int
    ) -> None:
        self._files = files
        self._segment_bytes = segment_bytes
        self._directory = directory
        self._metadata = metadata
        self._segments: list[Segment] = []
        self._file: File | None = None
        self._offset = 0
        self._synced = self._marked = 0
        self._hard_state = HardState()
        self._mark = SnapshotMark()
        self._dirty = False
        self._failed = self._commit_kept = False
        self._spare = ""
        self._preparing = Lock()
        self.written_bytes = 0
        """Since the start, for metrics."""

    @classmethod
    def create(
        cls, files: Files, directory: str, metadata: WalMetadata, mark: SnapshotMark,
        hard_state: HardState, segment_bytes: int = SEGMENT_BYTES,
    ) -> Wal:
        """A new log that begins after `mark`. It is durable when this returns, or not there."""
        wal = cls(files, directory, metadata, segment_bytes)
        wal._mark, wal._hard_state = mark, hard_state
        files.make_directory(directory)
        wal._roll(first_index=mark.index + 1)
        return wal

    @classmethod
    def open(
        cls, files: Files, directory: str, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[Wal, WalContents]:
        """Read a log and continue it after its last record; raises WalDamaged."""
        from quorate.disk.wal_reader import read_log

        read = read_log(files, directory)
        contents = read.contents
        wal = cls(files, directory, contents.metadata, segment_bytes)
        wal._segments = read.segments
        wal._hard_state, wal._mark = contents.hard_state, contents.snapshot
        wal._offset = read.offset
        wal._file = files.open(f"{directory}/{wal._segments[-1].name}")
        if contents.repaired is not None:
            wal._file.write_at(read.offset, bytes(read.size - read.offset))
        wal._dirty = True
        wal.sync()
        return wal, contents

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Write, without sync. Entries that are there from the first one's index on are
        superseded. A commit index alone is kept for the next write: nothing relies on it."""
        if hard_state is not None:
            commit_only = hard_state[:2] == self._hard_state[:2]
            self._hard_state = hard_state
            if commit_only and not entries:
                self._commit_kept = True
                return
        records: list[tuple[RecordType, bytes]] = []
        if hard_state is not None or self._commit_kept:
            state = self._hard_state
            if entries and state.commit >= entries[0].index:
                # It must not say that entries are committed which may be torn off behind it.
                state = state._replace(commit=entries[0].index - 1)
            records.append((RecordType.HARD_STATE, encode_hard_state(state)))
            self._commit_kept = state.commit != self._hard_state.commit
        if entries:
            records += _entry_records(entries)
            self._segments[-1].last_index = max(
                self._segments[-1].last_index, entries[-1].index)
        self._write(records)

    def mark_snapshot(self, index: int, term: int, conf_state: ConfState) -> None:
        """Write, without sync, that the state up to `index` is elsewhere, durably."""
        self._mark = SnapshotMark(index, term, conf_state)
        self._write([(RecordType.SNAPSHOT, _encode_mark(self._mark))])

    def sync(self) -> None:
        """Everything written is durable when this returns; raises WalSyncFailed, for good."""
        if self._failed:
            raise WalSyncFailed("the log failed to sync before; restart the member")
        if not self._dirty or self._file is None:
            return
        try:
            self._file.sync()
        except OSError as failure:
            self._failed = True
            raise WalSyncFailed(
                f"{self._directory}/{self._segments[-1].name}: sync failed: {failure}; the "
                f"member stops because nobody can tell what is on that disk now; check the disk "
                f"before you start it again") from failure
        self._dirty = False
        self._synced = self._offset
        if self._offset >= self._segment_bytes:
            self._roll(first_index=self._segments[-1].last_index + 1)

    def note_synced(self) -> None:
        """Write the mark of the last sync, if it is not written yet. Called when the log has been
        idle for a moment, so that rot of the tail can be told from a torn write."""
        if self._synced > self._marked and not self._dirty:
            self._write([])

    @property
    def extent(self) -> Extent:
        """How far the current segment is synced and written."""
        return Extent(f"{self._directory}/{self._segments[-1].name}", self._synced, self._offset)

    @property
    def wants_spare(self) -> bool:
        """Whether the segment is more than half full and the next one is not prepared."""
        return not self._spare and self._offset > self._segment_bytes // 2

    def prepare(self) -> None:
        """Zero-fill the next segment; may run in another thread, so that beginning it takes no
        longer than a sync."""
        with self._preparing:
            if not self._spare:
                self._prepare(self._segments[-1].sequence + 1)

    def _prepare(self, sequence: int) -> None:
        name = f"{sequence:016x}.next"
        if name in self._files.list(self._directory):
            self._files.remove(f"{self._directory}/{name}")
        file = self._files.create(f"{self._directory}/{name}", self._segment_bytes)
        file.sync()
        file.close()
        self._spare = name

    def release(self, index: int) -> None:
        """Entries below `index` are not needed: remove segments that hold nothing else."""
        while len(self._segments) > 1 and self._segments[0].last_index < index:
            old = self._segments.pop(0)
            self._files.remove(f"{self._directory}/{old.name}")
        self._files.sync_directory(self._directory)

    def close(self) -> None:
        """Close the file; what was not synced may be lost."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, records: Sequence[tuple[RecordType, bytes]]) -> None:
        if self._file is None:
            return
        if self._synced > self._marked:
            self._marked = self._synced
            records = [(RecordType.SYNCED, struct.pack("<Q", self._synced)), *records]
        out, offset, sequence = [], self._offset, self._segments[-1].sequence
        for kind, payload in records:
            if len(payload) > RECORD_BYTES_MAX:
                raise ValueError(f"a record of {len(payload)} bytes could not be read again; the "
                                 f"limit is {RECORD_BYTES_MAX}")
            crc = record_crc(self._metadata, sequence, offset, kind, payload)
            out.append(RECORD.pack(len(payload), crc, kind))
            out.append(payload)
            offset += RECORD.size + len(payload)
        self._file.write_at(self._offset, b"".join(out))
        self.written_bytes += offset - self._offset
        self._offset = offset
        self._dirty = self._dirty or len(records) > 1 or bool(
            records and records[0][0] is not RecordType.SYNCED)

    def _roll(self, first_index: int) -> None:
        """Begin a segment. It repeats hard state and mark, so older ones can go; it gets its
        name when it is complete, so a crash leaves the old row or the new one."""
        sequence = self._segments[-1].sequence + 1 if self._segments else 0
        name = f"{sequence:016x}-{first_index:016x}.wal"
        with self._preparing:
            if not self._spare:
                self._prepare(sequence)
            temporary, self._spare = f"{self._directory}/{self._spare}", ""
        file = self._files.open(temporary)
        header = encode_header(self._metadata, sequence)
        file.write_at(0, header)
        old, self._file, self._offset = self._file, file, len(header)
        self._synced = self._marked = 0
        self._segments.append(Segment(name, sequence, first_index - 1))
        self._write([
            (RecordType.SNAPSHOT, _encode_mark(self._mark)),
            (RecordType.HARD_STATE, encode_hard_state(self._hard_state))])
        file.sync()
        self._files.rename(temporary, f"{self._directory}/{name}")
        self._files.sync_directory(self._directory)
        if old is not None:
            old.close()
        self._dirty = False
        self._synced = self._offset


def record_crc(
    metadata: WalMetadata, sequence: int, offset: int, kind: int, payload: bytes
) -> int:
    """The checksum of a record at that place."""
    seed = crc32(_SEED.pack(metadata.cluster_id, metadata.member_id, sequence, offset))
    return crc32(payload, crc32(bytes((kind,)), seed))


def encode_header(metadata: WalMetadata, sequence: int) -> bytes:
    """The first bytes of a segment; the last four are their CRC-32."""
    fields = (MAGIC, FORMAT_VERSION, 0, metadata.cluster_id, metadata.member_id, sequence)
    return HEADER.pack(*fields, crc32(HEADER.pack(*fields, 0)[:-4]))


def _entry_records(entries: Sequence[Entry]) -> list[tuple[RecordType, bytes]]:
    """One record, or several of at most BATCH_BYTES_MAX unless a single entry is larger."""
    if len(entries) == 1:
        return [(RecordType.ENTRY, encode_entry(entries[0]))]
    payload = encode_entries(entries)
    if len(payload) <= BATCH_BYTES_MAX:
        return [(RecordType.ENTRIES, payload)]
    middle = len(entries) // 2
    return _entry_records(entries[:middle]) + _entry_records(entries[middle:])


def _encode_mark(mark: SnapshotMark) -> bytes:
    return struct.pack("<QQ", mark.index, mark.term) + encode_conf_state(mark.conf_state)


def decode_mark(payload: bytes) -> SnapshotMark:
    """See `_encode_mark`; raises WireError."""
    if len(payload) < 16:
        raise WireError("a snapshot mark is cut short")
    index, term = struct.unpack_from("<QQ", payload)
    return SnapshotMark(index, term, decode_conf_state(payload[16:]))
