"""`state.backend.Backend` on LMDB: one environment, one named database per bucket.

Writes go to an overlay of two layers: the active one takes writes, the frozen one is being made
durable by `write` in a worker thread. Reads look at active, frozen, then the environment, through
one read transaction that is renewed when a batch has become durable.

LMDB keys end at 511 bytes. A longer key is stored under its first 400 bytes and a hash, with the
key itself before the value; a scan brings keys that share those 400 bytes into order.

Invariants: the applied point is written in the transaction of its effects; only one thread uses
the overlay; `write` touches nothing but the batch and the environment.
Format: docs/formats/backend.md.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Any

import lmdb

from quorate.disk.sorted_map import SortedMap
from quorate.raft.types import ConfState
from quorate.state.backend import AppliedPoint, BackendSize, Bucket
from quorate.wire.raft import decode_conf_state, encode_conf_state

MAP_BYTES = 16 << 30
"""Address space reserved, not disk: above etcd's advice of 8 GiB for a database."""

KEY_BYTES_MAX = 400
HASH_BYTES = 32
CHUNK_BYTES = 60 << 10
"""Images are cut into pieces of about this size; one record may be larger."""

_POINT_KEY = b"applied"
_POINT = struct.Struct(">QQ")
_RECORD = struct.Struct(">BII")
_LENGTH = struct.Struct(">I")

Layer = dict[Bucket, SortedMap[bytes | None]]


@dataclass(slots=True)
class Batch:
    """A frozen layer; None means deleted."""

    applied: AppliedPoint
    layer: Layer


def _new_layer() -> Layer:
    return {bucket: SortedMap() for bucket in Bucket}


def _physical(key: bytes) -> bytes:
    return key if len(key) <= KEY_BYTES_MAX else key[:KEY_BYTES_MAX] + sha256(key).digest()


def _is_long(physical: bytes) -> bool:
    return len(physical) == KEY_BYTES_MAX + HASH_BYTES


def _stored(key: bytes, value: bytes) -> bytes:
    return value if len(key) <= KEY_BYTES_MAX else _LENGTH.pack(len(key)) + key + value


def _split(physical: bytes, stored: bytes) -> tuple[bytes, bytes]:
    """(key, value) of what the environment holds."""
    if not _is_long(physical):
        return physical, stored
    end = 4 + _LENGTH.unpack_from(stored)[0]
    return stored[4:end], stored[end:]


