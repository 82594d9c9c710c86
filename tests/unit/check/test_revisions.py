"""The revision-order judge: histories of one key or two, each with one thing wrong."""

from quorate.check.keyvalue import Change, Response
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call, judge_revisions
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

A, B = b"a", b"b"


def header(revision: int) -> rpc.ResponseHeader:
    """A header of that revision."""
    return rpc.ResponseHeader(revision=revision)


def kv(key: bytes, value: bytes, mod: int, create: int = 0, version: int = 1,
       lease: int = 0) -> kv_pb2.KeyValue:
    """A key as etcd shows it; created at `mod` unless told."""
    return kv_pb2.KeyValue(key=key, value=value, mod_revision=mod, create_revision=create or mod,
                           version=version, lease=lease)


def put(begun: float, ended: float, key: bytes, value: bytes, revision: int,
        lease: int = 0) -> Call:
    """A put; of unknown outcome if revision is 0."""
    response = rpc.PutResponse(header=header(revision)) if revision else None
    return Call("w", begun, ended if revision else NEVER,
                rpc.PutRequest(key=key, value=value, lease=lease), response)


def read(begun: float, ended: float, revision: int, *kvs: kv_pb2.KeyValue,
         serializable: bool = False) -> Call:
    """A range over all keys."""
    return Call("r", begun, ended,
                rpc.RangeRequest(key=b"\0", range_end=b"\0", serializable=serializable),
                rpc.RangeResponse(header=header(revision), kvs=kvs, count=len(kvs)))


def delete(begun: float, ended: float, key: bytes, revision: int, deleted: int) -> Call:
    """A delete."""
    return Call("d", begun, ended, rpc.DeleteRangeRequest(key=key),
                rpc.DeleteRangeResponse(header=header(revision), deleted=deleted))


A2 = kv(A, b"1", 2)
B3 = kv(B, b"2", 3)
LOG = [(2, [Change(A, A2)]), (3, [Change(B, B3)])]


def test_a_plain_history_holds() -> None:
    """Writes in order, a read of the state at each revision, also an old one if serializable."""
    assert judge_revisions([
        read(0, 1, 1), put(2, 3, A, b"1", 2), read(4, 5, 2, A2), put(6, 7, B, b"2", 3),
        read(8, 9, 3, A2, B3), read(10, 11, 2, A2, serializable=True)], LOG) == []


def test_a_stale_read_is_found() -> None:
    """A linearizable read may not show less than what was answered before it began."""
    wrong = judge_revisions([
        put(0, 1, A, b"1", 2), put(2, 3, B, b"2", 3), read(4, 5, 2, A2)], LOG)

    assert len(wrong) == 1
    assert "smaller than 3" in wrong[0]


def test_a_read_beside_a_write_may_be_old() -> None:
    """They overlap: either revision is right."""
    assert judge_revisions([
        put(0, 1, A, b"1", 2), put(2, 9, B, b"2", 3), read(4, 5, 2, A2)], LOG) == []


def test_a_lost_write_is_found() -> None:
    """What was acknowledged is in the events."""
    wrong = judge_revisions([put(0, 1, A, b"1", 2), put(2, 3, B, b"2", 3)], LOG[:1])

    assert "no event has" in wrong[0]


def test_another_write_at_the_acknowledged_revision_is_found() -> None:
    """The effect at a revision is that of the write acknowledged at it."""
    wrong = judge_revisions([put(0, 1, A, b"other", 2)], LOG[:1])

    assert any("nothing explains revision 2" in text for text in wrong)
    assert any("is not what happened" in text for text in wrong)


def test_a_write_of_unknown_outcome_may_explain_a_revision_once() -> None:
    """It may have happened, or not, but not twice."""
    twice = [*LOG[:1], (3, [Change(A, kv(A, b"1", 3, 2, 2))])]

    assert judge_revisions([put(0, 0, A, b"1", 0)], LOG[:1]) == []
    assert judge_revisions([put(0, 0, A, b"1", 0)], []) == []
    assert "nothing explains revision 3" in judge_revisions([put(0, 0, A, b"1", 0)], twice)[0]


