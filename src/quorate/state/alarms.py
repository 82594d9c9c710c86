"""Alarms: NOSPACE and CORRUPT, by member; while one is there, every member refuses what it forbids.

Stored as in etcd: a marshalled AlarmMember → nothing. Source: etcd-surface.md §10.3.
Not here: who raises them (member/quota.py, operators).
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message as Proto

from quorate.state.backend import Backend, Bucket
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc, v2_pb2 as v2

_CHANGES = (rpc.PutRequest, rpc.DeleteRangeRequest, rpc.TxnRequest, rpc.CompactionRequest,
            rpc.LeaseGrantRequest, rpc.LeaseRevokeRequest, v2.V2Request)


class Alarms:
    """What is raised."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._raised: dict[tuple[int, int], rpc.AlarmMember] = {}
        self.load()

    def load(self) -> None:
        """Take over what the backend holds."""
        found = [rpc.AlarmMember.FromString(key)
                 for key, _ in self._backend.scan(Bucket.ALARM, b"", None)]
        self._raised = {(one.memberID, one.alarm): one for one in found}

    def raised(self, kind: int) -> list[rpc.AlarmMember]:
        """Those of a kind; NONE is all."""
        return [one for _, one in sorted(self._raised.items())
                if kind in (rpc.AlarmType.NONE, one.alarm)]

    def has(self, member_id: int, kind: int) -> bool:
        """Whether that member has raised that."""
        return (member_id, kind) in self._raised

    def apply(self, request: rpc.AlarmRequest) -> rpc.AlarmResponse:
        """GET, ACTIVATE or DEACTIVATE; the answer has the alarms that it was about."""
        action = rpc.AlarmRequest.AlarmAction
        key = request.memberID, request.alarm
        if request.action == action.GET:
            return rpc.AlarmResponse(alarms=self.raised(request.alarm))
        if request.alarm == rpc.AlarmType.NONE:
            return rpc.AlarmResponse()
        if request.action == action.ACTIVATE:
            one = rpc.AlarmMember(memberID=request.memberID, alarm=request.alarm)
            if key not in self._raised:
                self._raised[key] = one
                self._backend.put(Bucket.ALARM, one.SerializeToString(), b"")
            return rpc.AlarmResponse(alarms=[one])
        gone = self._raised.pop(key, None)
        if gone is None:
            return rpc.AlarmResponse()
        self._backend.delete(Bucket.ALARM, gone.SerializeToString())
        return rpc.AlarmResponse(alarms=[gone])

    def end_full(self, ended: Callable[[int], bool]) -> None:
        """End NOSPACE of these members, who cannot do it themselves. CORRUPT stays: who is left
        may be the corrupt ones."""
        for one in self.raised(rpc.AlarmType.NOSPACE):
            if ended(one.memberID):
                self.apply(rpc.AlarmRequest(
                    action=rpc.AlarmRequest.AlarmAction.DEACTIVATE, memberID=one.memberID,
                    alarm=one.alarm))

    def check(self, request: Proto) -> None:
        """Raises Refused for what an alarm forbids: with CORRUPT every change of keys and leases,
        with NOSPACE what takes space."""
        if not self._raised:
            return
        if self.raised(rpc.AlarmType.CORRUPT) and isinstance(request, _CHANGES):
            raise Refused(Problem.CORRUPT)
        if self.raised(rpc.AlarmType.NOSPACE) and takes_space(request):
            raise Refused(Problem.NO_SPACE)


def takes_space(request: Proto) -> bool:
    """Whether it may make the store larger, as etcd counts: puts, also nested, and leases."""
    if isinstance(request, rpc.TxnRequest):
        return any(
            op.WhichOneof("request") == "request_put"
            or (op.WhichOneof("request") == "request_txn" and takes_space(op.request_txn))
            for op in (*request.success, *request.failure))
    if isinstance(request, v2.V2Request):
        return request.method != v2.V2Request.DELETE
    return isinstance(request, rpc.PutRequest | rpc.LeaseGrantRequest)
