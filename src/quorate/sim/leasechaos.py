"""Lease clocks alone, under a scheduler without mercy: members forget, leaders change, answers are
late or lost, and time jumps. What time-scaled clusters meet once in hours is met here in a second.

Elections are by decree: a random quorum moves to the next term with the one who shall lead. So are
configurations: a leader that rules may change who counts, by one voter or through a joint one; the
others hear of it in time, whoever is to lead at once. A
renewal counts as acknowledged when the leader's clock says so. After every step: a leader whose
term a quorum is in ends no lease before TTL after its last acknowledged renewal was asked for.
A restarted member remembers nothing of renewals, and all know when they booted.

Not here: that leases end at all (the clusters show it), messages' encoding (member/leasekeeper.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from quorate.member.leasecalls import LeaseCall
from quorate.member.leases import LeaseClock

TTL_S = 10
LEASES = (1, 2, 3)
LETTERS_MAX = 30

Halves = tuple[frozenset[int], ...]
"""Sets of voters; who decides is a majority of each."""


@dataclass(slots=True)
class Holder:
    """A member: its clock, its term, and whether it leads in it."""

    id: int
    clock: LeaseClock
    term: int = 1
    leads: bool = False
    config: int = 0
    """Which configuration it has applied."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Something under way, of a term; `act` is what it does to the receiver."""

    to: int
    term: int
    act: Callable[[Holder], None]


