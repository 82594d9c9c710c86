"""Which call of the member's service each request message means.

Not here: who asks (client.py, access.py).
"""

from __future__ import annotations

from google.protobuf.message import Message as Proto

from quorate.member.service import Done, Service
from quorate.wire._generated import rpc_pb2 as rpc, v2_pb2 as v2

_CALLS: dict[type[Proto], str] = {
    rpc.PutRequest: "put", rpc.RangeRequest: "range", rpc.DeleteRangeRequest: "delete_range",
    rpc.TxnRequest: "txn", rpc.LeaseGrantRequest: "lease_grant",
    rpc.LeaseKeepAliveRequest: "lease_keep_alive", rpc.LeaseRevokeRequest: "lease_revoke",
    rpc.LeaseTimeToLiveRequest: "lease_time_to_live", rpc.LeaseLeasesRequest: "lease_leases",
    rpc.MemberListRequest: "member_list", rpc.CompactionRequest: "compact",
    v2.V2Request: "v2_change", v2.V2Get: "v2_get"}


def serve(service: Service, request: Proto, done: Done) -> None:
    """Ask."""
    getattr(service, _CALLS[type(request)])(request, done)
