"""Simulated clients: writers that remember what they were promised.

A writer puts unique values, one at a time, to a random member that is up. What was acknowledged
must be found at the end with the acknowledged revision; what was refused or never answered may
be there or not. Leases are granted, renewed and left to expire.

Not here: the judgement (world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.member.leasecalls import LeaseAnswer
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

PAUSE_S_MAX = 0.05
ANSWER_S_MAX = 10.0
"""A client that hears nothing for this long goes on; its member may have crashed."""


@dataclass(slots=True)
class Acknowledged:
    """A write that the client was told of."""

    key: bytes
    value: bytes
    revision: int
    started: float
    ended: float


@dataclass(slots=True)
class Lease:
    """A lease as its client knows it: `renewed` is when the last acknowledged renewal was sent."""

    id: int
    ttl_s: int
    key: bytes
    renewed: float
    abandoned: float | None = None


@dataclass(slots=True)
class Client:
    """One sequential client. `pick` gives a member to talk to, None if all are down."""

    name: str
    clock: Clock
    rng: random.Random
    pick: Callable[[], SimMember | None]
    acknowledged: list[Acknowledged] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    reads: int = 0
    stale_reads: list[str] = field(default_factory=list)
    lost_leases: list[str] = field(default_factory=list)
    _count: int = 0
    _turn: int = 0
    stopped: bool = False

    def start(self) -> None:
        """Begin to work."""
        self._next()

    def _next(self) -> None:
        self._turn += 1
        turn = self._turn
        self.clock.after(self.rng.uniform(0.001, PAUSE_S_MAX), self._act)
        self.clock.after(ANSWER_S_MAX, lambda: self._next() if turn == self._turn else None)

    def _once(self, handle: Callable[[object], None]) -> Callable[[object], None]:
        """A waiter that counts only while this is the client's current request."""
        turn = self._turn

        def done(outcome: object) -> None:
            if turn == self._turn:
                handle(outcome)
                self._next()

        return done

    def _act(self) -> None:
        if self.stopped:
            return
        member = self.pick()
        if member is None or member.core is None:
            self._next()
            return
        member.core.now = max(member.core.now, self.clock.now)
        choice = self.rng.random()
        if choice < 0.6:
            self._put(member)
        elif choice < 0.8:
            self._read(member)
        else:
            self._lease(member)
        member.turn()

    def _put(self, member: SimMember) -> None:
        self._count += 1
        key = f"{self.name}/{self.rng.randrange(8)}".encode()
        value = f"{self.name}-{self._count}".encode()
        started = self.clock.now

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.PutResponse):
                self.acknowledged.append(Acknowledged(
                    key, value, outcome.header.revision, started, self.clock.now))

        assert member.core is not None
        member.core.propose(rpc.PutRequest(key=key, value=value), self._once(done))

    def _read(self, member: SimMember) -> None:
        """A linearizable read must show at least what this client was acknowledged."""
        core = member.core
        assert core is not None
        newest = self.acknowledged[-1].revision if self.acknowledged else 1

        def ready(outcome: object) -> None:
            if outcome is None:
                self.reads += 1
                if core.machine.revision < newest:
                    self.stale_reads.append(
                        f"{self.name} read revision {core.machine.revision} at member "
                        f"{member.id:x} after {newest} was acknowledged")

        core.read(self._once(ready))

    def _lease(self, member: SimMember) -> None:
        alive = [lease for lease in self.leases if lease.abandoned is None]
        if len(alive) < 2:
            self._grant(member)
        elif self.rng.random() < 0.05:
            alive[0].abandoned = self.clock.now
            self._next()
        else:
            self._renew(member, self.rng.choice(alive))

    def _grant(self, member: SimMember) -> None:
        assert member.core is not None
        self._count += 1
        lease_id = self.rng.getrandbits(62) | 1
        ttl_s = self.rng.randrange(2, 10)
        started = self.clock.now

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.LeaseGrantResponse):
                self.leases.append(Lease(lease_id, ttl_s, b"", started))

        member.core.propose(rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl_s), self._once(done))

    def _renew(self, member: SimMember, lease: Lease) -> None:
        assert member.core is not None
        started = self.clock.now

        def done(outcome: LeaseAnswer | Refused) -> None:
            if isinstance(outcome, LeaseAnswer):
                if outcome.ttl_s:
                    lease.renewed = started
                else:
                    lease.abandoned = self.clock.now
                    if started < lease.renewed + lease.ttl_s and (
                            self.clock.now < lease.renewed + lease.ttl_s):
                        self.lost_leases.append(
                            f"{self.name} was told at {self.clock.now:.3f} that lease "
                            f"{lease.id:x} is gone, renewed at {lease.renewed:.3f} for "
                            f"{lease.ttl_s} s")

        member.core.leases.call(lease.id, self._once(done))  # type: ignore[arg-type]
