"""etcd's write-ahead log, as far as needed to tell what a database does not hold (surface §11.2).

A segment is a row of frames: 8 bytes, little-endian, whose low 56 bits are the length of a record
and whose top byte has its padding; then the record, {type, crc, data}. Zeroes end it.
Not here: replaying. Checksums are not looked at: only indexes are taken from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError

from quorate.wire._generated import raft_internal_pb2 as internal, raft_pb2

ENTRY = 2
CHANGING = ("put", "delete_range", "txn", "compaction", "lease_grant", "lease_revoke")
"""Requests that change keys or leases; others leave no trace in the database."""

_LENGTH = (1 << 56) - 1


def changes_after(index: int, segments: Iterable[bytes]) -> set[int]:
    """Indexes of the entries after `index` that may change keys or leases; segments in order."""
    found: set[int] = set()
    for segment in segments:
        for kind, data in _records(segment):
            if kind != ENTRY:
                continue
            try:
                entry = raft_pb2.Entry.FromString(data)
                request = internal.InternalRaftRequest.FromString(
                    b"" if entry.Type else entry.Data)
            except DecodeError:
                continue
            # An entry supersedes all from its index on.
            found = {known for known in found if known < entry.Index}
            if entry.Index > index and any(
                    field.name in CHANGING for field, _ in request.ListFields()):
                found.add(entry.Index)
    return found


def _records(segment: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, data) until zeroes, or what is cut short."""
    at = 0
    while at + 8 <= len(segment):
        head = int.from_bytes(segment[at:at + 8], "little")
        size, padding = head & _LENGTH, head >> 56 & 7
        if not size or at + 8 + size > len(segment):
            return
        yield _record(segment[at + 8:at + 8 + size])
        at += 8 + size + padding


def _record(data: bytes) -> tuple[int, bytes]:
    """{type = 1: int64, crc = 2: uint32, data = 3: bytes}."""
    kind, at = 0, 0
    while at < len(data):
        tag = data[at]
        value, at = _varint(data, at + 1)
        if tag == 1 << 3:
            kind = value
        elif tag == 3 << 3 | 2:
            return kind, data[at:at + value]
    return kind, b""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
