"""The state as etcd's buckets, and etcd's buckets as the state (surface §11.3, rpc-fields §7.6).

Out: changes, leases, members and alarms are etcd's already, byte for byte; only names and keys
differ. In: changes are replayed in their order, which builds the indexes.

Invariant: HashKV is the same on both sides.
Not here: pages (wire/bbolt.py), the members of the cluster that is to be (bootstrap/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from google.protobuf.message import DecodeError

from quorate.state.backend import AppliedPoint, Backend, Bucket
from quorate.state.lease import id_key
from quorate.state.members import REMOVED
from quorate.state.mvcc import COMPACT_REVISION, FIRST_REVISION
from quorate.state.revision import (
    KEY_SIZE, TOMBSTONE, Latest, decode_latest, encode_latest, parse_revision_key, past_key,
    revision_key,
)
from quorate.wire._generated import kv_pb2, lease_pb2

Pair = tuple[bytes, bytes]

FINISHED_COMPACTION = b"finishedCompactRev"
CONSISTENT_INDEX = b"consistent_index"


class View(Protocol):
    """A state that does not change while it is read."""

    @property
    def applied(self) -> AppliedPoint: ...

    def scan(self, bucket: Bucket, *, reverse: bool = False) -> Iterator[Pair]: ...


# Out.


def to_etcd(view: View) -> Iterator[tuple[bytes, Iterable[Pair]]]:
    """The buckets in order of their names. `cluster` is empty: no cluster version keeps an older
    or newer server from starting on the file; it settles one by itself."""
    yield b"alarm", view.scan(Bucket.ALARM)
    yield from ((name, ()) for name in (b"auth", b"authRoles", b"authUsers", b"cluster"))
    yield b"key", view.scan(Bucket.KEY)
    yield b"lease", view.scan(Bucket.LEASE)
    members = sorted((b"%x" % int.from_bytes(key, "big"), value)
                     for key, value in view.scan(Bucket.MEMBER))
    yield b"members", [pair for pair in members if pair[1] != REMOVED]
    yield b"members_removed", [pair for pair in members if pair[1] == REMOVED]
    yield b"meta", _meta(view)


def _meta(view: View) -> list[Pair]:
    applied = view.applied
    out = [(CONSISTENT_INDEX, applied.index.to_bytes(8, "big"))]
    for name, value in view.scan(Bucket.META):
        if name != COMPACT_REVISION:
            continue
        compacted = int.from_bytes(value, "big")
        record = revision_key(compacted, 0)
        newest = next((parse_revision_key(key)[0] for key, _ in
                       view.scan(Bucket.KEY, reverse=True)), 0)
        # etcd cleans up from `scheduled` when it starts. Where no change is left that says how
        # far revisions have come, `finished` says it; etcd would not believe `scheduled` then.
        if newest < compacted:
            out.append((FINISHED_COMPACTION, record))
        out.append((COMPACT_REVISION, record))
    return [*out, (b"term", applied.term.to_bytes(8, "big"))]


# In.


class Unusable(ValueError):
    """A file that is whole, but that no etcd can have written; the text says what is wrong."""


class Buckets(Protocol):
    """What a file holds, by bucket."""

    def pairs(self, name: bytes, /) -> Iterator[Pair]: ...


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a file, all of which was looked at."""

    revision: int
    compacted: int
    """−1 if nothing was ever compacted."""
    changes: int
    leases: int
    consistent_index: int
    auth_enabled: bool
    users: int
    alarms: int
    digest: bytes
    """SHA-256 of all changes and leases: two files with the same one begin the same state."""


