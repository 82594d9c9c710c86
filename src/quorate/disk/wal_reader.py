"""Reading a log: what it holds, where it ends, and whether it can be trusted.

The rule (docs/formats/wal.md): reading stops at the first place that holds no valid record. If all
bytes after it are zero, the log simply ends there. If a later valid record says that everything up
to beyond that place was synced, or the segment is not the last one, something that may have been
acknowledged is damaged: `WalDamaged`, nothing is changed. Otherwise it is the torn end of writes
that no sync had returned for, and is cut.

Not here: writing (wal.py).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

from quorate.disk.files import Files
from quorate.disk.wal import (
    FORMAT_VERSION, HEADER, MAGIC, RECORD, RECORD_BYTES_MAX, RecordType, Segment, SnapshotMark,
    WalContents, WalDamaged, WalMetadata, decode_mark, record_crc,
)
from quorate.raft.types import Entry, HardState
from quorate.wire.raft import WireError, decode_entries, decode_entry, decode_hard_state

ADVICE = ("start this member with an empty data directory after removing it from the cluster and "
          "adding it again, or restore the file from a copy; the other members are not affected")


@dataclass(slots=True)
class LogRead:
    """Contents, and where to go on writing."""

    contents: WalContents
    segments: list[Segment]
    offset: int
    size: int


class _Replay:
    """Records in order, the later superseding the earlier."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.mark = SnapshotMark()
        self.entries: list[Entry] = []
        self.last_index = 0

    def apply(self, kind: RecordType, payload: bytes, where: str) -> None:
        """One record; raises WalDamaged if it cannot follow the ones before."""
        try:
            if kind is RecordType.ENTRY:
                self._entry(decode_entry(payload), where)
            elif kind is RecordType.ENTRIES:
                for entry in decode_entries(payload):
                    self._entry(entry, where)
            elif kind is RecordType.HARD_STATE:
                self.hard_state = decode_hard_state(payload)
            elif kind is RecordType.SNAPSHOT:
                self._snapshot(decode_mark(payload))
        except WireError as malformed:
            raise WalDamaged(f"{where}: {malformed}; {ADVICE}") from malformed

    def _entry(self, entry: Entry, where: str) -> None:
        last = self.entries[-1].index if self.entries else None
        if last is not None and entry.index > last + 1 and entry.index != self.mark.index + 1:
            raise WalDamaged(
                f"{where}: entry {entry.index} follows entry {last}; entries are missing; "
                f"{ADVICE}")
        if last is not None and entry.index > last + 1:
            self.entries.clear()
        elif last is not None and entry.index <= last:
            del self.entries[max(0, len(self.entries) - (last - entry.index + 1)):]
        self.entries.append(entry)
        self.last_index = max(self.last_index, entry.index)

    def _snapshot(self, mark: SnapshotMark) -> None:
        if mark.index >= self.mark.index:
            self.mark = mark
        if self.entries and mark.index > self.entries[-1].index:
            self.entries.clear()

    def entries_after_mark(self, directory: str) -> tuple[Entry, ...]:
        """What a member starts from; raises WalDamaged if it is not contiguous."""
        entries = tuple(e for e in self.entries if e.index > self.mark.index)
        if entries and entries[0].index != self.mark.index + 1:
            raise WalDamaged(
                f"{directory}: the log begins at entry {entries[0].index}, after a snapshot of "
                f"{self.mark.index}; entries are missing; {ADVICE}")
        last = entries[-1].index if entries else self.mark.index
        if self.hard_state.commit > last:
            raise WalDamaged(
                f"{directory}: entries up to {self.hard_state.commit} were committed, but the "
                f"log ends at {last}; {ADVICE}")
        return entries


def read_log(files: Files, directory: str) -> LogRead:
    """Read all segments; raises WalDamaged."""
    names = [name for name in files.list(directory) if name.endswith(".wal")]
    if not names:
        raise WalDamaged(f"{directory}: there is no log; {ADVICE}")
    replay = _Replay()
    segments: list[Segment] = []
    metadata: WalMetadata | None = None
    offset = size = 0
    repaired: str | None = None
    for position, name in enumerate(names):
        path = f"{directory}/{name}"
        data = files.read(path)
        found, sequence = _header(path, data)
        if segments and sequence != segments[-1].sequence + 1:
            raise WalDamaged(f"{path}: a segment before it is missing; {ADVICE}")
        if metadata not in (None, found):
            raise WalDamaged(f"{path}: belongs to another member or cluster; {ADVICE}")
        metadata = found
        offset, size = _records(path, data, found, sequence, replay), len(data)
        if any(data[offset:]):
            repaired = _torn(path, data, offset, found, sequence,
                             last=position == len(names) - 1)
        segments.append(Segment(name, sequence, replay.last_index))
    assert metadata is not None
    contents = WalContents(metadata, replay.hard_state, replay.mark,
                           replay.entries_after_mark(directory), repaired)
    return LogRead(contents, segments, offset, size)


def _header(path: str, data: bytes) -> tuple[WalMetadata, int]:
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise WalDamaged(f"{path}: does not begin like a log segment; {ADVICE}")
    _, version, _, cluster_id, member_id, sequence, crc = HEADER.unpack_from(data)
    if crc != crc32(data[:HEADER.size - 4]):
        raise WalDamaged(f"{path}: damaged at offset 0; {ADVICE}")
    if version != FORMAT_VERSION:
        raise WalDamaged(
            f"{path}: format version {version}, this program knows {FORMAT_VERSION}; start it "
            f"with the version of quorate that wrote it")
    return WalMetadata(cluster_id, member_id), sequence


def _record_at(
    data: bytes, offset: int, metadata: WalMetadata, sequence: int
) -> tuple[RecordType, bytes] | None:
    """The valid record at that offset."""
    if offset + RECORD.size > len(data):
        return None
    length, crc, kind = RECORD.unpack_from(data, offset)
    start = offset + RECORD.size
    if not 1 <= kind <= 5 or length > RECORD_BYTES_MAX or start + length > len(data):
        return None
    payload = data[start:start + length]
    if crc != record_crc(metadata, sequence, offset, kind, payload):
        return None
    return RecordType(kind), payload


def _records(
    path: str, data: bytes, metadata: WalMetadata, sequence: int, replay: _Replay
) -> int:
    """Replay a segment; the offset after its last valid record."""
    offset = HEADER.size
    while (record := _record_at(data, offset, metadata, sequence)) is not None:
        replay.apply(*record, f"{path}: offset {offset}")
        offset += RECORD.size + len(record[1])
    return offset


def _torn(
    path: str, data: bytes, offset: int, metadata: WalMetadata, sequence: int, *, last: bool
) -> str:
    """Damage at `offset`: what was cut, or WalDamaged."""
    synced = 0
    for at in range(offset + 1, len(data) - RECORD.size):
        if data[at + 8] == RecordType.SYNCED:
            record = _record_at(data, at, metadata, sequence)
            if record is not None and len(record[1]) == 8:
                synced = max(synced, struct.unpack("<Q", record[1])[0])
    if synced > offset or not last:
        raise WalDamaged(
            f"{path}: damaged at offset {offset}, in a part that was synced"
            f"{f' up to offset {synced}' if synced else ''}; acknowledged entries may be "
            f"missing, so nothing was changed; {ADVICE}")
    return f"{path}: cut at offset {offset}, after an interrupted write"
