"""The keys: every change under its revision, and indexes to the newest and to past ones.

Buckets: KEY holds each change, LATEST the live keys, PAST all revisions of each key. All three
move together, in one write transaction of one main revision.

Invariants: `revision` rises by one with each transaction that changes anything, and only then;
revisions below `compact_revision` cannot be read. A fresh store is at revision 1 (etcd).

Not here: requests and their options (ranges.py, txn.py), leases (lease.py), the physical side of
compaction (compaction.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from quorate.state.backend import Backend, Bucket
from quorate.state.revision import (
    Latest, decode_latest, encode_latest, parse_past_key, parse_revision_key, past_key,
    past_prefix, revision_key,
)
from quorate.wire._generated import kv_pb2

FIRST_REVISION = 1
COMPACT_REVISION = b"scheduledCompactRev"
_DELETED, _LIVE = b"t", b""
_KEY, _LATEST, _PAST = Bucket.KEY, Bucket.LATEST, Bucket.PAST  # looked up for every change

PUT: int = kv_pb2.Event.PUT
DELETE: int = kv_pb2.Event.DELETE


class Event(NamedTuple):
    """One change, for watchers."""

    type: int
    kv: kv_pb2.KeyValue
    revision: int


def interval(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """[start, end) of a request: no range_end is the one key, a zero byte everything from key."""
    if not range_end:
        return key, key + b"\0"
    return key, None if range_end == b"\0" else range_end


@dataclass(slots=True)
class Counts:
    """What was done since the start, for metrics."""

    ranges: int = 0
    puts: int = 0
    deletes: int = 0
    txns: int = 0
    """Transactions of several of these."""
    put_bytes: int = 0
    """Keys and values."""
    cleaned: int = 0
    """Changes that were physically removed."""


class Store:
    """Keys by revision."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.counts = Counts()
        self.keys = 0
        """Live ones."""
        self.shape = 0
        """Another number whenever a key has come or gone."""
        self.revision = FIRST_REVISION
        self.compact_revision = -1
        self.load()

    def load(self) -> None:
        """Take over what the backend holds."""
        compacted = self.backend.get(Bucket.META, COMPACT_REVISION)
        self.compact_revision = int.from_bytes(compacted, "big") if compacted else -1
        self.revision = max(FIRST_REVISION, self.compact_revision)
        self.keys = self.backend.count(Bucket.LATEST)
        self.shape += 1
        for key, _ in self.backend.scan(Bucket.KEY, b"", None, reverse=True):
            self.revision = max(self.revision, parse_revision_key(key)[0])
            break

    # Reading.

    def latest(self, key: bytes) -> Latest | None:
        """What is known of a live key."""
        value = self.backend.get(_LATEST, key)
        return None if value is None else decode_latest(value)

    def record(self, main: int, sub: int) -> kv_pb2.KeyValue | None:
        """The key-value of a put."""
        value = self.backend.get(_KEY, revision_key(main, sub))
        return None if value is None else kv_pb2.KeyValue.FromString(value)

    def live(self, key: bytes) -> kv_pb2.KeyValue | None:
        """A key now."""
        latest = self.latest(key)
        return None if latest is None else self.record(latest.main, latest.sub)

    def live_keys(self, key: bytes, range_end: bytes) -> Iterator[tuple[bytes, Latest]]:
        """Live keys of an interval, in order."""
        start, end = interval(key, range_end)
        if not range_end:
            latest = self.latest(key)
            if latest is not None:
                yield key, latest
            return
        for found, value in self.backend.scan(Bucket.LATEST, start, end):
            yield found, decode_latest(value)

    def past_keys(
        self, key: bytes, range_end: bytes, revision: int
    ) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """Keys that were live at `revision`, with the revision of their value."""
        start, end = interval(key, range_end)
        newest: tuple[bytes, tuple[int, int], bool] | None = None
        for past, flag in self.backend.scan(
                Bucket.PAST, past_prefix(start), None if end is None else past_prefix(end)):
            found, main, sub = parse_past_key(past)
            if newest is not None and newest[0] != found:
                if newest[2]:
                    yield newest[:2]
                newest = None
            if main <= revision:
                newest = (found, (main, sub), flag == _LIVE)
        if newest is not None and newest[2]:
            yield newest[:2]

    def previous(self, key: bytes, revision: int) -> kv_pb2.KeyValue | None:
        """The key's value before the change at `revision`; None if there was none, or it was
        compacted, as far as clean-up may have got (etcd: a range at the revision before)."""
        if revision <= self.compact_revision:
            return None
        prefix = past_prefix(key)
        for past, flag in self.backend.scan(
                Bucket.PAST, prefix, past_key(key, revision, 0), reverse=True):
            _, main, sub = parse_past_key(past)
            return self.record(main, sub) if flag == _LIVE else None
        return None

    def events_since(
        self, revision: int, key: bytes, range_end: bytes, limit: int, bytes_max: int = 1 << 62
    ) -> tuple[list[Event], int]:
        """Changes of an interval from `revision` on, whole revisions, after looking at no more
        than about `limit` changes and finding about `bytes_max`; and the revision to go on
        from."""
        start, end = interval(key, range_end)
        events: list[Event] = []
        current, seen, size = 0, 0, 0
        for record, value in self.backend.scan(Bucket.KEY, revision_key(revision, 0), None):
            main, _, deleted = parse_revision_key(record)
            if main != current and (seen >= limit or size >= bytes_max):
                return events, main
            current, seen = main, seen + 1
            kv = kv_pb2.KeyValue.FromString(value)
            if kv.key >= start and (end is None or kv.key < end):
                if deleted:
                    kv.mod_revision = main
                events.append(Event(DELETE if deleted else PUT, kv, main))
                size += len(value)
        return events, self.revision + 1

    def compact(self, revision: int) -> None:
        """Revisions below `revision` cannot be read from now on."""
        self.compact_revision = revision
        self.backend.put(Bucket.META, COMPACT_REVISION, revision.to_bytes(8, "big"))


