"""Whole member cores under a scheduler without mercy: proposals, reads, leases and watches meet the
interleavings that chaos.py makes for Raft alone.

Every value is written once. After every step, by what clients and watchers were given: no value
and no revision twice, an acknowledged write is where its answer says, a linearizable read is at
least as new as everything that was acknowledged when it was asked, a lease that was granted is
known to everybody who is asked until TTL after its last acknowledged renewal was asked for.
Membership and logs stay as they are; all clocks are one.

Not here: disks, compaction, snapshots, clocks that differ (world.py has them).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from itertools import accumulate

from quorate.disk.memory_backend import MemoryBackend
from quorate.member.build import build_core, lift_commit
from quorate.member.core import CoreConfig, MemberCore
from quorate.member.effects import AppendWork
from quorate.member.requests import RequestIds
from quorate.member.service import Done
from quorate.member.serving import MemberService
from quorate.raft.memory import MemoryStorage
from quorate.raft.types import (
    ConfState, HardState, InvariantBroken, Message, MessageType, Snapshot,
)
from quorate.sim.requests import serve
from quorate.state.backend import AppliedPoint
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

TICK_S = 0.1
ELECTION_S = 0.4
MESSAGES_MAX = 60
TTL_S = 1_000_000
SHORT_TTL_S = 2
"""Leases live for ever, so that one answer cannot be taken for another's, or end soon."""

REQUEST_BYTES_MAX = 1 << 20
DRAINS_MAX = 100


class Cored:
    """A member: its core, and what survives a crash of it."""

    def __init__(self, member_id: int, founders: tuple[int, ...], chaos: CoreChaos) -> None:
        self.id = member_id
        self.log = MemoryStorage()
        self.backend = MemoryBackend()
        self.works: deque[AppendWork] = deque()
        self.life = 0
        self._chaos = chaos
        conf_state = ConfState(founders)
        self.log.apply_snapshot(Snapshot(1, 1, conf_state))
        self.log.set_hard_state(HardState(1, 0, 1))
        self.backend.advance(AppliedPoint(1, 1, conf_state))
        self.backend.commit()
        self.start()

    def start(self) -> None:
        """As after a crash: what was not on disk is lost."""
        chaos = self._chaos
        self.life += 1
        self.works.clear()
        self.backend.crash()
        lift_commit(self.log, self.backend.applied.index)
        self.core: MemberCore = build_core(
            CoreConfig(1, self.id, TICK_S, ELECTION_S), self.log, self.backend,
            RequestIds(self.id, self.life), lambda ticks: chaos.rng.randrange(ticks, 2 * ticks),
            chaos.now, durable=lambda: self.backend.durable)
        self.service = MemberService(
            self.core, lambda: None, version="chaos", request_bytes_max=REQUEST_BYTES_MAX)
        watch = self.service.watch(_Watcher(chaos))
        watch.request(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=1)))


class _Watcher:
    """See `WatchSink`: everything that ever happens at a member."""

    def __init__(self, chaos: CoreChaos) -> None:
        self._chaos = chaos

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        for event in response.events:
            self._chaos.happened(event.kv.mod_revision, event.kv.value)

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return 0

    def end(self, _reason: Refused | None) -> None:
        """See `WatchSink`."""


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
        founders = tuple(range(1, rng.choice((1, 3, 3, 3, 5)) + 1))
        self._members = {i: Cored(i, founders, self) for i in founders}
        kinds: list[tuple[Callable[[Cored], None], float]] = [
            (self._deliver, 60), (self._append, rng.choice((15, 60))), (self._tick, 6),
            (self._put, rng.choice((2, 6))), (self._read, 3), (self._lease, 2),
            (self._lose, rng.choice((0, 1))), (self._copy, rng.choice((0, 1))),
            (self._crash, rng.choice((0, 0.3))), (self._flush, 1),
            (self._contest, rng.choice((0.2, 0.6))), (self._part, rng.choice((0, 0.3))),
            (self._heal, 0.4), (self._lost, 0.1), (self._wait, rng.choice((0.1, 1)))]
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

    # What must hold.

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
        serve(member.service, request, done)
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
        wanted = self._newest

        def done(outcome: object) -> None:
            if not isinstance(outcome, rpc.RangeResponse):
                return
            if outcome.header.revision < wanted:
                raise InvariantBroken(
                    f"member {member.id} answered a read at {outcome.header.revision}; {wanted} "
                    f"had been acknowledged when it was asked")
            for kv in outcome.kvs:
                self.happened(kv.mod_revision, kv.value)

        self._ask(member, rpc.RangeRequest(key=b"k"), done)

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
            member = self.rng.choice(busy)
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
