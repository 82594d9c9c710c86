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
- A leader's idea of what a member has is never beyond what it sends next (lesson L17); at most one
  configuration change is under way (lesson L1).
- State, events and configuration agree at equal applied index.

Not here: promises to clients (judge.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from quorate.check.keyvalue import Change
from quorate.raft.node import Node
from quorate.raft.tracker import Config
from quorate.raft.types import (
    ConfState, Entry, EntryType, HardState, Role, Storage, StorageError,
)
from quorate.state.machine import Machine
from quorate.wire._generated import kv_pb2

if TYPE_CHECKING:
    from quorate.member.core import MemberCore
    from quorate.sim.member import SimMember

BYTES_MAX = 1 << 30
EVENTS_MAX = 1 << 30

Fail = Callable[[str], Exception]


class Observed(Protocol):
    """What is looked at: a node, its life, and the log that its disk holds (or held)."""

    @property
    def id(self) -> int: ...

    @property
    def life(self) -> int: ...

    @property
    def node(self) -> Node | None: ...

    @property
    def stable(self) -> Storage | None: ...


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

class Events:
    """Everything that ever happened, as the first member to apply it tells it; every other must
    tell the same."""

    def __init__(self, fail: Fail) -> None:
        self._fail = fail
        self.log: list[tuple[int, list[Change]]] = []

    def look(self, member_id: int, machine: Machine, after: int) -> None:
        """The member has applied something since revision `after`."""
        start = max(after + 1, machine.compact_revision + 1, 2)
        events, _ = machine.events_since(start, b"\0", b"\0", EVENTS_MAX)
        told: dict[int, list[Change]] = {}
        for event in events:
            told.setdefault(event.revision, []).append(
                Change(event.kv.key, None if event.type == kv_pb2.Event.DELETE else event.kv))
        for revision in range(start, machine.revision + 1):
            changes = told.get(revision)
            position = revision - 2
            if changes is None:
                raise self._fail(f"revision {revision} has no events on {member_id}")
            if position == len(self.log):
                self.log.append((revision, changes))
            elif position > len(self.log):
                raise self._fail(f"{member_id} has revision {revision}, nobody had the one before")
            elif self.log[position][1] != changes:
                raise self._fail(f"revision {revision} is {changes} on {member_id}, it was "
                                 f"{self.log[position][1]} elsewhere")


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
        self._look_at_vote(member)
        leads = raft.term if raft.role is Role.LEADER else 0
        if leads:
            self._look_at_progress(member.id, node)
        if raft.term != seen.term or leads != seen.led or log.committed != seen.commit:
            self._look_at_change(member.id, node, leads, seen)
        if config is not seen.config:
            if config != seen.config:
                self.reconfigured_at = now
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

    def _look_at_vote(self, member: Observed) -> None:
        """On disk: a term never falls, a vote in it is never changed."""
        assert member.stable is not None
        state = member.stable.initial_state()[0]
        before = self._votes.get(member.id)
        if state is before:
            return
        if before is not None and (state.term < before.term or (
                state.term == before.term and before.vote not in (0, state.vote))):
            raise self._fail(f"the disk of {member.id} had {before}, now it has {state}")
        self._votes[member.id] = state

    def _look_at_progress(self, member_id: int, node: Node) -> None:
        for other_id, progress in node.raft.tracker.progress.items():
            if progress.match >= progress.next:
                raise self._fail(f"leader {member_id} would send {progress.next} to {other_id}, "
                                 f"which has {progress.match}")

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
        holders = {m.id for m in self._members() if _holds(m.stable, entry)}
        now = node.raft.tracker.config
        if not any(is_majority(holders, config.conf_state())
                   for config in (now, seen.config)):
            raise self._fail(f"entry {entry.index} of term {entry.term} is committed, but only "
                             f"on the disks of {sorted(holders)}; the configuration is "
                             f"{now.conf_state()}")


class Invariants(RaftInvariants):
    """The same of whole members, with their state."""

    def __init__(
        self, members: Callable[[], Iterable[Observed]], events: Events, fail: Fail
    ) -> None:
        super().__init__(members, fail)
        self._events = events
        self._states: dict[int, tuple[object, ...]] = {}
        self._applied: dict[int, tuple[int, int, int]] = {}
        """Of each member: life, applied index, revision."""

    def look(self, member: SimMember, now: float) -> bool:
        """A turn of this member is over; whether it has applied something."""
        self.look_at_raft(member, now)
        return member.core is not None and self._look_at_state(member, member.core)

    def _look_at_state(self, member: SimMember, core: MemberCore) -> bool:
        point, machine = core.backend.applied, core.machine
        life, applied, revision = self._applied.get(member.id, (0, 0, 0))
        if life != member.life:
            applied, revision = 0, machine.revision
        if point.index == applied:
            return False
        if point.index < applied:
            raise self._fail(f"the applied index of {member.id} fell from {applied} to "
                             f"{point.index}")
        if point.index > core.node.raft.log.committed:
            raise self._fail(f"member {member.id} applied {point.index}, beyond its commit index")
        if machine.revision != revision:
            self._events.look(member.id, machine, revision)
        self._applied[member.id] = (member.life, point.index, machine.revision)
        state = (point.term, machine.revision, machine.compact_revision, point.conf_state,
                 tuple(machine.leases.ids()))
        if self._states.setdefault(point.index, state) != state:
            raise self._fail(f"member {member.id} at index {point.index} has (term, revision, "
                             f"compacted, members, leases) {state}, another had "
                             f"{self._states[point.index]}")
        return True


def is_majority(ids: set[int], state: ConfState) -> bool:
    """Whether these decide, counted apart from the product's own counting."""
    return all(2 * len(ids.intersection(half)) > len(half)
               for half in (state.voters, state.voters_outgoing) if half)


def _holds(storage: Storage | None, entry: Entry) -> bool:
    """Whether a disk has the entry, or a snapshot in its place."""
    if storage is None:
        return False
    if entry.index < storage.first_index():
        return True
    try:
        return storage.term(entry.index) == entry.term
    except StorageError:
        return False
