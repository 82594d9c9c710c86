"""Simulated time: an agenda of events, run in order of time and, at equal times, of arrival.

Idle time costs nothing. Not here: what the events do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

_Event = tuple[float, int, Callable[[], None]]
"""When, in which order of those at that time, and what. Plain, because heaps compare them often."""


class Clock:
    """Seconds since the simulation began."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._agenda: list[_Event] = []

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Run `call` `delay_s` from now."""
        self.events += 1
        heapq.heappush(self._agenda, (self.now + delay_s, self.events, call))

    def run_until(self, at: float) -> None:
        """Run everything due up to `at`."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= at:
            self.now, _, call = heapq.heappop(agenda)
            call()
        self.now = at
