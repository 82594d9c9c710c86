"""The model of etcd's keys: answers, effects, and what nobody may answer."""

import pytest

from quorate.check.keyvalue import (
    Change, Impossible, Request, Response, State, execute, is_serializable, within,
)
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

A, B, C, D = b"a", b"b", b"c", b"d"
Range, Compare = rpc.RangeRequest, rpc.Compare
ALL = {"key": b"\0", "range_end": b"\0"}


def kv(key: bytes, value: bytes, mod: int, create: int = 0, version: int = 1,
       lease: int = 0) -> kv_pb2.KeyValue:
    """A key as etcd shows it; created at `mod` unless told."""
    return kv_pb2.KeyValue(key=key, value=value, mod_revision=mod, create_revision=create or mod,
                           version=version, lease=lease)


def put(key: bytes, value: bytes = b"", **more: object) -> rpc.PutRequest:
    """A put."""
    return rpc.PutRequest(key=key, value=value, **more)  # type: ignore[arg-type]


def delete(key: bytes, end: bytes = b"", **more: object) -> rpc.DeleteRangeRequest:
    """A delete."""
    return rpc.DeleteRangeRequest(key=key, range_end=end, **more)  # type: ignore[arg-type]


def read(**request: object) -> Range:
    """A range over everything, unless told."""
    return Range(**{**ALL, **request})  # type: ignore[arg-type]


def op(request: Request) -> rpc.RequestOp:
    """A part of a transaction."""
    name = {rpc.PutRequest: "put", rpc.DeleteRangeRequest: "delete_range", Range: "range",
            rpc.TxnRequest: "txn"}[type(request)]
    return rpc.RequestOp(**{f"request_{name}": request})  # type: ignore[arg-type]


def txn(*compares: rpc.Compare, then: tuple[Request, ...] = (),
        otherwise: tuple[Request, ...] = ()) -> rpc.TxnRequest:
    """A transaction."""
    return rpc.TxnRequest(compare=compares, success=[op(r) for r in then],
                          failure=[op(r) for r in otherwise])


def header(revision: int) -> rpc.ResponseHeader:
    """Of a part of a transaction: nothing but how far that has got."""
    return rpc.ResponseHeader(revision=revision)


def compare(key: bytes, result: int = Compare.EQUAL, end: bytes = b"",
            **target: object) -> rpc.Compare:
    """A compare of the field that is named."""
    name = next(iter(target))
    number = {"value": Compare.VALUE, "version": Compare.VERSION, "lease": Compare.LEASE,
              "create_revision": Compare.CREATE, "mod_revision": Compare.MOD}[name]
    return rpc.Compare(key=key, range_end=end, result=result,  # type: ignore[arg-type]
                       target=number, **target)  # type: ignore[arg-type]


def after(*requests: Request) -> State:
    """A cluster that has executed these."""
    state = State()
    for request in requests:
        state.advance(execute(state, request)[1])
    return state


def answer(state: State, request: Request) -> Response:
    """What it is told."""
    return execute(state, request)[0]


def holds(state: State, *compares: rpc.Compare) -> bool:
    """Whether all of them do."""
    response = answer(state, txn(*compares))
    assert isinstance(response, rpc.TxnResponse)
    return response.succeeded


def keys(state: State, **request: object) -> list[bytes]:
    """Which keys a range shows, in their order."""
    response = answer(state, read(**request))
    assert isinstance(response, rpc.RangeResponse)
    return [shown.key for shown in response.kvs]


FOUR = after(put(C, b"1"), put(A, b"4"), put(B, b"3"), put(A, b"2", lease=7), put(D, b"3"))
"""Revisions 2 to 6."""
A5, B4, C2, D6 = kv(A, b"2", 5, 3, 2, 7), kv(B, b"3", 4), kv(C, b"1", 2), kv(D, b"3", 6)


def test_revisions_and_versions_count_up() -> None:
    """A put creates, or replaces and keeps the revision of the creation."""
    assert FOUR.revision == 6
    assert FOUR.kvs == {A: A5, B: B4, C: C2, D: D6}


