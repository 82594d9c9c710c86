"""Transactions: compares, branches, nesting, all or nothing (surface §1.1)."""

import pytest

from quorate.disk.memory_backend import MemoryBackend
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Applied, Machine
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc

C = rpc.Compare


def put(key: str, value: str = "v", **options: object) -> rpc.RequestOp:
    """A put in a branch."""
    return rpc.RequestOp(request_put=rpc.PutRequest(
        key=key.encode(), value=value.encode(), **options))  # type: ignore[arg-type]


def delete(key: str, end: str = "") -> rpc.RequestOp:
    """A deletion in a branch."""
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(
        key=key.encode(), range_end=end.encode()))


def get(key: str, revision: int = 0) -> rpc.RequestOp:
    """A range in a branch."""
    return rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode(), revision=revision))


def txn(*, when: tuple[C, ...] = (), then: tuple[rpc.RequestOp, ...] = (),
        other: tuple[rpc.RequestOp, ...] = ()) -> rpc.TxnRequest:
    """A transaction."""
    return rpc.TxnRequest(compare=when, success=then, failure=other)


def nested(request: rpc.TxnRequest) -> rpc.RequestOp:
    """A transaction in a branch."""
    return rpc.RequestOp(request_txn=request)


def run(machine: Machine, request: rpc.TxnRequest) -> Applied:
    """Apply it."""
    return machine.apply(1, internal.InternalRaftRequest(txn=request))


@pytest.fixture
def machine() -> Machine:
    """A store with `a` = 5 at revision 2 and 3, version 2."""
    machine = Machine(MemoryBackend())
    for value in (b"4", b"5"):
        machine.apply(1, internal.InternalRaftRequest(
            put=rpc.PutRequest(key=b"a", value=value)))
    return machine


@pytest.mark.parametrize(("compare", "holds"), [
    (C(key=b"a", target=C.VALUE, value=b"5"), True),
    (C(key=b"a", target=C.VALUE, value=b"4", result=C.GREATER), True),
    (C(key=b"a", target=C.VALUE, value=b"6", result=C.LESS), True),
    (C(key=b"a", target=C.VALUE, value=b"5", result=C.NOT_EQUAL), False),
    (C(key=b"a", target=C.VERSION, version=2), True),
    (C(key=b"a", target=C.CREATE, create_revision=2), True),
    (C(key=b"a", target=C.MOD, mod_revision=3), True),
    (C(key=b"a", target=C.MOD, mod_revision=3, result=C.LESS), False),
    (C(key=b"a", target=C.LEASE, lease=0), True),
    (C(key=b"x", target=C.VALUE, value=b""), False),
    (C(key=b"x", target=C.VALUE, value=b"1", result=C.NOT_EQUAL), False),
    (C(key=b"x", target=C.CREATE, create_revision=0), True),
    (C(key=b"x", target=C.VERSION, version=0), True),
    (C(key=b"a", range_end=b"z", target=C.VALUE, value=b"5"), True),
    (C(key=b"x", range_end=b"z", target=C.VALUE, value=b""), False),
    (C(key=b"x", range_end=b"z", target=C.CREATE, create_revision=0), True),
])
def test_compares_of_every_target_and_result(
    machine: Machine, compare: C, holds: bool
) -> None:
    """An absent key counts as zeroes but has no value."""
    result = run(machine, txn(when=(compare,))).result

    assert isinstance(result, rpc.TxnResponse)
    assert result.succeeded is holds


def test_a_write_transaction_is_one_revision(machine: Machine) -> None:
    """Events in order, answers with the revision they saw."""
    done = run(machine, txn(then=(get("a"), put("b"), put("c"), delete("a"), get("c"))))

    assert isinstance(done.result, rpc.TxnResponse)
    assert [e.kv.key for e in done.events] == [b"b", b"c", b"a"]
    assert {e.revision for e in done.events} == {4}
    seen = [getattr(r, r.WhichOneof("response")).header.revision for r in done.result.responses]
    assert seen == [3, 4, 4, 4, 4]
    assert done.result.responses[4].response_range.kvs[0].mod_revision == 4


def test_patronis_leader_update(machine: Machine) -> None:
    """The nested transaction with which Patroni takes its lock again."""
    request = txn(
        when=(C(key=b"leader", target=C.VALUE, value=b"me"),), then=(put("leader", "me"),),
        other=(nested(txn(when=(C(key=b"leader", target=C.CREATE, create_revision=0),),
                          then=(put("leader", "me"),))),))

    first, second = run(machine, request).result, run(machine, request).result

    assert isinstance(first, rpc.TxnResponse) and isinstance(second, rpc.TxnResponse)
    assert not first.succeeded
    assert first.responses[0].response_txn.succeeded
    assert second.succeeded


def test_all_or_nothing(machine: Machine) -> None:
    """A wrong lease in the last operation undoes nothing, because nothing was done."""
    done = run(machine, txn(then=(put("b"), delete("a"), put("c", lease=99))))

    assert isinstance(done.result, Refused)
    assert done.result.problem is Problem.LEASE_NOT_FOUND
    assert machine.revision == 3
    assert machine.range(rpc.RangeRequest(key=b"b")).count == 0


@pytest.mark.parametrize(("request_", "wanted"), [
    (txn(then=(put("k"), put("k"))), Problem.DUPLICATE_KEY),
    (txn(then=(put("k"), delete("a", "z"))), Problem.DUPLICATE_KEY),
    (txn(then=(put("k"), nested(txn(then=(put("k"),))))), Problem.DUPLICATE_KEY),
    (txn(then=(nested(txn(then=(put("k"),), other=(put("k"),))),)), None),
    (txn(then=(put("k"),), other=(put("k"),)), None),
    (txn(then=(delete("k"), delete("k"))), None),
    (txn(then=tuple(put(str(n)) for n in range(129))), Problem.TOO_MANY_OPS),
    (txn(then=(*(put(str(n)) for n in range(100)),
               nested(txn(then=tuple(put(f"n{n}") for n in range(30)))))),
     Problem.TOO_MANY_OPS),
    (txn(then=(rpc.RequestOp(),)), Problem.KEY_NOT_FOUND),
    (txn(then=(put(""),)), Problem.EMPTY_KEY),
    (txn(when=(C(),)), Problem.EMPTY_KEY),
])
def test_what_is_refused_whatever_the_state(
    machine: Machine, request_: rpc.TxnRequest, wanted: Problem | None
) -> None:
    """Before consensus, with the right problem."""
    try:
        machine.check(request_)
    except Refused as refused:
        assert refused.problem is wanted
    else:
        assert wanted is None


def test_a_range_in_the_future_or_past_refuses_the_whole(machine: Machine) -> None:
    """Judged before anything is written."""
    done = run(machine, txn(then=(put("b"), get("a", revision=99))))

    assert isinstance(done.result, Refused)
    assert done.result.problem is Problem.FUTURE_REVISION
    assert machine.revision == 3


def test_only_what_writes_needs_the_log(machine: Machine) -> None:
    """Ranges, also nested, are read-only."""
    assert machine.is_read_only(txn(then=(get("a"), nested(txn(other=(get("b"),))))))
    assert not machine.is_read_only(txn(then=(nested(txn(other=(put("b"),))),)))
    assert machine.txn_read(txn(then=(get("a"),))).responses[0].response_range.count == 1
