"""What locks and elections have in common: sessions, and places in a queue (surface §1.7).

A place is the key `<name>/<lease in hex>` under that lease; the holder is whose place is oldest, by
create revision. One who waits watches the next older place only, so a release wakes one waiter.

Invariants:
- Who waits looks at this member's own state, which is at least as new as its place: an older
  place that is gone there never comes back. So waiting needs no leader.
- A waiter whose own place is gone gets nothing, and before its turn is announced the place is
  read once more, linearizably.
- A place whose waiter gave up is removed.

Not here: what is served (locks.py, elections.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from quorate.api.errors import Code, form
from quorate.member.service import Service, WatchSink
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

SESSION_TTL_S = 60
"""Of the lease that a call without one gets (etcd's session)."""

Cancel = Callable[[], None]
"""The client does not want the answer any more; `done` is not called after it."""


def relayed(refused: Refused) -> Refused:
    """As etcd passes on what these services are told: the text, under Unknown."""
    error = form(refused)
    return refused if error.code is Code.UNKNOWN else Refused(Problem.RELAYED, error.text)


def session(service: Service, lease: int, then: Callable[[int | Refused], None]) -> None:
    """The lease of a call: its own, or a new one."""
    if lease:
        return then(lease)

    def granted(outcome: Proto | Refused) -> None:
        then(outcome if isinstance(outcome, Refused)
             else outcome.ID)  # type: ignore[attr-defined]  # a LeaseGrantResponse

    return service.lease_grant(rpc.LeaseGrantRequest(TTL=SESSION_TTL_S), granted)


def places(name: bytes) -> tuple[bytes, bytes]:
    """The range of a queue's places."""
    return name + b"/", name + b"0"


def first(name: bytes, *, serializable: bool = False) -> rpc.RangeRequest:
    """The question who holds `name`."""
    key, end = places(name)
    return rpc.RangeRequest(
        key=key, range_end=end, limit=1, sort_target=rpc.RangeRequest.CREATE,
        sort_order=rpc.RangeRequest.ASCEND, serializable=serializable)


def unchanged(key: bytes, create_revision: int) -> rpc.Compare:
    """Whether it is still the same place."""
    return rpc.Compare(
        key=key, target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL,
        create_revision=create_revision)


def release(key: bytes, create_revision: int) -> rpc.TxnRequest:
    """Remove the place, unless it is somebody else's by now."""
    return rpc.TxnRequest(
        compare=[unchanged(key, create_revision)],
        success=[rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))])


def rewrite(key: bytes, create_revision: int, value: bytes, lease: int) -> rpc.TxnRequest:
    """Give the place another value, if it is still the same."""
    return rpc.TxnRequest(
        compare=[unchanged(key, create_revision)],
        success=[rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))])


class Feed(WatchSink):
    """A `WatchSink` for watches of one member's own: what happens to ranges from a revision on."""

    def __init__(
        self, service: Service, ranges: list[tuple[bytes, bytes]], revision: int,
        take: Callable[[rpc.WatchResponse], None], lost: Callable[[Refused | None], None],
        backlog_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._take = take
        self._lost = lost
        self._backlog_bytes = backlog_bytes
        self._closed = False
        self._stream = service.watch(self)
        self.drained = self._stream.drained
        for key, end in ranges:
            self._stream.request(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
                key=key, range_end=end, start_revision=revision)))

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        if not self._closed and (response.events or response.canceled):
            self._take(response)

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return self._backlog_bytes()

    def end(self, reason: Refused | None) -> None:
        """See `WatchSink`."""
        if not self._closed:
            self._closed = True
            self._lost(reason)

    def close(self) -> None:
        """Nothing comes any more."""
        if not self._closed:
            self._closed = True
            self._stream.close()


@dataclass(frozen=True, slots=True)
class Held:
    """A place whose turn has come. `entered` is the header of the transaction that took the place,
    `won` that of what showed that its turn has come."""

    key: bytes
    create_revision: int
    lease: int
    entered: rpc.ResponseHeader
    won: rpc.ResponseHeader


