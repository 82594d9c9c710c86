"""The physical side of compaction: removing, in small steps, what can no longer be read.

Up to the compacted revision a change is kept only if it is the newest of its key there, and no
deletion unless of that very revision, which a watch may still begin with (etcd since 3.5.16).
Steps are not part of the log: each member cleans up at its own pace, and nothing that can be read,
nor HashKV, depends on how far it has come.

Not here: the logical side (mvcc.Store.compact).
"""

from __future__ import annotations

from itertools import islice

from quorate.state.backend import Bucket
from quorate.state.mvcc import Store
from quorate.state.revision import (
    parse_past_key, parse_revision_key, past_key, past_prefix, revision_key,
)
from quorate.wire._generated import kv_pb2


def is_newest_at(store: Store, key: bytes, main: int, sub: int, revision: int) -> bool:
    """Whether (main, sub) is the key's last change up to `revision`."""
    for past, _ in store.backend.scan(
            Bucket.PAST, past_prefix(key), past_key(key, revision + 1, 0), reverse=True):
        return parse_past_key(past)[1:] == (main, sub)
    return False


class Scrubber:
    """Walks the changes below the compacted revision. A walk keeps the target that it began with:
    what it has passed was judged by that one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done = -1
        self._target: int | None = None
        self._at = b""

    def step(self, limit: int) -> bool:
        """Look at `limit` changes; whether there is more to do."""
        if self._target is None:
            if self._done >= self._store.compact_revision:
                return False
            self._target = self._store.compact_revision
        target = self._target
        backend = self._store.backend
        found = list(islice(
            backend.scan(Bucket.KEY, self._at, revision_key(target + 1, 0)), limit))
        for record, value in found:
            main, sub, deleted = parse_revision_key(record)
            key = kv_pb2.KeyValue.FromString(value).key
            if (deleted and main < target) or not is_newest_at(
                    self._store, key, main, sub, target):
                self._store.counts.cleaned += 1
                backend.delete(Bucket.KEY, record)
                backend.delete(Bucket.PAST, past_key(key, main, sub))
            self._at = record + b"\0"
        if len(found) < limit:
            self._done, self._target, self._at = target, None, b""
            return target < self._store.compact_revision
        return True

    def restart(self) -> None:
        """The state was replaced."""
        self._done, self._target, self._at = -1, None, b""
