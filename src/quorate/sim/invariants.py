"""What must hold between any two events, over all members at once: the predicates of etcd's TLA+
specification (etcd-io/raft, `tla/`) in Python, each checked on what has changed since it was
last looked at.

- ElectionSafety, MoreThanOneLeader: at most one leader in a term.
- LogInv, LogMatching: a committed index holds the same entry wherever and whenever it is seen.
- LeaderCompleteness, MoreUpToDateCorrect: a leader has every entry that was committed before.
- QuorumLog, CommittedIsDurable: what is committed is on the disks of a majority.
- Figure 8: a leader counts replicas only for entries of its own term.
- Term and commit index never fall while a member lives; applied state agrees at equal index.

Not here: promises to clients (check/, world.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quorate.raft.log import Log
from quorate.raft.types import Entry, Role, Storage, StorageError
from quorate.sim.member import SimMember

BYTES_MAX = 1 << 30


@dataclass(slots=True)
class _Seen:
    """A member as it was at its last event of this life."""

    life: int
    term: int = 0
    commit: int = 0
    applied: int = 0
    led: int = 0
    """The term that it led, 0 if it did not."""


class Invariants:
    """Looks at a member after each of its events; `fail` gets a sentence."""

    def __init__(self, members: Callable[[], Iterable[SimMember]],
                 fail: Callable[[str], Exception]) -> None:
        self._members = members
        self._fail = fail
        self.leaders: dict[int, int] = {}
        self._committed: dict[int, Entry] = {}
        self._applied: dict[int, tuple[int, int]] = {}
        self._seen: dict[int, _Seen] = {}

    def look(self, member: SimMember) -> None:
        """An event of this member is over."""
        core = member.core
        if core is None:
            return
        node, log = core.node, core.node.raft.log
        seen = self._seen.get(member.id)
        if seen is None or seen.life != member.life:
            seen = self._seen[member.id] = _Seen(member.life, commit=log.first_index() - 1)
        if node.term < seen.term:
            raise self._fail(f"the term of {member.id} fell from {seen.term} to {node.term}")
        leads = node.term if node.role is Role.LEADER else 0
        if leads and leads != seen.led:
            self._elected(member, log)
        if log.committed > seen.commit:
            if leads and leads == seen.led and log.term(log.committed) != node.term:
                raise self._fail(
                    f"leader {member.id} of term {node.term} committed {log.committed}, which is "
                    f"of term {log.term(log.committed)}")
            self._commit(member, log, seen.commit)
        seen.term, seen.led = node.term, leads
        seen.commit = max(seen.commit, log.committed)
        self._apply(member, seen)

    def _elected(self, member: SimMember, log: Log) -> None:
        assert member.core is not None
        term = member.core.node.term
        other = self.leaders.setdefault(term, member.id)
        if other != member.id:
            raise self._fail(f"two leaders in term {term}: {other}, {member.id}")
        first = log.first_index()
        for index in range(max(self._committed, default=0), first - 1, -1):
            if not log.matches(self._committed[index].term, index):
                raise self._fail(f"leader {member.id} of term {term} does not have entry {index} "
                                 f"of term {self._committed[index].term}, which is committed")

    def _commit(self, member: SimMember, log: Log, before: int) -> None:
        low = max(before + 1, log.first_index())
        for entry in log.slice(low, log.committed + 1, BYTES_MAX):
            known = self._committed.get(entry.index)
            if known is None:
                self._committed[entry.index] = entry
            elif known != entry:
                raise self._fail(f"member {member.id} has entry {entry.index} of term "
                                 f"{entry.term} committed, another had one of {known.term}")
            if known is None:
                self._durable(entry)

    def _durable(self, entry: Entry) -> None:
        members = list(self._members())
        holders = [m.id for m in members if _holds(m.stable, entry)]
        if len(holders) <= len(members) // 2:
            raise self._fail(f"entry {entry.index} of term {entry.term} is committed, but only "
                             f"on the disks of {holders}")

    def _apply(self, member: SimMember, seen: _Seen) -> None:
        assert member.core is not None
        point = member.core.backend.applied
        if point.index == seen.applied:
            return
        if point.index < seen.applied:
            raise self._fail(f"the applied index of {member.id} fell from {seen.applied} to "
                             f"{point.index}")
        seen.applied = point.index
        state = (point.term, member.core.machine.revision)
        if self._applied.setdefault(point.index, state) != state:
            raise self._fail(f"member {member.id} at index {point.index} has (term, revision) "
                             f"{state}, another had {self._applied[point.index]}")


def _holds(storage: Storage, entry: Entry) -> bool:
    """Whether a disk has the entry, or a snapshot in its place."""
    if entry.index < storage.first_index():
        return True
    try:
        return storage.term(entry.index) == entry.term
    except StorageError:
        return False