class Contender:
    """One call that waits for its turn. `done` gets a `Held`, or `expired` when the place is gone,
    or what else went wrong."""

    def __init__(
        self, service: Service, name: bytes, value: bytes | None, expired: Problem,
        done: Callable[[Held | Refused], None],
    ) -> None:
        """`value` None leaves the value of a place that is there already."""
        self._service = service
        self._name = name
        self._value = value
        self._expired = Refused(expired)
        self._done = done
        self._over = False
        self._feed: Feed | None = None
        self._lease = self._create_revision = 0
        self._key = b""
        self._entered = self._won = rpc.ResponseHeader()

    def start(self, lease: int) -> None:
        """Take a place; lease 0 is a new one."""
        session(self._service, lease, self._enter)

    def cancel(self) -> None:
        """See `Cancel`."""
        if not self._over:
            self._over = True
            self._leave()

    def _enter(self, lease: int | Refused) -> None:
        if self._over:
            return None
        if isinstance(lease, Refused):
            return self._finish(lease)
        self._lease, self._key = lease, places(self._name)[0] + f"{lease:x}".encode()
        put = rpc.PutRequest(key=self._key, value=self._value or b"", lease=lease)
        return self._service.txn(rpc.TxnRequest(
            compare=[unchanged(self._key, 0)], success=[rpc.RequestOp(request_put=put)],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=self._key))]), self._placed)

    def _placed(self, outcome: Proto | Refused) -> None:
        if isinstance(outcome, Refused):
            return self._finish(outcome)
        assert isinstance(outcome, rpc.TxnResponse)
        self._entered = self._won = outcome.header
        if outcome.succeeded:
            self._create_revision = outcome.header.revision
            return self._leave() if self._over else self._look()
        if self._over:
            return None  # it was there before this call
        there = outcome.responses[0].response_range.kvs[0]
        self._create_revision = there.create_revision
        if self._value is None or there.value == self._value:
            return self._look()
        return self._service.txn(
            rewrite(self._key, self._create_revision, self._value, self._lease), self._rewritten)

    def _rewritten(self, outcome: Proto | Refused) -> None:
        if self._over:
            return None
        if isinstance(outcome, Refused):
            return self._finish(outcome)
        assert isinstance(outcome, rpc.TxnResponse)
        return self._look() if outcome.succeeded else self._finish(self._expired)

    def _look(self) -> None:
        key, end = places(self._name)
        older = rpc.RangeRequest(
            key=key, range_end=end, limit=1, max_create_revision=self._create_revision - 1,
            sort_target=rpc.RangeRequest.CREATE, sort_order=rpc.RangeRequest.DESCEND,
            serializable=True)
        own = rpc.RangeRequest(key=self._key, serializable=True)
        self._service.txn(rpc.TxnRequest(success=[
            rpc.RequestOp(request_range=one) for one in (own, older)]), self._looked)

    def _looked(self, outcome: Proto | Refused) -> None:
        if self._over:
            return None
        if isinstance(outcome, Refused):
            return self._finish(outcome)
        assert isinstance(outcome, rpc.TxnResponse)
        own, older = (response.response_range.kvs for response in outcome.responses)
        if not self._is_own(own):
            return self._finish(self._expired)
        if older:
            self._feed = Feed(
                self._service, [(older[0].key, b""), (self._key, b"")],
                outcome.header.revision + 1, self._changed, self._lost)
            return None
        if self._feed is None:
            return self._finish(None)
        return self._service.range(rpc.RangeRequest(key=self._key), self._confirmed)

    def _is_own(self, kvs: object) -> bool:
        return any(kv.create_revision == self._create_revision
                   for kv in kvs)  # type: ignore[attr-defined]  # repeated KeyValue

    def _changed(self, response: rpc.WatchResponse) -> None:
        deleted = any(event.type == kv_pb2.Event.DELETE for event in response.events)
        if (deleted or response.canceled) and self._feed is not None:
            self._feed.close()
            self._look()

    def _lost(self, reason: Refused | None) -> None:
        self._finish(reason or Refused(Problem.STOPPED))

    def _confirmed(self, outcome: Proto | Refused) -> None:
        if self._over:
            return None
        if isinstance(outcome, Refused):
            return self._finish(outcome)
        assert isinstance(outcome, rpc.RangeResponse)
        self._won = outcome.header
        return self._finish(None if self._is_own(outcome.kvs) else self._expired)

    def _finish(self, refused: Refused | None) -> None:
        if self._over:
            return
        self._over = True
        if refused is None:
            self._close()
            self._done(Held(
                self._key, self._create_revision, self._lease, self._entered, self._won))
        else:
            self._leave()
            self._done(relayed(refused))

    def _close(self) -> None:
        if self._feed is not None:
            self._feed.close()

    def _leave(self) -> None:
        """If it cannot be removed now, the place goes with its lease."""
        self._close()
        if self._create_revision:
            self._service.txn(release(self._key, self._create_revision), _nothing)


def _nothing(_outcome: Proto | Refused) -> None:
    pass
