"""Writes on their way through consensus: who waits for which entry.

Invariants:
- A payload carries its request's unique id, so payload bytes identify a proposal, also after
  they came back from the leader in an entry.
- A proposal is handed to Raft for one term, and a leader takes it in that term only (the core
  drops forwarded proposals of another term). All entries of a term precede the first entry of
  the next one in every log, so a proposal of term t that is not applied when an entry of a
  later term is, never will be, and may be proposed again without doing anything twice.
- A proposal whose fate cannot be known is refused with TIMED_OUT_LEADER_LOST, never retried.

Not here: encoding of requests (requests.py), what applying does (state/machine.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from quorate.member.effects import Reply, Waiter
from quorate.raft.types import Entry, EntryType
from quorate.state.errors import Problem, Refused


FORWARD_BYTES_MAX = 1 << 20
"""Of what one message brings to the leader, unless it is a single proposal."""


@dataclass(slots=True)
class Proposal:
    """One write. `term` is the term it was handed to Raft in, 0 while it is queued."""

    payload: bytes
    request: Proto | None
    """What the payload holds, so that it need not be decoded again; None for a configuration
    change."""
    done: Waiter
    deadline: float
    kind: EntryType = EntryType.NORMAL
    term: int = 0
    doubtful: bool = False
    """The connection it was forwarded over broke: it may or may not have arrived."""


class Proposals:
    """The queue towards Raft and the proposals in flight."""

    def __init__(self, pending_max: int) -> None:
        self._pending_max = pending_max
        self.queued: deque[Proposal] = deque()
        """What waits to be proposed."""
        self.failed = 0
        """Refused after they were taken, since the start; for metrics."""
        self._in_flight: dict[bytes, Proposal] = {}
        self._unsent: list[Proposal] = []
        """Not in flight after all: there was no connection to the leader."""

    def __len__(self) -> int:
        return len(self.queued) + len(self._in_flight) + len(self._unsent)

    def submit(self, proposal: Proposal, *, own: bool = False) -> Refused | None:
        """Queue it for this turn's batch, or say why not: there are too many, unless it is the
        member's `own`."""
        if len(self) >= self._pending_max and not own:
            return Refused(Problem.TOO_MANY_REQUESTS)
        self.queued.append(proposal)
        return None

    def take(self, term: int) -> tuple[Entry, ...]:
        """Everything queued, now in flight in `term`."""
        batch = tuple(self.queued)
        self.queued.clear()
        for proposal in batch:
            proposal.term = term
            proposal.doubtful = False
            self._in_flight[proposal.payload] = proposal
        return tuple([Entry(0, 0, p.payload, p.kind) for p in batch])

    def put_back(self, payloads: tuple[bytes, ...]) -> None:
        """Raft did not take them: queue them again, in front."""
        for payload in reversed(payloads):
            proposal = self._in_flight.pop(payload)
            proposal.term = 0
            self.queued.appendleft(proposal)

    def not_sent(self, payloads: Iterable[bytes]) -> None:
        """These did not leave this member; they wait for `retry`, until when it may know better
        whom to send them to."""
        self._unsent += [p for payload in payloads if (p := self._in_flight.pop(payload, None))]

    def retry(self) -> None:
        """Queue again, in front, what did not leave."""
        self.queued.extendleft(reversed(self._unsent))
        self._unsent.clear()

    def applied(self, payload: bytes) -> Proposal | None:
        """The proposal that this entry was, if it is one of ours."""
        return self._in_flight.pop(payload, None)

    def term_passed(self, term: int) -> None:
        """An entry of `term` is applied: what was proposed in earlier terms is lost, queue it."""
        lost = [p.payload for p in self._in_flight.values() if p.term < term]
        if lost:
            self.put_back(tuple(lost))

    def connection_lost(self) -> None:
        """The connection to the leader broke under everything in flight."""
        for proposal in self._in_flight.values():
            proposal.doubtful = True

    def leader_known(self, term: int) -> list[Reply]:
        """The leader of `term` is known: proposals of that very term that may have been lost on
        the way cannot be told from those that arrived."""
        unknown = [p for p in self._in_flight.values() if p.doubtful and p.term == term]
        return self._refuse_in_flight(unknown)

    def snapshot_installed(self) -> list[Reply]:
        """Entries were skipped: nobody can say what was among them."""
        return self._refuse_in_flight(list(self._in_flight.values()))

    def expired(self, now: float) -> list[Reply]:
        """Refusals of everything whose deadline has passed."""
        late = [p for p in self._in_flight.values() if p.deadline <= now]
        replies = self._refuse_in_flight(late, Problem.TIMED_OUT)
        if any(p.deadline <= now for p in self.queued):
            expired = [p for p in self.queued if p.deadline <= now]
            self.failed += len(expired)
            replies += [(p.done, Refused(Problem.TIMED_OUT)) for p in expired]
            self.queued = deque(p for p in self.queued if p.deadline > now)
        return replies

    def fail(self, queued: Problem, in_flight: Problem) -> list[Reply]:
        """Refuse everything: the queue was never proposed, the rest is unknown."""
        self.retry()
        replies: list[Reply] = [(p.done, Refused(queued)) for p in self.queued]
        self.failed += len(replies)
        self.queued.clear()
        return replies + self._refuse_in_flight(list(self._in_flight.values()), in_flight)

    def _refuse_in_flight(
        self, proposals: list[Proposal], problem: Problem = Problem.TIMED_OUT_LEADER_LOST
    ) -> list[Reply]:
        self.failed += len(proposals)
        for proposal in proposals:
            del self._in_flight[proposal.payload]
        return [(p.done, Refused(problem)) for p in proposals]


def pieces(entries: tuple[Entry, ...], bytes_max: int) -> Iterator[tuple[Entry, ...]]:
    """The entries in order, in runs of so many bytes, or of one that is larger."""
    start = size = 0
    for position, entry in enumerate(entries):
        size += len(entry.data)
        if size > bytes_max and position > start:
            yield entries[start:position]
            start, size = position, len(entry.data)
    yield entries[start:]
