"""A history with everything that a snapshot has to hold, and all that must be equal afterwards.

Loads stock etcd and quorate alike, over gRPC. Not here: saving and starting (snapshots.py).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message as Proto

from quorate.wire._generated import rpc_pb2 as rpc

BATCH = 100
"""Puts of one transaction; etcd allows 128 operations."""

PAGE = 5000
"""Keys of one range."""

KEYS_PER_LEASE = 10
LEASED_SHARE = 0.1
AGAIN_SHARE = 0.1
"""Of the keys, put again in each of ROUNDS rounds."""

ROUNDS = 4
VALUE_BYTES_MAX = 300
DELETED_SHARE = 0.02
TIMEOUT_S = 120.0
HASHES = 5
"""Revisions whose hash-kv is compared, from the compacted to the newest."""

_METHODS: dict[type[Proto], tuple[str, type[Proto]]] = {
    rpc.PutRequest: ("KV/Put", rpc.PutResponse),
    rpc.RangeRequest: ("KV/Range", rpc.RangeResponse),
    rpc.DeleteRangeRequest: ("KV/DeleteRange", rpc.DeleteRangeResponse),
    rpc.TxnRequest: ("KV/Txn", rpc.TxnResponse),
    rpc.CompactionRequest: ("KV/Compact", rpc.CompactionResponse),
    rpc.LeaseGrantRequest: ("Lease/LeaseGrant", rpc.LeaseGrantResponse),
    rpc.LeaseRevokeRequest: ("Lease/LeaseRevoke", rpc.LeaseRevokeResponse),
    rpc.LeaseLeasesRequest: ("Lease/LeaseLeases", rpc.LeaseLeasesResponse),
    rpc.LeaseTimeToLiveRequest: ("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveResponse),
    rpc.HashKVRequest: ("Maintenance/HashKV", rpc.HashKVResponse),
}


class Store:
    """One member."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)])

    def ask(self, request: Proto) -> Any:
        """The answer; raises grpc.RpcError."""
        path, response = _METHODS[type(request)]
        return self._channel.unary_unary(
            f"/etcdserverpb.{path}", request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString)(request, timeout=TIMEOUT_S)

    def close(self) -> None:
        """Drop the connection."""
        self._channel.close()


# The history.


