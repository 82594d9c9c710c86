"""The one façade between a running member and whatever speaks to clients.

Callback style: each call takes the decoded request and `done`, which is called exactly once, on
the member's thread, with the response message (header filled) or a `Refused`. `done` may be
called before the call returns. No task or coroutine is made per request.

`api/` imports this module and nothing else of the member.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message as Proto

from quorate.state.errors import Refused
from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc, v2_pb2 as v2
from quorate.wire.prometheus import Family

Done = Callable[[Proto | Refused], None]
"""Receives the outcome of one request."""


class WatchSink(Protocol):
    """Where a watch stream's responses go. Calls come on the member's thread; the sink may close
    its stream during one."""

    def send(self, response: rpc.WatchResponse) -> None:
        """One response, which is the caller's: it may be sent to others with another id, so a sink
        that keeps it keeps a copy."""
        ...

    def send_all(self, response: rpc.WatchResponse, watch_ids: list[int]) -> None:
        """The same response to several watches."""
        for watch_id in watch_ids:
            response.watch_id = watch_id
            self.send(response)

    def backlog_bytes(self) -> int:
        """Bytes accepted by `send` that the client has not taken yet; the hub pauses above a limit
        and resumes when `WatchStream.drained` is called."""
        ...

    def end(self, reason: Refused | None) -> None:
        """The stream is over; `reason` None means the client's own wish. Nothing follows."""
        ...


class WatchStream(Protocol):
    """One client stream of watches (etcd-surface.md §4.4)."""

    def request(self, request: rpc.WatchRequest) -> None:
        """Create, cancel or ask for progress; answers arrive at the sink."""
        ...

    def drained(self) -> None:
        """The sink has room again."""
        ...

    def close(self) -> None:
        """The client is gone; `end` is not called."""
        ...


class SnapshotSink(Protocol):
    """Where the messages of a snapshot go. Calls come on the member's thread."""

    def send(self, response: rpc.SnapshotResponse) -> None: ...

    def backlog_bytes(self) -> int:
        """Bytes accepted by `send` that the client has not taken yet; nothing is sent above a
        limit."""
        ...

    def end(self, reason: Refused | None) -> None:
        """The stream is over, complete if there is no reason. Nothing follows."""
        ...


class SnapshotStream(Protocol):
    """One client's snapshot."""

    def drained(self) -> None:
        """The sink has room again."""
        ...

    def close(self) -> None:
        """The client is gone; `end` is not called."""
        ...


class V2Sink(Protocol):
    """Where the events of a v2 watch go. Calls come on the member's thread; the sink may close its
    watch during one."""

    def send(self, event: v2.V2Response) -> None:
        """One event; the last, unless the watch is a stream."""
        ...

    def fail(self, reason: Refused) -> None:
        """The watch cannot be served. Nothing follows."""
        ...

    def backlog_bytes(self) -> int:
        """Bytes accepted by `send` that the client has not taken yet; nothing is sent above a
        limit."""
        ...


class V2Stream(Protocol):
    """One v2 watch."""

    def drained(self) -> None:
        """The sink has room again."""
        ...

    def close(self) -> None:
        """The client is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """`reason` is empty when healthy, else etcd's words (`RAFT NO LEADER`, ...)."""

    healthy: bool
    reason: str = ""


class Service(Protocol):
    """A running member as clients see it."""

    def header(self) -> rpc.ResponseHeader:
        """Cluster id, member id, current revision, and a raft term that never falls."""
        ...

    def has_leader(self) -> bool: ...

    def lost_leader(self) -> bool:
        """Whether there has been no leader for three election timeouts."""
        ...

    def refusal(self, request: Proto | None) -> Refused | None:
        """Why this member does not serve the request, or any stream (None), if so: a learner
        serves its status and serializable ranges (surface §2)."""
        ...

    def measures(self) -> Iterable[Family]:
        """What the member counts, now."""
        ...

    def health(
        self, done: Callable[[Health], None], *, serializable: bool = False,
        exclude: Collection[str] = (),
    ) -> None:
        """`exclude`: names of alarms that do not count."""
        ...

    def range(self, request: rpc.RangeRequest, done: Done) -> None: ...

    def put(self, request: rpc.PutRequest, done: Done) -> None: ...

    def delete_range(self, request: rpc.DeleteRangeRequest, done: Done) -> None: ...

    def txn(self, request: rpc.TxnRequest, done: Done) -> None: ...

    def compact(self, request: rpc.CompactionRequest, done: Done) -> None: ...

    def lease_grant(self, request: rpc.LeaseGrantRequest, done: Done) -> None: ...

    def lease_revoke(self, request: rpc.LeaseRevokeRequest, done: Done) -> None: ...

    def lease_keep_alive(self, request: rpc.LeaseKeepAliveRequest, done: Done) -> None: ...

    def lease_time_to_live(self, request: rpc.LeaseTimeToLiveRequest, done: Done) -> None: ...

    def lease_leases(self, request: rpc.LeaseLeasesRequest, done: Done) -> None: ...

    def member_add(self, request: rpc.MemberAddRequest, done: Done) -> None: ...

    def member_remove(self, request: rpc.MemberRemoveRequest, done: Done) -> None: ...

    def member_update(self, request: rpc.MemberUpdateRequest, done: Done) -> None: ...

    def member_promote(self, request: rpc.MemberPromoteRequest, done: Done) -> None: ...

    def member_list(self, request: rpc.MemberListRequest, done: Done) -> None: ...

    def reconfigure(self, request: cluster.ReconfigureRequest, done: Done) -> None: ...

    def move_leader(self, request: rpc.MoveLeaderRequest, done: Done) -> None: ...

    def status(self, request: rpc.StatusRequest, done: Done) -> None: ...

    def alarm(self, request: rpc.AlarmRequest, done: Done) -> None: ...

    def defragment(self, request: rpc.DefragmentRequest, done: Done) -> None: ...

    def hash(self, request: rpc.HashRequest, done: Done) -> None: ...

    def hash_kv(self, request: rpc.HashKVRequest, done: Done) -> None: ...

    def authenticate(self, request: rpc.AuthenticateRequest, done: Done) -> None: ...

    def raft_index(self) -> int:
        """The last entry that is applied here."""
        ...

    def v2_get(self, request: v2.V2Get, done: Done) -> None:
        """A v2 read of a clean path; `done` gets a V2Response."""
        ...

    def v2_change(self, request: v2.V2Request, done: Done) -> None:
        """A v2 write; `done` gets a V2Response."""
        ...

    def v2_watch(
        self, path: bytes, sink: V2Sink, *, since: int, recursive: bool, stream: bool
    ) -> V2Stream:
        """A v2 watch from index `since` on; 0 is from now on. If that is not possible the sink is
        told before this returns."""
        ...

    def is_removed(self, member_id: int) -> bool:
        """Whether that was a member."""
        ...

    def v2_self(self) -> dict[str, object]:
        """The content of `/v2/stats/self`."""
        ...

    def v2_leader(self) -> dict[str, object] | None:
        """The content of `/v2/stats/leader`, None on a member that does not lead."""
        ...

    def v2_counts(self) -> dict[str, int]:
        """What v2 was asked since the start and how it ended, under the names of
        `/v2/stats/store`."""
        ...

    def watch(self, sink: WatchSink) -> WatchStream: ...

    def snapshot(self, sink: SnapshotSink) -> SnapshotStream:
        """Maintenance.Snapshot of this member's state, which holds whatever it has applied. The
        sink's `end` may be called before this returns."""
        ...
