"""Patroni's drivers in the model: which requests each operation of the HA loop makes.

That for v3 keeps a cache fed by a watch and one lease a node, and writes the leader key once. Keys,
compares and fallbacks as Patroni 4.1 has them (dcs/etcd3.py; contract §2.2).

Not here: the driver for v2 (v2driver.py), failures of requests (dcs.py), when operations happen
(patroni.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message as Proto

from quorate.sim.access import Stream
from quorate.sim.dcs import DcsError, RequestFailed, Retry, StoreClient
from quorate.sim.process import Pause, Program, Signal, Steps
from quorate.state.errors import Problem
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

PREFIX = b"/service/sim/"
LEADER, STATUS, SYNC, FAILSAFE = (PREFIX + k for k in (b"leader", b"status", b"sync", b"failsafe"))
MEMBERS = PREFIX + b"members/"

WATCH_RETRY_S = 1.0
REPLICA_PATIENCE_S = 0.5
"""So much longer replicas wait, so that the leader's loop comes first."""


class View(NamedTuple):
    """The cluster as the store tells it. `session` is what the leader key is bound to; `sync` the
    leader and its standbys by /sync, `sync_version` the revision of that key."""

    leader: str = ""
    session: int = 0
    members: tuple[str, ...] = ()
    sync: tuple[str, ...] = ()
    sync_version: int = 0
    failsafe: tuple[str, ...] = ()


def view(kvs: dict[bytes, kv_pb2.KeyValue]) -> View:
    """What those keys say."""
    leader, sync, failsafe = kvs.get(LEADER), kvs.get(SYNC), kvs.get(FAILSAFE)
    return View(
        leader.value.decode() if leader else "", leader.lease if leader else 0,
        tuple(k[len(MEMBERS):].decode() for k in sorted(kvs) if k.startswith(MEMBERS)),
        tuple(filter(None, json.loads(sync.value))) if sync else (),
        sync.mod_revision if sync else 0,
        tuple(json.loads(failsafe.value)) if failsafe else ())


_RANGE = rpc.RangeRequest(key=PREFIX, range_end=PREFIX[:-1] + b"0", serializable=True)


@dataclass(slots=True)
class Driver:
    """What the HA loop needs of the store. `woken` wakes the loop before its time."""

    name: str
    client: StoreClient
    woken: Signal

    def start(self) -> None:
        """Patroni begins."""

    def stop(self) -> None:
        """Patroni is gone."""

    def get_cluster(self) -> Steps[View]:
        """Raises DcsError."""
        raise NotImplementedError

    def touch_member(self, known: View) -> Steps[bool]:
        """Say that this node is there; never raises."""
        raise NotImplementedError

    def update_leader(self, known: View) -> Steps[bool]:
        """Keep the lock; False if it is lost. Raises DcsError."""
        raise NotImplementedError

    def acquire(self) -> Steps[bool]:
        """Take the lock if nobody has it. Raises DcsError."""
        raise NotImplementedError

    def watch(self, known: View, seconds: float, *, follows: bool) -> Steps[bool]:
        """Wait for so long, or until something happened: True. `follows`: this node is a replica
        that knows a leader."""
        raise NotImplementedError

    def write(self, key: bytes, value: object) -> Steps[bool]:
        """Once, whatever becomes of it; never raises."""
        put = rpc.PutRequest(key=key, value=json.dumps(value).encode())
        try:
            yield from self.ask(put, None)
        except (RequestFailed, DcsError):
            return False
        return True

    def write_sync(self, sync: tuple[str, ...], version: int) -> Steps[int]:
        """The new version of /sync, 0 if somebody else changed it or nothing answers."""
        put = rpc.PutRequest(key=SYNC, value=json.dumps(sync).encode())
        request = rpc.TxnRequest(success=[rpc.RequestOp(request_put=put)], compare=[rpc.Compare(
            key=SYNC, target=rpc.Compare.MOD, mod_revision=version)] if version else [])
        try:
            answer = yield from self.txn(request, self.client.retry())
        except (RequestFailed, DcsError):
            return 0
        return answer.header.revision if answer.succeeded else 0

    def ask(self, request: Proto, retry: Retry | None) -> Steps[Proto]:
        """See StoreClient."""
        return self.client.ask(request, retry)

    def txn(self, request: rpc.TxnRequest, retry: Retry | None) -> Steps[rpc.TxnResponse]:
        """A transaction."""
        answer = yield from self.ask(request, retry)
        assert isinstance(answer, rpc.TxnResponse)
        return answer


