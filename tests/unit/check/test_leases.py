"""The lease judge: one lease with a TTL of 10 s, granted at 0, with one thing wrong."""

from quorate.check.leases import (
    Hold, LeaseHistory, Remaining, Renewal, judge_leases, judge_locks,
)
from quorate.check.linearizability import NEVER

GRANT = Renewal(0.0, 0.5, True)
ELECTION_S = 2.0
"""So the lease of `lease()` must end between 10.0 and 0.5 + 10 + 2 + 1 = 13.5."""


def yes(sent: float, returned: float) -> Renewal:
    """An acknowledged renewal."""
    return Renewal(sent, returned, True)


def no(sent: float, returned: float) -> Renewal:
    """A renewal that was answered "no such lease"."""
    return Renewal(sent, returned, False)


def unknown(sent: float, taken: float = 0.0) -> Renewal:
    """A renewal of which nobody knows what became of it."""
    return Renewal(sent, NEVER, False, taken)


def lease(*renewals: Renewal, ended: float | None, revoked: float | None = None,
          until: float = 1000.0) -> LeaseHistory:
    """A lease, observed for long unless told."""
    return LeaseHistory("c", 7, 10, [GRANT, *renewals], revoked, ended, until)


def judge(history: LeaseHistory, **settings: object) -> list[str]:
    """The sentences about one lease."""
    return judge_leases([history], election_s=ELECTION_S, **settings)  # type: ignore[arg-type]


def only(sentences: list[str], text: str) -> bool:
    """Whether it is exactly this that is wrong."""
    return len(sentences) == 1 and text in sentences[0]


def test_a_lease_that_ends_in_time_holds() -> None:
    """At the first and the last moment, without renewals and with some."""
    assert judge(lease(ended=10.0)) == []
    assert judge(lease(ended=13.5)) == []
    assert judge(lease(yes(4, 5), yes(8, 9), ended=18.0)) == []
    assert judge(lease(yes(4, 5), yes(8, 9), ended=22.0)) == []


def test_an_early_end_is_found() -> None:
    """TTL counts from when the last acknowledged renewal was sent."""
    assert only(judge(lease(ended=9.9)), "ended at 9.900, before 10.000")
    assert only(judge(lease(yes(4, 5), ended=13.9)), "ended at 13.900, before 14.000")


def test_fast_clocks_may_shorten_a_lease() -> None:
    """By as much as was said."""
    assert judge(lease(ended=9.5), early_s=0.5) == []
    assert only(judge(lease(ended=9.4), early_s=0.5), "before 10.000")


def test_an_early_end_is_found_though_the_acknowledgement_came_after_it() -> None:
    """It was under way when the lease ended; the client believes it."""
    assert only(judge(lease(yes(9, 12), ended=11.0)), "ended at 11.000, before 19.000")


def test_a_late_end_is_found() -> None:
    """TTL, an election and a second after the last renewal was answered."""
    assert only(judge(lease(ended=13.6)), "ended at 13.600; it had to be gone at 13.500")
    assert only(judge(lease(yes(4, 5), ended=18.1)), "had to be gone at 18.000")


def test_a_lease_that_never_ends_is_found() -> None:
    """If it was observed until it had to be gone."""
    assert only(judge(lease(ended=None)), "did not end; it had to be gone at 13.500")
    assert judge(lease(ended=None, until=13.5)) == []


def test_trouble_while_the_end_is_due_delays_it() -> None:
    """The end comes an election and a second after the trouble."""
    trouble = [(12.0, 20.0)]

    assert judge(lease(ended=23.0), trouble=trouble) == []
    assert only(judge(lease(ended=23.1), trouble=trouble), "had to be gone at 23.000")


def test_trouble_before_or_after_is_no_excuse() -> None:
    """It was over when the end was due, or began when the lease had to be gone."""
    assert only(judge(lease(ended=14.0), trouble=[(1.0, 10.4)]), "gone at 13.500")
    assert only(judge(lease(ended=14.0), trouble=[(13.6, 99.0)]), "gone at 13.500")


def test_trouble_after_trouble_adds_up() -> None:
    """In whatever order it is told; what begins after the moment that results does not count."""
    trouble = [(22.0, 30.0), (12.0, 20.0), (33.5, 50.0)]

    assert judge(lease(ended=33.0), trouble=trouble) == []
    assert only(judge(lease(ended=33.1), trouble=trouble), "gone at 33.000")


def test_a_renewal_acknowledged_after_the_end_is_found() -> None:
    """It was sent when the lease was gone."""
    assert only(judge(lease(yes(11, 12), ended=10.5)), "was renewed at 11.000, after it was gone")


def test_a_lease_said_to_be_gone_while_it_lives_is_found() -> None:
    """By what was acknowledged before the question was asked."""
    assert only(judge(lease(no(6, 7), ended=12.0)),
                "was said to be gone at 7.000; it lives until 10.000")
    assert only(judge(lease(yes(4, 5), no(12, 13), ended=15.0)), "it lives until 14.000")
    assert judge(lease(no(6, 9.6), ended=12.0), early_s=0.5) == []


