"""`service.Service` over a `MemberCore`: what each client request means to the member.

Requests that change something are checked first (what is wrong for sure needs no consensus) and
proposed; linearizable reads wait for the core's read round; serializable ones are served from
the local state at once.

Not here: consensus (core.py), members (membership.py), encodings and sockets (api/), users (a later
issue).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message as Proto

from quorate.member.autocompact import Retention
from quorate.member.core import MemberCore
from quorate.member.leasecalls import LeaseAnswer
from quorate.member.membership import DEFAULT_RULES, Links, Membership, Rules
from quorate.member.quota import Quota
from quorate.member.service import (
    Done, Health, SnapshotSink, SnapshotStream, V2Sink, V2Stream, WatchSink, WatchStream,
)
from quorate.member.upkeep import Upkeep
from quorate.state.errors import Problem, Refused
from quorate.state.hash import hash_all
from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc, v2_pb2 as v2
from quorate.wire.prometheus import Family

if TYPE_CHECKING:
    from quorate.member.stats import Stats

LEASE_ID_MAX = 2**63 - 1

Q = TypeVar("Q", bound=Proto)


class MemberService:
    """The façade of one running member. `wake` tells the driver that the core has work."""

    def __init__(
        self, core: MemberCore, wake: Callable[[], None], *, version: str,
        request_bytes_max: int, rules: Rules = DEFAULT_RULES, links: Links | None = None,
        upkeep: Upkeep | None = None,
        snapshots: Callable[[SnapshotSink], SnapshotStream] | None = None,
        measures: Callable[[], Iterable[Family]] = tuple, stats: Stats | None = None,
    ) -> None:
        """Without `snapshots` none can be taken: they need files and a thread."""
        self.measures = measures
        self._stats = stats
        self.membership = Membership(core, wake, rules, links)
        self._core = core
        self._machine = core.machine
        self._wake = core.v2_watches.wake = wake
        self._version = version
        self._request_bytes_max = request_bytes_max
        self._upkeep = upkeep or Upkeep(core, Quota(0), Retention(amount=0))
        self._snapshots = snapshots

    def header(self) -> rpc.ResponseHeader:
        """See `Service.header`."""
        return self._core.header()

    def has_leader(self) -> bool:
        """Whether this member knows a leader."""
        return self._core.node.lead != 0

    def lost_leader(self) -> bool:
        """See `Service.lost_leader`."""
        return self._core.leadership.lost(self._core.now)

    def refusal(self, request: Proto | None) -> Refused | None:
        """See `Service.refusal`."""
        if not self._core.node.is_learner or isinstance(request, rpc.StatusRequest) or (
                isinstance(request, rpc.RangeRequest) and request.serializable):
            return None
        return Refused(Problem.NOT_SUPPORTED_FOR_LEARNER)

    def health(
        self, done: Callable[[Health], None], *, serializable: bool = False,
        exclude: Collection[str] = (),
    ) -> None:
        """Healthy is who can read: linearizably, or locally if `serializable`; and has no alarm
        but those to `exclude`."""
        for one in self._machine.alarms.raised(rpc.AlarmType.NONE):
            name = rpc.AlarmType.Name(one.alarm)
            if name not in exclude:
                return done(Health(False, f"ALARM {name}"))
        if serializable:
            return done(Health(True))
        if not self.has_leader():
            return done(Health(False, "RAFT NO LEADER"))

        def ready(refused: Refused | None) -> None:
            if refused is None:
                done(Health(True))
            elif refused.problem is Problem.NO_LEADER:
                done(Health(False, "RAFT NO LEADER"))
            else:
                done(Health(False, f"RANGE ERROR:{refused.problem.name.lower()}"))

        return self._read(ready)

    def range(self, request: rpc.RangeRequest, done: Done) -> None:
        """KV.Range."""
        self._read_with(request, self._machine.range, done, serializable=request.serializable)

    def put(self, request: rpc.PutRequest, done: Done) -> None:
        """KV.Put."""
        self._propose(request, done)

    def delete_range(self, request: rpc.DeleteRangeRequest, done: Done) -> None:
        """KV.DeleteRange."""
        self._propose(request, done)

    def txn(self, request: rpc.TxnRequest, done: Done) -> None:
        """KV.Txn; one that only reads needs no entry in the log."""
        if self._machine.is_read_only(request):
            # Of a nested transaction this is an empty range, which is not serializable.
            ranges = [op.request_range for op in (*request.success, *request.failure)]
            self._read_with(
                request, self._machine.txn_read, done,
                serializable=bool(ranges) and all(r.serializable for r in ranges))
        else:
            self._propose(request, done)

    def compact(self, request: rpc.CompactionRequest, done: Done) -> None:
        """KV.Compact."""
        self._propose(request, done)

    def lease_grant(self, request: rpc.LeaseGrantRequest, done: Done) -> None:
        """Lease.LeaseGrant: picks an id for 0 and raises a TTL that is too short."""
        request = rpc.LeaseGrantRequest(
            ID=request.ID or self._core.ids.next() & LEASE_ID_MAX,
            TTL=max(request.TTL, self._core.config.lease_ttl_s_min))
        self._propose(request, done)

    def lease_revoke(self, request: rpc.LeaseRevokeRequest, done: Done) -> None:
        """Lease.LeaseRevoke."""
        self._propose(request, done)

    def lease_keep_alive(self, request: rpc.LeaseKeepAliveRequest, done: Done) -> None:
        """Lease.LeaseKeepAlive: TTL 0 when there is no such lease."""

        def answer(outcome: LeaseAnswer | Refused) -> None:
            if isinstance(outcome, Refused):
                done(outcome)
            else:
                done(rpc.LeaseKeepAliveResponse(
                    header=self.header(), ID=request.ID, TTL=outcome.ttl_s))

        self._core.leases.call(request.ID, answer)
        self._wake()

    def lease_time_to_live(self, request: rpc.LeaseTimeToLiveRequest, done: Done) -> None:
        """Lease.LeaseTimeToLive: TTL −1 when there is no such lease."""

        def answer(outcome: LeaseAnswer | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(outcome)

            def found(_request: rpc.LeaseTimeToLiveRequest) -> rpc.LeaseTimeToLiveResponse:
                if outcome.ttl_s == 0:
                    return rpc.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
                keys = self._machine.leases.keys(request.ID) if request.keys else ()
                return rpc.LeaseTimeToLiveResponse(
                    ID=request.ID, TTL=outcome.remaining_s, grantedTTL=outcome.ttl_s, keys=keys)

            # The time is the leader's; the keys are this member's own, and must not lag.
            return self._read_with(request, found, done, serializable=not request.keys)

        self._core.leases.call(request.ID, answer, time_to_live=True)
        self._wake()

    def lease_leases(self, request: rpc.LeaseLeasesRequest, done: Done) -> None:
        """Lease.LeaseLeases, as new as the call."""

        def listing(_request: rpc.LeaseLeasesRequest) -> rpc.LeaseLeasesResponse:
            return rpc.LeaseLeasesResponse(
                leases=[rpc.LeaseStatus(ID=i) for i in self._machine.leases.ids()])

        self._read_with(request, listing, done, serializable=False)

    def member_add(self, request: rpc.MemberAddRequest, done: Done) -> None:
        """Cluster.MemberAdd."""
        self.membership.add(request, done)

    def member_remove(self, request: rpc.MemberRemoveRequest, done: Done) -> None:
        """Cluster.MemberRemove."""
        self.membership.remove(request, done)

    def member_update(self, request: rpc.MemberUpdateRequest, done: Done) -> None:
        """Cluster.MemberUpdate."""
        self.membership.update(request, done)

    def member_promote(self, request: rpc.MemberPromoteRequest, done: Done) -> None:
        """Cluster.MemberPromote."""
        self.membership.promote(request, done)

    def member_list(self, request: rpc.MemberListRequest, done: Done) -> None:
        """Cluster.MemberList."""
        self.membership.member_list(request, done)

    def reconfigure(self, request: cluster.ReconfigureRequest, done: Done) -> None:
        """quorate.v1.Cluster.Reconfigure."""
        self.membership.reconfigure(request, done)

    def move_leader(self, request: rpc.MoveLeaderRequest, done: Done) -> None:
        """Maintenance.MoveLeader."""
        self.membership.move_leader(request, done)

    def status(self, _request: rpc.StatusRequest, done: Done) -> None:
        """Maintenance.Status of this member."""
        node, size = self._core.node, self._core.backend.size()
        done(rpc.StatusResponse(
            header=self.header(), version=self._version, dbSize=size.total,
            dbSizeInUse=size.in_use, leader=node.lead, raftIndex=node.commit,
            raftTerm=self._core.leadership.reported_term,
            raftAppliedIndex=self._core.backend.applied.index,
            errors=[*([] if node.lead else ["etcdserver: no leader"]), *(
                f"memberID:{one.memberID} alarm:{rpc.AlarmType.Name(one.alarm)} "
                for one in self._machine.alarms.raised(rpc.AlarmType.NONE))],
            isLearner=node.is_learner))

    def alarm(self, request: rpc.AlarmRequest, done: Done) -> None:
        """Maintenance.Alarm."""
        if request.action == rpc.AlarmRequest.AlarmAction.GET:
            return self._read_with(request, self._machine.alarms.apply, done, serializable=False)
        return self._propose(request, done)

    def defragment(self, _request: rpc.DefragmentRequest, done: Done) -> None:
        """Maintenance.Defragment: LMDB takes freed pages again by itself, so there is nothing to
        do (docs/divergence.md)."""
        self._upkeep.defrag_s.observe(0.0)
        done(rpc.DefragmentResponse())

    def hash(self, _request: rpc.HashRequest, done: Done) -> None:
        """Maintenance.Hash of everything that this member has."""
        done(self._with_header(rpc.HashResponse(hash=hash_all(self._core.backend))))

    def hash_kv(self, request: rpc.HashKVRequest, done: Done) -> None:
        """Maintenance.HashKV of this member's state."""
        try:
            response = self._machine.hash_kv(request.revision)
        except Refused as refused:
            return done(refused)
        return done(self._with_header(response))

    def authenticate(self, _request: rpc.AuthenticateRequest, done: Done) -> None:
        """Auth.Authenticate: there are no users yet."""
        done(Refused(Problem.AUTH_NOT_ENABLED))

    def raft_index(self) -> int:
        """See `Service.raft_index`."""
        return self._core.backend.applied.index

    def v2_get(self, request: v2.V2Get, done: Done) -> None:
        """A v2 read."""

        def read(request: v2.V2Get) -> v2.V2Response:
            response = self._machine.v2.get(request.path, recursive=request.recursive)
            self._core.v2_watches.fill(response.node)
            return response

        self._read_with(request, read, done, serializable=not request.quorum)

    def v2_change(self, request: v2.V2Request, done: Done) -> None:
        """A v2 write."""
        self._propose(request, done)

    def v2_watch(
        self, path: bytes, sink: V2Sink, *, since: int, recursive: bool, stream: bool
    ) -> V2Stream:
        """A v2 watch."""
        watch = self._core.v2_watches.open(
            path, sink, since=since, recursive=recursive, stream=stream)
        self._wake()
        return watch

    def is_removed(self, member_id: int) -> bool:
        """See `Service.is_removed`."""
        return self._machine.members.is_removed(member_id)

    def v2_self(self) -> dict[str, object]:
        """See `Service.v2_self`."""
        return {} if self._stats is None else self._stats.own()

    def v2_leader(self) -> dict[str, object] | None:
        """See `Service.v2_leader`."""
        return None if self._stats is None else self._stats.leader()

    def v2_counts(self) -> dict[str, int]:
        """Operations, and watchers."""
        return {**self._machine.v2.counts, "watchers": len(self._core.v2_watches)}

    def watch(self, sink: WatchSink) -> WatchStream:
        """Watch.Watch."""
        return _WakingStream(self._core.watches.open(sink), self._wake)

    def snapshot(self, sink: SnapshotSink) -> SnapshotStream:
        """Maintenance.Snapshot."""
        if self._snapshots is None:
            sink.end(Refused(Problem.UNIMPLEMENTED))
            return _NoStream()
        return self._snapshots(sink)

    def _propose(self, request: Proto, done: Done) -> None:
        if request.ByteSize() > self._request_bytes_max:
            return done(Refused(Problem.REQUEST_TOO_LARGE))
        try:
            self._machine.check(request)
        except Refused as refused:
            return done(refused)
        if not self._upkeep.admits(request):
            self._upkeep.refuse(done)
            return self._wake()
        self._core.propose(request, done)
        return self._wake()

    def _read(self, ready: Callable[[Refused | None], None]) -> None:
        self._core.read(ready)
        self._wake()

    def _read_with(
        self, request: Q, read: Callable[[Q], Proto], done: Done, *, serializable: bool
    ) -> None:
        def ready(refused: Refused | None) -> None:
            if refused is not None:
                return done(refused)
            try:
                response = read(request)
            except Refused as wrong:
                return done(wrong)
            return done(self._with_header(response))

        if serializable:
            return ready(None)
        try:
            self._machine.check(request)
        except Refused as refused:
            return done(refused)
        return self._read(ready)

    def _with_header(self, response: Proto) -> Proto:
        self._core.fill(response.header)  # type: ignore[attr-defined]  # every one has one
        return response


class _WakingStream:
    """A watch stream whose requests wake the driver, which flushes the hub."""

    def __init__(self, stream: WatchStream, wake: Callable[[], None]) -> None:
        self._stream = stream
        self._wake = wake

    def request(self, request: rpc.WatchRequest) -> None:
        self._stream.request(request)
        self._wake()

    def drained(self) -> None:
        self._stream.drained()
        self._wake()

    def close(self) -> None:
        self._stream.close()


class _NoStream:
    """A stream that has ended."""

    def drained(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """It is."""
