"""Simulated links between members: delay, loss, cuts in either direction.

Invariants: what was sent over a link is delivered at most once; a cut link delivers nothing,
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


@dataclass(slots=True)
class Network:
    """Directed links; `deliver(to, message, image)` is called when something arrives."""

    clock: Clock
    rng: random.Random
    quality: LinkQuality
    deliver: Callable[[Message, object], None]
    cut: set[tuple[int, int]] = field(default_factory=set)
    sent: int = 0
    dropped: int = 0

    def send(self, message: Message, image: object = None) -> None:
        """Send a message, with a snapshot image if it names one."""
        self.sent += 1
        if self.rng.random() < self.quality.loss:
            self.dropped += 1
            return
        delay_s = self.rng.uniform(self.quality.delay_s_min, self.quality.delay_s_max)
        self.clock.after(delay_s, lambda: self._arrive(message, image))

    def _arrive(self, message: Message, image: object) -> None:
        if (message.from_, message.to) in self.cut:
            self.dropped += 1
        else:
            self.deliver(message, image)

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
