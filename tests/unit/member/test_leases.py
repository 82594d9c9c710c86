"""The lease clock: never early, not later than promised, over leader changes."""

from quorate.member.leasecalls import LeaseAnswer, LeaseCall
from quorate.member.leases import RETRY_S, LeaseClock
from quorate.state.errors import Refused
from quorate.wire._generated import peer_pb2 as peer

TTL_S = 10


def _majority_of_three(ids: set[int]) -> bool:
    return len(ids) >= 2


def _alone(ids: set[int]) -> bool:
    return True


def _ignore(_answer: LeaseAnswer | Refused) -> None:
    pass


def _clock(member_id: int = 1, now: float = 0.0) -> LeaseClock:
    return LeaseClock(member_id, {7: TTL_S}.get, now)


def _renew(clock: LeaseClock, now: float) -> int:
    clock.renew(LeaseCall(7, False, _ignore, now + 5), now)
    sequence = clock.start_round()
    assert sequence is not None
    return sequence


def test_a_lease_ends_at_its_ttl() -> None:
    """Not before TTL after the grant, and at once after it."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_alone)

    assert clock.due(TTL_S - 0.01) == []
    assert clock.due(TTL_S) == [7]


def test_a_renewal_needs_a_quorum() -> None:
    """The leader's own memory is not enough to acknowledge."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    sequence = _renew(clock, 5.0)

    assert clock.acknowledged(1, sequence, 5.0, _majority_of_three) == []
    assert len(clock.acknowledged(2, sequence, 5.1, _majority_of_three)) == 1
    assert clock.acknowledged(3, sequence, 5.2, _majority_of_three) == []


def test_what_is_confirmed_after_a_pause_was_heard_before_it() -> None:
    """It neither counts nor is acknowledged: the lease may have ended elsewhere, or lives on from
    when it was renewed."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    sequence = _renew(clock, 1.0)
    clock.acknowledged(1, sequence, 1.0, _majority_of_three)
    calls = clock.lead(_majority_of_three)

    assert [call.lease_id for call in calls] == [7]
    assert clock.acknowledged(2, sequence, 100.0, _majority_of_three) == []
    assert clock.remaining_s(7, 2.0) == TTL_S - 1


def test_a_new_leader_expires_nothing_before_a_quorum_answered() -> None:
    """An old deadline of its own proves nothing."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)

    assert clock.due(100.0) == []


def test_a_new_leader_continues_the_freshest_renewal() -> None:
    """It knew of time 0; another member heard of a renewal 2 s before its answer at 9 s."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    answer = peer.LeaseAges(
        ids=[7], ages_ms=[2000], uptime_ms=60_000, question=clock.question)

    clock.learn(2, answer, 9.0, _majority_of_three)

    assert clock.due(16.9) == []
    assert clock.due(17.0) == [7]


def test_a_leader_change_does_not_give_a_full_ttl_again() -> None:
    """The dead primary's lock ends at TTL after the last renewal, as if nothing had happened."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    clock.learn(2, peer.LeaseAges(
        ids=[7], ages_ms=[8000], uptime_ms=60_000, question=clock.question),
        8.0, _majority_of_three)

    assert clock.due(10.0) == [7]


def test_an_answer_to_an_earlier_question_knows_nothing_of_what_came_since() -> None:
    """Two members answered before a renewal that they then heard of; the leader was paused and
    asks anew, and gets those answers only now."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    late = peer.LeaseAges(ids=[7], ages_ms=[1000], uptime_ms=60_000, question=clock.question)
    clock.acknowledged(2, _renew(clock, 5.0), 5.0, _majority_of_three)
    clock.lead(_majority_of_three)

    clock.learn(2, late, 5.1, _majority_of_three)
    clock.learn(3, late, 5.1, _majority_of_three)

    assert clock.due(14.9) == []


def test_a_leader_that_steps_down_tells_what_it_heard_itself() -> None:
    """Not what a member that had just been restarted made it believe."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    clock.learn(2, peer.LeaseAges(uptime_ms=0, question=clock.question),
                9.0, _majority_of_three)
    clock.follow()

    assert list(clock.ages(9.0, 1).ages_ms) == [9000]


def test_a_leader_that_is_alone_in_the_end_does_not_go_back_behind_the_change() -> None:
    """It knows of a renewal by another's word only; when it leads anew, with nobody left to ask,
    the change that left it alone counts as a renewal."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    other = _clock(2)
    other.granted(7, 8.0)
    clock.learn(2, other.ages(9.0, clock.question), 9.0, _majority_of_three)
    clock.reconfigured(9.5)

    clock.lead(_alone)

    assert clock.due(18.0) == []
    assert clock.due(9.5 + TTL_S) == [7]


def test_a_restarted_member_answers_with_its_uptime() -> None:
    """What it may have forgotten is at most as fresh as its start."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)

    clock.learn(2, peer.LeaseAges(uptime_ms=1000, question=clock.question),
                9.0, _majority_of_three)

    assert clock.due(17.9) == []
    assert clock.due(18.0) == [7]


def test_ages_are_relative_to_the_asked_member() -> None:
    """Clocks of members need not agree: only ages are told."""
    clock = _clock(member_id=2, now=1000.0)
    clock.granted(7, 1005.0)

    answer = clock.ages(1008.0, 1)

    assert (list(answer.ids), list(answer.ages_ms), answer.uptime_ms) == ([7], [3000], 8000)


def test_an_expiry_is_proposed_again_if_it_gets_lost() -> None:
    """Once a retry interval, not every turn."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_alone)

    assert clock.due(10.0) == [7]
    assert clock.expiring(7)
    assert clock.due(10.5) == []
    assert clock.due(10.0 + RETRY_S) == [7]


def test_unconfirmed_renewals_are_given_back_when_leadership_ends() -> None:
    """Their callers ask the next leader."""
    clock = _clock()
    clock.granted(7, 0.0)
    clock.lead(_majority_of_three)
    _renew(clock, 1.0)

    assert [call.lease_id for call in clock.follow()] == [7]


def test_remaining_time_is_whole_seconds() -> None:
    """Rounded, and 0 once it is over."""
    clock = _clock()
    clock.granted(7, 0.0)

    assert clock.remaining_s(7, 2.6) == 7
    assert clock.remaining_s(7, 50.0) == 0