class LmdbBackend:
    """See the module's text."""

    def __init__(self, path: str) -> None:
        self._env = lmdb.open(
            path, map_size=MAP_BYTES, max_dbs=len(Bucket) + 1, subdir=True, mode=0o600,
            sync=True, metasync=True, readahead=False, meminit=False, max_readers=16)
        self._dbs = {b: self._env.open_db(b.name.lower().encode()) for b in Bucket}
        self._point_db = self._env.open_db(b"applied")
        self._active = _new_layer()
        self._frozen: Layer | None = None
        self._dirty = False
        self._read = self._env.begin(buffers=False)
        self.durable = self._load_point()
        self._applied = self.durable

    @property
    def applied(self) -> AppliedPoint:
        """See `Backend`."""
        return self._applied

    # Reading.

    def get(self, bucket: Bucket, key: bytes) -> bytes | None:
        """See `Backend`."""
        data = self._active[bucket].data
        if key in data:
            return data[key]
        if self._frozen is not None:
            data = self._frozen[bucket].data
            if key in data:
                return data[key]
        physical = _physical(key)
        stored = self._read.get(physical, db=self._dbs[bucket])
        return None if stored is None else _split(physical, stored)[1]

    def scan(
        self, bucket: Bucket, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See `Backend`."""
        layers = [layer[bucket] for layer in (self._active, self._frozen)
                  if layer is not None and len(layer[bucket])]
        below: Iterator[tuple[bytes, bytes | None]] = self._scan_durable(
            bucket, start, end, reverse=reverse)
        for layer in reversed(layers):
            below = _merged(layer.scan(start, end, reverse=reverse), below, reverse=reverse)
        return ((key, value) for key, value in below if value is not None)

    def _scan_durable(
        self, bucket: Bucket, start: bytes, end: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._read.cursor(db=self._dbs[bucket])
        pairs = _backward(cursor, end) if reverse else _forward(cursor, start)
        for key, value in _ordered(pairs, reverse=reverse):
            if reverse:
                if key < start:
                    return
                if end is None or key < end:
                    yield key, value
            else:
                if end is not None and key >= end:
                    return
                if key >= start:
                    yield key, value

    def count(self, bucket: Bucket) -> int:
        """See `Backend`. It costs as much as what is not durable yet: nothing at a start."""
        durable, db = self._read, self._dbs[bucket]
        changed = dict(self._frozen[bucket].data) if self._frozen is not None else {}
        changed |= self._active[bucket].data
        entries: int = durable.stat(db)["entries"]
        for key, value in changed.items():
            there = durable.get(_physical(key), db=db) is not None
            entries += (value is not None) - there
        return entries

    def size(self) -> BackendSize:
        """See `Backend`: pages used by the environment, and those that hold data."""
        page = self._env.stat()["psize"]
        total = (self._env.info()["last_pgno"] + 1) * page
        used = 0
        for db in self._dbs.values():
            stat = self._read.stat(db)
            used += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return BackendSize(total, min(total, used * page))

    # Writing.

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        """See `Backend`."""
        self._active[bucket].put(key, value)
        self._dirty = True

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """See `Backend`."""
        self._active[bucket].put(key, None)
        self._dirty = True

    def advance(self, applied: AppliedPoint) -> None:
        """See `Backend`."""
        self._applied = applied

    def freeze(self) -> Batch | None:
        """Everything since the last freeze, None if there is nothing or a batch is under way."""
        if self._frozen is not None or (not self._dirty and self._applied == self.durable):
            return None
        self._frozen, self._active = self._active, _new_layer()
        self._dirty = False
        return Batch(self._applied, self._frozen)

    def write(self, batch: Batch) -> None:
        """Make a batch durable in one transaction; may run in another thread."""
        with self._env.begin(write=True) as txn:
            for bucket, changes in batch.layer.items():
                db = self._dbs[bucket]
                gone = [key for key, value in changes.data.items() if value is None]
                for key in gone:
                    txn.delete(_physical(key), db=db)
                # One call for all, in order: it is faster, and holds the interpreter less often.
                txn.cursor(db=db).putmulti([
                    (_physical(key), _stored(key, value))
                    for key, value in sorted(changes.data.items()) if value is not None])
            txn.put(_POINT_KEY, _encode_point(batch.applied), db=self._point_db)

    def thaw(self, batch: Batch) -> None:
        """The batch is durable: read it from the environment from now on."""
        self._frozen = None
        self.durable = batch.applied
        self._renew()

    def dump(self) -> tuple[AppliedPoint, Iterator[bytes]]:
        """A consistent image of the durable state."""
        txn = self._env.begin(buffers=False)
        stored = txn.get(_POINT_KEY, db=self._point_db)
        return _decode_point(stored), self._dump_chunks(txn)

    def view(self) -> DurableView:
        """The durable state as it is now; may be read in another thread, and must be closed before
        the backend is. While it is open the file grows by whatever is written."""
        txn = self._env.begin(buffers=False)
        return DurableView(
            _decode_point(txn.get(_POINT_KEY, db=self._point_db)), txn, self._dbs)

    def _dump_chunks(self, txn: Any) -> Iterator[bytes]:
        with contextlib.closing(_Aborting(txn)):
            out = bytearray()
            for bucket, db in self._dbs.items():
                for physical, stored in txn.cursor(db=db):
                    key, value = _split(physical, stored)
                    out += _RECORD.pack(bucket, len(key), len(value)) + key + value
                    if len(out) >= CHUNK_BYTES:
                        yield bytes(out)
                        out.clear()
            if out:
                yield bytes(out)

    def load(self, point: AppliedPoint, chunks: Iterator[bytes]) -> None:
        """Replace everything by an image, in one transaction; raises ValueError if it is cut
        short, and then nothing has changed."""
        self._read.abort()
        try:
            with self._env.begin(write=True) as txn:
                for db in self._dbs.values():
                    txn.drop(db, delete=False)
                for bucket, key, value in _records(chunks):
                    txn.put(_physical(key), _stored(key, value), db=self._dbs[bucket])
                txn.put(_POINT_KEY, _encode_point(point), db=self._point_db)
        finally:
            self._read = self._env.begin(buffers=False)
        self._active, self._frozen, self._dirty = _new_layer(), None, False
        self._applied = self.durable = point

    def close(self) -> None:
        """Close the environment; what was not written is in the log."""
        self._read.abort()
        self._env.close()

    def _renew(self) -> None:
        self._read.abort()
        self._read = self._env.begin(buffers=False)

    def _load_point(self) -> AppliedPoint:
        return _decode_point(self._read.get(_POINT_KEY, db=self._point_db))


@dataclass(slots=True)
class DurableView:
    """A `state.etcd_buckets.View`: what one read transaction sees."""

    applied: AppliedPoint
    _txn: Any
    _dbs: dict[Bucket, Any]

    def scan(self, bucket: Bucket, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """A bucket in order of its keys; long keys excepted, which none of etcd's buckets has."""
        cursor = self._txn.cursor(db=self._dbs[bucket])
        found = cursor.iterprev() if reverse else cursor.iternext()
        return (_split(physical, stored) for physical, stored in found)

    def close(self) -> None:
        """Let go of what it sees."""
        self._txn.abort()


class _Aborting:
    """Closes a read transaction."""

    def __init__(self, txn: lmdb.Transaction) -> None:
        self._txn = txn

    def close(self) -> None:
        self._txn.abort()


def _encode_point(point: AppliedPoint) -> bytes:
    return _POINT.pack(point.index, point.term) + encode_conf_state(point.conf_state)


def _decode_point(stored: bytes | None) -> AppliedPoint:
    if stored is None:
        return AppliedPoint(0, 0, ConfState())
    index, term = _POINT.unpack_from(stored)
    return AppliedPoint(index, term, decode_conf_state(stored[_POINT.size:]))


def _records(chunks: Iterator[bytes]) -> Iterator[tuple[Bucket, bytes, bytes]]:
    """Records of an image; they never span chunks."""
    for chunk in chunks:
        at = 0
        while at < len(chunk):
            if at + _RECORD.size > len(chunk):
                raise ValueError("a record of the image is cut short")
            bucket, key_size, value_size = _RECORD.unpack_from(chunk, at)
            at += _RECORD.size
            middle, end = at + key_size, at + key_size + value_size
            if end > len(chunk):
                raise ValueError("a record of the image is cut short")
            yield Bucket(bucket), chunk[at:middle], chunk[middle:end]
            at = end


def _forward(cursor: Any, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    """From the first key that may be ≥ start; long keys share a group, so from its beginning."""
    if cursor.set_range(start[:KEY_BYTES_MAX]):
        yield from cursor.iternext()


def _backward(cursor: Any, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if end is None or len(end) >= KEY_BYTES_MAX:
        bound = None if end is None else end[:KEY_BYTES_MAX] + b"\xff" * (HASH_BYTES + 1)
    else:
        bound = end
    if bound is None or not cursor.set_range(bound):
        found = cursor.last()
    else:
        found = cursor.prev()
    if found:
        yield from cursor.iterprev()


def _ordered(
    pairs: Iterator[tuple[bytes, bytes]], *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """Long keys with the same beginning lie in the order of their hashes: sort each group."""
    for (_, long), group in groupby(
            pairs, lambda pair: (pair[0][:KEY_BYTES_MAX] if _is_long(pair[0]) else pair[0],
                                 _is_long(pair[0]))):
        if long:
            yield from sorted((_split(*pair) for pair in group), reverse=reverse)
        else:
            yield from group


def _merged(
    upper: Iterator[tuple[bytes, bytes | None]], lower: Iterator[tuple[bytes, bytes | None]],
    *, reverse: bool,
) -> Iterator[tuple[bytes, bytes | None]]:
    """Both in order; where a key is in both, the upper one's value. None stays: it hides what is
    below, also for the layers above."""
    one, other = next(upper, None), next(lower, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] == other[0]):
            if other is not None:
                other = next(lower, None)
            assert one is not None
            yield one
            one = next(upper, None)
        elif one is None or (one[0] > other[0]) != reverse:
            yield other
            other = next(lower, None)
        else:
            yield one
            one = next(upper, None)
