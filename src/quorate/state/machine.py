"""The replicated state machine: committed commands in, responses and events out.

Every member applies the same commands in the same order to the same state, so nothing here may
depend on time, chance, or the order of a hash table. Whatever a client can do wrong is part of
the result, never an exception.

Invariant: an application either changes everything that it says, or nothing.
Not here: consensus and waiting (member/), the order of bytes on disk (disk/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message as Proto

from quorate.raft.types import ConfChange, ConfChangeV2, ConfState
from quorate.state.backend import Backend
from quorate.state.alarms import Alarms
from quorate.state.compaction import Scrubber
from quorate.state.errors import Problem, Refused
from quorate.state.hash import hash_kv
from quorate.state.lease import TTL_S_MAX, LeaseTable
from quorate.state.members import Members
from quorate.state.mvcc import Counts, Event, Store, Write
from quorate.state.ranges import check_range, run_range
from quorate.state.v2 import V2
from quorate.state.txn import Executor, check_delete, check_put, check_txn, is_read_only
from quorate.wire._generated import (
    kv_pb2, membership_pb2, raft_internal_pb2 as internal, rpc_pb2 as rpc, v2_pb2 as v2,
)

TXN_OPS_MAX = 128
"""etcd's default of --max-txn-ops."""


class Applied(NamedTuple):
    """What one command did. `result` has no header yet; `events` are of one revision each."""

    result: Proto | Refused
    revision: int
    events: tuple[Event, ...] = ()
    granted: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()
    expired: bool = False
    """Whether leases have run out."""


