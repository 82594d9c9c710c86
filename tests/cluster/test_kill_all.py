"""The short form of kill_all.py."""

from pathlib import Path

from kill_all import torture


def test_no_acknowledged_write_is_lost_when_everything_is_killed(tmp_path: Path) -> None:
    """Three rounds of kill -9 of all members under load."""
    assert torture(tmp_path, rounds=3, seed=7, report=False) > 0
