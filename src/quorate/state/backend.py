"""The ordered key-value port that the replicated state lives on.

A backend is a set of buckets, each an ordered map from bytes to bytes, plus the point of the
log that they reflect. Writes go to an in-memory overlay which reads see at once; the driver
makes them durable with `freeze` → `write` (may run in a thread) → `thaw`. The applied point is
part of every frozen batch, so no effect is ever durable without its index, nor the reverse
(etcd's 3.5 inconsistency, issue 13766, was exactly that).

Implementations: disk/lmdb_backend.py (a member), disk/memory_backend.py (tests, simulation).
One set of tests, tests/unit/disk/test_backends.py, runs against both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from quorate.raft.types import ConfState


class Bucket(IntEnum):
    """Names of the ordered maps; the numbers are fixed by docs/formats/backend.md."""

    KEY = 0
    """17-byte revision (tombstones: 18) → mvccpb.KeyValue, byte for byte as etcd's `key`."""
    LATEST = 1
    """key → its newest live revision."""
    PAST = 2
    """(key, revision) → whether it was a deletion."""
    LEASE = 3
    """8-byte big-endian id → leasepb.Lease."""
    LEASE_KEY = 4
    """(lease id, key) → empty."""
    MEMBER = 5
    """8-byte id → member JSON; removed ids stay as tombstones."""
    META = 6
    """name → bytes: scheduled and finished compaction and the like."""
    ALARM = 7
    AUTH = 8


class AppliedPoint(NamedTuple):
    """The last entry whose effects the backend holds, and the configuration there."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    conf_state: ConfState


@dataclass(frozen=True, slots=True)
class BackendSize:
    """`total`: bytes of the file; `in_use`: bytes that hold data."""

    total: int
    in_use: int


class Backend(Protocol):
    """Reads and overlay writes; one thread. `applied` moves with `advance` only."""

    @property
    def applied(self) -> AppliedPoint:
        """The applied point of the overlay (what reads reflect)."""
        ...

    def get(self, bucket: Bucket, key: bytes) -> bytes | None: ...

    def scan(
        self, bucket: Bucket, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of [start, end) in key order; `end` None means no upper bound.

        The backend must not be written to while the iterator is in use.
        """
        ...

    def count(self, bucket: Bucket) -> int:
        """How many keys the bucket has."""
        ...

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None: ...

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """Absent keys are fine."""
        ...

    def advance(self, applied: AppliedPoint) -> None:
        """Declare that the overlay now holds all effects up to `applied`."""
        ...

    def size(self) -> BackendSize: ...
