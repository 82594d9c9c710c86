"""Transactions: compares, branches, nesting, and everything else that changes keys.

A write is validated as a whole before anything is changed (leases, ignore_* flags, revisions of
ranges), so it happens completely or not at all. Put and DeleteRange are transactions of one step.

Rules: surface §1.1. Not here: the log (machine.py), permissions (a later issue).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import eq, gt, lt, ne

from quorate.state.errors import Problem, Refused
from quorate.state.lease import LeaseTable
from quorate.state.mvcc import Store, Write, interval
from quorate.state.ranges import check_range, run_range
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

C = rpc.Compare
_RESULTS = {C.EQUAL: eq, C.GREATER: gt, C.LESS: lt, C.NOT_EQUAL: ne}
Ops = Iterable[rpc.RequestOp]
Interval = tuple[bytes, bytes | None]

# Checks that need no state.


def check_put(request: rpc.PutRequest) -> None:
    """Raises Refused."""
    if not request.key:
        raise Refused(Problem.EMPTY_KEY)
    if request.ignore_value and request.value:
        raise Refused(Problem.VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise Refused(Problem.LEASE_PROVIDED)


def check_delete(request: rpc.DeleteRangeRequest) -> None:
    """Raises Refused."""
    if not request.key:
        raise Refused(Problem.EMPTY_KEY)


def check_txn(request: rpc.TxnRequest, max_ops: int) -> None:
    """Raises Refused: too many operations, empty keys, a key changed twice in one branch."""
    _check_ops(request, max_ops)
    _writes(request.success)
    _writes(request.failure)


def _check_ops(request: rpc.TxnRequest, max_ops: int) -> None:
    ops = max(len(request.compare), len(request.success), len(request.failure))
    if ops > max_ops:
        raise Refused(Problem.TOO_MANY_OPS)
    for compare in request.compare:
        if not compare.key:
            raise Refused(Problem.EMPTY_KEY)
    for op in (*request.success, *request.failure):
        match op.WhichOneof("request"):
            case "request_range":
                check_range(op.request_range)
            case "request_put":
                check_put(op.request_put)
            case "request_delete_range":
                check_delete(op.request_delete_range)
            case "request_txn":
                _check_ops(op.request_txn, max_ops - ops)
            case None:
                raise Refused(Problem.KEY_NOT_FOUND)


def _writes(ops: Ops) -> tuple[set[bytes], list[Interval]]:
    """Keys put and intervals deleted by a branch; raises Refused if one is touched twice. The
    branches of a nested transaction exclude each other, so they may touch the same key."""
    ops = list(ops)
    deletes = [interval(op.request_delete_range.key, op.request_delete_range.range_end)
               for op in ops if op.HasField("request_delete_range")]
    puts: set[bytes] = set()

    def add(keys: set[bytes], allowed: set[bytes]) -> None:
        for key in keys:
            if (key in puts and key not in allowed) or _within(key, deletes):
                raise Refused(Problem.DUPLICATE_KEY)
        puts.update(keys)

    for op in ops:
        if op.HasField("request_txn"):
            then_puts, then_deletes = _writes(op.request_txn.success)
            else_puts, else_deletes = _writes(op.request_txn.failure)
            add(then_puts, set())
            add(else_puts, then_puts)
            deletes += then_deletes + else_deletes
    for op in ops:
        if op.HasField("request_put"):
            add({op.request_put.key}, set())
    return puts, deletes


def _within(key: bytes, intervals: list[Interval]) -> bool:
    return any(start <= key and (end is None or key < end) for start, end in intervals)


def is_read_only(request: rpc.TxnRequest) -> bool:
    """Whether no branch, nested ones included, changes anything."""
    for op in (*request.success, *request.failure):
        kind = op.WhichOneof("request")
        if kind == "request_txn":
            if not is_read_only(op.request_txn):
                return False
        elif kind != "request_range":
            return False
    return True


# Execution.


class Executor:
    """Runs requests against the store and the leases."""

    def __init__(self, store: Store, leases: LeaseTable) -> None:
        self._store = store
        self._leases = leases

    def put(self, request: rpc.PutRequest, write: Write) -> rpc.PutResponse:
        """One put; raises Refused before anything is changed."""
        counts = self._store.counts
        old = self._store.latest(request.key)
        if old is None and (request.ignore_value or request.ignore_lease):
            raise Refused(Problem.KEY_NOT_FOUND)
        lease, value = request.lease, request.value
        if old is not None and request.ignore_lease:
            lease = old.lease
        self._leases.require(lease)
        response = rpc.PutResponse()
        if old is not None and (request.prev_kv or request.ignore_value):
            previous = self._store.record(old.main, old.sub)
            if previous is not None:
                if request.prev_kv:
                    response.prev_kv.CopyFrom(previous)
                if request.ignore_value:
                    value = previous.value
        counts.puts += 1
        counts.put_bytes += len(request.key) + len(value)
        write.put(request.key, value, lease, old)
        self._leases.move(request.key, old, lease)
        return response

    def delete_range(
        self, request: rpc.DeleteRangeRequest, write: Write
    ) -> rpc.DeleteRangeResponse:
        """Delete all keys of an interval."""
        self._store.counts.deletes += 1
        found = list(self._store.live_keys(request.key, request.range_end))
        response = rpc.DeleteRangeResponse(deleted=len(found))
        for key, latest in found:
            if request.prev_kv:
                previous = self._store.record(latest.main, latest.sub)
                if previous is not None:
                    response.prev_kvs.append(previous)
            write.delete(key)
            self._leases.move(key, latest, 0)
        return response

    def txn(self, request: rpc.TxnRequest, write: Write) -> rpc.TxnResponse:
        """A transaction; raises Refused before anything is changed."""
        path: list[bool] = []
        self._choose(request, path)
        self._validate(request, iter(path), set())
        counts = self._store.counts
        before = counts.ranges + counts.puts + counts.deletes
        response = self._run(request, iter(path), write)
        counts.txns += counts.ranges + counts.puts + counts.deletes - before > 1
        return response

    def _choose(self, request: rpc.TxnRequest, path: list[bool]) -> None:
        """Decide all compares on the state before the transaction, nested ones included."""
        succeeded = all(self._holds(compare) for compare in request.compare)
        path.append(succeeded)
        for op in request.success if succeeded else request.failure:
            if op.HasField("request_txn"):
                self._choose(op.request_txn, path)

    def _validate(
        self, request: rpc.TxnRequest, path: Iterator[bool], put: set[bytes]
    ) -> None:
        for op in request.success if next(path) else request.failure:
            match op.WhichOneof("request"):
                case "request_put":
                    one = op.request_put
                    needed = (one.ignore_value or one.ignore_lease) and one.key not in put
                    if needed and self._store.latest(one.key) is None:
                        raise Refused(Problem.KEY_NOT_FOUND)
                    self._leases.require(one.lease)
                    put.add(one.key)
                case "request_range":
                    revision = op.request_range.revision
                    if revision > self._store.revision:
                        raise Refused(Problem.FUTURE_REVISION)
                    if 0 < revision < self._store.compact_revision:
                        raise Refused(Problem.COMPACTED)
                case "request_txn":
                    self._validate(op.request_txn, path, put)

    def _run(
        self, request: rpc.TxnRequest, path: Iterator[bool], write: Write
    ) -> rpc.TxnResponse:
        succeeded = next(path)
        response = rpc.TxnResponse(succeeded=succeeded)
        for op in request.success if succeeded else request.failure:
            out = response.responses.add()
            match op.WhichOneof("request"):
                case "request_range":
                    out.response_range.CopyFrom(run_range(
                        self._store, op.request_range, revision=write.revision))
                    out.response_range.header.revision = write.revision
                case "request_put":
                    out.response_put.CopyFrom(self.put(op.request_put, write))
                    out.response_put.header.revision = write.revision
                case "request_delete_range":
                    out.response_delete_range.CopyFrom(
                        self.delete_range(op.request_delete_range, write))
                    out.response_delete_range.header.revision = write.revision
                case "request_txn":
                    out.response_txn.CopyFrom(self._run(op.request_txn, path, write))
                    out.response_txn.header.SetInParent()
        return response

    # Compares.

    def _holds(self, compare: rpc.Compare) -> bool:
        """Every key of the interval must match. An absent key counts as zeroes, but has no value
        that could be compared."""
        if not compare.range_end:
            kv = self._store.live(compare.key)
            return _matches(compare, kv)
        found = [self._store.record(latest.main, latest.sub)
                 for _, latest in self._store.live_keys(compare.key, compare.range_end)]
        return all(_matches(compare, kv) for kv in found) if found else _matches(compare, None)


def _matches(compare: rpc.Compare, kv: kv_pb2.KeyValue | None) -> bool:
    if kv is None:
        if compare.target == C.VALUE:
            return False
        kv = kv_pb2.KeyValue()
    have: int | bytes
    want: int | bytes
    match compare.target:
        case C.VERSION:
            have, want = kv.version, compare.version
        case C.CREATE:
            have, want = kv.create_revision, compare.create_revision
        case C.MOD:
            have, want = kv.mod_revision, compare.mod_revision
        case C.LEASE:
            have, want = kv.lease, compare.lease
        case _:
            have, want = kv.value, compare.value
    holds = _RESULTS.get(compare.result)
    return holds is not None and bool(holds(have, want))
