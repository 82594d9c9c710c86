"""Whole member cores under a scheduler without mercy: proposals, reads, leases and watches meet the
interleavings that chaos.py makes for Raft alone.

Every value is written once. After every step, by what clients and watchers were given: no value
and no revision twice, an acknowledged write is where its answer says, a linearizable read is at
least as new as everything that was acknowledged when it was asked, a lease that was granted is
known to everybody who is asked until TTL after its last acknowledged renewal was asked for, and
the term in an answer never falls and is on the member's disk; and what invariants.py says of Raft.
Membership and logs stay as they are; all clocks are one.

Not here: disks, compaction, snapshots, clocks that differ (world.py has them).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate

from google.protobuf.message import Message as Proto

from quorate.member.service import Done
from quorate.raft.types import InvariantBroken, Message, MessageType
from quorate.sim.cored import ELECTION_S, TICK_S, Cored
from quorate.sim.invariants import RaftInvariants
from quorate.sim.requests import serve
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

MESSAGES_MAX = 60
TTL_S = 1_000_000
SHORT_TTL_S = 2
"""Leases live for ever, so that one answer cannot be taken for another's, or end soon."""

NEAR_S = 0.1
EXCHANGES_MAX = 200
DRAINS_MAX = 100


class CoreChaos:
    """One schedule."""

    def __init__(
        self, rng: random.Random, fail: Callable[[str], Exception],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = rng
        self.now = 1000.0
        self.acknowledged = 0
        self._fail = fail
        self._tell = tell
        self._bag: list[Message] = []
        self._cut: set[tuple[int, int]] = set()
        self._count = self._newest = 0
        self._values: dict[bytes, int] = {}
        self._revisions: dict[int, bytes] = {}
        self._leases: list[tuple[int, int]] = []
        """Ids and TTLs; the long ones are all different."""
        self._promised: dict[int, float] = {}
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
            (self._usurp, rng.choice((0, 0.2)))]
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

    # What must hold.

    def _look_at_leases(self, member: Cored) -> None:
        """It has applied what nobody had applied before."""
        leases = member.core.machine.leases
        for lease_id, promised in self._promised.items():
            if promised > self.now and leases.get(lease_id) is None:
                raise InvariantBroken(
                    f"lease {lease_id} ended at {self.now:.2f} on {member.id}, which lives until "
                    f"{promised:.2f}")

    def _answered(self, member: Cored, header: rpc.ResponseHeader) -> None:
        term, durable = header.raft_term, member.log.initial_state()[0].term
        if not member.told_term <= term <= durable:
            raise InvariantBroken(
                f"member {member.id} answered with term {term}, after {member.told_term}; the "
                f"term on its disk is {durable}")
        member.told_term = term

    def happened(self, revision: int, value: bytes) -> None:
        """A watcher was told."""
        if self._values.setdefault(value, revision) != revision:
            raise InvariantBroken(
                f"{value!r} was written at {self._values[value]} and again at {revision}")
        if self._revisions.setdefault(revision, value) != value:
            raise InvariantBroken(
                f"revision {revision} is {self._revisions[revision]!r} here, {value!r} there")

    # Clients.

    def _ask(self, member: Cored, request: rpc.PutRequest | rpc.RangeRequest
             | rpc.LeaseGrantRequest | rpc.LeaseKeepAliveRequest, done: Done) -> None:
        def answered(outcome: Proto | Refused) -> None:
            if isinstance(outcome, rpc.PutResponse | rpc.RangeResponse):
                self._answered(member, outcome.header)
            done(outcome)

        serve(member.service, request, answered)
        self._turn(member)

    def _put(self, member: Cored) -> None:
        self._count += 1
        value = b"%d" % self._count

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.PutResponse):
                self.acknowledged += 1
                self.happened(outcome.header.revision, value)
                self._newest = max(self._newest, outcome.header.revision)

        self._ask(member, rpc.PutRequest(key=b"k", value=value), done)

    def _read(self, member: Cored) -> None:
        serializable = self.rng.random() < 0.2
        wanted = 0 if serializable else self._newest

        def done(outcome: object) -> None:
            if not isinstance(outcome, rpc.RangeResponse):
                return
            if outcome.header.revision < wanted:
                raise InvariantBroken(
                    f"member {member.id} answered a read at {outcome.header.revision}; {wanted} "
                    f"had been acknowledged when it was asked")
            for kv in outcome.kvs:
                self.happened(kv.mod_revision, kv.value)

        self._ask(member, rpc.RangeRequest(key=b"k", serializable=serializable), done)

    def _lease(self, member: Cored) -> None:
        """Grant one, or renew one that somebody was granted."""
        if not self._leases or self.rng.random() < 0.3:
            self._grant(member)
        else:
            self._renew(member, *self.rng.choice(self._leases[-3:]))

    def _grant(self, member: Cored) -> None:
        self._count += 1
        asked, short = self.now, self.rng.random() < 0.5
        grant = rpc.LeaseGrantRequest(
            ID=self._count, TTL=SHORT_TTL_S if short else TTL_S + self._count)

        def granted(outcome: object) -> None:
            if isinstance(outcome, rpc.LeaseGrantResponse):
                self._leases.append((grant.ID, grant.TTL))
                self._promised[grant.ID] = asked + grant.TTL

        self._ask(member, grant, granted)

    def _renew(self, member: Cored, lease_id: int, ttl_s: int) -> None:
        asked = self.now

        def renewed(outcome: object) -> None:
            if not isinstance(outcome, rpc.LeaseKeepAliveResponse):
                return
            promised = self._promised[lease_id]
            if outcome.TTL == 0 and promised <= self.now:
                self._leases = [lease for lease in self._leases if lease[0] != lease_id]
            elif ttl_s != outcome.TTL:
                raise InvariantBroken(
                    f"lease {lease_id}, which was granted for {ttl_s} s, was renewed for "
                    f"{outcome.TTL} s at {self.now:.2f}; it lives until {promised:.2f}")
            else:
                self._promised[lease_id] = max(promised, asked + ttl_s)

        self._ask(member, rpc.LeaseKeepAliveRequest(ID=lease_id), renewed)

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

    def _usurp(self, _member: Cored) -> None:
        """A leader sleeps while the others elect, write and renew behind its back; then it is
        asked, and what they had said to it before arrives."""
        leaders = [m for m in self._members.values() if m.core.is_leader]
        if not leaders:
            return
        old, rng = self.rng.choice(leaders), self.rng
        everybody, notices = list(self._members.values()), rng.random() < 0.5
        others = [member for member in everybody if member is not old]
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
        rng.shuffle(held)
        for message in held:
            old.core.receive(message, self.now)
            self._turn(old)

    def _come_near_an_end(self, members: list[Cored]) -> None:
        """Time passes in peace until a lease has almost run out."""
        ends = [end for end in self._promised.values() if self.now < end < self.now + SHORT_TTL_S]
        end = self.rng.choice(ends) if ends else 0.0
        while self.now + NEAR_S < end:
            self.now += min(0.3, end - NEAR_S / 2 - self.now)
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
