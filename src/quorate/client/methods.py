"""What can be asked: gateway path, type of the answer, and whether asking twice does no harm."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message as Proto

from quorate.wire._generated import (
    cluster_pb2 as cluster, election_pb2 as election, lock_pb2 as lock, rpc_pb2 as rpc,
)

R = TypeVar("R", bound=Proto)


class Method(NamedTuple, Generic[R]):
    """`reads`: it changes nothing, or nothing that a second time would change."""

    path: str
    answer: type[R]
    reads: bool = False


RANGE = Method("kv/range", rpc.RangeResponse, True)
PUT = Method("kv/put", rpc.PutResponse)
DELETE_RANGE = Method("kv/deleterange", rpc.DeleteRangeResponse)
TXN = Method("kv/txn", rpc.TxnResponse)
COMPACT = Method("kv/compaction", rpc.CompactionResponse)
WATCH = Method("watch", rpc.WatchResponse, True)
LEASE_GRANT = Method("lease/grant", rpc.LeaseGrantResponse)
LEASE_REVOKE = Method("lease/revoke", rpc.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method("lease/keepalive", rpc.LeaseKeepAliveResponse, True)
LEASE_TIME_TO_LIVE = Method("lease/timetolive", rpc.LeaseTimeToLiveResponse, True)
LEASE_LEASES = Method("lease/leases", rpc.LeaseLeasesResponse, True)
MEMBER_ADD = Method("cluster/member/add", rpc.MemberAddResponse)
MEMBER_REMOVE = Method("cluster/member/remove", rpc.MemberRemoveResponse)
MEMBER_UPDATE = Method("cluster/member/update", rpc.MemberUpdateResponse)
MEMBER_PROMOTE = Method("cluster/member/promote", rpc.MemberPromoteResponse)
MEMBER_LIST = Method("cluster/member/list", rpc.MemberListResponse, True)
RECONFIGURE = Method("cluster/reconfigure", cluster.ReconfigureResponse)
STATUS = Method("maintenance/status", rpc.StatusResponse, True)
ALARM = Method("maintenance/alarm", rpc.AlarmResponse)
DEFRAGMENT = Method("maintenance/defragment", rpc.DefragmentResponse)
HASH_KV = Method("maintenance/hashkv", rpc.HashKVResponse, True)
SNAPSHOT = Method("maintenance/snapshot", rpc.SnapshotResponse, True)
MOVE_LEADER = Method("maintenance/transfer-leadership", rpc.MoveLeaderResponse)
LOCK = Method("lock/lock", lock.LockResponse)
UNLOCK = Method("lock/unlock", lock.UnlockResponse)
CAMPAIGN = Method("election/campaign", election.CampaignResponse)
RESIGN = Method("election/resign", election.ResignResponse)
OBSERVE = Method("election/observe", election.LeaderResponse, True)
