"""What answers owe besides their content: cluster 9, member 1, one thing wrong at a time."""

from google.protobuf.message import Message as Proto

from quorate.check.keyvalue import Change
from quorate.sim.answers import Answers
from quorate.state.errors import Problem
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

READ = rpc.RangeRequest(key=b"k")
STALE = rpc.RangeRequest(key=b"k", serializable=True)


def header(revision: int, term: int = 3, member: int = 1, cluster: int = 9) -> rpc.ResponseHeader:
    """Of a good answer unless told."""
    return rpc.ResponseHeader(
        cluster_id=cluster, member_id=member, raft_term=term, revision=revision)


def tell(answers: Answers, request: Proto, response: Proto, *, member: int = 1, life: int = 1,
         at: float = 1.0) -> list[str]:
    """Ask, and be answered."""
    return answers.answered(answers.ask(request, member, life, at), response, at + 0.5, 3)


def read(revision: int, **more: int) -> rpc.RangeResponse:
    """An answer to a range."""
    return rpc.RangeResponse(header=header(revision, **more))


def refuse(answers: Answers, request: Proto, problem: Problem) -> list[str]:
    """Ask, and be refused by a member at revision 9."""
    return answers.refused(answers.ask(request, 1, 1, 1.0), problem, 9)


def told(revision: int = 5) -> Answers:
    """Somebody was told of a revision."""
    answers = Answers(9)
    assert tell(answers, READ, read(revision)) == []
    return answers


def test_a_header_says_who_answered_and_when() -> None:
    """Of its own cluster, itself, in a term that is on its disk and never falls."""
    for wrong in (read(5, cluster=8), read(5, member=2), read(5, term=4), read(5, term=2)):
        assert len(tell(told(), READ, wrong)) == 1
    assert tell(told(), READ, read(5, term=2, member=2), member=2) == []


def test_a_revision_never_falls() -> None:
    """For nobody; of what may be stale not within a life."""
    assert len(tell(told(), READ, read(4, member=2), member=2)) == 1
    assert tell(told(), STALE, read(4, member=2), member=2) == []
    assert tell(told(), STALE, read(4), life=2) == []
    assert len(tell(told(), STALE, read(4))) == 1


def test_compactions() -> None:
    """Not of the future, not of what is compacted, which cannot be read; itself it can."""
    answers = told()
    assert len(tell(answers, rpc.CompactionRequest(revision=6),
                    rpc.CompactionResponse(header=header(5)))) == 1
    answers = told()
    compacted = rpc.CompactionResponse(header=header(5))
    assert tell(answers, rpc.CompactionRequest(revision=4), compacted) == []
    assert len(tell(answers, rpc.CompactionRequest(revision=4), compacted)) == 1
    assert tell(answers, rpc.RangeRequest(key=b"k", revision=4), read(5)) == []
    assert len(tell(answers, rpc.RangeRequest(key=b"k", revision=3), read(5))) == 1
    assert refuse(answers, rpc.RangeRequest(key=b"k", revision=3), Problem.COMPACTED) == []
    assert len(refuse(answers, rpc.RangeRequest(key=b"k", revision=4), Problem.COMPACTED)) == 1
    assert refuse(answers, rpc.CompactionRequest(revision=4), Problem.COMPACTED) == []
    assert len(refuse(answers, rpc.CompactionRequest(revision=5), Problem.COMPACTED)) == 1


def test_the_future_is_beyond_what_was_told() -> None:
    """Also inside transactions."""
    def txn(revision: int) -> rpc.TxnRequest:
        return rpc.TxnRequest(failure=[rpc.RequestOp(request_range=rpc.RangeRequest(
            key=b"k", revision=revision))])

    assert refuse(told(), txn(6), Problem.FUTURE_REVISION) == []
    assert len(refuse(told(), txn(5), Problem.FUTURE_REVISION)) == 1


def test_a_lease_that_was_said_to_be_gone_stays_gone() -> None:
    """Unless it was granted again; and nobody is told of one that nobody asked for."""
    listed = rpc.LeaseLeasesResponse(header=header(5), leases=[rpc.LeaseStatus(ID=7)])
    answers, grant = told(1), rpc.LeaseGrantRequest(ID=7)
    tell(answers, rpc.LeaseLeasesRequest(), rpc.LeaseLeasesResponse(
        header=header(1), leases=[rpc.LeaseStatus(ID=8)]))
    assert answers.judge([]) == ["lease 8 was told of, which nobody asked for"]
    answers.ask(grant, 1, 1, 1.0)
    tell(answers, rpc.LeaseKeepAliveRequest(ID=7),
         rpc.LeaseKeepAliveResponse(header=header(5), ID=7))
    assert tell(answers, rpc.LeaseLeasesRequest(), listed, at=1.2) == []
    assert len(tell(answers, rpc.LeaseLeasesRequest(), listed, at=2.0)) == 1
    assert refuse(answers, grant, Problem.LEASE_EXISTS) == []
    answers.ask(grant, 1, 1, 2.0)
    assert tell(answers, rpc.LeaseLeasesRequest(), listed, at=3.0) == []


def test_a_key_is_missed_only_where_it_may_be_missing() -> None:
    """At some revision between what had been told and the member's newest."""
    put = rpc.PutRequest(key=b"k", ignore_value=True)
    log = [(revision, [Change(b"x", None)]) for revision in range(2, 10)]
    kept, answers = kv_pb2.KeyValue(key=b"k"), told()
    assert refuse(answers, put, Problem.KEY_NOT_FOUND) == []

    assert answers.judge(log) == []
    log[0] = (2, [Change(b"k", kept)])
    assert len(answers.judge(log)) == 1
    log[-1] = (9, [Change(b"k", None)])
    assert answers.judge(log) == []


def test_a_key_is_changed_twice_only_where_it_is() -> None:
    """The branches of a transaction within exclude each other."""
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k"))
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[put], failure=[put]))
    wide = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"a", range_end=b"z"))

    for ops, refused in (([put], False), ([nested], False), ([put, nested], True),
                         ([put, wide], True), ([nested, wide], True)):
        wrong = refuse(told(), rpc.TxnRequest(success=ops), Problem.DUPLICATE_KEY)
        assert bool(wrong) is not refused


def test_nothing_hangs_on_a_lease_that_nobody_asked_for() -> None:
    """Seen in the events."""
    log = [(2, [Change(b"k", kv_pb2.KeyValue(key=b"k", lease=7))])]

    assert len(told(2).judge(log)) == 1
