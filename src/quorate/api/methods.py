"""The table of unary methods: gRPC path, gateway paths, request, and the service call.

Both ways in are made from it, so neither can have a method that the other has not. Paths and
types: rpc-fields.md. Not here: streams (grpc.py, server.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc


@dataclass(frozen=True, slots=True)
class Unary:
    """`call` is the name of the method of `member.service.Service`."""

    path: str
    request: type[Proto]
    call: str
    gateway: tuple[str, ...]


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
)
