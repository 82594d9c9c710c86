"""The tables of methods: gRPC path, gateway paths, request, and the call that serves it.

Both ways in are made from the table of unary methods, so neither can have one that the other has
not; reflection is made from both tables. Paths and types: rpc-fields.md. Not here: how streams are
served (grpc.py, server.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message as Proto

from quorate.api.elections import Elections
from quorate.api.locks import Locks
from quorate.member.service import Service
from quorate.wire._generated import (
    cluster_pb2 as cluster, election_pb2 as election, health_pb2 as health, lock_pb2 as lock,
    reflection_pb2 as reflection, rpc_pb2 as rpc,
)


@dataclass(frozen=True, slots=True)
class Unary:
    """`call` is the name of the method of `member.service.Service`, or of `of`, which is made for
    one; what `waits` returns a `queues.Cancel`."""

    path: str
    request: type[Proto]
    call: str
    gateway: tuple[str, ...]
    of: type[Elections | Locks] | None = None
    waits: bool = False


UNARY = (
    Unary("etcdserverpb.KV/Range", rpc.RangeRequest, "range", ("kv/range",)),
    Unary("etcdserverpb.KV/Put", rpc.PutRequest, "put", ("kv/put",)),
    Unary("etcdserverpb.KV/DeleteRange", rpc.DeleteRangeRequest, "delete_range",
          ("kv/deleterange",)),
    Unary("etcdserverpb.KV/Txn", rpc.TxnRequest, "txn", ("kv/txn",)),
    Unary("etcdserverpb.KV/Compact", rpc.CompactionRequest, "compact", ("kv/compaction",)),
    Unary("etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest, "lease_grant",
          ("lease/grant",)),
    Unary("etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeRequest, "lease_revoke",
          ("lease/revoke", "kv/lease/revoke")),
    Unary("etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest,
          "lease_time_to_live", ("lease/timetolive", "kv/lease/timetolive")),
    Unary("etcdserverpb.Lease/LeaseLeases", rpc.LeaseLeasesRequest, "lease_leases",
          ("lease/leases", "kv/lease/leases")),
    Unary("etcdserverpb.Cluster/MemberAdd", rpc.MemberAddRequest, "member_add",
          ("cluster/member/add",)),
    Unary("etcdserverpb.Cluster/MemberRemove", rpc.MemberRemoveRequest, "member_remove",
          ("cluster/member/remove",)),
    Unary("etcdserverpb.Cluster/MemberUpdate", rpc.MemberUpdateRequest, "member_update",
          ("cluster/member/update",)),
    Unary("etcdserverpb.Cluster/MemberPromote", rpc.MemberPromoteRequest, "member_promote",
          ("cluster/member/promote",)),
    Unary("quorate.v1.Cluster/Reconfigure", cluster.ReconfigureRequest, "reconfigure",
          ("cluster/reconfigure",)),
    Unary("etcdserverpb.Cluster/MemberList", rpc.MemberListRequest, "member_list",
          ("cluster/member/list",)),
    Unary("etcdserverpb.Maintenance/Status", rpc.StatusRequest, "status",
          ("maintenance/status",)),
    Unary("etcdserverpb.Maintenance/Alarm", rpc.AlarmRequest, "alarm", ("maintenance/alarm",)),
    Unary("etcdserverpb.Maintenance/Defragment", rpc.DefragmentRequest, "defragment",
          ("maintenance/defragment",)),
    Unary("etcdserverpb.Maintenance/Hash", rpc.HashRequest, "hash", ("maintenance/hash",)),
    Unary("etcdserverpb.Maintenance/MoveLeader", rpc.MoveLeaderRequest, "move_leader",
          ("maintenance/transfer-leadership",)),
    Unary("etcdserverpb.Maintenance/HashKV", rpc.HashKVRequest, "hash_kv",
          ("maintenance/hashkv",)),
    Unary("etcdserverpb.Auth/Authenticate", rpc.AuthenticateRequest, "authenticate",
          ("auth/authenticate",)),
    Unary("v3electionpb.Election/Campaign", election.CampaignRequest, "campaign",
          ("election/campaign",), Elections, waits=True),
    Unary("v3electionpb.Election/Proclaim", election.ProclaimRequest, "proclaim",
          ("election/proclaim",), Elections),
    Unary("v3electionpb.Election/Leader", election.LeaderRequest, "leader",
          ("election/leader",), Elections),
    Unary("v3electionpb.Election/Resign", election.ResignRequest, "resign",
          ("election/resign",), Elections),
    Unary("v3lockpb.Lock/Lock", lock.LockRequest, "lock", ("lock/lock",), Locks, waits=True),
    Unary("v3lockpb.Lock/Unlock", lock.UnlockRequest, "unlock", ("lock/unlock",), Locks),
)


def bound(service: Service) -> Iterator[tuple[Unary, Callable[..., Any]]]:
    """Each unary method with what serves it."""
    made: dict[type[Elections | Locks], Elections | Locks] = {}
    for unary in UNARY:
        server: object = service
        if unary.of is not None:
            server = made[unary.of] = made.get(unary.of) or unary.of(service)
        yield unary, getattr(server, unary.call)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A stream of answers, and of questions if it is `both_ways`. Reflection names it; who serves
    it is said in grpc.py."""

    path: str
    request: type[Proto]
    both_ways: bool = True


STREAMING = (
    Streaming("etcdserverpb.Watch/Watch", rpc.WatchRequest),
    Streaming("etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest),
    Streaming("etcdserverpb.Maintenance/Snapshot", rpc.SnapshotRequest, both_ways=False),
    Streaming("v3electionpb.Election/Observe", election.LeaderRequest, both_ways=False),
    Streaming("grpc.health.v1.Health/Watch", health.HealthCheckRequest, both_ways=False),
    Streaming("grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
              reflection.ServerReflectionRequest),
    Streaming("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              reflection.ServerReflectionRequest),
)
