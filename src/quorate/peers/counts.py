"""What was exchanged with a member since the start, for metrics (surface §9) and `/v2/stats`.

Kept by id, so that it outlives a change of the member's URLs. Not here: names (member/measures.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from quorate.wire.prometheus import Histogram, exponential


@dataclass(slots=True)
class Transfers:
    """Snapshots in one direction."""

    under_way: int = 0
    succeeded: int = 0
    failed: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram(exponential(0.1, 2, 10)))
    """Of those that succeeded."""

    def ended(self, ok: bool, took_s: float) -> None:
        """One that was under way is not any more."""
        self.under_way -= 1
        if ok:
            self.succeeded += 1
            self.seconds.observe(took_s)
        else:
            self.failed += 1


@dataclass(slots=True)
class RoundTrips:
    """Questions to a member and their answers. All 0 before the first."""

    seconds: Histogram = field(default_factory=lambda: Histogram(exponential(0.0001, 2, 16)))
    last_ms: float = 0.0
    least_ms: float = 0.0
    most_ms: float = 0.0
    average_ms: float = 0.0
    _squares: float = 0.0
    """Of differences to the average (Welford)."""

    def took(self, seconds: float) -> None:
        """One more."""
        self.seconds.observe(seconds)
        count, took_ms = self.seconds.count, 1000 * seconds
        self.least_ms = took_ms if count == 1 else min(self.least_ms, took_ms)
        self.most_ms, self.last_ms = max(self.most_ms, took_ms), took_ms
        before = took_ms - self.average_ms
        self.average_ms += before / count
        self._squares += before * (took_ms - self.average_ms)

    @property
    def deviation_ms(self) -> float:
        """The standard deviation."""
        return math.sqrt(self._squares / max(1, self.seconds.count))


@dataclass(slots=True)
class PeerCounts:
    """Of one member."""

    sent_bytes: int = 0
    sent_messages: int = 0
    received_bytes: int = 0
    received_messages: int = 0
    send_failures: int = 0
    """Messages that were dropped."""
    disconnects: int = 0
    """Ends of an established stream."""
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    sent: Transfers = field(default_factory=Transfers)
    received: Transfers = field(default_factory=Transfers)
