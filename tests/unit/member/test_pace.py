"""When applied state is committed (member/pace.py)."""

from __future__ import annotations

from quorate.member.pace import BYTES_MAX, COMMIT_S, COMMIT_S_MAX, CommitPace


def paced(took_s: float) -> CommitPace:
    """At 10 s, when 1000 bytes had been written, a commit began that took so long."""
    pace = CommitPace()
    pace.began(10.0, 1000)
    pace.took(took_s)
    return pace


def test_the_first_commit_is_due_at_once() -> None:
    """A start does not wait."""
    assert CommitPace().due(0.0, 0)


def test_short_commits_leave_the_shortest_interval() -> None:
    """Little is lost to them."""
    pace = paced(0.001)
    assert not pace.due(10.0 + 0.4 * COMMIT_S, 1000)
    assert pace.due(10.0 + 0.99 * COMMIT_S, 1000)


def test_a_commit_waits_ten_times_as_long_as_the_last_one_took() -> None:
    """So a tenth of the time is spent on commits."""
    pace = paced(0.05)
    assert not pace.due(10.44, 1000)
    assert pace.due(10.51, 1000)


def test_long_commits_wait_no_longer_than_the_longest_interval() -> None:
    """What is in memory has an end."""
    assert paced(0.4).due(10.01 + COMMIT_S_MAX, 1000)


def test_a_short_commit_ends_the_long_interval() -> None:
    """Only the last one counts."""
    pace = paced(0.4)
    pace.began(11.0, 1000)
    pace.took(0.001)
    assert pace.due(11.0 + 0.99 * COMMIT_S, 1000)


def test_a_long_log_does_not_wait() -> None:
    """Bytes have a limit of their own."""
    pace = paced(0.4)
    assert not pace.due(10.1, 1000 + BYTES_MAX - 1)
    assert pace.due(10.1, 1000 + BYTES_MAX)
