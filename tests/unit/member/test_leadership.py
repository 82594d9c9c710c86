"""What a member says without a leader, and for how long."""

from quorate.member.leadership import Leadership


def test_streams_wait_three_elections() -> None:
    """Requests one; both counts end with a leader, and begin anew without one."""
    leadership = Leadership(1.0, 1, 0.0)
    assert (leadership.given_up(0.9), leadership.lost(2.9)) == (False, False)
    assert (leadership.given_up(1.0), leadership.lost(3.0)) == (True, True)

    leadership.observe(7, 2, 4.0)
    assert not leadership.lost(100.0)
    leadership.observe(0, 2, 100.0)
    assert not leadership.lost(102.9)
    assert leadership.lost(103.0)
