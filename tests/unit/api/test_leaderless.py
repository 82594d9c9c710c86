"""Streams that want a leader end without one, and cost nothing when there is none of them."""

from __future__ import annotations

from typing import Any

from turns import Loop

from quorate.api.leaderless import Leaderless


class Stream:
    """A call, as far as it is used."""

    def __init__(self, loop: Loop) -> None:
        self.connection = self
        self.loop = loop
        self.finished = False


class Member:
    """A `Service` as far as it is used."""

    def __init__(self) -> None:
        self.lost = False

    def lost_leader(self) -> bool:
        """As the test says."""
        return self.lost


def due(loop: Loop) -> int:
    """Let all timers come; how many there were."""
    timers, loop.timers = loop.timers, []
    for timer in timers:
        timer.call()
    return len(timers)


class Timed(Loop):
    """Timers with arguments."""

    def call_later(self, delay: float, call: Any, *arguments: Any) -> Any:
        """As asyncio's."""
        return super().call_later(delay, lambda: call(*arguments))


def test_they_end_once_without_a_leader() -> None:
    """All of them; those that ended by themselves are forgotten; then nobody looks any more."""
    loop, member, ended = Timed(), Member(), []
    streams = Leaderless(member, ended.append)  # type: ignore[arg-type]
    one, two = Stream(loop), Stream(loop)
    streams.add(one)  # type: ignore[arg-type]
    streams.add(two)  # type: ignore[arg-type]
    assert due(loop) == 1

    one.finished = True
    due(loop)
    assert (len(streams), ended) == (1, [])

    member.lost = True
    due(loop)
    assert (len(streams), ended, due(loop)) == (0, [two], 0)