class LeaseChaos:
    """One schedule."""

    def __init__(
        self, rng: random.Random, fail: Callable[[str], Exception],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = rng
        self.fail = fail
        self.tell = tell
        self.now = 100.0
        self.ended = 0
        self._letters: list[Letter] = []
        self._promised = dict.fromkeys(LEASES, 0.0)
        members = rng.choice((1, 2, 3, 3, 5, 5, 5))
        self._members = {i: Holder(i, self._clock(i)) for i in range(1, members + 1)}
        voters = members if rng.random() < 0.7 else rng.randrange(1, members + 1)
        self._configs: list[Halves] = [(frozenset(range(1, voters + 1)),)]
        """All that ever counted; members that do not vote learn."""
        kinds: list[tuple[Callable[[], None], float]] = [
            (self._deliver, 20), (self._lose, self.rng.choice((0.5, 3))),
            (self._renew, self.rng.choice((1, 4))), (self._pass, self.rng.choice((2, 8))),
            (self._elect, self.rng.choice((0.2, 1))), (self._ask, 2),
            (self._restart, self.rng.choice((0, 0.2))), (self._mistrust, 0.3), (self._end, 6),
            (self._reconfigure, self.rng.choice((0, 0, 0.5, 3)))]
        self._kinds = [kind for kind, _ in kinds]
        self._weights = list(accumulate(weight for _, weight in kinds))

    def run(self, steps: int) -> None:
        """Take so many steps."""
        self._elect()
        for step in range(steps):
            kind, = self.rng.choices(self._kinds, cum_weights=self._weights)
            if self.tell is not None:
                self.tell(f"{step:6} leases: {kind.__name__.strip('_')}, {self.now:.2f} s")
            try:
                kind()
            except ValueError as wrong:
                raise self.fail(f"{wrong}, at step {step}") from wrong
            del self._letters[:-LETTERS_MAX]

    def _clock(self, member_id: int) -> LeaseClock:
        clock = LeaseClock(member_id, lambda lease_id: TTL_S, self.now)
        clock.reload(LEASES, self.now)
        return clock

    # Who counts.

    def _decides(self, ids: set[int], config: int) -> bool:
        return all(2 * len(ids & half) > len(half) for half in self._configs[config])

    def _quorum_of(self, member: Holder) -> Callable[[set[int]], bool]:
        """As the member counts, whenever it does."""
        return lambda ids: self._decides(ids, member.config)

    def _leaders(self) -> list[Holder]:
        return [m for m in self._members.values() if m.leads]

    def _rules(self, member: Holder) -> bool:
        """Whether what it proposes can be committed."""
        return member.leads and self._decides(
            {m.id for m in self._members.values() if m.term == member.term}, member.config)

    def _any(self, members: list[Holder]) -> Holder | None:
        return self.rng.choice(members) if members else None

    # What may happen.

    def _deliver(self) -> None:
        if self._letters:
            letter = self._letters.pop(self.rng.randrange(len(self._letters)))
            member = self._members[letter.to]
            if member.term == letter.term:
                letter.act(member)

    def _lose(self) -> None:
        if self._letters:
            self._letters.pop(self.rng.randrange(len(self._letters)))

    def _pass(self) -> None:
        self.now += self.rng.choice((0.01, 0.3, 0.3, 3.0))

    def _elect(self) -> None:
        """A quorum goes to the next term with its leader; the others hear of it in time."""
        ids, newest = list(self._members), len(self._configs) - 1
        quorum = self.rng.sample(ids, len(ids))
        while self._decides(set(quorum[:-1]), newest) and self.rng.random() < 0.8:
            quorum.pop()
        term = max(m.term for m in self._members.values()) + 1
        for member_id in quorum:
            self._move(self._members[member_id], term)
        voters = [i for i in quorum if any(i in half for half in self._configs[newest])]
        leader = self._members[self.rng.choice(voters)]
        self._apply(leader, newest)
        leader.leads = True
        leader.clock.lead(self._quorum_of(leader))
        for member_id in set(ids) - set(quorum):
            self._letters.append(Letter(
                member_id, self._members[member_id].term, lambda m: self._move(m, term)))

    def _reconfigure(self) -> None:
        """A leader that rules changes who counts; its voters hear of it now or later. A joint
        configuration, in which both halves rule, is often left at once."""
        leader = self._any(self._leaders())
        if leader is None or not self._rules(leader) or leader.config != len(self._configs) - 1:
            return
        halves, ids = self._configs[-1], list(self._members)
        if len(halves) == 2:
            new: Halves = halves[1:]
        elif self.rng.random() < 0.5:
            new = (halves[0] ^ {self.rng.choice(ids)},)
        else:
            some = self.rng.sample(ids, self.rng.randrange(1, len(ids) + 1))
            new = (*halves, frozenset(self.rng.choice((some, some, [leader.id]))))
        if all(new):
            self._switch(leader, new)
            if len(new) == 2 and self._rules(leader) and self.rng.random() < 0.7:
                self._switch(leader, new[1:])

    def _switch(self, leader: Holder, new: Halves) -> None:
        self._configs.append(new)
        newest = len(self._configs) - 1
        self._apply(leader, newest)
        if not any(leader.id in half for half in new):
            leader.leads = False
            leader.clock.follow()
        for member in self._members.values():
            if member is not leader:
                self._letters.append(Letter(
                    member.id, member.term, lambda m: self._apply(m, newest)))

    def _apply(self, member: Holder, config: int) -> None:
        if member.config < config:
            member.config = config
            member.clock.reconfigured(self.now)

    def _move(self, member: Holder, term: int) -> None:
        if term > member.term:
            member.term = term
            if member.leads:
                member.leads = False
                member.clock.follow()

    def _ask(self) -> None:
        """A leader asks those who have not answered yet how old leases are."""
        leader = self._any(self._leaders())
        if leader is None:
            return
        for member_id in leader.clock.unheard(self._members):
            self._letters.append(Letter(
                member_id, leader.term, partial(self._answer, leader, leader.clock.question)))

    def _answer(self, leader: Holder, question: int, member: Holder) -> None:
        ages, config = member.clock.ages(self.now, question), member.config

        def learn(asking: Holder) -> None:
            if config >= asking.config:
                asking.clock.learn(member.id, ages, self.now, self._quorum_of(asking))

        self._letters.append(Letter(leader.id, member.term, learn))

    def _renew(self) -> None:
        """A client renews a lease at somebody who believes that it leads."""
        leader, lease_id = self._any(self._leaders()), self.rng.choice(LEASES)
        if leader is None or leader.clock.expiring(lease_id):
            return
        leader.clock.renew(LeaseCall(lease_id, False, lambda _: None, self.now), self.now)
        sequence = leader.clock.start_round()
        assert sequence is not None
        asked = dict.fromkeys(leader.clock.round_ids(sequence), self.now)
        for member in self._members.values():
            if member is not leader:
                self._letters.append(Letter(member.id, leader.term, self._hear(
                    leader, sequence, asked)))
        self._acknowledge(leader, leader.id, sequence, asked)

    def _hear(
        self, leader: Holder, sequence: int, asked: dict[int, float]
    ) -> Callable[[Holder], None]:
        def heard(member: Holder) -> None:
            member.clock.heard(asked, self.now)
            self._letters.append(Letter(leader.id, member.term, lambda m: self._acknowledge(
                m, member.id, sequence, asked) if m.leads else None))

        return heard

    def _acknowledge(
        self, leader: Holder, member_id: int, sequence: int, asked: dict[int, float]
    ) -> None:
        for call in leader.clock.acknowledged(
                member_id, sequence, self.now, self._quorum_of(leader)):
            self._promised[call.lease_id] = max(
                self._promised[call.lease_id], asked[call.lease_id] + TTL_S)

    def _restart(self) -> None:
        """A member forgets everything but its term."""
        member = self._any(list(self._members.values()))
        assert member is not None
        member.clock, member.leads = self._clock(member.id), False

    def _mistrust(self) -> None:
        """A leader that was paused asks anew."""
        leader = self._any(self._leaders())
        if leader is not None:
            leader.clock.lead(self._quorum_of(leader))

    def _end(self) -> None:
        """A leader looks for leases that have run out; they are granted again at once."""
        leader = self._any(self._leaders())
        if leader is None or not self._rules(leader):
            return
        for lease_id in leader.clock.due(self.now):
            if self.now < self._promised[lease_id]:
                raise ValueError(
                    f"leader {leader.id} of term {leader.term} ends lease {lease_id} at "
                    f"{self.now:.2f}, which lives until {self._promised[lease_id]:.2f}")
            self.ended += 1
            self._promised[lease_id] = self.now + TTL_S
            for member in self._members.values():
                member.clock.revoked(lease_id)
                member.clock.granted(lease_id, self.now)