def test_a_lease_may_be_said_to_be_gone_when_it_may_be() -> None:
    """The answer came after its time; a renewal beside the question promises nothing for it."""
    assert judge(lease(no(9, 10), ended=10.0)) == []
    assert judge(lease(no(9, 10.5), yes(8, 11), ended=18.0)) == []


def test_what_was_answered_gone_does_not_lengthen_a_lease() -> None:
    """However often its client asks."""
    asked = [no(at, at + 0.1) for at in range(14, 60, 2)]

    assert only(judge(lease(*asked, ended=None)), "did not end; it had to be gone at 13.500")
    assert only(judge(lease(*asked, ended=40.0)), "had to be gone at 13.500")


def test_an_unknown_renewal_may_have_counted_or_not() -> None:
    """Until `doubt_s` after it was sent, or read by a member that had been paused: the end is right
    without it and with it."""
    assert judge(lease(unknown(6), ended=10.0), doubt_s=5.0) == []
    assert judge(lease(unknown(6), ended=24.0), doubt_s=5.0) == []
    assert only(judge(lease(unknown(6), ended=24.1), doubt_s=5.0), "gone at 24.000")
    assert judge(lease(unknown(6, taken=60), ended=78.0), doubt_s=5.0) == []
    assert only(judge(lease(unknown(6, taken=60), ended=78.1), doubt_s=5.0), "gone at 78.000")


def test_a_revoked_lease_may_end_at_once() -> None:
    """But not before that was asked for."""
    assert judge(lease(ended=3.0, revoked=3.0)) == []
    assert judge(lease(no(4, 5), ended=4.0, revoked=3.0)) == []
    assert only(judge(lease(ended=3.0, revoked=3.1)), "ended at 3.000, before 10.000")
    assert only(judge(lease(no(4, 5), ended=11.0, revoked=6.0)), "said to be gone at 5.000")


def test_a_revoked_lease_ends_as_others_do_at_the_latest() -> None:
    """The revocation may be lost, the time is not."""
    assert judge(lease(ended=13.0, revoked=3.0)) == []
    assert only(judge(lease(ended=14.0, revoked=3.0)), "had to be gone at 13.500")


def test_a_quorum_that_began_to_count_later_ends_it_later() -> None:
    """`remembered` says what the members take the renewal's moment for, and is asked by lease."""
    asked = []

    def remembered(lease_id: int, at: float) -> float:
        asked.append((lease_id, at))
        return max(at, 4.0)

    assert judge(lease(ended=17.0), remembered=remembered) == []
    assert only(judge(lease(ended=17.1), remembered=remembered), "gone at 17.000")
    assert asked == [(7, 0.5), (7, 0.5)]


def test_leases_are_judged_one_by_one() -> None:
    """A sentence says whose it is."""
    early, late = lease(ended=1.0), lease(ended=99.0)
    late.client, late.id = "d", 255

    assert [text.split(" with")[0] for text in
            judge_leases([early, lease(ended=11.0), late], election_s=ELECTION_S)] == [
                "lease 7 of c", "lease ff of d"]


def test_locks_that_follow_each_other_hold() -> None:
    """Of one owner they may overlap, and so may different locks."""
    assert judge_locks([Hold("x", "l", 0, 5), Hold("y", "l", 5, 9), Hold("x", "l", 9, 12),
                        Hold("x", "l", 10, 15), Hold("y", "other", 1, 20)]) == []


def test_two_holders_of_one_lock_are_found() -> None:
    """In whatever order they are told."""
    holds = [Hold("y", "l", 4.0, 9.0), Hold("x", "l", 0.0, 5.0)]

    assert judge_locks(holds) == judge_locks(holds[::-1]) == [
        "lock 'l' was held by x from 0.000 to 5.000 and by y from 4.000"]


def test_a_short_hold_within_a_long_one_is_found() -> None:
    """Also when another of the long one's owner lies between."""
    assert only(judge_locks([Hold("x", "l", 0, 20), Hold("x", "l", 1, 2), Hold("y", "l", 5, 6)]),
                "by y from 5.000")


def remaining(*told: Remaining, ended: float | None = None, **settings: object) -> list[str]:
    """What is wrong with what was said of the lease, which was renewed at 4."""
    history = lease(yes(4, 5), ended=ended, until=0.0)
    history.told += told
    return judge(history, **settings)


def test_the_remaining_time_is_what_was_promised() -> None:
    """Until 14, to a rounded second; a renewal under way need not count."""
    assert remaining(Remaining(6, 7, 7), Remaining(6, 7, 8), Remaining(4.5, 4.6, 6)) == []
    assert only(remaining(Remaining(6, 7, 6)), "it lives until 14.000")
    assert only(remaining(Remaining(6, 7, 11)), "to live for 11 s")


def test_under_one_leader_the_remaining_time_is_not_too_long() -> None:
    """Neither for what then became of the lease, nor for what had renewed it."""
    assert remaining(Remaining(9, 9, 10)) == []
    assert only(remaining(Remaining(9, 9, 10), steady_since=5.0), "it was due at 15.000")
    assert remaining(Remaining(9, 9, 8), ended=14.6, steady_since=5.0) == []
    assert only(remaining(Remaining(9, 9, 8), ended=14.4, steady_since=5.0), "it ended at 14.400")
