"""Proposals: what is proposed again, what is refused, and what nobody can know."""

from quorate.member.proposals import Proposal, Proposals, pieces
from quorate.raft.types import Entry
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

REQUEST = rpc.PutRequest()
PENDING_MAX = 5


def _ignore(_outcome: object) -> None:
    pass


def _submitted(*payloads: bytes, deadline: float = 10.0) -> Proposals:
    proposals = Proposals(PENDING_MAX)
    for payload in payloads:
        assert proposals.submit(Proposal(payload, REQUEST, _ignore, deadline)) is None
    return proposals


def _problems(replies: list[tuple[object, object]]) -> list[Problem]:
    return [outcome.problem for _, outcome in replies if isinstance(outcome, Refused)]


def test_a_turn_is_one_batch() -> None:
    """Everything queued is taken at once and in order."""
    proposals = _submitted(b"a", b"b")

    assert [e.data for e in proposals.take(1)] == [b"a", b"b"]
    assert [e.data for e in proposals.take(1)] == []


def test_an_applied_entry_finds_its_proposal_once() -> None:
    """Payload bytes identify a proposal, also when they are another object."""
    proposals = _submitted(b"a")
    proposals.take(1)

    assert proposals.applied(bytes(bytearray(b"a"))) is not None
    assert proposals.applied(b"a") is None


def test_a_passed_term_queues_what_was_lost() -> None:
    """An entry of a later term proves that unapplied proposals of earlier terms never will be."""
    proposals = _submitted(b"a", b"b")
    proposals.take(1)
    proposals.submit(Proposal(b"c", REQUEST, _ignore, 10.0))

    proposals.term_passed(2)

    assert [e.data for e in proposals.take(2)] == [b"a", b"b", b"c"]


def test_the_own_term_does_not_lose_its_proposals() -> None:
    """Entries of the term in which something was proposed prove nothing about it."""
    proposals = _submitted(b"a")
    proposals.take(2)

    proposals.term_passed(2)

    assert not proposals.queued


def test_a_broken_connection_to_the_same_leader_is_unknown() -> None:
    """What was forwarded over a connection that broke, to a leader that stayed, is refused."""
    proposals = _submitted(b"a")
    proposals.take(2)
    proposals.connection_lost()

    assert _problems(proposals.leader_known(2)) == [Problem.TIMED_OUT_LEADER_LOST]
    assert len(proposals) == 0


def test_a_broken_connection_before_a_new_leader_waits_for_proof() -> None:
    """With a leader of a later term the log will tell what became of the proposal."""
    proposals = _submitted(b"a")
    proposals.take(2)
    proposals.connection_lost()

    assert proposals.leader_known(3) == []
    proposals.term_passed(3)
    assert [e.data for e in proposals.take(3)] == [b"a"]


def test_deadlines_refuse_queued_and_in_flight() -> None:
    """Nothing waits for longer than its deadline."""
    proposals = _submitted(b"a", deadline=1.0)
    proposals.take(1)
    proposals.submit(Proposal(b"b", REQUEST, _ignore, 1.0))
    proposals.submit(Proposal(b"c", REQUEST, _ignore, 2.0))

    assert _problems(proposals.expired(1.5)) == [Problem.TIMED_OUT, Problem.TIMED_OUT]
    assert len(proposals) == 1


def test_giving_up_tells_the_known_from_the_unknown() -> None:
    """What was never proposed has no leader; what was, has an unknown outcome."""
    proposals = _submitted(b"a")
    proposals.take(1)
    proposals.submit(Proposal(b"b", REQUEST, _ignore, 9.0))

    problems = _problems(proposals.fail(Problem.NO_LEADER, Problem.TIMED_OUT_LEADER_LOST))

    assert problems == [Problem.NO_LEADER, Problem.TIMED_OUT_LEADER_LOST]


def test_the_number_of_proposals_is_limited() -> None:
    """Beyond the limit a proposal is refused at once, but for the member's own."""
    proposals = _submitted(*(str(n).encode() for n in range(PENDING_MAX)))

    refused = proposals.submit(Proposal(b"one more", REQUEST, _ignore, 9.0))

    assert refused is not None
    assert refused.problem is Problem.TOO_MANY_REQUESTS
    assert proposals.submit(Proposal(b"expiry", REQUEST, _ignore, 9.0), own=True) is None


def test_a_snapshot_makes_everything_in_flight_unknown() -> None:
    """Skipped entries may have held the proposal."""
    proposals = _submitted(b"a")
    proposals.take(1)

    assert _problems(proposals.snapshot_installed()) == [Problem.TIMED_OUT_LEADER_LOST]


def test_a_large_batch_is_forwarded_in_pieces() -> None:
    """In order, none larger than allowed unless it is a single entry."""
    sizes = (4, 6, 1, 30, 5, 5, 1)
    entries = tuple(Entry(0, n, bytes(size)) for n, size in enumerate(sizes))
    cut = list(pieces(entries, 10))

    assert [[len(e.data) for e in piece] for piece in cut] == [[4, 6], [1], [30], [5, 5], [1]]
    assert tuple(e for piece in cut for e in piece) == entries
    assert list(pieces(entries[:1], 1)) == [entries[:1]]


def test_what_did_not_leave_is_queued_again_later() -> None:
    """In front, once it is time; what was applied meanwhile is not."""
    proposals = _submitted(b"a", b"b")
    proposals.take(1)
    proposals.not_sent([b"a", b"b", b"none"])
    assert (len(proposals), proposals.take(1)) == (2, ())
    proposals.submit(Proposal(b"c", REQUEST, _ignore, 10.0))
    proposals.retry()

    assert [e.data for e in proposals.take(1)] == [b"a", b"b", b"c"]


def test_what_did_not_leave_is_refused_for_sure() -> None:
    """It cannot have happened."""
    proposals = _submitted(b"a")
    proposals.take(1)
    proposals.not_sent([b"a"])

    assert _problems(proposals.fail(
        Problem.NO_LEADER, Problem.TIMED_OUT_LEADER_LOST)) == [Problem.NO_LEADER]
