"""What a simulated cluster owes its clients, judged when a run is over; leases while it runs.

The omniscient event log is confirmed by the revision-order judge against every answer; every
watch against the log; leases and locks by their rules. Not here: the judges themselves (check/),
what members owe each other (invariants.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from quorate.check.leases import judge_leases, judge_locks
from quorate.check.revisions import judge_revisions
from quorate.check.watches import EventIndex, judge_resumption, judge_watch
from quorate.sim.client import Client
from quorate.sim.invariants import Events
from quorate.sim.plan import Plan
from quorate.sim.watcher import Watcher

ELECTION_ROUNDS = 3
"""Elections that a lease's end may have to wait for when one vote is split."""


class LeaseWatch:
    """Sees when each lease ends: when the first member that had it has it no more."""

    def __init__(self, fail: Callable[[str], Exception]) -> None:
        self._fail = fail
        self.ended: dict[int, float] = {}
        self._tables: dict[int, tuple[int, set[int]]] = {}

    def look(self, member_id: int, life: int, alive: Iterable[int], now: float) -> None:
        """A member has applied something."""
        table = set(alive)
        before_life, before = self._tables.get(member_id, (life, set()))
        if before_life == life:
            for lease_id in before - table:
                self.ended.setdefault(lease_id, now)
        self._tables[member_id] = (life, table)


def judge_clients(
    plan: Plan, clients: Sequence[Client], watchers: Sequence[Watcher], events: Events,
    leases: LeaseWatch, *, trouble: tuple[float, float], until: float, compacted: int,
    memories: list[float], late_s: float,
) -> list[str]:
    """Everything that is wrong, in sentences. `trouble`: when there may have been no quorum;
    `memories`: since when each voter remembers renewals, NEVER if it is down;
    `late_s`: for how long a member's clock stood still."""
    wrong = [text for client in clients for text in client.wrong + client.holder.wrong]
    wrong += judge_revisions([call for c in clients for call in c.calls], events.log)
    index = EventIndex(events.log)
    for watcher in watchers:
        for session in watcher.sessions:
            wrong += judge_watch(session, index, compacted=compacted)
        wrong += judge_resumption(watcher.sessions, index)
    wrong += _judge_leases(plan, clients, leases, trouble, until, memories, late_s)
    return wrong


def _judge_leases(
    plan: Plan, clients: Sequence[Client], leases: LeaseWatch, trouble: tuple[float, float],
    until: float, memories: list[float], late_s: float,
) -> list[str]:
    def remembered(at: float) -> float:
        """Of a quorum, at best."""
        return sorted(max(at, since) for since in memories)[len(memories) // 2]

    histories = []
    for client in clients:
        client.holder.finish()
        for history in client.holder.histories:
            history.ended = leases.ended.get(history.id)
            history.observed_until = until
            histories.append(history)
    slack_s = plan.drift * max((h.ttl_s for h in histories), default=0) * 2
    wrong = judge_leases(
        histories, election_s=ELECTION_ROUNDS * plan.election_s + slack_s + late_s,
        trouble=(trouble,),
        early_s=slack_s, remembered=remembered)
    return wrong + judge_locks([
        hold._replace(until=hold.until - slack_s) for c in clients for hold in c.holder.holds
        if hold.until - slack_s > hold.since])
