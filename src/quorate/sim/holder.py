"""The lease side of a simulated client: grants, renewals, revocations, questions, and a lock.

A lock is taken as Patroni's leader key is: a transaction that creates a key which is not there,
bound to a lease. The client believes that it holds it from the answer on until TTL after it sent
the last renewal that was acknowledged.

Not here: the rules (check/leases.py), other requests (client.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.check.keyvalue import Request
from quorate.check.leases import Hold, LeaseHistory, Renewal
from quorate.check.linearizability import NEVER
from quorate.member.service import Done
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.wire._generated import rpc_pb2 as rpc

LEASES = 2
"""Leases that a client keeps at a time."""

LOCKS = (b"lock/a", b"lock/b")

Once = Callable[[Callable[[object], None]], Done]


@dataclass(slots=True)
class Kept:
    """A lease as its client knows it."""

    history: LeaseHistory
    lock: bytes | None = None
    lock_since: float = 0.0
    given_up: bool = False

    @property
    def deadline(self) -> float:
        """Until when it certainly lives: TTL after the last acknowledged renewal was sent."""
        sent = [r.sent for r in self.history.renewals if r.acknowledged]
        return max(sent) + self.history.ttl_s


@dataclass(slots=True)
class Holder:
    """Leases and locks of one client; `call` is the client's way to ask what is recorded."""

    name: str
    clock: Clock
    rng: random.Random
    call: Callable[[SimMember, Request, Done], None]
    give_up: float
    ttl_factor: int
    kept: list[Kept] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    renewed: int = 0

    @property
    def histories(self) -> list[LeaseHistory]:
        """Every lease that this client ever had."""
        return [kept.history for kept in self.kept]

    def any_lease(self) -> int:
        """A lease that is kept, 0 if there is none."""
        alive = self._alive()
        return self.rng.choice(alive).history.id if alive else 0

    def act(self, member: SimMember, once: Once) -> bool:
        """Do something with leases; False if there was nothing to do."""
        alive, choice = self._alive(), self.rng.random()
        if len(alive) < LEASES:
            self._grant(member, once)
        elif self.rng.random() < self.give_up:
            self._release(alive[0], self.clock.now)
            alive[0].given_up = True
            return False
        elif choice < 0.03:
            self._revoke(member, alive[0], once)
        elif choice < 0.11 and self.kept:
            self._ask(member, self.rng.choice(self.kept), once)
        elif choice < 0.21 and (free := [k for k in alive if k.lock is None]):
            self._lock(member, free[0], once)
        else:
            self._renew(member, self.rng.choice(alive), once)
        return True

    def finish(self) -> None:
        """The end: what is held is held until its deadline."""
        for kept in self.kept:
            self._release(kept, NEVER)

    def _alive(self) -> list[Kept]:
        return [kept for kept in self.kept if not kept.given_up]

    def _release(self, kept: Kept, at: float) -> None:
        """The client stops believing in its lock."""
        if kept.lock is not None:
            until = min(at, kept.deadline)
            if until > kept.lock_since:
                self.holds.append(Hold(self.name + f" {kept.history.id:x}", kept.lock,
                                       kept.lock_since, until))
            kept.lock = None

    def _grant(self, member: SimMember, once: Once) -> None:
        started = self.clock.now
        request = rpc.LeaseGrantRequest(
            ID=self.rng.getrandbits(62) | 1, TTL=self.ttl_factor * self.rng.randrange(2, 10))

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.LeaseGrantResponse):
                self.kept.append(Kept(LeaseHistory(
                    self.name, outcome.ID, outcome.TTL,
                    [Renewal(started, self.clock.now, True)])))

        waiter = once(done)
        member.post(lambda: member.service.lease_grant(request, waiter))

    def _renew(self, member: SimMember, kept: Kept, once: Once) -> None:
        renewals, position = kept.history.renewals, len(kept.history.renewals)
        renewals.append(Renewal(self.clock.now, NEVER, False))

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.LeaseKeepAliveResponse):
                sent = renewals[position].sent
                renewals[position] = Renewal(sent, self.clock.now, bool(outcome.TTL))
                self.renewed += bool(outcome.TTL)
                if not outcome.TTL:
                    self._release(kept, self.clock.now)
                    kept.given_up = True

        waiter = once(done)
        member.post(lambda: member.service.lease_keep_alive(
            rpc.LeaseKeepAliveRequest(ID=kept.history.id), waiter))

    def _revoke(self, member: SimMember, kept: Kept, once: Once) -> None:
        self._release(kept, self.clock.now)
        kept.given_up = True
        kept.history.revoked_at = self.clock.now
        waiter = once(_ignore)
        member.post(lambda: member.service.lease_revoke(
            rpc.LeaseRevokeRequest(ID=kept.history.id), waiter))

    def _ask(self, member: SimMember, kept: Kept, once: Once) -> None:
        """The remaining time; no more than the TTL, and "none" only when it may be gone."""
        asked, history = self.clock.now, kept.history

        def done(outcome: object) -> None:
            if not isinstance(outcome, rpc.LeaseTimeToLiveResponse):
                return
            if history.ttl_s < outcome.TTL:
                self.wrong.append(f"{self.name} was told that lease {history.id:x} with TTL "
                                  f"{history.ttl_s} s lives for {outcome.TTL} s")
            elif outcome.TTL < 0 and history.revoked_at is None:
                history.renewals.append(Renewal(asked, self.clock.now, False))

        waiter = once(done)
        member.post(lambda: member.service.lease_time_to_live(
            rpc.LeaseTimeToLiveRequest(ID=history.id, keys=True), waiter))

    def _lock(self, member: SimMember, kept: Kept, once: Once) -> None:
        key = self.rng.choice(LOCKS)
        request = rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=rpc.Compare.CREATE, create_revision=0)],
            success=[rpc.RequestOp(request_put=rpc.PutRequest(
                key=key, value=f"{self.name} {self.clock.now}".encode(),
                lease=kept.history.id))],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key))])

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.TxnResponse) and outcome.succeeded:
                kept.lock, kept.lock_since = key, self.clock.now

        self.call(member, request, once(done))


def _ignore(_outcome: object) -> None:
    """What became of it is seen in the events."""