def test_a_key_that_was_deleted_begins_anew() -> None:
    """With version 1."""
    state = after(put(A, b"1"), put(A, b"2"), delete(A), put(A, b"3"))

    assert state.kvs == {A: kv(A, b"3", 5)}


def test_executing_changes_nothing() -> None:
    """Only `advance` does."""
    before, changes = dict(FOUR.kvs), execute(FOUR, put(A, b"9"))[1]

    assert changes == [Change(A, kv(A, b"9", 7, 3, 3))]
    assert (FOUR.revision, FOUR.kvs) == (6, before)


def test_a_put_shows_what_it_replaced_if_asked() -> None:
    """Nothing for a new key; the lease goes if none is given."""
    assert answer(FOUR, put(A, b"9", prev_kv=True)) == rpc.PutResponse(prev_kv=A5)
    assert answer(FOUR, put(A, b"9")) == rpc.PutResponse()
    assert answer(FOUR, put(b"new", prev_kv=True)) == rpc.PutResponse()
    assert execute(FOUR, put(A, b"9"))[1][0].kv.lease == 0  # type: ignore[union-attr]


def test_a_put_may_keep_the_value_or_the_lease() -> None:
    """Of a key that is there."""
    assert execute(FOUR, put(A, lease=8, ignore_value=True))[1] == [
        Change(A, kv(A, b"2", 7, 3, 3, 8))]
    assert execute(FOUR, put(A, b"9", ignore_lease=True))[1] == [
        Change(A, kv(A, b"9", 7, 3, 3, 7))]


@pytest.mark.parametrize("request_", [
    put(b"x", ignore_value=True), put(b"x", ignore_lease=True),
    txn(then=(put(b"x", ignore_lease=True),)),
    read(revision=7), txn(then=(read(revision=7),)),
    txn(then=(put(b"x"), read(revision=7))),
])
def test_what_nobody_may_answer(request_: Request) -> None:
    """Keeping what is not there, and reading what is yet to come, also inside a transaction."""
    with pytest.raises(Impossible):
        execute(FOUR, request_)


def test_a_delete_tells_how_many_and_which() -> None:
    """In order of the keys; nothing changes if there are none."""
    assert execute(FOUR, delete(A, C, prev_kv=True)) == (
        rpc.DeleteRangeResponse(deleted=2, prev_kvs=[A5, B4]), [Change(A, None), Change(B, None)])
    assert answer(FOUR, delete(B, b"\0")) == rpc.DeleteRangeResponse(deleted=3)
    assert execute(FOUR, delete(b"x", prev_kv=True)) == (rpc.DeleteRangeResponse(), [])


def test_ranges_have_their_ends() -> None:
    """One key, half open, from a key on, everything, nothing."""
    assert [within(key, A, b"") for key in (A, b"aa")] == [True, False]
    assert [within(key, A, C) for key in (A, B, C)] == [True, True, False]
    assert [within(key, B, b"\0") for key in (A, B, b"\xff")] == [False, True, True]
    assert within(A, b"\0", b"\0")
    assert not within(B, C, A)


def test_a_range_shows_keys_in_order() -> None:
    """All of them, with all fields, or one, or none."""
    assert answer(FOUR, read()) == rpc.RangeResponse(kvs=[A5, B4, C2, D6], count=4)
    assert answer(FOUR, Range(key=B)) == rpc.RangeResponse(kvs=[B4], count=1)
    assert answer(FOUR, Range(key=b"x")) == rpc.RangeResponse()


def test_a_limit_leaves_the_count_alone() -> None:
    """`more` only if something is left; 0 and less are no limit."""
    assert answer(FOUR, read(limit=3)) == rpc.RangeResponse(kvs=[A5, B4, C2], count=4, more=True)
    for limit in (4, 0, -1):
        assert answer(FOUR, read(limit=limit)) == rpc.RangeResponse(
            kvs=[A5, B4, C2, D6], count=4)


def test_only_the_count_or_only_keys() -> None:
    """Keys without values keep everything else; the state keeps its values."""
    assert answer(FOUR, read(count_only=True, limit=1)) == rpc.RangeResponse(count=4)
    assert answer(FOUR, Range(key=A, keys_only=True)) == rpc.RangeResponse(
        kvs=[kv(A, b"", 5, 3, 2, 7)], count=1)
    assert FOUR.kvs[A].value == b"2"


