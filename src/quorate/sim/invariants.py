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

from quorate.check.keyvalue import Change
from quorate.raft.log import Log
from quorate.raft.types import (
    ConfState, Entry, EntryType, HardState, Role, Storage, StorageError,
)
from quorate.sim.member import SimMember
from quorate.state.machine import Machine
from quorate.wire._generated import kv_pb2

BYTES_MAX = 1 << 30
EVENTS_MAX = 1 << 30

Fail = Callable[[str], Exception]


@dataclass(slots=True)
class _Seen:
    """A member as it was at its last event of this life."""

    life: int
    term: int = 0
    commit: int = 0
    applied: int = 0
    revision: int = 0
    led: int = 0
    """The term that it led, 0 if it did not."""
    conf_state: ConfState | None = None


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


class Invariants:
    """Looks at a member after each of its turns; `fail` makes an exception of a sentence."""

    def __init__(
        self, members: Callable[[], Iterable[SimMember]], events: Events, fail: Fail
    ) -> None:
        self._members = members
        self._events = events
        self._fail = fail
        self.leaders: dict[int, int] = {}
        self.commits = 0
        self.reconfigured_at = 0.0
        """When a member last applied another configuration."""
        self._committed: dict[int, Entry] = {}
        self._committed_in: dict[int, int] = {}
        """In which term: leaders of later ones must have it, those of earlier ones need not."""
        self._applied: dict[int, tuple[object, ...]] = {}
        self._votes: dict[int, HardState] = {}
        self._seen: dict[int, _Seen] = {}

    def look(self, member: SimMember, now: float) -> bool:
        """A turn of this member is over; whether it has applied something."""
        core = member.core
        if core is None:
            return False
        node, log = core.node, core.node.raft.log
        seen = self._seen.get(member.id)
        if seen is None or seen.life != member.life:
            seen = self._seen[member.id] = _Seen(
                member.life, commit=log.first_index() - 1, revision=core.machine.revision,
                conf_state=node.raft.tracker.config.conf_state())
        self._look_at_vote(member)
        if node.term < seen.term:
            raise self._fail(f"the term of {member.id} fell from {seen.term} to {node.term}")
        leads = node.term if node.role is Role.LEADER else 0
        if leads:
            if leads != seen.led:
                self._elected(member, log)
            self._look_at_progress(member)
        if log.committed > seen.commit:
            if leads and leads == seen.led and log.term(log.committed) != node.term:
                raise self._fail(
                    f"leader {member.id} of term {node.term} committed {log.committed}, which is "
                    f"of term {log.term(log.committed)}")
            self._commit(member, log, seen)
        elif log.committed < seen.commit:
            raise self._fail(f"the commit index of {member.id} fell from {seen.commit} to "
                             f"{log.committed}")
        seen.term, seen.led, seen.commit = node.term, leads, log.committed
        conf_state = node.raft.tracker.config.conf_state()
        if conf_state != seen.conf_state:
            seen.conf_state, self.reconfigured_at = conf_state, now
        return self._apply(member, seen)

    def _look_at_vote(self, member: SimMember) -> None:
        """On disk: a term never falls, a vote in it is never changed."""
        state = member.stable.initial_state()[0]
        before = self._votes.get(member.id)
        if before is not None and (state.term < before.term or (
                state.term == before.term and before.vote not in (0, state.vote))):
            raise self._fail(f"the disk of {member.id} had {before}, now it has {state}")
        self._votes[member.id] = state

    def _look_at_progress(self, member: SimMember) -> None:
        assert member.core is not None
        raft = member.core.node.raft
        for member_id, progress in raft.tracker.progress.items():
            if progress.match >= progress.next:
                raise self._fail(f"leader {member.id} would send {progress.next} to {member_id}, "
                                 f"which has {progress.match}")

    def _elected(self, member: SimMember, log: Log) -> None:
        assert member.core is not None
        term = member.core.node.term
        other = self.leaders.setdefault(term, member.id)
        if other != member.id:
            raise self._fail(f"two leaders in term {term}: {other}, {member.id}")
        first = log.first_index()
        for index in range(max(self._committed, default=0), first - 1, -1):
            if self._committed_in.get(index, term) < term and not log.matches(
                    self._committed[index].term, index):
                raise self._fail(f"leader {member.id} of term {term} does not have entry {index} "
                                 f"of term {self._committed[index].term}, which is committed")
        open_changes = [i for i in range(log.committed + 1, log.last_index() + 1)
                        if log.slice(i, i + 1, BYTES_MAX)[0].type is not EntryType.NORMAL]
        for one, other in pairwise(open_changes):
            if log.term(one) == log.term(other):
                raise self._fail(f"configuration changes {one} and {other} are under way at once "
                                 f"in the log of {member.id}")

    def _commit(self, member: SimMember, log: Log, seen: _Seen) -> None:
        assert member.core is not None
        low = max(seen.commit + 1, log.first_index())
        for entry in log.slice(low, log.committed + 1, BYTES_MAX):
            known = self._committed.get(entry.index)
            if known is None:
                self._committed[entry.index] = entry
                self._committed_in[entry.index] = member.core.node.term
                self.commits += 1
            elif known != entry:
                raise self._fail(f"member {member.id} has entry {entry.index} of term "
                                 f"{entry.term} committed, another had one of {known.term}")
            if known is None:
                self._durable(member, entry, seen)

    def _durable(self, member: SimMember, entry: Entry, seen: _Seen) -> None:
        """By the configuration of before the turn or after it: it may have changed meanwhile."""
        assert member.core is not None
        holders = {m.id for m in self._members() if _holds(m, entry)}
        now = member.core.node.raft.tracker.config.conf_state()
        if not any(is_majority(holders, state) for state in (now, seen.conf_state or now)):
            raise self._fail(f"entry {entry.index} of term {entry.term} is committed, but only "
                             f"on the disks of {sorted(holders)}; the configuration is {now}")

    def _apply(self, member: SimMember, seen: _Seen) -> bool:
        assert member.core is not None
        point, machine = member.core.backend.applied, member.core.machine
        if point.index == seen.applied:
            return False
        if point.index < seen.applied:
            raise self._fail(f"the applied index of {member.id} fell from {seen.applied} to "
                             f"{point.index}")
        if point.index > member.core.node.raft.log.committed:
            raise self._fail(f"member {member.id} applied {point.index}, beyond its commit index")
        seen.applied = point.index
        if machine.revision != seen.revision:
            self._events.look(member.id, machine, seen.revision)
            seen.revision = machine.revision
        state = (point.term, machine.revision, machine.compact_revision, point.conf_state,
                 tuple(machine.leases.ids()))
        if self._applied.setdefault(point.index, state) != state:
            raise self._fail(f"member {member.id} at index {point.index} has (term, revision, "
                             f"compacted, members, leases) {state}, another had "
                             f"{self._applied[point.index]}")
        return True


def is_majority(ids: set[int], state: ConfState) -> bool:
    """Whether these decide, counted apart from the product's own counting."""
    return all(2 * len(ids.intersection(half)) > len(half)
               for half in (state.voters, state.voters_outgoing) if half)


def _holds(member: SimMember, entry: Entry) -> bool:
    """Whether the member's disk has the entry, or a snapshot in its place. Of a member that is
    down, what its disk had when it went."""
    storage: Storage | None = getattr(member, "stable", None)
    if storage is None:
        return False
    if entry.index < storage.first_index():
        return True
    try:
        return storage.term(entry.index) == entry.term
    except StorageError:
        return False
