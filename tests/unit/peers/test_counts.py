"""What is counted of exchanges with other members."""

import statistics

import pytest

from quorate.peers.counts import RoundTrips


def test_round_trips_are_summed_up() -> None:
    """In milliseconds."""
    trips, took = RoundTrips(), [0.004, 0.001, 0.004, 0.009]
    for seconds in took:
        trips.took(seconds)

    assert (trips.last_ms, trips.least_ms, trips.most_ms) == (9.0, 1.0, 9.0)
    assert trips.average_ms == pytest.approx(1000 * statistics.fmean(took))
    assert trips.deviation_ms == pytest.approx(1000 * statistics.pstdev(took))


def test_before_the_first_round_trip_all_is_zero() -> None:
    """And nothing is divided by it."""
    trips = RoundTrips()

    assert (trips.average_ms, trips.deviation_ms, trips.least_ms) == (0.0, 0.0, 0.0)