def test_a_range_of_the_past() -> None:
    """As it was then; 0 and less are now; what was deleted since is there, what came is not."""
    state = after(put(A, b"1"), put(B, b"2"), delete(A), put(A, b"3"))

    assert answer(state, read(revision=3)) == rpc.RangeResponse(
        kvs=[kv(A, b"1", 2), kv(B, b"2", 3)], count=2)
    assert keys(state, revision=1) == []
    assert keys(state, revision=4) == [B]
    assert keys(state, revision=5) == keys(state) == keys(state, revision=-1) == [A, B]


@pytest.mark.parametrize(("target", "order", "expected"), [
    (Range.KEY, Range.NONE, [A, B, C, D]), (Range.KEY, Range.DESCEND, [D, C, B, A]),
    (Range.VALUE, Range.ASCEND, [C, A, B, D]), (Range.VALUE, Range.DESCEND, [B, D, A, C]),
    (Range.VERSION, Range.DESCEND, [A, B, C, D]), (Range.CREATE, Range.NONE, [C, A, B, D]),
    (Range.MOD, Range.ASCEND, [C, B, A, D]), (Range.MOD, Range.DESCEND, [D, A, B, C]),
])
def test_ranges_are_sorted(target: int, order: int, expected: list[bytes]) -> None:
    """Equal ones in the order of keys, either way; the limit counts what is sorted."""
    assert keys(FOUR, sort_target=target, sort_order=order) == expected
    assert keys(FOUR, sort_target=target, sort_order=order or Range.ASCEND,
                limit=2) == expected[:2]


@pytest.mark.parametrize(("bounds", "expected"), [
    ({"min_mod_revision": 5}, [A, D]), ({"max_mod_revision": 4}, [B, C]),
    ({"min_create_revision": 3, "max_create_revision": 4}, [A, B]),
    ({"min_mod_revision": 7}, []), ({"max_mod_revision": -1}, []),
])
def test_revision_bounds_hide_keys_but_count_them(
    bounds: dict[str, int], expected: list[bytes]
) -> None:
    """They are inclusive, and a limit counts what is left."""
    assert keys(FOUR, **bounds) == expected
    whole = answer(FOUR, read(limit=1, **bounds))

    assert isinstance(whole, rpc.RangeResponse)
    assert (whole.count, whole.more) == (4, len(expected) > 1)


@pytest.mark.parametrize(("field", "value"), [
    ("value", b"2"), ("version", 2), ("create_revision", 3), ("mod_revision", 5), ("lease", 7)])
def test_compares_of_each_field(field: str, value: bytes | int) -> None:
    """Each result with a smaller, the same and a larger value."""
    less, more = (b"1", b"3") if isinstance(value, bytes) else (value - 1, value + 1)
    results = {Compare.EQUAL: [False, True, False], Compare.NOT_EQUAL: [True, False, True],
               Compare.GREATER: [True, False, False], Compare.LESS: [False, False, True]}

    for result, expected in results.items():
        assert [holds(FOUR, compare(A, result, **{field: given}))
                for given in (less, value, more)] == expected


def test_compares_of_a_key_that_is_not_there() -> None:
    """It counts as zeroes, but no compare of its value holds."""
    for field in ("version", "create_revision", "mod_revision", "lease"):
        assert holds(FOUR, compare(b"x", **{field: 0}))
        assert not holds(FOUR, compare(b"x", Compare.GREATER, **{field: 0}))
    for result in (Compare.EQUAL, Compare.NOT_EQUAL, Compare.LESS):
        assert not holds(FOUR, compare(b"x", result, value=b""))
        assert not holds(FOUR, compare(b"x", result, b"y", value=b""))


def test_compares_of_ranges_hold_for_every_key() -> None:
    """And for an empty range as for a key that is not there."""
    assert holds(FOUR, compare(B, end=b"\0", version=1))
    assert not holds(FOUR, compare(A, end=b"\0", version=1))
    assert holds(FOUR, compare(A, Compare.LESS, D, mod_revision=6))
    assert holds(FOUR, compare(b"x", end=b"z", create_revision=0))