def test_a_write_does_not_happen_before_it_began() -> None:
    """Its revision is larger than any that was answered before, known or not."""
    early = judge_revisions([read(0, 1, 2, A2), put(2, 3, A, b"1", 2)], LOG[:1])
    unknown = judge_revisions([read(0, 1, 2, A2), put(2, 3, A, b"1", 0)], LOG[:1])

    assert any("not larger than 2" in text for text in early)
    assert any("nothing explains revision 2" in text for text in unknown)


def test_a_gap_between_revisions_is_found() -> None:
    """A watch that skips a revision lost something."""
    assert judge_revisions([], [(2, [Change(A, A2)]), (4, [])][1:])[0] == (
        "revision 4 follows 1 in the events")


def test_a_wrong_version_is_found() -> None:
    """Every field of an answer counts."""
    wrong = judge_revisions([
        put(0, 1, A, b"1", 2), read(2, 3, 2, kv(A, b"1", 2, version=7))], LOG[:1])

    assert "the answer is" in wrong[0]


def test_deletes_change_something_or_read() -> None:
    """A delete that found nothing is served at the revision it saw."""
    log = [*LOG[:1], (3, [Change(A, None)])]

    assert judge_revisions([put(0, 1, A, b"1", 2), delete(2, 3, A, 3, 1),
                            delete(4, 5, A, 3, 0)], log) == []
    assert judge_revisions([put(0, 1, A, b"1", 2), delete(2, 3, A, 3, 1),
                            delete(4, 5, A, 3, 1)], log) != []


def test_two_writes_with_one_revision_are_found() -> None:
    """A revision belongs to one write."""
    wrong = judge_revisions([put(0, 1, A, b"1", 2), put(0, 1, A, b"1", 2)], LOG[:1])

    assert "acknowledged to 2 writes" in wrong[0]


def test_the_end_of_a_lease_takes_all_its_keys() -> None:
    """Together, or something is wrong."""
    first = [(2, [Change(A, kv(A, b"1", 2, lease=9))]), (3, [Change(B, kv(B, b"2", 3, lease=9))])]
    puts = [put(0, 1, A, b"1", 2, 9), put(2, 3, B, b"2", 3, 9)]

    assert judge_revisions(puts, [*first, (4, [Change(A, None), Change(B, None)])]) == []
    assert "nothing explains revision 4" in judge_revisions(
        puts, [*first, (4, [Change(A, None)])])[0]


def swap(begun: float, ended: float, old: bytes, new: bytes, response: Response) -> Call:
    """A transaction that replaces `a` if it is `old`, else reads it."""
    request = rpc.TxnRequest(
        compare=[rpc.Compare(key=A, target=rpc.Compare.VALUE, result=rpc.Compare.EQUAL,
                             value=old)],
        success=[rpc.RequestOp(request_put=rpc.PutRequest(key=A, value=new))],
        failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=A))])
    return Call("t", begun, ended, request, response)


def test_transactions_are_judged_whole() -> None:
    """The branch that was taken, its answers and its effects belong to one revision."""
    won = rpc.TxnResponse(header=header(3), succeeded=True)
    won.responses.add().response_put.header.revision = 3
    seen = kv(A, b"2", 3, 2, 2)
    log = [*LOG[:1], (3, [Change(A, seen)])]
    lost = rpc.TxnResponse(header=header(3), succeeded=False)
    lost.responses.add().response_range.CopyFrom(
        rpc.RangeResponse(header=header(3), kvs=[seen], count=1))
    first = put(0, 1, A, b"1", 2)

    assert judge_revisions([first, swap(2, 3, b"1", b"2", won), swap(4, 5, b"1", b"3", lost)],
                           log) == []
    assert judge_revisions([first, swap(2, 3, b"x", b"2", won)], log) != []
    assert judge_revisions([first, swap(2, 3, b"1", b"2", lost)], log) != []
