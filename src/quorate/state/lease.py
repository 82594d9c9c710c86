"""The table of leases: who was granted what, and which keys hang on it. No clock.

Invariants: a key hangs on at most one lease; the table in memory equals Bucket.LEASE.
Not here: time (member/leases.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from quorate.state.backend import Backend, Bucket
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import lease_pb2

TTL_S_MAX = 9_000_000_000
"""etcd's MaxLeaseTTL."""

ID_MASK = 2**64 - 1


class HasLease(Protocol):
    """Whatever knows the lease of a key."""

    @property
    def lease(self) -> int: ...


def id_key(lease_id: int) -> bytes:
    """The id as etcd's bucket has it: clients may choose negative ones, two's complement."""
    return (lease_id & ID_MASK).to_bytes(8, "big")


class LeaseTable:
    """Leases and their keys."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._ttl_s: dict[int, int] = {}
        self.load()

    def load(self) -> None:
        """Take over what the backend holds."""
        self._ttl_s = {}
        for _, value in self._backend.scan(Bucket.LEASE, b"", None):
            lease = lease_pb2.Lease.FromString(value)
            self._ttl_s[lease.ID] = lease.TTL

    def ttl_s(self, lease_id: int) -> int | None:
        """The granted TTL, None if there is no such lease."""
        return self._ttl_s.get(lease_id)

    get = ttl_s

    def ids(self) -> list[int]:
        """All leases, ascending."""
        return sorted(self._ttl_s)

    def keys(self, lease_id: int) -> list[bytes]:
        """Keys that hang on the lease, in order."""
        return list(self._keys(lease_id))

    def has_keys(self, lease_id: int) -> bool:
        """Whether any key hangs on the lease."""
        return next(self._keys(lease_id), None) is not None

    def grant(self, lease_id: int, ttl_s: int) -> None:
        """A new lease; raises Refused."""
        if ttl_s > TTL_S_MAX:
            raise Refused(Problem.LEASE_TTL_TOO_LARGE)
        if lease_id in self._ttl_s:
            raise Refused(Problem.LEASE_EXISTS)
        self._ttl_s[lease_id] = ttl_s
        lease = lease_pb2.Lease(ID=lease_id, TTL=ttl_s)
        self._backend.put(Bucket.LEASE, id_key(lease_id), lease.SerializeToString())

    def revoke(self, lease_id: int) -> None:
        """The lease is gone; its keys have been deleted before."""
        del self._ttl_s[lease_id]
        self._backend.delete(Bucket.LEASE, id_key(lease_id))

    def require(self, lease_id: int) -> None:
        """Raises Refused unless the lease exists; 0 means none is asked for."""
        if lease_id and lease_id not in self._ttl_s:
            raise Refused(Problem.LEASE_NOT_FOUND)

    def move(self, key: bytes, old: HasLease | None, lease_id: int) -> None:
        """The key hangs on `lease_id` from now on, or on nothing."""
        before = 0 if old is None else old.lease
        if before == lease_id:
            return
        if before:
            self._backend.delete(Bucket.LEASE_KEY, id_key(before) + key)
        if lease_id:
            self._backend.put(Bucket.LEASE_KEY, id_key(lease_id) + key, b"")

    def _keys(self, lease_id: int) -> Iterator[bytes]:
        start = id_key(lease_id)
        end = id_key(lease_id + 1) if lease_id != -1 else None
        for key, _ in self._backend.scan(Bucket.LEASE_KEY, start, end):
            yield key[8:]
