"""The short form of watchers.py."""

import pytest
from watchers import SHAPES, STOPPED_BYTES_MAX, Shape, measure, stopped

WATCH_BYTES_MAX = 4096


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_thousand_watches_are_given_everything(shape: Shape) -> None:
    """In order, once; a watch takes little memory."""
    result = measure(shape, "quorate", watches=1000, puts=20)

    assert result.events == (20_000 if shape.everybody else 20)
    assert result.watch_bytes < WATCH_BYTES_MAX


def test_clients_that_stop_reading_cost_little_and_miss_nothing() -> None:
    """One that does not read its socket, one that grants no window."""
    assert stopped("quorate", 20_000_000).cost_bytes < STOPPED_BYTES_MAX
