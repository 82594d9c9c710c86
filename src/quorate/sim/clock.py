"""Simulated time: an agenda of events, run in order of time and, at equal times, of arrival.

Idle time costs nothing. Not here: what the events do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple


class _Event(NamedTuple):
    at: float
    order: int
    call: Callable[[], None]


class Clock:
    """Seconds since the simulation began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._agenda: list[_Event] = []

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` `delay_s` from now."""
        self.events += 1
        heapq.heappush(self._agenda, _Event(self.now + delay_s, self.events, call))

    def run_until(self, at: float) -> None:
        """Run everything due up to `at`."""
        while self._agenda and self._agenda[0].at <= at:
            event = heapq.heappop(self._agenda)
            self.now = event.at
            event.call()
        self.now = at
