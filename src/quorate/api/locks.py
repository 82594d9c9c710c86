"""v3lockpb.Lock over a `Service`: what etcd's lock service does, with its texts (surface §1.7).

Not here: how one waits for one's turn (queues.py).
"""

from __future__ import annotations

from google.protobuf.message import Message as Proto

from quorate.api.queues import Cancel, Contender, Held, relayed
from quorate.member.service import Done, Service
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import lock_pb2, rpc_pb2 as rpc


class Locks:
    """Locks of one member's clients."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def lock(self, request: lock_pb2.LockRequest, done: Done) -> Cancel:
        """Lock.Lock: waits."""

        def decided(outcome: Held | Refused) -> None:
            if isinstance(outcome, Refused):
                done(outcome)
            else:
                done(lock_pb2.LockResponse(header=outcome.won, key=outcome.key))

        contender = Contender(
            self._service, request.name, None, Problem.LOCK_SESSION_EXPIRED, decided)
        contender.start(request.lease)
        return contender.cancel

    def unlock(self, request: lock_pb2.UnlockRequest, done: Done) -> None:
        """Lock.Unlock: no error if nobody holds it."""

        def deleted(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(relayed(outcome))
            assert isinstance(outcome, rpc.DeleteRangeResponse)
            return done(lock_pb2.UnlockResponse(header=outcome.header))

        self._service.delete_range(rpc.DeleteRangeRequest(key=request.key), deleted)
