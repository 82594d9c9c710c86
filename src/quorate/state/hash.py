"""HashKV, equal to etcd's for the same history (surface §11.3).

CRC-32C over the name of etcd's bucket, then key and value bytes of each change up to a revision,
leaving out what a compaction would drop. Not here: who compares hashes.
"""

from __future__ import annotations

from google_crc32c import extend

from quorate.state.backend import Backend, Bucket
from quorate.state.compaction import is_newest_at
from quorate.state.errors import Problem, Refused
from quorate.state.mvcc import Store
from quorate.state.revision import parse_revision_key, revision_key
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

BUCKET_NAME = b"key"


def hash_all(backend: Backend) -> int:
    """Of everything but what each member counts for itself; members that are equally far and
    equally cleaned up have the same."""
    crc = 0
    for bucket in Bucket:
        if bucket is Bucket.META:
            continue
        crc = extend(crc, bucket.name.lower().encode())
        for key, value in backend.scan(bucket, b"", None):
            crc = extend(extend(crc, key), value)
    return crc


def hash_kv(store: Store, revision: int) -> rpc.HashKVResponse:
    """The hash up to `revision`, 0 for the newest; raises Refused."""
    compacted = store.compact_revision
    if 0 < revision <= compacted:
        raise Refused(Problem.COMPACTED)
    if revision > store.revision:
        raise Refused(Problem.FUTURE_REVISION)
    upto = revision or store.revision
    crc = extend(0, BUCKET_NAME)
    for record, value in store.backend.scan(Bucket.KEY, b"", revision_key(upto + 1, 0)):
        main, sub, deleted = parse_revision_key(record)
        if main <= compacted:
            key = kv_pb2.KeyValue.FromString(value).key
            if deleted or not is_newest_at(store, key, main, sub, upto):
                continue
        crc = extend(extend(crc, record), value)
    return rpc.HashKVResponse(hash=crc, compact_revision=compacted, hash_revision=upto)
