"""`state.backend.Backend` in memory, with durability as the simulator wants it.

What was frozen and written is durable; `crash` goes back to that. Same surface as
lmdb_backend.py, same tests. Not here: a real disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from quorate.disk.sorted_map import SortedMap
from quorate.raft.types import ConfState
from quorate.state.backend import AppliedPoint, BackendSize, Bucket

EMPTY_POINT = AppliedPoint(0, 0, ConfState())
_RECORD = struct.Struct(">BII")


@dataclass(slots=True)
class Batch:
    """Changes up to an applied point; None means deleted."""

    applied: AppliedPoint
    changes: dict[tuple[Bucket, bytes], bytes | None]


class MemoryBackend:
    """See the module's text."""

    def __init__(self) -> None:
        self._live: dict[Bucket, SortedMap[bytes]] = {b: SortedMap() for b in Bucket}
        self._durable: dict[Bucket, dict[bytes, bytes]] = {b: {} for b in Bucket}
        self._changes: dict[tuple[Bucket, bytes], bytes | None] = {}
        self._applied = self.durable = EMPTY_POINT

    @property
    def applied(self) -> AppliedPoint:
        """See `Backend`."""
        return self._applied

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        """See `Backend`."""
        return self._live[bucket].data.get(key)

    def scan(
        self, bucket: Bucket, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Backend`."""
        return self._live[bucket].scan(start, end, reverse=reverse)

    def count(self, bucket: Bucket) -> int:
        """See `Backend`."""
        return len(self._live[bucket])

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        """See `Backend`."""
        self._live[bucket].put(key, value)
        self._changes[bucket, key] = value

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """See `Backend`."""
        self._live[bucket].remove(key)
        self._changes[bucket, key] = None

    def advance(self, applied: AppliedPoint) -> None:
        """See `Backend`."""
        self._applied = applied

    def size(self) -> BackendSize:
        """See `Backend`."""
        used = sum(len(k) + len(v) for m in self._live.values() for k, v in m.data.items())
        return BackendSize(used, used)

    def freeze(self) -> Batch | None:
        """Everything since the last freeze, None if there is nothing."""
        if not self._changes and self._applied == self.durable:
            return None
        batch = Batch(self._applied, self._changes)
        self._changes = {}
        return batch

    def write(self, batch: Batch) -> None:
        """Make the batch durable."""
        for (bucket, key), value in batch.changes.items():
            if value is None:
                self._durable[bucket].pop(key, None)
            else:
                self._durable[bucket][key] = value
        self.durable = batch.applied

    def thaw(self, batch: Batch) -> None:
        """The batch is durable."""

    def commit(self) -> None:
        """What is applied is durable, all three steps at once."""
        batch = self.freeze()
        if batch is not None:
            self.write(batch)
            self.thaw(batch)

    def crash(self) -> None:
        """Go back to what is durable."""
        self._changes = {}
        self._applied = self.durable
        for bucket, data in self._durable.items():
            self._live[bucket] = SortedMap()
            for key, value in data.items():
                self._live[bucket].put(key, value)

    def dump(self) -> tuple[AppliedPoint, Iterator[bytes]]:
        """The durable state; chunks as `load` takes them."""
        records = [(b, k, v) for b in Bucket for k, v in sorted(self._durable[b].items())]
        return self.durable, (
            _RECORD.pack(b, len(k), len(v)) + k + v for b, k, v in records)

    def load(self, point: AppliedPoint, chunks: Iterator[bytes]) -> None:
        """Replace everything."""
        self._durable = {b: {} for b in Bucket}
        for chunk in chunks:
            bucket, key_size, value_size = _RECORD.unpack_from(chunk)
            key = chunk[_RECORD.size:_RECORD.size + key_size]
            value = chunk[_RECORD.size + key_size:]
            if len(value) != value_size:
                raise ValueError("a record of the image is cut short")
            self._durable[Bucket(bucket)][key] = value
        self.durable = point
        self.crash()

    def close(self) -> None:
        """Nothing to close."""
