"""Reads: one round a turn, no context twice, release at the read index."""

from quorate.member.reads import RETRY_S, Read, Reads
from quorate.member.requests import RequestIds
from quorate.state.errors import Problem, Refused

IDS = RequestIds(1, 1)


def _asked(count: int, deadline: float = 10.0) -> Reads:
    reads = Reads(rounds_max=16)
    for _ in range(count):
        reads.ask(Read(_ignore, deadline))
    return reads


def _ignore(_outcome: object) -> None:
    pass


def test_one_round_serves_all_reads_of_a_turn() -> None:
    """Three reads, one context, three releases."""
    reads = _asked(3)
    context = reads.start(0.0, IDS.next)

    assert context is not None
    assert reads.start(0.0, IDS.next) is None
    reads.confirmed(context, 7)
    assert reads.release(6) == []
    assert len(reads.release(7)) == 3


def test_a_later_round_confirms_the_earlier_ones() -> None:
    """A quorum heard after the later round began was heard after the earlier one, too."""
    reads = _asked(1)
    reads.start(0.0, IDS.next)
    reads.ask(Read(_ignore, 10.0))
    later = reads.start(0.1, IDS.next)

    assert later is not None
    reads.confirmed(later, 5)
    assert len(reads.release(5)) == 2


def test_a_retry_has_a_fresh_context() -> None:
    """An answer to the first attempt must not confirm the second (etcd issue 20418)."""
    reads = _asked(1)
    first = reads.start(0.0, IDS.next)
    reads.restart(RETRY_S)
    second = reads.start(RETRY_S, IDS.next)

    assert first is not None
    assert second not in (None, first)
    reads.confirmed(first, 9)
    assert reads.release(9) == []


def test_rounds_under_way_are_limited() -> None:
    """Beyond the limit reads gather."""
    reads = Reads(rounds_max=3)
    for _ in range(3):
        reads.ask(Read(_ignore, 10.0))
        assert reads.start(0.0, IDS.next) is not None
    reads.ask(Read(_ignore, 10.0))

    assert reads.start(0.0, IDS.next) is None


def test_deadlines_refuse_in_every_stage() -> None:
    """A read that waits, one in a round and one that is confirmed all time out."""
    reads = _asked(1, deadline=1.0)
    context = reads.start(0.0, IDS.next)
    assert context is not None
    reads.confirmed(context, 100)
    reads.ask(Read(_ignore, 1.0))
    reads.start(0.0, IDS.next)
    reads.ask(Read(_ignore, 1.0))

    replies = reads.expired(1.0)

    assert [o.problem for _, o in replies if isinstance(o, Refused)] == [Problem.TIMED_OUT] * 3


def test_no_life_of_a_member_uses_a_context_again() -> None:
    """A late answer to a round before a restart confirms nothing after it."""
    before, after = _asked(1), _asked(1)
    late = before.start(0.0, RequestIds(1, 1000).next)
    assert late is not None
    after.start(0.0, RequestIds(1, 1001).next)

    after.confirmed(late, 7)

    assert after.release(7) == []
