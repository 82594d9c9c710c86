"""Linearizable reads: batches that wait for a read index, then for the state to reach it.

Invariants:
- A read joins a round that starts after the read arrived; one round serves all reads of a turn.
- Every round, also a retry, has a context of its own that is never used again (etcd issue
  20418: a retry under the same id let delayed answers confirm a read that came later).
- A read is released when the applied index has reached its round's read index.

Not here: how a round is confirmed (raft/readindex.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.member.effects import Reply, Waiter
from quorate.state.errors import Problem, Refused

RETRY_S = 0.5
"""A round without an answer for this long is repeated under a new context (etcd: 500 ms)."""


@dataclass(slots=True)
class Read:
    """`ready` is called with None when the read may be served, else with a `Refused`."""

    ready: Waiter
    deadline: float


@dataclass(slots=True)
class _Round:
    reads: list[Read]
    started: float


@dataclass(slots=True)
class Reads:
    """All linearizable reads of one member."""

    rounds_max: int
    """Rounds under way at once; beyond it reads gather into fewer, larger rounds."""
    waiting: list[Read] = field(default_factory=list)
    """Reads for the next round."""
    _rounds: dict[bytes, _Round] = field(default_factory=dict)
    releasable: list[tuple[int, list[Read]]] = field(default_factory=list)
    """Read indexes, and what waits until each is applied."""
    failed: int = 0
    """Refused after they were taken, since the start; for metrics."""
    slow_rounds: int = 0
    """Rounds that had no answer for RETRY_S."""

    def __len__(self) -> int:
        return (len(self.waiting) + sum(len(r.reads) for r in self._rounds.values())
                + sum(len(reads) for _, reads in self.releasable))

    def ask(self, read: Read) -> None:
        """Join the next round."""
        self.waiting.append(read)

    def start(self, now: float, next_id: Callable[[], int]) -> bytes | None:
        """The context of a new round for everything that waits, if there is anything. No life of
        this member uses a context again: a late answer to a round of the life before must not
        confirm one of this."""
        if not self.waiting or len(self._rounds) >= self.rounds_max:
            return None
        context = next_id().to_bytes(8, "little")
        self._rounds[context] = _Round(self.waiting, now)
        self.waiting = []
        return context

    def confirmed(self, context: bytes, index: int) -> None:
        """The round is good for everything up to `index`. Rounds started before it are, too."""
        if context not in self._rounds:
            return
        for known in list(self._rounds):
            self.releasable.append((index, self._rounds.pop(known).reads))
            if known == context:
                return

    def release(self, applied: int) -> list[Reply]:
        """Reads whose index is applied."""
        ready = [reads for index, reads in self.releasable if index <= applied]
        self.releasable = [pair for pair in self.releasable if pair[0] > applied]
        return [(read.ready, None) for reads in ready for read in reads]

    def restart(self, now: float, *, all_rounds: bool = False) -> None:
        """Rounds without an answer (all of them after a leader change) go back to waiting."""
        for context, waiting in list(self._rounds.items()):
            if all_rounds or now - waiting.started >= RETRY_S:
                self.slow_rounds += not all_rounds
                del self._rounds[context]
                self.waiting = waiting.reads + self.waiting

    def expired(self, now: float) -> list[Reply]:
        """Refusals of everything whose deadline has passed."""
        late: list[Read] = []
        groups = [self.waiting, *(r.reads for r in self._rounds.values())]
        groups += [reads for _, reads in self.releasable]
        for reads in groups:
            if any(read.deadline <= now for read in reads):
                late += [read for read in reads if read.deadline <= now]
                reads[:] = [read for read in reads if read.deadline > now]
        self.failed += len(late)
        return [(read.ready, Refused(Problem.TIMED_OUT)) for read in late]

    def fail(self, problem: Problem) -> list[Reply]:
        """Refuse everything that has no confirmed index."""
        reads = [read for waiting in self._rounds.values() for read in waiting.reads]
        reads += self.waiting
        self._rounds.clear()
        self.waiting = []
        self.failed += len(reads)
        return [(read.ready, Refused(problem)) for read in reads]