def survey(buckets: Buckets) -> Survey:
    """Look at everything that an import takes; raises Unusable."""
    revision, changes, leases, digest = FIRST_REVISION, 0, 0, sha256()
    for record, value in buckets.pairs(b"key"):
        revision = max(revision, _change(record, value)[0])
        digest.update(b"%b%d:%b" % (record, len(value), value))
        changes += 1
    for lease in _leases(buckets):
        digest.update(b"%d:%d" % (lease.ID, lease.TTL))
        leases += 1
    meta = dict(buckets.pairs(b"meta"))
    if CONSISTENT_INDEX not in meta and not changes:
        raise Unusable("it has neither keys nor a consistent index: it is not a database of etcd's")
    compacted = max(_compacted(meta, name) for name in (COMPACT_REVISION, FINISHED_COMPACTION))
    auth = dict(buckets.pairs(b"auth"))
    return Survey(
        max(revision, compacted), compacted, changes, leases,
        int.from_bytes(meta.get(CONSISTENT_INDEX, b""), "big"),
        auth.get(b"authEnabled", b"\0") == b"\x01", sum(1 for _ in buckets.pairs(b"authUsers")),
        sum(1 for _ in buckets.pairs(b"alarm")), digest.digest())


def _compacted(meta: dict[bytes, bytes], name: bytes) -> int:
    value = meta.get(name)
    if value is None:
        return -1
    if len(value) != KEY_SIZE:
        raise Unusable(f"meta has {name.decode()} {value.hex()}, which is no revision")
    return parse_revision_key(value)[0]


def _change(record: bytes, value: bytes) -> tuple[int, int, bool, kv_pb2.KeyValue]:
    """(main, sub, whether a deletion, the key-value) of a record; raises Unusable."""
    if len(record) not in (KEY_SIZE, KEY_SIZE + 1) or record[8:9] != b"_" or (
            record[KEY_SIZE:] not in (b"", TOMBSTONE)):
        raise Unusable(f"the bucket `key` has the key {record.hex()}, which is no revision")
    try:
        return *parse_revision_key(record), kv_pb2.KeyValue.FromString(value)
    except DecodeError:
        raise Unusable(f"the change {record.hex()} is no key-value") from None


def _leases(buckets: Buckets) -> Iterator[lease_pb2.Lease]:
    for key, value in buckets.pairs(b"lease"):
        try:
            lease = lease_pb2.Lease.FromString(value)
        except DecodeError:
            raise Unusable(f"the lease {key.hex()} is no lease") from None
        if key != id_key(lease.ID):
            raise Unusable(f"the lease {key.hex()} calls itself {lease.ID}")
        yield lease


def from_etcd(buckets: Buckets, backend: Backend, compacted: int) -> Iterator[int]:
    """Put the content of a surveyed file into an empty backend, as compacted up to `compacted`
    (−1: not). Yields the number of records after each change, so that the caller can make what
    there is durable. A lease gets its whole TTL again: that ends none too early."""
    leases = set()
    for lease in _leases(buckets):
        leases.add(lease.ID)
        backend.put(Bucket.LEASE, id_key(lease.ID),
                    lease_pb2.Lease(ID=lease.ID, TTL=lease.TTL).SerializeToString())
    if compacted > 0:
        backend.put(Bucket.META, COMPACT_REVISION, compacted.to_bytes(8, "big"))
    count = len(leases)
    for record, value in buckets.pairs(b"key"):
        main, sub, deleted, kv = _change(record, value)
        backend.put(Bucket.KEY, record, value)
        if kv.key:  # a raised revision is a change of no key
            _index(backend, main, sub, deleted, kv, leases)
        count += 1
        yield count


def _index(
    backend: Backend, main: int, sub: int, deleted: bool, kv: kv_pb2.KeyValue, leases: set[int]
) -> None:
    key = kv.key
    stored = backend.get(Bucket.LATEST, key)
    before = 0 if stored is None else decode_latest(stored).lease
    after = 0 if deleted else kv.lease
    backend.put(Bucket.PAST, past_key(key, main, sub), TOMBSTONE if deleted else b"")
    if deleted:
        backend.delete(Bucket.LATEST, key)
    else:
        backend.put(Bucket.LATEST, key, encode_latest(
            Latest(main, sub, kv.create_revision, kv.version, kv.lease)))
    if before != after:
        if before in leases:
            backend.delete(Bucket.LEASE_KEY, id_key(before) + key)
        if after in leases:
            backend.put(Bucket.LEASE_KEY, id_key(after) + key, b"")