@dataclass(slots=True)
class Etcd3(Driver):
    """The driver for v3."""

    lease: int = 0
    _refreshed_at: float = -1e9
    _cache: dict[bytes, kv_pb2.KeyValue] | None = None
    _ready: Signal | None = None
    _stream: Stream | None = None
    _watcher: Program | None = None

    def start(self) -> None:
        """See Driver."""
        self._ready = Signal()
        self.client.switched = self._restart_watcher
        self._watcher = Program(self.client.clock, self._watch_for_ever()).start()

    def stop(self) -> None:
        """See Driver."""
        self._restart_watcher()
        if self._watcher is not None:
            self._watcher.stop()

    # The cache and its watcher.

    def _watch_for_ever(self) -> Steps[None]:
        while True:
            try:
                answer = yield from self.ask(_RANGE, self.client.retry())
            except (DcsError, RequestFailed):
                yield Pause(WATCH_RETRY_S)
                continue
            assert isinstance(answer, rpc.RangeResponse) and self._ready is not None
            self._cache = {kv.key: kv for kv in answer.kvs}
            self._ready.set()
            self._stream = stream = Stream(self._take)
            self.client.access.watch(self.client.base, rpc.WatchCreateRequest(
                key=PREFIX, range_end=PREFIX[:-1] + b"0",
                start_revision=answer.header.revision), stream)
            yield Pause(1e9, stream.ended)
            self._ready.clear()
            self.client.access.close(stream)

    def _restart_watcher(self) -> None:
        if self._stream is not None:
            self.client.access.close(self._stream)

    def _take(self, response: rpc.WatchResponse) -> None:
        for event in response.events:
            self._learn(event.kv, deleted=event.type == kv_pb2.Event.DELETE)

    def _learn(self, kv: kv_pb2.KeyValue, *, deleted: bool = False) -> None:
        assert self._cache is not None
        old = self._cache.get(kv.key)
        if old is not None and old.mod_revision >= kv.mod_revision:
            return
        if deleted:
            self._cache.pop(kv.key, None)
        else:
            self._cache[kv.key] = kv
        before, after = old and old.value, None if deleted else kv.value
        leader = self._cache.get(LEADER)
        if before != after and (kv.key == LEADER or (
                kv.key == STATUS and after and leader and leader.value != self.name.encode())):
            self.woken.set()

    def _wrote(self, request: rpc.PutRequest, revision: int) -> None:
        """What this node wrote itself is known before the watch tells it."""
        if self._cache is not None:
            self._cache[request.key] = kv_pb2.KeyValue(
                key=request.key, value=request.value, lease=request.lease, mod_revision=revision)

    # Operations.

    def get_cluster(self) -> Steps[View]:
        """From the cache; waits until there is one."""
        assert self._ready is not None
        until = self.client.clock.now + self.client.settings.retry_timeout_s
        while self._ready.value is None or self._cache is None:
            if self.client.clock.now >= until:
                raise DcsError("the cache is not ready")
            yield Pause(until - self.client.clock.now, self._ready)
        return view(self._cache)

    def _refresh(self, retry: Retry, *, force: bool) -> Steps[None]:
        clock, settings = self.client.clock, self.client.settings
        if not force and self.lease and self._refreshed_at + settings.loop_wait_s > clock.now:
            return
        if self.lease:
            renew = rpc.LeaseKeepAliveRequest(ID=self.lease)
            alive = yield from self.ask(
                renew, retry)
            assert isinstance(alive, rpc.LeaseKeepAliveResponse)
            if not alive.TTL:
                self.lease = 0
        if not self.lease:
            grant = rpc.LeaseGrantRequest(
                ID=self.client.rng.getrandbits(62) | 1, TTL=settings.ttl_s)
            granted = yield from self.ask(
                grant, retry)
            assert isinstance(granted, rpc.LeaseGrantResponse)
            self.lease = granted.ID
        self._refreshed_at = clock.now

    def touch_member(self, known: View) -> Steps[bool]:
        """Keep the lease; write the member key if it is not there or of another lease."""
        key = MEMBERS + self.name.encode()
        try:
            yield from self._refresh(self.client.retry(), force=False)
            mine = self._cache.get(key) if self._cache is not None else None
            if mine is not None and mine.lease == self.lease:
                return True
            yield from self._put(rpc.PutRequest(key=key, value=b"{}", lease=self.lease), None)
        except (RequestFailed, DcsError) as failure:
            self._lease_gone(failure)
            return False
        return True

    def _put(self, request: rpc.PutRequest, retry: Retry | None) -> Steps[None]:
        answer = yield from self.ask(request, retry)
        assert isinstance(answer, rpc.PutResponse)
        self._wrote(request, answer.header.revision)

    def _lease_gone(self, failure: Exception) -> bool:
        gone = (isinstance(failure, RequestFailed)
                and failure.problem is Problem.LEASE_NOT_FOUND)
        if gone:
            self.lease = 0
        return gone

    def update_leader(self, known: View) -> Steps[bool]:
        """Renew the lease; bind the key to it if it was a new one."""
        retry = self.client.retry()
        try:
            yield from self._refresh(retry, force=True)
            if known.session == self.lease:
                return True
            put = self._lock()
            create = rpc.TxnRequest(compare=[_absent(LEADER)],
                                    success=[rpc.RequestOp(request_put=put)])
            answer = yield from self.txn(rpc.TxnRequest(
                compare=[_value(LEADER, self.name)], success=[rpc.RequestOp(request_put=put)],
                failure=[rpc.RequestOp(request_txn=create)]), retry)
        except RequestFailed:
            return False
        won = answer.succeeded or answer.responses[0].response_txn.succeeded
        if won:
            self._wrote(put, answer.header.revision)
        return won

    def acquire(self) -> Steps[bool]:
        """Create the key; once more with a new lease if it was that which was missing."""
        retry = self.client.retry()
        for attempt in range(2):
            try:
                yield from self._refresh(retry, force=False)
                put = self._lock()
                answer = yield from self.txn(rpc.TxnRequest(
                    compare=[_absent(LEADER)], success=[rpc.RequestOp(request_put=put)]), retry)
            except RequestFailed as failure:
                if attempt or not self._lease_gone(failure):
                    return False
                continue
            if answer.succeeded:
                self._wrote(put, answer.header.revision)
            else:
                self._restart_watcher()
            return answer.succeeded
        return False

    def _lock(self) -> rpc.PutRequest:
        return rpc.PutRequest(key=LEADER, value=self.name.encode(), lease=self.lease)

    def watch(self, known: View, seconds: float, *, follows: bool) -> Steps[bool]:
        """Nothing is asked: the cache's watcher wakes the loop."""
        self._refreshed_at = -1e9
        woken = yield Pause(seconds + (REPLICA_PATIENCE_S if follows else 0.0), self.woken)
        self.woken.clear()
        return woken is not None


def _absent(key: bytes) -> rpc.Compare:
    return rpc.Compare(key=key, target=rpc.Compare.CREATE, create_revision=0)


def _value(key: bytes, value: str) -> rpc.Compare:
    return rpc.Compare(key=key, target=rpc.Compare.VALUE, value=value.encode())
