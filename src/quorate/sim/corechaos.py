"""Whole member cores under a scheduler without mercy: proposals, reads, leases and watches meet the
interleavings that chaos.py makes for Raft alone.

After every step holds what coreclients.py judges, and what invariants.py says of Raft. Membership
and logs stay as they are; all clocks are one.

Not here: disks, compaction, snapshots, clocks that differ (world.py has them).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate


from quorate.raft.types import InvariantBroken, Message, MessageType
from quorate.sim.coreclients import SHORT_TTL_S, CoreClients
from quorate.sim.cored import ELECTION_S, TICK_S, Cored
from quorate.sim.invariants import RaftInvariants

MESSAGES_MAX = 60
NEAR_S = 0.1
EXCHANGES_MAX = 200
DRAINS_MAX = 100


class CoreChaos(CoreClients):
    """One schedule."""

    def __init__(
        self, rng: random.Random, fail: Callable[[str], Exception],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(rng)
        self._fail = fail
        self._tell = tell
        self._bag: list[Message] = []
        self._cut: set[tuple[int, int]] = set()
        founders = tuple(range(1, rng.choice((1, 3, 3, 5, 5)) + 1))
        self._members = {i: Cored(i, founders, self) for i in founders}
        self._invariants = RaftInvariants(self._members.values, fail)
        self._front = 0
        """The newest entry that anybody has applied."""
        kinds: list[tuple[Callable[[Cored], None], float]] = [
            (self._deliver, 60), (self._append, rng.choice((15, 60))), (self._tick, 6),
            (self._put, rng.choice((2, 6))), (self._read, 3), (self._lease, 2),
            (self._lose, rng.choice((0, 1))), (self._copy, rng.choice((0, 1))),
            (self._crash, rng.choice((0, 0.3))), (self._flush, 1),
            (self._contest, rng.choice((0.2, 0.6))), (self._part, rng.choice((0, 0.3))),
            (self._heal, 0.4), (self._lost, 0.1), (self._wait, rng.choice((0.1, 1))),
            (self._usurp, rng.choice((0.1, 0.5))), (self._relive, rng.choice((0.1, 0.5))),
            (self._settle, rng.choice((0.2, 1))), (self._nap, rng.choice((0, 0.3)))]
        self._kinds = [kind for kind, _ in kinds]
        self._weights = list(accumulate(weight for _, weight in kinds))

    def run(self, steps: int) -> None:
        """Take so many steps."""
        for step in range(steps):
            kind, = self.rng.choices(self._kinds, cum_weights=self._weights)
            member = self.rng.choice(list(self._members.values()))
            if self._tell is not None:
                self._tell(f"{step:6} cores: {member.id} {kind.__name__.strip('_')}")
            try:
                kind(member)
            except InvariantBroken as broken:
                raise self._fail(f"{broken}, at step {step}") from broken

    def _turn(self, member: Cored) -> None:
        """Drain as a driver does."""
        for _ in range(DRAINS_MAX):
            effects = member.core.drain(self.now)
            if not effects:
                break
            for message in effects.messages:
                if message.type is MessageType.SNAP:  # images are world.py's
                    member.core.node.report_snapshot(message.to, False)
                else:
                    self._bag.append(message)
            member.works.extend(effects.appends)
            for waiter, outcome in effects.replies:
                waiter(outcome)
        else:
            raise InvariantBroken(f"a turn of member {member.id} does not end")
        del self._bag[:-MESSAGES_MAX]
        self._invariants.look_at_raft(member, self.now)
        if member.backend.applied.index > self._front:
            self._front = member.backend.applied.index
            self._look_at_leases(member)

    # What may happen.

    def _deliver(self, _member: Cored) -> None:
        if not self._bag:
            return
        message = self._bag.pop(self.rng.randrange(len(self._bag)))
        if (message.from_, message.to) in self._cut:
            if self.rng.random() < 0.8:
                self._bag.append(message)
            return
        member = self._members[message.to]
        member.core.receive(message, self.now)
        self._turn(member)

    def _lose(self, _member: Cored) -> None:
        if self._bag:
            self._bag.pop(self.rng.randrange(len(self._bag)))

    def _copy(self, _member: Cored) -> None:
        if self._bag:
            self._bag.append(self.rng.choice(self._bag))

    def _append(self, _member: Cored) -> None:
        busy = [m for m in self._members.values() if m.works]
        if busy:
            self._append_of(self.rng.choice(busy))

    def _append_of(self, member: Cored) -> None:
        member.core.append_done(member.works.popleft())
        self._turn(member)

    def _tick(self, member: Cored) -> None:
        self.now += TICK_S / len(self._members)
        member.core.tick(self.now)
        self._turn(member)

    def _wait(self, _member: Cored) -> None:
        """Time passes, by the clocks of all."""
        self.now += self.rng.choice((0.1, 0.3, 1.0))
        for member in self._members.values():
            member.core.tick(self.now)
            self._turn(member)

    def _crash(self, member: Cored) -> None:
        member.start()

    def _flush(self, member: Cored) -> None:
        member.backend.commit()

    def _contest(self, _member: Cored) -> None:
        """An election's time in which nothing arrives, for all or for those who do not lead."""
        asleep = self.rng.random() < 0.5
        for member in self._members.values():
            if not (asleep and member.core.is_leader):
                for _ in range(round(ELECTION_S / TICK_S)):
                    member.core.tick(self.now)
                    self._turn(member)

    def _settle(self, _member: Cored) -> None:
        """Peace: everything arrives, and somebody leads."""
        everybody = list(self._members.values())
        self._cut = set()
        self._exchange(everybody, _whatever, False)
        if not any(member.core.is_leader for member in everybody):
            self._elect(everybody, False)

    def _relive(self, _member: Cored) -> None:
        """A follower asks and crashes; what was answered arrives when it has asked again."""
        leaders = [m for m in self._members.values() if m.core.is_leader]
        followers = [m for m in self._members.values() if not m.core.is_leader]
        if not leaders or not followers:
            return
        leader, asker = self.rng.choice(leaders), self.rng.choice(followers)
        others = [member for member in self._members.values() if member is not asker]
        for ask in (self._read, self._lease, self._lease):
            ask(asker)
        self._exchange(list(self._members.values()), lambda m: m.from_ == asker.id, False)
        self._exchange(others, _whatever, False)
        held = [message for message in self._bag if message.to == asker.id]
        self._bag = [message for message in self._bag if message.to != asker.id]
        asker.start()
        self._put(leader)
        self._exchange(others, _whatever, False)
        leader.core.tick(self.now)
        self._turn(leader)
        asker.core.tick(self.now)
        self._exchange([leader, asker], lambda m: m.type is not MessageType.APP, False)
        for ask in (self._read, self._lease, self._lease):
            ask(asker)
        self.rng.shuffle(held)
        for message in held:
            asker.core.receive(message, self.now)
            self._turn(asker)

    def _usurp(self, _member: Cored) -> None:
        """A leader sleeps, alone or with one of five, while the others elect, write and renew
        behind its back; then it is asked, and what they had said to it before arrives."""
        leaders = [m for m in self._members.values() if m.core.is_leader]
        if not leaders:
            return
        old, rng = self.rng.choice(leaders), self.rng
        everybody, notices = list(self._members.values()), rng.random() < 0.5
        others = [member for member in everybody if member is not old]
        loyal = [rng.choice(others)] if len(others) == 4 and rng.random() < 0.5 else []
        others = [member for member in others if member not in loyal]
        if rng.random() < 0.5:
            self._come_near_an_end(everybody)
        for _ in range(2):
            rng.choice((self._read, self._put, self._grant, self._lease))(old)
        self._exchange(everybody, lambda message: message.from_ == old.id, notices)
        if rng.random() < 0.5:
            self._exchange([old], lambda message: message.to == old.id, notices)
        held = [message for message in self._bag if message.to == old.id]
        self._bag = []
        new = self._elect(others, notices)
        self.now += rng.choice((0.05, 0.2))
        old.core.tick(self.now)
        self._turn(old)
        if new is not None:
            for ask in (self._put, self._lease, self._tick, self._lease, self._tick):
                ask(new)
                self._exchange(others, _whatever, notices)
        self._lease(old)
        self._exchange(everybody, lambda message: message.type is MessageType.NOTICE, True)
        self._read(old)
        self._exchange([old, *loyal], _whatever, notices)
        rng.shuffle(held)
        for message in held:
            old.core.receive(message, self.now)
            self._turn(old)

    def _nap(self, _member: Cored) -> None:
        """Just enough followers hear of a renewal, after they did nothing for a while; their
        leader crashes, and with what they remember the lease runs out in peace."""
        leaders = [m for m in self._members.values() if m.core.is_leader]
        short = [(i, ttl_s) for i, ttl_s in self._leases if ttl_s == SHORT_TTL_S]
        if not leaders or not short or len(self._members) == 1:
            return
        leader = self.rng.choice(leaders)
        others = [member for member in self._members.values() if member is not leader]
        hearing = self.rng.sample(others, len(others) // 2)
        deaf = [member for member in others if member not in hearing]
        self._exchange([leader, *others], _whatever, False)
        self._pass([leader, *deaf], self.now + 0.3, TICK_S)
        lease_id, ttl_s = self.rng.choice(short)
        self._renew(leader, lease_id, ttl_s)
        self._exchange([leader, *hearing], _whatever, False)
        self._bag = []
        leader.start()
        self._elect(others, False)
        self._pass(others, self._promised[lease_id] - NEAR_S / 4, NEAR_S / 2)

    def _come_near_an_end(self, members: list[Cored]) -> None:
        """Time passes in peace until a lease has almost run out."""
        ends = [end for end in self._promised.values() if self.now < end < self.now + SHORT_TTL_S]
        if ends:
            self._pass(members, self.rng.choice(ends) - NEAR_S / 2, 0.3)

    def _pass(self, members: list[Cored], until: float, step_s: float) -> None:
        """Time passes in peace."""
        while self.now < until:
            self.now = min(self.now + step_s, until)
            for member in members:
                member.core.tick(self.now)
                self._turn(member)
            self._exchange(members, _whatever, False)

    def _elect(self, members: list[Cored], notices: bool) -> Cored | None:
        """They have heard of no leader for long; one of them tries after the other."""
        for member in members:
            for _ in range(round(ELECTION_S / TICK_S)):
                member.core.tick(self.now)
        for member in self.rng.sample(members, len(members)):
            member.core.node.campaign()
            self._turn(member)
            self._exchange(members, _whatever, notices)
            if member.core.is_leader:
                return member
        return None

    def _exchange(
        self, members: list[Cored], wanted: Callable[[Message], bool], notices: bool
    ) -> None:
        """Until nothing is left these get their messages, with `notices` those first, and what
        they have to write is written."""
        ids = {member.id for member in members}
        for _ in range(EXCHANGES_MAX):
            here = [m for m in self._bag if m.to in ids and wanted(m)
                    and (m.from_ in ids or len(ids) == 1)]
            first = [m for m in here if m.type is MessageType.NOTICE] if notices else []
            busy = [member for member in members if member.works]
            if busy and not first:
                self._append_of(self.rng.choice(busy))
            elif here:
                message = self.rng.choice(first or here)
                self._bag = [m for m in self._bag if m is not message]
                self._members[message.to].core.receive(message, self.now)
                self._turn(self._members[message.to])
            else:
                break

    def _lost(self, member: Cored) -> None:
        """A connection broke."""
        other = self.rng.choice(list(self._members))
        member.core.peer_lost(other, 0.0, self.now)
        self._turn(member)

    def _part(self, _member: Cored) -> None:
        half = set(self.rng.sample(list(self._members), len(self._members) // 2))
        self._cut = {(a, b) for a in self._members for b in self._members
                     if (a in half) != (b in half)}

    def _heal(self, _member: Cored) -> None:
        self._cut = set()


def _whatever(_message: Message) -> bool:
    return True
