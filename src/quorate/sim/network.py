"""Simulated links between members: delay, loss, duplication, cuts and clogs in either direction.

Invariants: what was sent over a link is delivered, lost, or delivered twice, the second time
late; a cut link delivers nothing, also nothing that was already under way; a clogged link holds
everything back and delivers it at once when it is free again.

Not here: which faults happen when (faults.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from quorate.raft.types import Message
from quorate.sim.clock import Clock

DELAY_S_MIN = 0.0002
COPY_DELAY = 10
"""A copy comes this many times the longest delay later."""

SNAPSHOT_LOSS_NOTICED_S = 1.0

Link = tuple[int, int]


class LinkQuality(NamedTuple):
    """The same for all links."""

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
    cut: set[Link] = field(default_factory=set)
    clogged: dict[Link, list[tuple[Message, object]]] = field(default_factory=dict)
    sent: int = 0
    dropped: int = 0

    def send(self, message: Message, image: object = None) -> None:
        """Send a message, with a snapshot image if it names one."""
        self.sent += 1
        quality, rng = self.quality, self.rng
        if quality.loss and rng.random() < quality.loss:
            self.dropped += 1
            if image is not None:
                self.clock.after(SNAPSHOT_LOSS_NOTICED_S, lambda: self.delivered(message, False))
            return
        if quality.duplication and image is None and rng.random() < quality.duplication:
            self.clock.after(
                COPY_DELAY * quality.delay_s_max, partial(self._arrive, message, None))
        delay_s = DELAY_S_MIN + quality.delay_s_max * rng.random()
        self.clock.after(delay_s, partial(self._arrive, message, image))

    def _arrive(self, message: Message, image: object) -> None:
        link = (message.from_, message.to)
        if link in self.clogged:
            self.clogged[link].append((message, image))
            return
        arrived = link not in self.cut and self.deliver(message, image)
        self.dropped += not arrived
        if image is not None:
            self.delivered(message, arrived)

    def cut_between(
        self, members: Iterable[int], others: Iterable[int], *, one_way: bool = False
    ) -> set[Link]:
        """Cut the links from `members` to `others` and, unless `one_way`, back; what was cut."""
        links = {(here, there) for here in members for there in others if here != there}
        if not one_way:
            links |= {(there, here) for here, there in links}
        self.cut |= links
        return links

    def mend(self, links: Iterable[Link]) -> None:
        """These work again."""
        self.cut.difference_update(links)

    def clog(self, links: Iterable[Link]) -> None:
        """Hold back what arrives over these."""
        for link in links:
            self.clogged.setdefault(link, [])

    def unclog(self, links: Iterable[Link]) -> None:
        """Deliver what was held back, in order."""
        for link in links:
            for message, image in self.clogged.pop(link, ()):
                self._arrive(message, image)


def summary(message: Message) -> str:
    """For a line of the timeline."""
    parts = [f"{message.type.name} from {message.from_} term {message.term}"]
    if message.index or message.log_term:
        parts.append(f"at {message.log_term}/{message.index}")
    if message.entries:
        parts.append(f"{len(message.entries)} entries to {message.entries[-1].index}")
    if message.commit:
        parts.append(f"commit {message.commit}")
    if message.reject:
        parts.append("refused")
    return " ".join(parts)