class History:
    """`keys` keys on a member: all of them in several revisions, some with leases, some deleted, a
    part of it compacted. The same `seed` gives the same history."""

    def __init__(self, store: Store, keys: int, seed: int) -> None:
        self._store = store
        self._rng = random.Random(seed)
        self._keys = [b"/service/%06d/member" % n for n in range(keys)]
        self._leases: list[int] = []

    def write(self, tell: Callable[[str], None]) -> None:
        """All of it."""
        rng, keys = self._rng, self._keys
        for _ in range(max(3, int(len(keys) * LEASED_SHARE) // KEYS_PER_LEASE)):
            lease_id = rng.randrange(-2**63, 2**63) or 1
            self._store.ask(rpc.LeaseGrantRequest(ID=lease_id, TTL=rng.randrange(3600, 90_000)))
            self._leases.append(lease_id)
        tell(f"{len(self._leases)} leases")
        self._put(keys)
        tell(f"{len(keys)} keys")
        for number in range(ROUNDS):
            revision = self._put(rng.sample(keys, int(len(keys) * AGAIN_SHARE)))
            self._delete()
            if number == ROUNDS // 2:
                self._store.ask(rpc.CompactionRequest(revision=revision))
                tell(f"compacted to revision {revision}")
        for lease_id in rng.sample(self._leases, len(self._leases) // 50 + 1):
            self._store.ask(rpc.LeaseRevokeRequest(ID=lease_id))
            self._leases.remove(lease_id)
        for key in rng.sample(keys, BATCH):
            self._store.ask(self._put_of(key))
        self._store.ask(rpc.PutRequest(key=b"/large", value=rng.randbytes(1_000_000)))

    def _put(self, keys: list[bytes]) -> int:
        revision = 0
        for start in range(0, len(keys), BATCH):
            revision = self._store.ask(rpc.TxnRequest(success=[
                rpc.RequestOp(request_put=self._put_of(key))
                for key in keys[start:start + BATCH]])).header.revision
        return revision

    def _put_of(self, key: bytes) -> rpc.PutRequest:
        """A put may also take a key from its lease."""
        rng = self._rng
        return rpc.PutRequest(
            key=key, value=rng.randbytes(rng.randrange(VALUE_BYTES_MAX)),
            lease=rng.choice(self._leases) if rng.random() < LEASED_SHARE else 0)

    def _delete(self) -> None:
        """Half of them one by one, half as a range; some come back in the next round."""
        count = max(1, int(len(self._keys) * DELETED_SHARE / ROUNDS / 2))
        for key in self._rng.sample(self._keys, count):
            self._store.ask(rpc.DeleteRangeRequest(key=key))
        start = self._rng.randrange(len(self._keys) - count)
        self._store.ask(rpc.DeleteRangeRequest(
            key=self._keys[start], range_end=self._keys[start + count]))


# What must be equal.


@dataclass(frozen=True)
class Content:
    """Of a member. `digest` is of every key with its value, revisions, version and lease."""

    revision: int
    compacted: int
    hashes: dict[int, int]
    """hash-kv at some revisions."""
    keys: int
    digest: str
    leases: dict[int, tuple[int, tuple[bytes, ...]]]
    """Id → the TTL that was granted, and its keys."""

    @property
    def leased(self) -> int:
        """How many keys have a lease."""
        return sum(len(keys) for _, keys in self.leases.values())

    def __str__(self) -> str:
        return (f"revision {self.revision}, compacted {self.compacted}, hash-kv "
                f"{self.hashes[self.revision]}, {self.keys} keys, {len(self.leases)} leases with "
                f"{self.leased} keys")


def content(store: Store) -> Content:
    """Of a member that nobody writes to."""
    newest = store.ask(rpc.HashKVRequest())
    revision, compacted = newest.header.revision, newest.compact_revision
    step = (revision - compacted) // (HASHES - 1)
    hashes = {at: store.ask(rpc.HashKVRequest(revision=at)).hash
              for at in (*range(compacted + 1, revision, step), revision)}
    digest, keys = hashlib.sha256(), 0
    for kv in _all_keys(store, revision):
        digest.update(kv.SerializeToString(deterministic=True))
        keys += 1
    leases = {}
    for one in store.ask(rpc.LeaseLeasesRequest()).leases:
        told = store.ask(rpc.LeaseTimeToLiveRequest(ID=one.ID, keys=True))
        leases[one.ID] = told.grantedTTL, tuple(sorted(told.keys))
    return Content(revision, compacted, hashes, keys, digest.hexdigest(), leases)


def _all_keys(store: Store, revision: int) -> Iterator[Any]:
    start, more = b"\0", True
    while more:
        page = store.ask(rpc.RangeRequest(
            key=start, range_end=b"\0", limit=PAGE, revision=revision))
        yield from page.kvs
        more = page.more
        start = page.kvs[-1].key + b"\0" if page.kvs else b"\0"


def differences(before: Content, after: Content) -> list[str]:
    """In sentences; none if nothing was lost, added or changed."""
    wrong = [f"{name} {ours}, not {theirs}" for name, theirs, ours in (
        ("revision", before.revision, after.revision),
        ("compacted revision", before.compacted, after.compacted),
        ("number of keys", before.keys, after.keys),
        ("digest of the keys", before.digest, after.digest)) if ours != theirs]
    wrong += [f"hash-kv {after.hashes.get(at)} at revision {at}, not {hash_}"
              for at, hash_ in before.hashes.items() if after.hashes.get(at) != hash_]
    for lease_id in sorted(before.leases.keys() | after.leases.keys()):
        theirs, ours = before.leases.get(lease_id), after.leases.get(lease_id)
        if ours != theirs:
            wrong.append(f"lease {lease_id} {_lease(ours)}, not {_lease(theirs)}")
    return wrong


def _lease(one: tuple[int, tuple[bytes, ...]] | None) -> str:
    return "absent" if one is None else f"with {one[0]} s and {len(one[1])} keys"