def test_a_transaction_takes_one_branch() -> None:
    """The first if all compares hold, also if there are none; else the second."""
    both = {"then": (put(A, b"yes"),), "otherwise": (Range(key=B),)}

    assert execute(FOUR, txn(compare(A, version=2), compare(B, version=1), **both)) == (
        rpc.TxnResponse(succeeded=True, responses=[
            rpc.ResponseOp(response_put=rpc.PutResponse(header=header(7)))]),
        [Change(A, kv(A, b"yes", 7, 3, 3))])
    assert execute(FOUR, txn(compare(A, version=2), compare(B, version=2), **both)) == (
        rpc.TxnResponse(succeeded=False, responses=[
            rpc.ResponseOp(response_range=rpc.RangeResponse(
                header=header(6), kvs=[B4], count=1))]), [])
    assert execute(FOUR, txn()) == (rpc.TxnResponse(succeeded=True), [])


def test_later_parts_of_a_transaction_see_earlier_ones() -> None:
    """All at one revision."""
    response, changes = execute(
        FOUR, txn(then=(put(b"x", b"1"), delete(A, C), read(), read(revision=6, limit=1))))
    new = kv(b"x", b"1", 7)

    assert changes == [Change(b"x", new), Change(A, None), Change(B, None)]
    assert isinstance(response, rpc.TxnResponse)
    assert list(response.responses)[1:] == [
        rpc.ResponseOp(response_delete_range=rpc.DeleteRangeResponse(
            header=header(7), deleted=2)),
        rpc.ResponseOp(response_range=rpc.RangeResponse(
            header=header(7), kvs=[C2, D6, new], count=3)),
        rpc.ResponseOp(response_range=rpc.RangeResponse(
            header=header(7), kvs=[A5], count=4, more=True))]


def test_nested_transactions_answer_within() -> None:
    """Their effects are part of the whole."""
    inner = txn(compare(B, version=9), then=(put(C),), otherwise=(put(D, b"n"), Range(key=D)))
    response, changes = execute(FOUR, txn(then=(put(A, b"m"), inner)))
    new = kv(D, b"n", 7, 6, 2)
    expected = rpc.TxnResponse(header=rpc.ResponseHeader(), succeeded=False, responses=[
        rpc.ResponseOp(response_put=rpc.PutResponse(header=header(7))),
        rpc.ResponseOp(response_range=rpc.RangeResponse(header=header(7), kvs=[new], count=1))])

    assert isinstance(response, rpc.TxnResponse)
    assert response.responses[1].response_txn == expected
    assert [change.key for change in changes] == [A, D]


def test_nested_transactions_choose_on_the_state_before_the_whole() -> None:
    """What an earlier part changes, no compare sees."""
    inner = txn(compare(A, value=b"m"), then=(put(C),), otherwise=(put(D),))

    assert [c.key for c in execute(FOUR, txn(then=(put(A, b"m"), inner)))[1]] == [A, D]


def test_no_key_is_changed_twice() -> None:
    """Neither by two puts nor by a put and a delete."""
    for then in ((put(A), put(A)), (put(A), delete(A, C)), (put(A), txn(then=(put(A),)))):
        with pytest.raises(Impossible):
            execute(FOUR, txn(then=then))


def test_the_keys_of_a_lease() -> None:
    """Those that hang on it now."""
    state = after(put(B, lease=7), put(A, lease=7), put(C, lease=7), put(C), put(D, lease=8))

    assert execute(state, rpc.LeaseTimeToLiveRequest(ID=7, keys=True)) == (
        rpc.LeaseTimeToLiveResponse(ID=7, keys=[A, B]), [])


def test_what_may_be_stale() -> None:
    """Nothing but serializable ranges, each by itself or together."""
    stale, fresh = Range(key=A, serializable=True), Range(key=A)

    assert is_serializable(stale)
    assert is_serializable(txn(then=(stale,), otherwise=(stale,)))
    for request in (fresh, put(A), txn(), txn(then=(stale, fresh)), txn(then=(stale,), otherwise=(
            txn(then=(stale,)),))):
        assert not is_serializable(request)
