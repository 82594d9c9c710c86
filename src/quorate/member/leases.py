"""The clock side of leases: when each was last renewed, and which have run out.

The promise (DESIGN.md): a lease ends no earlier than TTL after its last acknowledged renewal and
no later than TTL + one election + 1 s, whatever happens to the leader.

How it is kept:
- A renewal is acknowledged when a quorum, the leader included, holds its time in memory.
- A member acknowledges renewals of its own term only, and so does the leader count them. It does
  not hear what may have been sent before it was last paused or without a leader: that would make
  leases seem fresher than they are. So what is sent names how many such gaps it knows of.
- A new leader asks how long ago each member last heard of each lease. The freshest answer of any
  quorum is safe to believe, for that quorum shares a member with the one that heard; of all
  quorums that have answered it believes the one whose freshest answer is the oldest. Until there
  is one nothing expires.
- A member that was restarted reports its uptime for what it does not know: a renewal it may
  have forgotten is at most that fresh. The leader asks on until everybody has answered, so such an
  answer counts only where too few remember better.
- Quorums of configurations more than one change apart may share nobody. So a member that applies
  a change takes all leases for renewed then; one that leads does so when it goes back to what it
  heard itself.
- Answers count only from who has applied what the leader had when it began to lead: who has not
  applied a grant yet knows nothing of the lease.
- What a leader has learned serves it alone. When it leads no more, or anew, it goes back to what it
  heard itself: half-heard answers make leases seem fresher, and would go from leader to leader.
- Questions are numbered. A leader that was paused asks anew, and an answer to what it had asked
  before knows nothing of what it acknowledged since.
- Ages, never absolute times, cross the network; transit makes a lease longer, never shorter.

All times are seconds of the member's own monotonic clock. Not here: the table of leases
(state/lease.py), sending (core.py), the revocation itself (an entry of the log).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from quorate.member.leasecalls import LeaseCall
from quorate.member.limits import Limits
from quorate.wire._generated import peer_pb2 as peer

RETRY_S = 1.0
"""An expiry that was proposed but not applied within this is proposed again."""


@dataclass(slots=True)
class _Round:
    """Renewals that wait until a quorum has heard of them."""

    ids: list[int]
    calls: list[LeaseCall]
    acknowledged: set[int] = field(default_factory=set)


class LeaseClock:
    """Renewal times of all leases as one member knows them, and expiry while it leads."""

    def __init__(
        self, member_id: int, ttl_s: Callable[[int], int | None], now: float,
        expiries_max: int = Limits().expiries_per_turn,
    ) -> None:
        """`ttl_s` gives a lease's granted TTL, None when there is no such lease."""
        self._expiries_max = expiries_max
        self._id = member_id
        self._ttl_s = ttl_s
        self._boot = now
        self._last: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._leading = False
        self._inherited: dict[int, float] = {}
        self._renewed: set[int] = set()
        self.question = 0
        """Which question of this leader counts; each time it begins to lead has its own."""
        self._answers: dict[int, tuple[dict[int, float], float]] = {}
        self._synced = False
        self._proposed: dict[int, float] = {}
        self._sequence = 0
        self._gathering = _Round([], [])
        self._rounds: dict[int, _Round] = {}

    # Every member.

    def granted(self, lease_id: int, now: float) -> None:
        """The grant was applied here."""
        self._touch(lease_id, now)

    def revoked(self, lease_id: int) -> None:
        """The lease is gone."""
        self._last.pop(lease_id, None)
        self._proposed.pop(lease_id, None)

    def heard(self, ids: Iterable[int], now: float) -> None:
        """The leader of this term tells of renewals."""
        for lease_id in ids:
            self._touch(lease_id, now)

    def ages(self, now: float, question: int) -> peer.LeaseAges:
        """What this member can tell a new leader that asked that question."""
        known = sorted(self._last.items())
        return peer.LeaseAges(
            ids=[lease_id for lease_id, _ in known],
            ages_ms=[max(0, int((now - last) * 1000)) for _, last in known],
            uptime_ms=max(0, int((now - self._boot) * 1000)), question=question,
        )

    def reload(self, ids: Iterable[int], now: float) -> None:
        """The table was replaced, at start or by a snapshot: what is not known is taken as
        renewed just now."""
        current = set(ids)
        self._last = {i: self._last.get(i, now) for i in sorted(current)}
        self._heap = []

    def reconfigured(self, now: float) -> None:
        """The quorums are others from now on."""
        self._inherited = dict.fromkeys(self._inherited, now)
        if not self._leading:
            self._boot = now
            self._last = dict.fromkeys(self._last, now)

    # The leader.

    @property
    def synced(self) -> bool:
        """Whether the renewals of earlier leaders are known, so that leases may expire."""
        return self._leading and self._synced

    def lead(self, is_quorum: Callable[[set[int]], bool]) -> list[LeaseCall]:
        """Begin to lead, or begin anew after a pause: nothing expires before a quorum has
        answered (`learn`), which a lone voter is by itself. Returns the renewals that no quorum
        confirmed: what is confirmed now was heard before the pause."""
        if self._leading:
            self._unlearn()
        self._leading = True
        self.question += 1
        self._synced = is_quorum({self._id})
        self._inherited = dict(self._last)
        self._renewed.clear()
        self._answers.clear()
        self._rebuild()
        return self._forget_rounds()

    def unheard(self, members: Iterable[int]) -> list[int]:
        """Those that have not answered yet."""
        return [i for i in members if i != self._id and i not in self._answers]

    def follow(self) -> list[LeaseCall]:
        """Stop leading. Returns the renewals that no quorum confirmed."""
        if self._leading:
            self._unlearn()
        self._leading = False
        self._proposed.clear()
        return self._forget_rounds()

    def learn(
        self, member_id: int, answer: peer.LeaseAges, now: float,
        is_quorum: Callable[[set[int]], bool],
    ) -> None:
        """A member's answer; with a quorum of them the clock is synced. Later ones may show that
        leases which nobody renewed since are older than it seemed."""
        if not self._leading or answer.question != self.question:
            return
        ages = {i: a / 1000 for i, a in zip(answer.ids, answer.ages_ms, strict=False)}
        self._answers[member_id] = (
            {i: now - age for i, age in ages.items()}, now - answer.uptime_ms / 1000)
        if not is_quorum(set(self._answers) | {self._id}):
            return
        for lease_id in self._last.keys() & self._inherited.keys() - self._renewed:
            self._last[lease_id] = self._remembered(lease_id, is_quorum)
        self._synced = True
        self._rebuild()

    def _forget_rounds(self) -> list[LeaseCall]:
        calls = [call for waiting in self._rounds.values() for call in waiting.calls]
        calls += self._gathering.calls
        self._rounds.clear()
        self._gathering = _Round([], [])
        return calls

    def _unlearn(self) -> None:
        for lease_id in self._last.keys() & self._inherited.keys() - self._renewed:
            self._last[lease_id] = self._inherited[lease_id]

    def _remembered(self, lease_id: int, is_quorum: Callable[[set[int]], bool]) -> float:
        """Of all quorums that answered, the oldest of their freshest memories."""
        memories = [(last.get(lease_id, boot), member_id)
                    for member_id, (last, boot) in self._answers.items()]
        quorum: set[int] = set()
        for heard, member_id in sorted([*memories, (self._inherited[lease_id], self._id)]):
            quorum.add(member_id)
            if is_quorum(quorum):
                return heard
        return self._inherited[lease_id]

    def renew(self, call: LeaseCall, now: float) -> None:
        """Join this turn's renewals. The lease must exist and not be expiring."""
        self._touch(call.lease_id, now)
        self._gathering.ids.append(call.lease_id)
        self._gathering.calls.append(call)

    def expiring(self, lease_id: int) -> bool:
        """Whether its expiry is proposed and not yet applied."""
        return lease_id in self._proposed

    def start_round(self) -> int | None:
        """This turn's renewals are to be told to the members: the round's sequence."""
        if not self._gathering.ids:
            return None
        self._sequence += 1
        waiting, self._gathering = self._gathering, _Round([], [])
        self._rounds[self._sequence] = waiting
        return self._sequence

    def round_ids(self, sequence: int) -> list[int]:
        """The leases of a round that no quorum has confirmed; none if one has."""
        waiting = self._rounds.get(sequence)
        return [] if waiting is None else waiting.ids

    def acknowledged(
        self, member_id: int, sequence: int, now: float,
        is_quorum: Callable[[set[int]], bool],
    ) -> list[LeaseCall]:
        """A member (the leader too) has heard of the round; its calls once a quorum has."""
        waiting = self._rounds.get(sequence)
        if waiting is None:
            return []
        waiting.acknowledged.add(member_id)
        if not is_quorum(waiting.acknowledged):
            return []
        del self._rounds[sequence]
        self.heard((i for i in waiting.ids if self._ttl_s(i) is not None), now)
        return waiting.calls

    def due(self, now: float) -> list[int]:
        """Leases that have run out, at most `expiries_max`, each at most once a RETRY_S."""
        if not self.synced:
            return []
        ended: list[int] = []
        again: list[tuple[float, int]] = []
        while self._heap and self._heap[0][0] <= now and len(ended) < self._expiries_max:
            _, lease_id = heapq.heappop(self._heap)
            ttl_s, last = self._ttl_s(lease_id), self._last.get(lease_id)
            if ttl_s is None or last is None:
                continue
            if last + ttl_s > now:
                again.append((last + ttl_s, lease_id))
            else:
                again.append((now + RETRY_S, lease_id))
                self._proposed[lease_id] = now
                ended.append(lease_id)
        for item in again:
            heapq.heappush(self._heap, item)
        return sorted(set(ended))

    def remaining_s(self, lease_id: int, now: float) -> int:
        """Whole seconds until the deadline, rounded as etcd does, never below 0."""
        ttl_s, last = self._ttl_s(lease_id), self._last.get(lease_id)
        if ttl_s is None or last is None:
            return 0
        return max(0, round(last + ttl_s - now))

    def left_ms(self, lease_id: int, ttl_s: int, now: float) -> int:
        """Until the deadline of a lease with that TTL, as far as this member has heard; below 0
        if it has passed."""
        return int(1000 * (self._last.get(lease_id, now) + ttl_s - now))

    def _touch(self, lease_id: int, now: float) -> None:
        known = lease_id in self._last
        self._last[lease_id] = now
        if self._leading:
            self._renewed.add(lease_id)
        ttl_s = self._ttl_s(lease_id)
        if self.synced and not known and ttl_s is not None:
            heapq.heappush(self._heap, (now + ttl_s, lease_id))

    def _rebuild(self) -> None:
        self._heap = [(last + ttl, i) for i, last in self._last.items()
                      if (ttl := self._ttl_s(i)) is not None]
        heapq.heapify(self._heap)
