"""etcd's key-value semantics as a model for judges: state before, request in; response, events out.

Written apart from `state/` on purpose: a judge that shared the product's code would share its
mistakes. Plain dictionaries, every version of every key, no durability. Source: etcd-surface.md
§3 and etcd's apply and mvcc packages.

Invariants: `execute` never changes the state; `advance` is the only thing that does.
Not here: which revision a call has, and whether that was possible (revisions.py).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc, v2_pb2 as v2

Request = rpc.PutRequest | rpc.DeleteRangeRequest | rpc.RangeRequest | rpc.TxnRequest
Response = (rpc.PutResponse | rpc.DeleteRangeResponse | rpc.RangeResponse | rpc.TxnResponse)
Question = Request | rpc.LeaseTimeToLiveRequest
"""A lease's keys are those of a state, too; its times are judged elsewhere (leases.py)."""
Answer = Response | rpc.LeaseTimeToLiveResponse


class Change(NamedTuple):
    """One event of a revision: the new value of a key, or None where it was deleted."""

    key: bytes
    kv: kv_pb2.KeyValue | None


class Impossible(Exception):
    """No member may answer this request in this state; the text says why."""


@dataclass(slots=True)
class State:
    """All keys at one revision. A new cluster is at revision 1."""

    revision: int = 1
    kvs: dict[bytes, kv_pb2.KeyValue] = field(default_factory=dict)
    ttls: dict[int, int] = field(default_factory=dict)
    """Seconds, of leases that v2 made (v2.py)."""
    _versions: dict[bytes, list[tuple[int, kv_pb2.KeyValue | None]]] = field(default_factory=dict)

    def at(self, revision: int) -> dict[bytes, kv_pb2.KeyValue]:
        """All keys as they were then."""
        past = {}
        for key, versions in self._versions.items():
            after = bisect_right(versions, revision, key=lambda version: version[0])
            kv = versions[after - 1][1] if after else None
            if kv is not None:
                past[key] = kv
        return past

    def advance(self, changes: list[Change]) -> None:
        """Apply the events of the next revision."""
        self.revision += 1
        for key, kv in changes:
            if kv is None:
                self.kvs.pop(key, None)
            else:
                self.kvs[key] = kv
            self._versions.setdefault(key, []).append((self.revision, kv))


def execute(state: State, request: Question) -> tuple[Answer, list[Change]]:
    """What the request would answer (without its own header) and change as the next revision;
    raises Impossible."""
    if isinstance(request, rpc.LeaseTimeToLiveRequest):
        return rpc.LeaseTimeToLiveResponse(ID=request.ID, keys=sorted(
            key for key, kv in state.kvs.items() if kv.lease == request.ID)), []
    draft = _Draft(state)
    return draft.run(request), draft.changes


