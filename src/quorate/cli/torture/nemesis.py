"""What happens to real members while they are tormented, drawn from a seed.

Any number of processes and links may fail at a time: they come back, and disks stay. Not here:
links themselves (demo/links.py), clients (workload.py).
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from quorate.cli.demo.links import SOUND, Impairment
from quorate.cli.demo.members import Store, StoreMember

FAULT_S = (0.3, 4.0)
CALM_S = (0.3, 3.0)
DELAY_S = (0.01, 0.3)
RESET = 0.05

KINDS = ("kill", "kill leader", "kill all", "pause", "pause leader", "isolate", "isolate leader",
         "one-way", "halves", "delay", "resets")


@dataclass(frozen=True, slots=True)
class Stroke:
    """One fault: after `calm_s`, for `for_s`; `aim` in [0, 1) chooses the victim."""

    calm_s: float
    kind: str
    for_s: float
    aim: float


def strokes(rng: random.Random) -> Iterator[Stroke]:
    """Faults without end."""
    while True:
        yield Stroke(rng.uniform(*CALM_S), rng.choice(KINDS), rng.uniform(*FAULT_S), rng.random())


class Nemesis:
    """Strikes one fault at a time and takes it back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.counts: Counter[str] = Counter()
        self._undo: list[Callable[[], None]] = []

    def strike(self, stroke: Stroke) -> str:
        """Do it; a sentence for people."""
        self.counts[stroke.kind] += 1
        members = self._store.members
        victim = members[int(stroke.aim * len(members))]
        if stroke.kind.endswith("leader"):
            victim = self._leader() or victim
        others = [m for m in members if m is not victim]
        match stroke.kind.removesuffix(" leader"):
            case "kill":
                self._kill([victim])
            case "kill all":
                self._kill(members)
            case "pause":
                victim.process.signal(signal.SIGSTOP)
                self._undo.append(lambda: victim.process.signal(signal.SIGCONT))
            case "isolate":
                self._store.links.isolate(victim.name)
                self._undo.append(lambda: self._store.links.heal(victim.name))
            case "one-way":
                self._impair([victim], others, Impairment(blocked=True))
            case "halves":
                half = members[:len(members) // 2]
                rest = members[len(members) // 2:]
                self._impair(half, rest, Impairment(blocked=True))
                self._impair(rest, half, Impairment(blocked=True))
            case kind:
                impairment = (Impairment(delay_s=DELAY_S[0] + stroke.aim * DELAY_S[1])
                              if kind == "delay" else Impairment(reset=RESET))
                self._impair(members, members, impairment)
        target = f" {victim.name}" if stroke.kind.split()[0] in (
            "kill", "pause", "isolate", "one-way") and stroke.kind != "kill all" else ""
        return f"{stroke.kind}{target} for {stroke.for_s:.1f} s"

    def relent(self) -> None:
        """Take back whatever was done."""
        while self._undo:
            self._undo.pop()()

    def _leader(self) -> StoreMember | None:
        try:
            return self._store.leader(1.0)
        except TimeoutError:
            return None

    def _kill(self, victims: list[StoreMember]) -> None:
        for victim in victims:
            victim.process.kill()
        for victim in victims:
            self._undo.append(victim.process.start)

    def _impair(
        self, here: list[StoreMember], there: list[StoreMember], impairment: Impairment
    ) -> None:
        pairs = [(a.name, b.name) for a in here for b in there if a is not b]
        links = self._store.links
        for source, target in pairs:
            links.impair(source, target, impairment)
            self._undo.append(partial(links.impair, source, target, SOUND))
