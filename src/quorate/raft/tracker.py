"""What a leader knows about each follower, and the configuration it counts in.

Invariants: `match < next`; a follower in SNAPSHOT state is sent nothing; `in_flight` holds the
last index of each unacknowledged append in REPLICATE state, ascending.

Progress moves PROBE → REPLICATE when a probe is acknowledged, → SNAPSHOT when the log no longer
has what the follower needs, back to PROBE on a rejection or when the follower is unreachable.

Not here: sending (leader.py), changing the configuration (confchange.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from quorate.raft.quorum import VoteResult, joint_committed_index, joint_vote_result
from quorate.raft.types import ConfState, InFlightLimits


class ProgressState(Enum):
    """How the leader replicates to a follower."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


class InFlight:
    """A window of appends that were sent and not acknowledged."""

    __slots__ = ("_bytes", "_items", "_limits")

    def __init__(self, limits: InFlightLimits) -> None:
        self._limits = limits
        self._items: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent."""
        limits = self._limits
        return len(self._items) >= limits.messages or 0 < limits.bytes <= self._bytes

    def add(self, index: int, size: int) -> None:
        """An append up to `index` was sent."""
        self._items.append((index, size))
        self._bytes += size

    def free_to(self, index: int) -> None:
        """Everything up to `index` is acknowledged."""
        items = self._items
        while items and items[0][0] <= index:
            self._bytes -= items.popleft()[1]

    def reset(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._bytes = 0


class Progress:
    """One follower as the leader sees it."""

    __slots__ = ("in_flight", "is_learner", "match", "next", "paused_flow", "pending_snapshot",
                 "recent_active", "sent_commit", "state")

    def __init__(
        self, *, match: int, next_index: int, limits: InFlightLimits, is_learner: bool = False,
        recent_active: bool = False,
    ) -> None:
        self.match = match
        self.next = next_index
        self.sent_commit = 0
        self.state = ProgressState.PROBE
        self.pending_snapshot = 0
        self.recent_active = recent_active
        self.paused_flow = False
        self.in_flight = InFlight(limits)
        self.is_learner = is_learner

    def copy(self, limits: InFlightLimits) -> Progress:
        """The same, to be changed on its own; only made where nothing is in flight to copy."""
        twin = Progress(match=self.match, next_index=self.next, limits=limits,
                        is_learner=self.is_learner, recent_active=self.recent_active)
        twin.sent_commit = self.sent_commit
        twin.state = self.state
        twin.pending_snapshot = self.pending_snapshot
        twin.paused_flow = self.paused_flow
        twin.in_flight = self.in_flight
        return twin

    def _reset(self, state: ProgressState) -> None:
        self.paused_flow = False
        self.pending_snapshot = 0
        self.state = state
        self.in_flight.reset()

    def become_probe(self) -> None:
        """Find out where the follower's log agrees."""
        if self.state is ProgressState.SNAPSHOT:
            pending = self.pending_snapshot
            self._reset(ProgressState.PROBE)
            self.next = max(self.match + 1, pending + 1)
        else:
            self._reset(ProgressState.PROBE)
            self.next = self.match + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Stream entries optimistically."""
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """Wait until the snapshot at `index` has been taken."""
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    def sent_entries(self, count: int, size: int) -> None:
        """An append with `count` entries of `size` bytes was sent."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next += count
                self.in_flight.add(self.next - 1, size)
            self.paused_flow = self.in_flight.full
        elif count:
            self.paused_flow = True

    def can_bump_commit(self, index: int) -> bool:
        """Whether telling the follower of this commit index may move its own."""
        return index > self.sent_commit and self.sent_commit < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """The follower has everything up to `index`; False if that is old news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.paused_flow = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """The append after `rejected` was refused; False if that is stale."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        elif self.next - 1 != rejected:
            return False
        else:
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.paused_flow = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    @property
    def paused(self) -> bool:
        """Whether appends have to wait."""
        return self.paused_flow or self.state is ProgressState.SNAPSHOT


@dataclass(frozen=True, slots=True)
class Config:
    """Who votes and who learns. `outgoing` is not empty in a joint configuration only."""

    voters: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    learners: frozenset[int] = frozenset()
    learners_next: frozenset[int] = frozenset()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two majorities count."""
        return bool(self.outgoing)

    @property
    def voter_ids(self) -> list[int]:
        """Ids of both halves, ascending."""
        return sorted(self.voters | self.outgoing)

    def conf_state(self) -> ConfState:
        """As snapshots carry it."""
        return ConfState(
            tuple(sorted(self.voters)), tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)), tuple(sorted(self.learners_next)), self.auto_leave)


@dataclass(slots=True)
class Tracker:
    """Configuration, progress of everybody in it, and the votes of an election."""

    limits: InFlightLimits
    config: Config = field(default_factory=Config)
    progress: dict[int, Progress] = field(default_factory=dict)
    votes: dict[int, bool] = field(default_factory=dict)
    ids: tuple[int, ...] = ()
    """Everybody with a progress, ascending: the order in which peers are visited."""

    def switch(self, config: Config, progress: dict[int, Progress]) -> None:
        """Count in another configuration from now on."""
        self.config = config
        self.progress = progress
        self.ids = tuple(sorted(progress))

    @property
    def is_singleton(self) -> bool:
        """Whether one voter decides alone."""
        return len(self.config.voters) == 1 and not self.config.outgoing

    def committed(self) -> int:
        """The highest index on a quorum."""
        config, progress = self.config, self.progress
        acked = {i: progress[i].match for i in config.voters | config.outgoing}
        return joint_committed_index(config.voters, config.outgoing, acked)

    def result(self, votes: dict[int, bool]) -> VoteResult:
        """Where a vote stands in the current configuration."""
        return joint_vote_result(self.config.voters, self.config.outgoing, votes)

    def is_quorum(self, ids: Iterable[int]) -> bool:
        """Whether these alone decide."""
        return self.result(dict.fromkeys(ids, True)) is VoteResult.WON

    def quorum_active(self) -> bool:
        """Whether a quorum was heard since the last check."""
        return self.result({
            i: pr.recent_active for i, pr in self.progress.items() if not pr.is_learner
        }) is VoteResult.WON