def is_serializable(request: Question | v2.V2Request | v2.V2Get) -> bool:
    """Whether the answer may be as old as the member that gives it: of a transaction, if it
    consists of nothing but such ranges (etcd's isTxnSerializable)."""
    if isinstance(request, v2.V2Get):
        return not request.quorum
    if isinstance(request, rpc.RangeRequest):
        return request.serializable
    if isinstance(request, rpc.TxnRequest):
        ops = [*request.success, *request.failure]
        return bool(ops) and all(op.request_range.serializable for op in ops)
    return isinstance(request, rpc.LeaseTimeToLiveRequest)


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a key is in the range of a request."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class _Draft:
    """The effects of one request so far; later parts of a transaction see earlier ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._kvs = dict(state.kvs)
        self._revision = state.revision + 1
        self.changes: list[Change] = []

    def run(self, request: Request) -> Response:
        if isinstance(request, rpc.PutRequest):
            return self._put(request)
        if isinstance(request, rpc.DeleteRangeRequest):
            return self._delete(request)
        if isinstance(request, rpc.RangeRequest):
            return self._range(request)
        return self._txn(request)

    def _change(self, key: bytes, kv: kv_pb2.KeyValue | None) -> None:
        if any(change.key == key for change in self.changes):
            raise Impossible(f"it changes {key!r} twice")
        self.changes.append(Change(key, kv))

    def _put(self, request: rpc.PutRequest) -> rpc.PutResponse:
        before = self._kvs.get(request.key)
        if (request.ignore_value or request.ignore_lease) and before is None:
            raise Impossible("it keeps the value or the lease of a key that is not there")
        kept = before or kv_pb2.KeyValue()
        kv = kv_pb2.KeyValue(
            key=request.key, value=kept.value if request.ignore_value else request.value,
            lease=kept.lease if request.ignore_lease else request.lease,
            mod_revision=self._revision,
            create_revision=before.create_revision if before else self._revision,
            version=before.version + 1 if before else 1)
        self._kvs[request.key] = kv
        self._change(request.key, kv)
        return rpc.PutResponse(prev_kv=before if request.prev_kv else None)

    def _delete(self, request: rpc.DeleteRangeRequest) -> rpc.DeleteRangeResponse:
        keys = _select(self._kvs, request.key, request.range_end)
        gone = [self._kvs.pop(key) for key in keys]
        for key in keys:
            self._change(key, None)
        return rpc.DeleteRangeResponse(
            deleted=len(gone), prev_kvs=gone if request.prev_kv else [])

    def _range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        kvs = self._kvs
        if request.revision > self._state.revision:
            raise Impossible(f"revision {request.revision} is yet to come")
        if request.revision > 0:
            kvs = self._state.at(request.revision)
        found = [kvs[key] for key in _select(kvs, request.key, request.range_end)]
        shown = _ordered(request, [kv for kv in found if _bounded(request, kv)])
        more = 0 < request.limit < len(shown)
        if more:
            shown = shown[:request.limit]
        if request.count_only:
            return rpc.RangeResponse(count=len(found))
        if request.keys_only:
            shown = [_without_value(kv) for kv in shown]
        return rpc.RangeResponse(kvs=shown, count=len(found), more=more)

    def _txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        succeeded = all(self._holds(compare) for compare in request.compare)
        response = rpc.TxnResponse(succeeded=succeeded)
        for op in request.success if succeeded else request.failure:
            kind = op.WhichOneof("request")
            if kind is None:
                continue
            part = self.run(getattr(op, kind))
            name = kind.replace("request_", "response_")
            if not isinstance(part, rpc.TxnResponse):
                part.header.revision = self._state.revision + bool(self.changes)
            else:
                part.header.SetInParent()
            getattr(response.responses.add(), name).CopyFrom(part)
        return response

    def _holds(self, compare: rpc.Compare) -> bool:
        """On the state before the request: also a nested transaction's branch is chosen before
        anything is changed (etcd's server/etcdserver/txn, compareToPath)."""
        kvs = self._state.kvs
        keys = _select(kvs, compare.key, compare.range_end)
        if not keys:
            if compare.target == rpc.Compare.VALUE:
                return False  # no value, not even an empty one, to compare with
            return _compare(compare, kv_pb2.KeyValue())
        return all(_compare(compare, kvs[key]) for key in keys)


def _select(kvs: dict[bytes, kv_pb2.KeyValue], start: bytes, end: bytes) -> list[bytes]:
    if not end:
        return [start] if start in kvs else []
    return sorted(key for key in kvs if within(key, start, end))


def _bounded(request: rpc.RangeRequest, kv: kv_pb2.KeyValue) -> bool:
    """Whether it is inside the request's revision bounds; 0 is no bound."""
    return not (
        kv.mod_revision < request.min_mod_revision
        or kv.create_revision < request.min_create_revision
        or (request.max_mod_revision and request.max_mod_revision < kv.mod_revision)
        or (request.max_create_revision and request.max_create_revision < kv.create_revision))


def _ordered(
    request: rpc.RangeRequest, kvs: list[kv_pb2.KeyValue]
) -> list[kv_pb2.KeyValue]:
    """Keys come in ascending order; a target other than the key without an order means
    ascending, too (etcd's server/etcdserver/txn)."""
    order, target = request.sort_order, request.sort_target
    if order == rpc.RangeRequest.NONE and target == rpc.RangeRequest.KEY:
        return kvs
    name = {
        rpc.RangeRequest.KEY: "key", rpc.RangeRequest.VERSION: "version",
        rpc.RangeRequest.CREATE: "create_revision", rpc.RangeRequest.MOD: "mod_revision",
        rpc.RangeRequest.VALUE: "value"}[target]
    return sorted(kvs, key=lambda kv: getattr(kv, name),
                  reverse=order == rpc.RangeRequest.DESCEND)


def _without_value(kv: kv_pb2.KeyValue) -> kv_pb2.KeyValue:
    copy = kv_pb2.KeyValue()
    copy.CopyFrom(kv)
    copy.ClearField("value")
    return copy


def _compare(compare: rpc.Compare, kv: kv_pb2.KeyValue) -> bool:
    got: bytes | int
    want: bytes | int
    match compare.target:
        case rpc.Compare.VERSION:
            got, want = kv.version, compare.version
        case rpc.Compare.CREATE:
            got, want = kv.create_revision, compare.create_revision
        case rpc.Compare.MOD:
            got, want = kv.mod_revision, compare.mod_revision
        case rpc.Compare.LEASE:
            got, want = kv.lease, compare.lease
        case _:
            got, want = kv.value, compare.value
    order = (got > want) - (got < want)  # type: ignore[operator]  # both of one kind
    return bool({rpc.Compare.EQUAL: order == 0, rpc.Compare.NOT_EQUAL: order != 0,
                 rpc.Compare.GREATER: order > 0, rpc.Compare.LESS: order < 0}[compare.result])
