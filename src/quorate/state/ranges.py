"""Range requests with all their options (surface §1.1).

`count` is the number of keys in the interval whatever limit and filters say. A sort by anything
but the key, and the four revision filters, look at all keys of the interval before the limit.

Not here: linearizability (member/reads.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from quorate.state.errors import Problem, Refused
from quorate.state.mvcc import Store
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

R = rpc.RangeRequest
_SORT_KEYS: dict[int, Callable[[kv_pb2.KeyValue], bytes | int]] = {
    R.KEY: lambda kv: kv.key,
    R.VERSION: lambda kv: kv.version,
    R.CREATE: lambda kv: kv.create_revision,
    R.MOD: lambda kv: kv.mod_revision,
    R.VALUE: lambda kv: kv.value,
}


def check_range(request: rpc.RangeRequest) -> None:
    """Raises Refused for what is wrong whatever the state."""
    if not request.key:
        raise Refused(Problem.EMPTY_KEY)
    if request.sort_order not in (0, 1, 2) or request.sort_target not in _SORT_KEYS:
        raise Refused(Problem.INVALID_SORT_OPTION)


def run_range(
    store: Store, request: rpc.RangeRequest, *, revision: int | None = None
) -> rpc.RangeResponse:
    """The answer without header; raises Refused. `revision`: the newest one inside a write
    transaction, where it is one ahead of the store's."""
    store.counts.ranges += 1
    if not request.range_end and request.revision <= 0:
        return _one_key(store, request)
    newest = store.revision if revision is None else revision
    if request.revision > newest:
        raise Refused(Problem.FUTURE_REVISION)
    if 0 < request.revision < store.compact_revision:
        raise Refused(Problem.COMPACTED)
    found = _find(store, request, newest)
    response = rpc.RangeResponse(count=len(found))
    if request.count_only:
        return response
    if not _needs_all(request):
        limit = request.limit if request.limit > 0 else len(found)
        chosen = _records(store, islice(found, limit))
        response.more = len(found) > limit
    else:
        chosen = _filtered(request, _records(store, found))
        order = request.sort_order or R.ASCEND
        if request.sort_target != R.KEY or order == R.DESCEND:
            chosen.sort(key=_SORT_KEYS[request.sort_target], reverse=order == R.DESCEND)
        if 0 < request.limit < len(chosen):
            response.more = True
            del chosen[request.limit:]
    if request.keys_only:
        for kv in chosen:
            kv.ClearField("value")
    response.kvs.extend(chosen)
    return response


def _one_key(store: Store, request: rpc.RangeRequest) -> rpc.RangeResponse:
    """The commonest request, by the shortest way. Filters apply to a single key, too."""
    kv = store.live(request.key)
    if kv is None:
        return rpc.RangeResponse()
    if request.count_only:
        return rpc.RangeResponse(count=1)
    if request.keys_only:
        kv.ClearField("value")
    kvs = _filtered(request, [kv]) if _needs_all(request) else (kv,)
    return rpc.RangeResponse(kvs=kvs, count=1)


def _find(store: Store, request: rpc.RangeRequest, newest: int) -> list[tuple[int, int]]:
    """Revisions of the values of all keys in the interval, in key order."""
    if 0 < request.revision < newest:
        return [where for _, where in
                store.past_keys(request.key, request.range_end, request.revision)]
    return [(latest.main, latest.sub) for _, latest in
            store.live_keys(request.key, request.range_end)]


def _records(store: Store, where: Iterable[tuple[int, int]]) -> list[kv_pb2.KeyValue]:
    out = []
    for main, sub in where:
        kv = store.record(main, sub)
        if kv is None:
            raise Refused(Problem.COMPACTED)
        out.append(kv)
    return out


def _needs_all(request: rpc.RangeRequest) -> bool:
    return bool(
        request.sort_order == R.DESCEND or request.sort_target != R.KEY
        or request.min_mod_revision or request.max_mod_revision
        or request.min_create_revision or request.max_create_revision)


def _filtered(
    request: rpc.RangeRequest, kvs: list[kv_pb2.KeyValue]
) -> list[kv_pb2.KeyValue]:
    if request.min_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision >= request.min_mod_revision]
    if request.max_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision <= request.max_mod_revision]
    if request.min_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision >= request.min_create_revision]
    if request.max_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision <= request.max_create_revision]
    return kvs
