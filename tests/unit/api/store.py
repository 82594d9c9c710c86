"""A one-member store without consensus, as a `Service` for what is built on one.

Writes and linearizable reads are answered when the test says `turn`, watches too.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message as Proto

from quorate.disk.memory_backend import MemoryBackend
from quorate.member.limits import Limits
from quorate.member.service import Done, WatchSink, WatchStream
from quorate.member.watchhub import WatchHub
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Machine
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc


class Store:
    """What locks and elections use of a `Service`."""

    def __init__(self) -> None:
        self.machine = Machine(MemoryBackend())
        self.hub = WatchHub(self.machine, self._header, Limits())
        self.refuse: Problem | None = None
        """What everything that needs consensus is told."""
        self._waiting: list[Callable[[], None]] = []
        self._next_lease = 1000

    def turn(self) -> None:
        """Answer what waits, and what follows from it."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for step in waiting:
                step()
            self.hub.flush()

    def keys(self) -> list[bytes]:
        """All keys, the oldest first."""
        found = self.machine.range(rpc.RangeRequest(
            key=b"\0", range_end=b"\0", sort_target=rpc.RangeRequest.CREATE,
            sort_order=rpc.RangeRequest.ASCEND))
        return [kv.key for kv in found.kvs]

    def delete(self, key: bytes, range_end: bytes = b"") -> None:
        """Somebody deletes a key, or a range of them."""
        self.delete_range(
            rpc.DeleteRangeRequest(key=key, range_end=range_end), lambda _: None)
        self.turn()

    def grant(self, *leases: int) -> None:
        """Leases that last."""
        for lease in leases:
            self.lease_grant(rpc.LeaseGrantRequest(ID=lease, TTL=60), lambda _: None)
        self.turn()

    def watchers(self) -> int:
        """Watches that are open."""
        return len(self.hub)

    # Service.

    def range(self, request: rpc.RangeRequest, done: Done) -> None:
        """KV.Range."""
        self._read(request, self.machine.range, done, local=request.serializable)

    def txn(self, request: rpc.TxnRequest, done: Done) -> None:
        """KV.Txn."""
        if self.machine.is_read_only(request):
            self._read(request, self.machine.txn_read, done, local=True)
        else:
            self._write(internal.InternalRaftRequest(txn=request), done)

    def delete_range(self, request: rpc.DeleteRangeRequest, done: Done) -> None:
        """KV.DeleteRange."""
        self._write(internal.InternalRaftRequest(delete_range=request), done)

    def lease_grant(self, request: rpc.LeaseGrantRequest, done: Done) -> None:
        """Lease.LeaseGrant."""
        self._next_lease += 1
        request.ID = request.ID or self._next_lease
        self._write(internal.InternalRaftRequest(lease_grant=request), done)

    def lease_revoke(self, lease: int) -> None:
        """Lease.LeaseRevoke."""
        self._write(internal.InternalRaftRequest(
            lease_revoke=rpc.LeaseRevokeRequest(ID=lease)), lambda _: None)
        self.turn()

    def watch(self, sink: WatchSink) -> WatchStream:
        """Watch.Watch."""
        return self.hub.open(sink)

    def _header(self) -> rpc.ResponseHeader:
        return rpc.ResponseHeader(revision=self.machine.revision)

    def _read(
        self, request: Proto, read: Callable[..., Proto], done: Done, *, local: bool
    ) -> None:
        def step() -> None:
            if self.refuse is not None and not local:
                return done(Refused(self.refuse))
            response = read(request)
            response.header.CopyFrom(self._header())  # type: ignore[attr-defined]
            return done(response)

        if local:
            step()
        else:
            self._waiting.append(step)

    def _write(self, command: internal.InternalRaftRequest, done: Done) -> None:
        def step() -> None:
            if self.refuse is not None:
                return done(Refused(self.refuse))
            applied = self.machine.apply(1, command)
            result = applied.result
            if not isinstance(result, Refused):
                result.header.CopyFrom(  # type: ignore[union-attr]
                    rpc.ResponseHeader(revision=applied.revision))
            self.hub.publish(applied.events)
            return done(result)  # type: ignore[arg-type]

        self._waiting.append(step)
