"""Whether syncs may run on the loop: a policy fed with measured durations.

Inline is fastest while the disk is: no hand-over between threads. But a slow sync on the loop
stops heartbeats. So syncs run inline only while the worst of the recent ones is far below a
heartbeat, and in a thread otherwise, with a gap between the two thresholds so that it does not
flap (anchors/performance.md, point 6).

Not here: the syncs (member/appender.py).
"""

from __future__ import annotations

from collections import deque

RECENT = 256
"""Syncs remembered: at load a fraction of a second, when idle some minutes."""

SLOW_FRACTION = 0.2
"""A sync longer than this part of a heartbeat interval moves syncs off the loop."""

FAST_FRACTION = 0.05
"""All recent syncs shorter than this part bring them back."""


class SyncMode:
    """`inline` is the decision in force."""

    def __init__(self, heartbeat_s: float) -> None:
        self._slow_s = SLOW_FRACTION * heartbeat_s
        self._fast_s = FAST_FRACTION * heartbeat_s
        self._recent: deque[float] = deque(maxlen=RECENT)
        self.inline = True
        self.switches = 0

    def record(self, duration_s: float) -> None:
        """A sync took that long."""
        self._recent.append(duration_s)
        if self.inline and duration_s > self._slow_s:
            self._switch(inline=False)
        elif (not self.inline and len(self._recent) == RECENT
              and max(self._recent) < self._fast_s):
            self._switch(inline=True)

    @property
    def worst_s(self) -> float:
        """The longest of the recent syncs."""
        return max(self._recent, default=0.0)

    def _switch(self, *, inline: bool) -> None:
        self.inline = inline
        self.switches += 1
        self._recent.clear()
