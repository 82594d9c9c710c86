"""What was exchanged with a member since the start, for metrics (surface §9).

Kept by id, so that it outlives a change of the member's URLs. Not here: names (member/measures.py).
"""

from __future__ import annotations

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
class PeerCounts:
    """Of one member."""

    sent_bytes: int = 0
    received_bytes: int = 0
    send_failures: int = 0
    """Messages that were dropped."""
    disconnects: int = 0
    """Ends of an established stream."""
    round_trip_s: Histogram = field(default_factory=lambda: Histogram(
        exponential(0.0001, 2, 16)))
    sent: Transfers = field(default_factory=Transfers)
    received: Transfers = field(default_factory=Transfers)
