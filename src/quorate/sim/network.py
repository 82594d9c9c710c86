"""Simulated links between members: delay, loss, cuts in either direction.

Invariants: what was sent over a link is delivered, lost, or delivered twice, the second time
late; a cut link delivers nothing,
also nothing that was already under way. Not here: which faults happen when (world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.raft.types import Message
from quorate.sim.clock import Clock


@dataclass(slots=True)
class LinkQuality:
    """Drawn per seed; the same for all links."""

    delay_s_min: float
    delay_s_max: float
    loss: float
    duplication: float


@dataclass(slots=True)
class Network:
    """Directed links. `deliver` is called when something arrives and says whether somebody was
    there; `delivered` tells the sender of a snapshot what became of it, as a connection does."""

    clock: Clock
    rng: random.Random
    quality: LinkQuality
    deliver: Callable[[Message, object], bool]
    delivered: Callable[[Message, bool], None]
    cut: set[tuple[int, int]] = field(default_factory=set)
    sent: int = 0
    dropped: int = 0

    def send(self, message: Message, image: object = None) -> None:
        """Send a message, with a snapshot image if it names one."""
        self.sent += 1
        if self.rng.random() < self.quality.loss:
            self.dropped += 1
            if image is not None:
                self.clock.after(1.0, lambda: self.delivered(message, False))
            return
        if image is None and self.rng.random() < self.quality.duplication:
            self.clock.after(10 * self.quality.delay_s_max, lambda: self._arrive(message, None))
        delay_s = self.rng.uniform(self.quality.delay_s_min, self.quality.delay_s_max)
        self.clock.after(delay_s, lambda: self._arrive(message, image))

    def _arrive(self, message: Message, image: object) -> None:
        arrived = (message.from_, message.to) not in self.cut and self.deliver(message, image)
        self.dropped += not arrived
        if image is not None:
            self.delivered(message, arrived)

    def isolate(self, members: set[int], others: set[int], *, one_way: bool) -> None:
        """Cut the links from `members` to `others` and, unless `one_way`, back."""
        for here in sorted(members):
            for there in sorted(others):
                self.cut.add((here, there))
                if not one_way:
                    self.cut.add((there, here))

    def heal(self) -> None:
        """All links work again."""
        self.cut.clear()
