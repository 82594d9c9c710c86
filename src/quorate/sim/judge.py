"""What a simulated cluster owes its clients, judged when a run is over; leases while it runs.

The omniscient event log is confirmed by the revision-order judge against every answer; every
watch against the log; leases and locks by their rules. Not here: the judges themselves (check/),
what members owe each other (invariants.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from quorate.check.leases import LeaseHistory, judge_leases, judge_locks
from quorate.check.revisions import judge_revisions
from quorate.check.v2watches import judge_v2_watch
from quorate.check.watches import EventIndex, judge_resumption, judge_watch
from quorate.raft.types import Message
from quorate.sim.access import Access
from quorate.sim.answers import Answers
from quorate.sim.client import Client
from quorate.sim.events import Events
from quorate.sim.plan import Plan
from quorate.sim.v2watcher import V2Watcher
from quorate.sim.watcher import Watcher
from quorate.wire._generated import peer_pb2 as peer

ELECTION_ROUNDS = 3
"""Elections that a lease's end may have to wait for when one vote is split."""


class LeaseWatch:
    """Sees when each member knows of each lease, and when it ends: when the first member that had
    it has it no more."""

    def __init__(self, fail: Callable[[str], Exception]) -> None:
        self._fail = fail
        self.ended: dict[int, float] = {}
        self.known: defaultdict[int, dict[int, float]] = defaultdict(dict)
        """Lease → member → when it applied the grant, last time."""
        self._taken: defaultdict[int, float] = defaultdict(float)
        """Lease → when a leader read a forwarded renewal, last time."""
        self._tables: dict[int, tuple[int, set[int]]] = {}

    def look(self, member_id: int, life: int, alive: Iterable[int], now: float) -> None:
        """A member has applied something."""
        table = set(alive)
        before_life, before = self._tables.get(member_id, (life, set()))
        if before_life == life:
            for lease_id in before - table:
                self.ended.setdefault(lease_id, now)
        for lease_id in table - before:
            self.known[lease_id][member_id] = now
        self._tables[member_id] = (life, table)

    def read(self, message: Message, now: float) -> None:
        """A member reads what another sent it, perhaps long ago."""
        forward = peer.Notice.FromString(message.context).lease_forward
        if forward.id and not forward.time_to_live:
            self._taken[forward.id] = now

    def complete(self, history: LeaseHistory, until: float) -> None:
        """Add what was seen here until that moment. Who applies much in one turn may show a lease
        of v2 never, or not any more: it is replaced by the next write."""
        history.ended = self.ended.get(history.id)
        history.observed_until = until if history.id in self.known else 0.0
        for renewal in history.renewals:
            renewal.taken = max(renewal.taken, self._taken[history.id])


def judge_clients(
    plan: Plan, clients: Sequence[Client], watchers: Sequence[Watcher], events: Events,
    leases: LeaseWatch, answers: Answers, *, trouble: tuple[float, float], until: float,
    memories: dict[int, float], late_s: float, steady_since: float,
    nodes: Sequence[Access] = (), v2_watchers: Sequence[V2Watcher] = (),
) -> list[str]:
    """Everything that is wrong, in sentences, with what PostgreSQL's nodes asked.
    `trouble`: when there may have been no quorum; `memories`: since when each voter remembers
    renewals, NEVER if it is down; `late_s`: for how long a member's clock stood still;
    `steady_since`: since when one leader has led."""
    wrong = [text for client in clients for text in client.complaints]
    calls = [call for client in clients for call in client.calls]
    calls += [call for access in nodes for call in access.calls]
    wrong += judge_revisions(calls, events.log)
    answers.leases.update(*(access.asked for access in nodes))
    wrong += answers.judge(events.log, steady_since)
    index = EventIndex(events.log)
    for watcher in watchers:
        for interest in watcher.interests:
            for session in interest.sessions:
                wrong += judge_watch(session, index, compacted=answers.compacting)
            wrong += judge_resumption(interest.sessions, index)
    for v2_watcher in v2_watchers:
        for v2_session in v2_watcher.sessions:
            wrong += judge_v2_watch(v2_session, events.log)
    histories = [h for access in nodes
                 for h in (*access.leases.values(), *access.ttls.histories)]
    for client in clients:
        client.holder.finish()
        histories += client.histories
    for history in histories:
        leases.complete(history, until)

    def remembered(lease_id: int, at: float) -> float:
        """By a quorum, at best: a voter counts from when it knew of the lease, or began."""
        known = leases.known[lease_id]
        return sorted(max(at, since, known.get(voter, at))
                      for voter, since in memories.items())[len(memories) // 2]

    slack_s = plan.drift * max((h.ttl_s for h in histories), default=0) * 2
    wrong += judge_leases(
        histories, election_s=ELECTION_ROUNDS * plan.election_s + slack_s + late_s,
        trouble=(trouble,), early_s=slack_s, remembered=remembered, steady_since=steady_since)
    return wrong + judge_locks([
        hold._replace(until=hold.until - slack_s) for c in clients for hold in c.holder.holds
        if hold.until - slack_s > hold.since])