class Machine:
    """See the module's text."""

    def __init__(self, backend: Backend, *, max_txn_ops: int = TXN_OPS_MAX) -> None:
        self._store = Store(backend)
        self.leases = LeaseTable(backend)
        self.members = Members(backend)
        self.alarms = Alarms(backend)
        self._executor = Executor(self._store, self.leases)
        self.v2 = V2(self._store, self.leases)
        self._scrubber = Scrubber(self._store)
        self._max_txn_ops = max_txn_ops
        self._commands: dict[type[Proto], Callable[[Any, int], Applied]] = {
            rpc.PutRequest: self._put,
            rpc.TxnRequest: self._txn,
            rpc.DeleteRangeRequest: self._delete_range,
            rpc.CompactionRequest: self._compact,
            rpc.LeaseGrantRequest: self._grant,
            rpc.LeaseRevokeRequest: self._revoke,
            rpc.AlarmRequest: self._alarm,
            internal.LeaseExpireRequest: self._expire,
            v2.V2Request: self._v2,
            membership_pb2.ClusterMemberAttrSetRequest: self._member_attributes,
        }

        self._checks: dict[type[Proto], Callable[[Any], None]] = {
            rpc.PutRequest: check_put,
            rpc.RangeRequest: check_range,
            rpc.TxnRequest: lambda request: check_txn(request, max_txn_ops),
            rpc.DeleteRangeRequest: check_delete,
            rpc.LeaseGrantRequest: _check_grant,
        }

    @property
    def revision(self) -> int:
        """The newest revision."""
        return self._store.revision

    @property
    def compact_revision(self) -> int:
        """Revisions below it cannot be read; −1 if nothing was ever compacted."""
        return self._store.compact_revision

    @property
    def counts(self) -> Counts:
        """What was done since the start."""
        return self._store.counts

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self._store.keys

    # Commands.

    def apply(self, term: int, request: internal.InternalRaftRequest) -> Applied:
        """Apply the command of one entry of that raft term."""
        for _field, command in request.ListFields():
            if type(command) in self._commands:
                return self.apply_command(command, term)
        return Applied(Refused(Problem.UNIMPLEMENTED), self.revision)

    def apply_command(self, command: Proto, term: int) -> Applied:
        """Apply one command, which whoever proposed it has at hand."""
        handler = self._commands.get(type(command))
        if handler is None:
            return Applied(Refused(Problem.UNIMPLEMENTED), self.revision)
        try:
            self.alarms.check(command)
            return handler(command, term)
        except Refused as refused:
            return Applied(refused, self.revision)

    def _put(self, request: rpc.PutRequest, _term: int) -> Applied:
        check_put(request)
        write = Write.begin(self._store)
        response = self._executor.put(request, write)
        events = write.finish()
        return Applied(response, self.revision, events)

    def _delete_range(self, request: rpc.DeleteRangeRequest, _term: int) -> Applied:
        check_delete(request)
        write = Write.begin(self._store)
        response = self._executor.delete_range(request, write)
        events = write.finish()
        return Applied(response, self.revision, events)

    def _txn(self, request: rpc.TxnRequest, _term: int) -> Applied:
        check_txn(request, self._max_txn_ops)
        write = Write.begin(self._store)
        response = self._executor.txn(request, write)
        events = write.finish()
        return Applied(response, self.revision, events)

    def _compact(self, request: rpc.CompactionRequest, _term: int) -> Applied:
        if request.revision <= self.compact_revision:
            raise Refused(Problem.COMPACTED)
        if request.revision > self.revision:
            raise Refused(Problem.FUTURE_REVISION)
        self._store.compact(request.revision)
        return Applied(rpc.CompactionResponse(), self.revision)

    def _grant(self, request: rpc.LeaseGrantRequest, _term: int) -> Applied:
        self.leases.grant(request.ID, request.TTL)
        response = rpc.LeaseGrantResponse(ID=request.ID, TTL=request.TTL)
        return Applied(response, self.revision, granted=(request.ID,))

    def _revoke(self, request: rpc.LeaseRevokeRequest, _term: int) -> Applied:
        if self.leases.get(request.ID) is None:
            raise Refused(Problem.LEASE_NOT_FOUND)
        events, ended = self._end_lease(request.ID)
        return Applied(rpc.LeaseRevokeResponse(), self.revision, events, revoked=tuple(ended))

    def _expire(self, request: internal.LeaseExpireRequest, term: int) -> Applied:
        """Void in another term than the one whose leader found the leases ended: that leader may
        have been paused, and others may have renewed them (etcd issue 15247)."""
        if request.term != term:
            return Applied(rpc.LeaseRevokeResponse(), self.revision)
        events: list[Event] = []
        ended: list[int] = []
        for lease_id in request.ids:
            if self.leases.get(lease_id) is not None:  # one of a directory may take others along
                deleted, gone = self._end_lease(lease_id)
                events += deleted
                ended += gone
        return Applied(
            rpc.LeaseRevokeResponse(), self.revision, tuple(events), revoked=tuple(ended),
            expired=True)

    def _end_lease(self, lease_id: int) -> tuple[tuple[Event, ...], list[int]]:
        """Delete the lease with its keys, in order, in one revision; and all leases that ended."""
        write = Write.begin(self._store)
        keys = self.leases.keys(lease_id)
        for key in keys:
            self._executor.delete_range(rpc.DeleteRangeRequest(key=key), write)
        others = self.v2.ended(keys, write)
        self.leases.revoke(lease_id)
        return write.finish(), [lease_id, *others]

    def _v2(self, request: v2.V2Request, _term: int) -> Applied:
        change = self.v2.change(request)
        events = change.write.finish()
        return Applied(change.response, self.revision, events, granted=tuple(change.granted),
                       revoked=tuple(change.revoked))

    def _alarm(self, request: rpc.AlarmRequest, _term: int) -> Applied:
        if self.members.is_removed(request.memberID) and (
                request.action == rpc.AlarmRequest.AlarmAction.ACTIVATE):
            return Applied(rpc.AlarmResponse(), self.revision)  # it was on its way
        return Applied(self.alarms.apply(request), self.revision)

    def reconfigured(self, change: ConfChange | ConfChangeV2, state: ConfState) -> None:
        """A committed change of the configuration led to `state`: who is removed has no store that
        could be full any more."""
        self.members.apply_conf_change(change, state)
        self.alarms.end_full(self.members.is_removed)

    def _member_attributes(
        self, request: membership_pb2.ClusterMemberAttrSetRequest, _term: int
    ) -> Applied:
        attributes = request.member_attributes
        self.members.set_attributes(request.member_ID, attributes.name, attributes.client_urls)
        return Applied(internal.EmptyResponse(), self.revision)

    # Before consensus.

    def check(self, request: Proto) -> None:
        """Raises Refused for what is wrong with a request whatever the state."""
        check = self._checks.get(type(request))
        if check is not None:
            check(request)

    def is_read_only(self, request: rpc.TxnRequest) -> bool:
        """Whether the transaction changes nothing."""
        return is_read_only(request)

    # Reading.

    def range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        """A range; raises Refused."""
        check_range(request)
        return run_range(self._store, request)

    def txn_read(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        """A transaction that changes nothing; raises Refused."""
        check_txn(request, self._max_txn_ops)
        return self._executor.txn(request, Write.begin(self._store))

    def hash_kv(self, revision: int) -> rpc.HashKVResponse:
        """See hash.py; raises Refused."""
        return hash_kv(self._store, revision)

    def events_since(
        self, revision: int, key: bytes, range_end: bytes, limit: int, bytes_max: int = 1 << 62
    ) -> tuple[list[Event], int]:
        """See `Store.events_since`."""
        return self._store.events_since(revision, key, range_end, limit, bytes_max)

    def previous(self, key: bytes, revision: int) -> kv_pb2.KeyValue | None:
        """See `Store.previous`."""
        return self._store.previous(key, revision)

    # Upkeep.

    def scrub(self, limit: int) -> bool:
        """One small step of physical compaction; whether there is more to do."""
        return self._scrubber.step(limit)

    def reload(self) -> None:
        """The backend was replaced."""
        self._store.load()
        self.leases.load()
        self.alarms.load()
        self._scrubber.restart()


def _check_grant(request: rpc.LeaseGrantRequest) -> None:
    if request.TTL > TTL_S_MAX:
        raise Refused(Problem.LEASE_TTL_TOO_LARGE)
