"""What must hold between any two events, over all members at once: the predicates of etcd's TLA+
specification (etcd-io/raft, `tla/`) in Python, each checked on what has changed since it was
last looked at.

- ElectionSafety, MoreThanOneLeader: at most one leader in a term.
- LogInv, LogMatching: a committed index holds the same entry wherever and whenever it is seen.
- LeaderCompleteness, MoreUpToDateCorrect: a leader has every entry that was committed before.
- QuorumLog, CommittedIsDurable: what is committed is on the disks of a majority of each half of
  the configuration.
- Figure 8: a leader counts replicas only for entries of its own term.
- Term, and commit and applied index never fall while a member lives; a vote is never changed.
- A leader's idea of what a member has is never beyond what it sends next (lesson L17), and is true
  of that member's disk as long as nobody leads a later term there.
- At most one configuration change is under way (lesson L1).
- What a node counts in is the configuration that it has applied, also after a restart.
- State, events, configuration, members, leases and alarms agree at equal applied index, the
  members with the configuration; who tells a member that it was removed has that on disk.

Not here: promises to clients (judge.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quorate.raft.node import Node
from quorate.raft.tracker import Config
from quorate.raft.types import (
    ConfState, Entry, EntryType, HardState, Role, Storage, StorageError,
)
from quorate.sim.events import Events
from quorate.sim.tables import wrong_members

if TYPE_CHECKING:
    from quorate.member.core import MemberCore
    from quorate.sim.member import SimMember

BYTES_MAX = 1 << 30

Fail = Callable[[str], Exception]


class Point(Protocol):
    """How far a state is, and the configuration there."""

    @property
    def index(self) -> int: ...

    @property
    def conf_state(self) -> ConfState: ...


class Observed(Protocol):
    """What is looked at: a node, its life, the log that its disk holds (or held), its state."""

    @property
    def id(self) -> int: ...

    @property
    def life(self) -> int: ...

    @property
    def node(self) -> Node | None: ...

    @property
    def stable(self) -> Storage | None: ...

    @property
    def applied(self) -> Point: ...


@dataclass(slots=True)
class _Seen:
    """A member as it was at its last event of this life."""

    life: int
    config: Config
    """The configuration then. It is a value: while a node counts in this very object, nothing
    about it has changed."""
    term: int = 0
    commit: int = 0
    led: int = 0
    """The term that it led, 0 if it did not."""
    matches: dict[int, int] = field(default_factory=dict)
    """What it, leading, believed that each member has."""
    pending: int = 0
    """Where it, leading, had put the newest change of the configuration."""


class RaftInvariants:
    """Looks at a node after each of its turns; `fail` makes an exception of a sentence."""

    def __init__(self, members: Callable[[], Iterable[Observed]], fail: Fail) -> None:
        self._members = members
        self._fail = fail
        self.leaders: dict[int, int] = {}
        self.commits = 0
        self.reconfigured_at = 0.0
        """When a member last applied another configuration."""
        self._committed: dict[int, Entry] = {}
        self._committed_in: dict[int, int] = {}
        """In which term: leaders of later ones must have it, those of earlier ones need not."""
        self._votes: dict[int, HardState] = {}
        self._seen: dict[int, _Seen] = {}
        self._ends: dict[int, int] = {}
        """The last entry on each disk."""
        self._configs: dict[int, ConfState] = {}

    def look_at_raft(self, member: Observed, now: float) -> None:
        """A turn of this node is over."""
        node = member.node
        if node is None:
            return
        raft = node.raft
        config, log = raft.tracker.config, raft.log
        seen = self._seen.get(member.id)
        if seen is None or seen.life != member.life:
            seen = self._seen[member.id] = _Seen(
                member.life, config, commit=log.first_index() - 1)
            self._look_at_config(member, node)
        self._look_at_disk(member)
        leads = raft.term if raft.role is Role.LEADER else 0
        if leads:
            if leads != seen.led:
                # Others may elect it before its own tail, of earlier terms, is on its disk.
                own = raft.tracker.progress.get(member.id)
                seen.matches = {} if own is None else {member.id: own.match}
                seen.pending = raft.pending_conf_index
            self._look_at_progress(member.id, node, seen.matches)
            if raft.pending_conf_index != seen.pending:
                seen.pending = raft.pending_conf_index
                self._look_at_changes(member.id, node)
        if raft.term != seen.term or leads != seen.led or log.committed != seen.commit:
            self._look_at_change(member.id, node, leads, seen)
        if config is not seen.config:
            if config != seen.config:
                self.reconfigured_at = now
                self._look_at_config(member, node)
            seen.config = config

    def _look_at_change(self, member_id: int, node: Node, leads: int, seen: _Seen) -> None:
        """Term, leadership or commit index is another than before the turn."""
        term, log = node.term, node.raft.log
        if term < seen.term:
            raise self._fail(f"the term of {member_id} fell from {seen.term} to {term}")
        if leads and leads != seen.led:
            self._elected(member_id, node)
        if log.committed > seen.commit:
            if leads and leads == seen.led and log.term(log.committed) != term:
                raise self._fail(
                    f"leader {member_id} of term {term} committed {log.committed}, which is "
                    f"of term {log.term(log.committed)}")
            self._commit(member_id, node, seen)
        elif log.committed < seen.commit:
            raise self._fail(f"the commit index of {member_id} fell from {seen.commit} to "
                             f"{log.committed}")
        seen.term, seen.led, seen.commit = term, leads, log.committed

    def _look_at_config(self, member: Observed, node: Node) -> None:
        """The node counts in another configuration, or was started."""
        now, snapshot = node.raft.tracker.config.conf_state(), node.raft.log.snapshot
        told = member.applied.conf_state if snapshot is None else snapshot.conf_state
        if now != told:
            raise self._fail(f"member {member.id} counts in {now}, its state says {told}")
        index = member.applied.index if snapshot is None else snapshot.index
        if self._configs.setdefault(index, now) != now:
            raise self._fail(f"the configuration at index {index} is {now} on {member.id}, it was "
                             f"{self._configs[index]} elsewhere")

    def _look_at_changes(self, member_id: int, node: Node) -> None:
        """A leader took a change of the configuration: everything before it must be applied."""
        log = node.raft.log
        low = max(log.applied + 1, log.first_index())
        changes = [entry for entry in log.slice(low, log.last_index() + 1, BYTES_MAX)
                   if entry.type is not EntryType.NORMAL]
        if len(changes) > 1 and changes[-1].term == node.term:
            raise self._fail(f"leader {member_id} has the configuration changes "
                             f"{[entry.index for entry in changes]} under way at once")

    def _look_at_disk(self, member: Observed) -> None:
        """A term never falls, a vote in it is never changed, what was acknowledged stays."""
        stable = member.stable
        assert stable is not None
        end = stable.last_index()
        if end != self._ends.get(member.id, 0):
            self._look_at_end(member, end)
        state = stable.initial_state()[0]
        before = self._votes.get(member.id)
        if state is before:
            return
        if before is not None and (state.term < before.term or (
                state.term == before.term and before.vote not in (0, state.vote))):
            raise self._fail(f"the disk of {member.id} had {before}, now it has {state}")
        self._votes[member.id] = state

    def _look_at_end(self, member: Observed, end: int) -> None:
        """The log on a disk has another last entry."""
        if end < self._ends.get(member.id, 0):
            for leader in self._members():
                node = leader.node
                if node is not None and leader is not member and node.role is Role.LEADER and (
                        progress := node.raft.tracker.progress.get(member.id)):
                    self._look_at_match(node, member, progress.match)
        self._ends[member.id] = end

    def _look_at_progress(self, member_id: int, node: Node, matches: dict[int, int]) -> None:
        for other_id, progress in node.raft.tracker.progress.items():
            match = progress.match
            if match >= progress.next:
                raise self._fail(f"leader {member_id} would send {progress.next} to {other_id}, "
                                 f"which has {match}")
            if match != matches.get(other_id, 0):
                matches[other_id] = match
                for other in self._members():
                    if other.id == other_id:
                        self._look_at_match(node, other, match)

    def _look_at_match(self, node: Node, other: Observed, match: int) -> None:
        """What the leader counts as acknowledged is on that disk, until a later leader has it
        replaced."""
        log, stable = node.raft.log, other.stable
        if stable is None or match < log.first_index() or (
                stable.initial_state()[0].term > node.term):
            return
        if not _holds(stable, match, log.term(match)):
            raise self._fail(f"leader {node.id} of term {node.term} believes that {other.id} has "
                             f"entry {match}; its disk ends at {stable.last_index()}")

    def _elected(self, member_id: int, node: Node) -> None:
        term, log = node.term, node.raft.log
        other = self.leaders.setdefault(term, member_id)
        if other != member_id:
            raise self._fail(f"two leaders in term {term}: {other}, {member_id}")
        first = log.first_index()
        for index in range(max(self._committed, default=0), first - 1, -1):
            if self._committed_in.get(index, term) < term and not log.matches(
                    self._committed[index].term, index):
                raise self._fail(f"leader {member_id} of term {term} does not have entry {index} "
                                 f"of term {self._committed[index].term}, which is committed")
        open_changes = [i for i in range(log.committed + 1, log.last_index() + 1)
                        if log.slice(i, i + 1, BYTES_MAX)[0].type is not EntryType.NORMAL]
        for one, other in pairwise(open_changes):
            if log.term(one) == log.term(other):
                raise self._fail(f"configuration changes {one} and {other} are under way at once "
                                 f"in the log of {member_id}")

    def _commit(self, member_id: int, node: Node, seen: _Seen) -> None:
        log = node.raft.log
        low = max(seen.commit + 1, log.first_index())
        for entry in log.slice(low, log.committed + 1, BYTES_MAX):
            known = self._committed.get(entry.index)
            if known is None:
                self._committed[entry.index] = entry
                self._committed_in[entry.index] = node.term
                self.commits += 1
                self._durable(node, entry, seen)
            elif known != entry:
                raise self._fail(f"member {member_id} has entry {entry.index} of term "
                                 f"{entry.term} committed, another had one of {known.term}")

    def _durable(self, node: Node, entry: Entry, seen: _Seen) -> None:
        """By the configuration of before the turn or after it: it may have changed meanwhile."""
        holders = {m.id for m in self._members() if _holds(m.stable, entry.index, entry.term)}
        now = node.raft.tracker.config
        if not any(is_majority(holders, config.conf_state())
                   for config in (now, seen.config)):
            raise self._fail(f"entry {entry.index} of term {entry.term} is committed, but only "
                             f"on the disks of {sorted(holders)}; the configuration is "
                             f"{now.conf_state()}")


class _State(NamedTuple):
    """What must be equal at an applied index; the sums are the tables' (tables.py)."""

    term: int
    revision: int
    compacted: int
    members: ConfState
    leases: tuple[tuple[int, int | None], ...]
    members_sum: int
    leases_sum: int
    alarms_sum: int


