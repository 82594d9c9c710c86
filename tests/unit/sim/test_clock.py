"""Simulated time: what is due runs in order, and nothing else does."""

from quorate.sim.clock import Clock


def test_events_run_in_order_of_time() -> None:
    """And see the time that they were meant for."""
    clock, seen = Clock(), []
    for at in (3.0, 1.0, 2.0):
        clock.after(at, lambda: seen.append(clock.now))

    clock.run_until(9.0)

    assert (seen, clock.now) == ([1.0, 2.0, 3.0], 9.0)


def test_events_of_one_moment_run_in_order_of_arrival() -> None:
    """However many there are."""
    clock, seen = Clock(), []
    for number in range(20):
        clock.after(1.0, lambda n=number: seen.append(n))  # type: ignore[misc]

    clock.run_until(1.0)

    assert seen == list(range(20))


def test_what_is_not_due_waits() -> None:
    """What is due at the very end runs; the rest does later."""
    clock, seen = Clock(), []
    clock.after(1.0, lambda: seen.append("first"))
    clock.after(1.5, lambda: seen.append("second"))

    clock.run_until(1.0)
    early = list(seen)
    clock.run_until(2.0)

    assert (early, seen) == (["first"], ["first", "second"])


def test_an_event_may_add_events() -> None:
    """They count from its time, and run in the same go if they are due."""
    clock, seen = Clock(), []

    def again() -> None:
        seen.append(clock.now)
        clock.after(2.0, again)

    clock.after(1.0, again)
    clock.run_until(6.0)

    assert (seen, clock.events) == ([1.0, 3.0, 5.0], 4)


def test_delays_count_from_now() -> None:
    """Not from the beginning."""
    clock, seen = Clock(), []
    clock.run_until(5.0)
    clock.after(1.0, lambda: seen.append(clock.now))
    clock.run_until(7.0)

    assert seen == [6.0]