@dataclass(slots=True)
class Write:
    """One write transaction; `finish` makes it a revision if it changed anything."""

    store: Store
    events: list[Event]

    @classmethod
    def begin(cls, store: Store) -> Write:
        """A transaction on top of the newest revision."""
        return cls(store, [])

    @property
    def revision(self) -> int:
        """What a reader inside the transaction is told: the new revision once there is one."""
        return self.store.revision + 1 if self.events else self.store.revision

    def put(self, key: bytes, value: bytes, lease: int, old: Latest | None) -> None:
        """Set a key whose present state is `old`."""
        store, main, sub = self.store, self.store.revision + 1, len(self.events)
        create, version = (main, 1) if old is None else (old.create_revision, old.version + 1)
        if old is None:
            store.keys += 1
            store.shape += 1
        kv = kv_pb2.KeyValue(
            key=key, create_revision=create, mod_revision=main, version=version, value=value,
            lease=lease)
        backend = store.backend
        backend.put(_KEY, revision_key(main, sub), kv.SerializeToString())
        backend.put(_LATEST, key, encode_latest((main, sub, create, version, lease)))
        backend.put(_PAST, past_key(key, main, sub), _LIVE)
        self.events.append(Event(PUT, kv, main))

    def delete(self, key: bytes) -> None:
        """Delete a live key."""
        self.store.keys -= 1
        self.store.shape += 1
        backend, main, sub = self.store.backend, self.store.revision + 1, len(self.events)
        backend.put(
            Bucket.KEY, revision_key(main, sub, tombstone=True),
            kv_pb2.KeyValue(key=key).SerializeToString())
        backend.delete(Bucket.LATEST, key)
        backend.put(Bucket.PAST, past_key(key, main, sub), _DELETED)
        self.events.append(Event(DELETE, kv_pb2.KeyValue(key=key, mod_revision=main), main))

    def finish(self) -> tuple[Event, ...]:
        """The transaction is complete."""
        self.store.revision = self.revision
        return tuple(self.events)