@dataclass(slots=True)
class _Applied:
    """A member as it was when it last had applied something."""

    life: int
    index: int
    revision: int
    state: _State | None = None


class Invariants(RaftInvariants):
    """The same of whole members, with their state."""

    def __init__(
        self, members: Callable[[], Iterable[Observed]], events: Events, fail: Fail
    ) -> None:
        super().__init__(members, fail)
        self._events = events
        self._states: dict[int, _State] = {}
        self._applied: dict[int, _Applied] = {}

    def look(self, member: SimMember, now: float) -> bool:
        """A turn of this member is over; whether it has applied something."""
        self.look_at_raft(member, now)
        return member.core is not None and self._look_at_state(member, member.core)

    def _look_at_state(self, member: SimMember, core: MemberCore) -> bool:
        backend, seen = member.disk.backend, self._applied.get(member.id)
        point, machine = backend.applied, core.machine
        if seen is None or seen.life != member.life:
            seen = self._applied[member.id] = _Applied(member.life, 0, machine.revision)
        elif point.index == seen.index:
            return False
        if point.index < seen.index:
            raise self._fail(f"the applied index of {member.id} fell from {seen.index} to "
                             f"{point.index}")
        if point.index > core.node.raft.log.committed:
            raise self._fail(f"member {member.id} applied {point.index}, beyond its commit index")
        if machine.revision != seen.revision:
            self._events.look(member.id, machine, seen.revision)
        before, leases = seen.state, machine.leases
        if (before is None or backend.members != before.members_sum
                or point.conf_state is not before.members) and (
                wrong := wrong_members(machine.members, point.conf_state)):
            raise self._fail(f"member {member.id} at index {point.index} has {wrong} in its "
                             f"table, the configuration is {point.conf_state}")
        ttls = before.leases if before is not None and backend.leases == before.leases_sum else (
            tuple([(i, leases.ttl_s(i)) for i in leases.ids()]))
        state = _State(point.term, machine.revision, machine.compact_revision, point.conf_state,
                       ttls, backend.members, backend.leases, backend.alarms)
        if self._states.setdefault(point.index, state) != state:
            other = self._states[point.index]
            raise self._fail(f"member {member.id} at index {point.index} has {state[:5]}, another "
                             f"had {other[:5]}; same tables of members, leases, alarms: "
                             f"{[a == b for a, b in zip(state[5:], other[5:], strict=True)]}")
        seen.index, seen.revision, seen.state = point.index, machine.revision, state
        return True

    def look_at_refusal(self, member: SimMember, removed_id: int) -> None:
        """The member tells another one that it was removed."""
        if not member.disk.backend.keeps_removal(removed_id):
            raise self._fail(f"member {member.id} told {removed_id} that it was removed, and may "
                             f"forget that")


def is_majority(ids: set[int], state: ConfState) -> bool:
    """Whether these decide, counted apart from the product's own counting."""
    return all(2 * len(ids.intersection(half)) > len(half)
               for half in (state.voters, state.voters_outgoing) if half)


def _holds(storage: Storage | None, index: int, term: int) -> bool:
    """Whether a disk has that entry, or a snapshot in its place."""
    if storage is None:
        return False
    if index < storage.first_index():
        return True
    try:
        return storage.term(index) == term
    except StorageError:
        return False
