"""The lease side of a simulated client: grants, renewals, revocations, questions, and a lock.

A lock is taken as Patroni's leader key is: a transaction that creates a key which is not there,
bound to a lease. The client believes that it holds it from the answer on until TTL after it sent
the last renewal that was acknowledged.

Not here: the rules (check/leases.py), other requests (client.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message as Proto

from quorate.check.leases import Hold, LeaseHistory, Remaining, Renewal
from quorate.check.linearizability import NEVER
from quorate.sim.answers import Asked, puts
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.sim.plan import Plan
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

LEASES = 2
"""Leases that a client keeps at a time."""

RECENT = 4
"""Which of its leases a client asks about."""

LOCKS = (b"lock/a", b"lock/b")

BELATED = 0.05
"""Chance that a key is bound to any lease that the client ever had: it may have ended."""

Handle = Callable[[Proto | Refused], None]


class Ask(Protocol):
    """A client's way to ask; what becomes of it is recorded."""

    def __call__(self, member: SimMember, request: Proto, handle: Handle = ..., /) -> None: ...


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
    """Leases and locks of one client."""

    name: str
    clock: Clock
    rng: random.Random
    ask: Ask
    plan: Plan
    kept: list[Kept] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    renewed: int = 0

    @property
    def histories(self) -> list[LeaseHistory]:
        """Every lease that this client ever had."""
        return [kept.history for kept in self.kept]

    def any_lease(self) -> int:
        """A lease that is kept, seldom another, 0 if there is none."""
        alive = self.kept if self.rng.random() < BELATED else self._alive()
        return self.rng.choice(alive).history.id if alive else 0

    def act(self, member: SimMember) -> bool:
        """Do something with leases; False if there was nothing to do."""
        alive, choice = self._alive(), self.rng.random()
        if len(alive) < LEASES:
            self._grant(member)
        elif self.rng.random() < self.plan.give_up:
            self._release(alive[0], self.clock.now)
            alive[0].given_up = True
            return False
        elif choice < 0.03:
            self._revoke(member, alive[0])
        elif choice < 0.04:
            self._revoke(member, self.rng.choice(self.kept[-RECENT:]))
        elif choice < 0.05:
            self._grant_again(member, alive[0])
        elif choice < 0.13:
            self._ask(member, self.rng.choice(self.kept[-RECENT:]))
        elif choice < 0.23 and (free := [k for k in alive if k.lock is None]):
            self._lock(member, free[0])
        else:
            self._renew(member, self.rng.choice(alive))
        return True

    def refused(self, asked: Asked) -> None:
        """A write was refused for want of a lease: if it named but one, that is gone."""
        leases = {put.lease for put in puts(asked.request) if put.lease}
        if len(leases) == 1:
            self.missed(leases, asked.at)

    def missed(self, leases: set[int], asked_at: float) -> None:
        """These were said to be gone, or not to be there."""
        for kept in self.kept:
            if kept.history.id in leases and kept.history.revoked_at is None:
                kept.history.renewals.append(Renewal(asked_at, self.clock.now, False))

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

    def _grant(self, member: SimMember) -> None:
        started = self.clock.now
        request = rpc.LeaseGrantRequest(
            ID=self.rng.getrandbits(62) | 1,
            TTL=self.plan.ttl_factor * self.rng.randrange(2, 10))
        ttl_s = max(request.TTL, math.ceil(1.5 * self.plan.election_s))

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, rpc.LeaseGrantResponse):
                self.kept.append(Kept(LeaseHistory(
                    self.name, request.ID, ttl_s, [Renewal(started, self.clock.now, True)])))
                self._expect(outcome, request.ID, ttl_s)

        self.ask(member, request, done)

    def _grant_again(self, member: SimMember, kept: Kept) -> None:
        """The same id once more, which must be refused while the lease lives; unless it is, nobody
        knows any more when the lease ends."""
        self._release(kept, self.clock.now)
        self.kept.remove(kept)
        promised_until = self._promised_until(kept)

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused) and outcome.problem is Problem.LEASE_EXISTS:
                self.kept.append(kept)
            elif not isinstance(outcome, Refused) and self.clock.now < promised_until:
                self.wrong.append(
                    f"{self.name} was granted lease {kept.history.id:x} again at "
                    f"{self.clock.now:.3f}; it lives until {promised_until:.3f}")

        self.ask(member, rpc.LeaseGrantRequest(ID=kept.history.id, TTL=1), done)

    def _promised_until(self, kept: Kept) -> float:
        """By any clock."""
        return kept.deadline - 2 * self.plan.drift * kept.history.ttl_s

    def _renew(self, member: SimMember, kept: Kept) -> None:
        renewal = Renewal(self.clock.now, NEVER, False)
        kept.history.renewals.append(renewal)

        def take() -> None:
            renewal.taken = self.clock.now

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, rpc.LeaseKeepAliveResponse):
                renewal.returned, renewal.acknowledged = self.clock.now, bool(outcome.TTL)
                self.renewed += bool(outcome.TTL)
                if outcome.TTL:
                    self._expect(outcome, kept.history.id, kept.history.ttl_s)
                else:
                    self._release(kept, self.clock.now)
                    kept.given_up = True

        member.post(take)
        self.ask(member, rpc.LeaseKeepAliveRequest(ID=kept.history.id), done)

    def _expect(
        self, answer: rpc.LeaseGrantResponse | rpc.LeaseKeepAliveResponse, lease_id: int,
        ttl_s: int,
    ) -> None:
        if (lease_id, ttl_s) != (answer.ID, answer.TTL):
            self.wrong.append(f"{self.name} has lease {lease_id:x} with TTL {ttl_s} s and was told "
                              f"of {answer.ID:x} with {answer.TTL} s")

    def _revoke(self, member: SimMember, kept: Kept) -> None:
        self._release(kept, self.clock.now)
        kept.given_up = True
        promised_until = 0.0 if kept.history.revoked_at else self._promised_until(kept)
        kept.history.revoked_at = kept.history.revoked_at or self.clock.now

        def done(outcome: Proto | Refused) -> None:
            if (isinstance(outcome, Refused) and outcome.problem is Problem.LEASE_NOT_FOUND
                    and self.clock.now < promised_until):
                self.wrong.append(
                    f"{self.name} could not revoke lease {kept.history.id:x} at "
                    f"{self.clock.now:.3f}; it lives until {promised_until:.3f}")

        self.ask(member, rpc.LeaseRevokeRequest(ID=kept.history.id), done)

    def _ask(self, member: SimMember, kept: Kept) -> None:
        """The remaining time; "none" only when it may be gone."""
        asked, history = self.clock.now, kept.history

        def done(outcome: Proto | Refused) -> None:
            if not isinstance(outcome, rpc.LeaseTimeToLiveResponse):
                return
            if outcome.TTL < 0:
                self.missed({history.id}, asked)
                return
            history.told.append(Remaining(asked, self.clock.now, outcome.TTL))
            if outcome.grantedTTL != history.ttl_s:
                self.wrong.append(f"{self.name} was told that lease {history.id:x} with TTL "
                                  f"{history.ttl_s} s was granted {outcome.grantedTTL} s")

        self.ask(member, rpc.LeaseTimeToLiveRequest(ID=history.id, keys=True), done)

    def _lock(self, member: SimMember, kept: Kept) -> None:
        key = self.rng.choice(LOCKS)
        request = rpc.TxnRequest(
            compare=[rpc.Compare(key=key, target=rpc.Compare.CREATE, create_revision=0)],
            success=[rpc.RequestOp(request_put=rpc.PutRequest(
                key=key, value=f"{self.name} {self.clock.now}".encode(),
                lease=kept.history.id))],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key))])

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, rpc.TxnResponse) and outcome.succeeded:
                kept.lock, kept.lock_since = key, self.clock.now

        self.ask(member, request, done)
