"""Simulated clients: sequential, over the member's own service façade, recording every call.

Each draws puts (some with a lease), ranges, transactions and deletes with values that nobody else
writes, and keeps leases alive or leaves them to end. What was refused for sure leaves no record;
what was refused with a doubt, or never answered, is recorded as unknown.

Not here: the judgement (check/, world.py), watches (watcher.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from quorate.check.keyvalue import Request, Response
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call
from quorate.member.service import Done
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

PAUSE_S_MAX = 0.05
ANSWER_S_MAX = 10.0
"""A client that hears nothing for this long goes on; its member may have crashed."""

KEYS = 8
"""Keys of one client; others read and compare them, too."""

LEASES = 2
"""Leases that a client keeps at a time."""

DOUBTFUL = (Problem.TIMED_OUT, Problem.TIMED_OUT_LEADER_LOST, Problem.STOPPED)
"""Refusals after which the request may still take place."""


@dataclass(slots=True)
class Lease:
    """A lease as its client knows it: `renewed` is when the last acknowledged renewal was sent."""

    id: int
    ttl_s: int
    renewed: float
    abandoned: float | None = None


@dataclass(slots=True)
class Client:
    """One sequential client. `pick` gives a member to talk to, None if all are down."""

    name: str
    clock: Clock
    rng: random.Random
    pick: Callable[[], SimMember | None]
    clients: int
    calls: list[Call] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    lost_leases: list[str] = field(default_factory=list)
    stopped: bool = False
    _count: int = 0
    _turn: int = 0

    def start(self) -> None:
        """Begin to work."""
        self._next()

    def _next(self) -> None:
        self._turn += 1
        turn = self._turn
        self.clock.after(self.rng.uniform(0.001, PAUSE_S_MAX), self._act)
        self.clock.after(ANSWER_S_MAX, lambda: self._next() if turn == self._turn else None)

    def _once(self, handle: Callable[[object], None]) -> Done:
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
        if self.rng.random() < 0.8:
            self._call(member, self._draw())
        else:
            self._lease(member)
        member.turn()

    # Requests.

    def _draw(self) -> Request:
        choice = self.rng.random()
        if choice < 0.5:
            return self._put(self._own_key())
        if choice < 0.75:
            return self._range()
        if choice < 0.9:
            return self._txn()
        return rpc.DeleteRangeRequest(key=self._own_key(), prev_kv=choice < 0.95)

    def _own_key(self) -> bytes:
        return f"{self.name}/{self.rng.randrange(KEYS)}".encode()

    def _any_key(self) -> bytes:
        return f"c{self.rng.randrange(self.clients)}/{self.rng.randrange(KEYS)}".encode()

    def _value(self) -> bytes:
        self._count += 1
        return f"{self.name}-{self._count}".encode()

    def _put(self, key: bytes) -> rpc.PutRequest:
        alive = [lease.id for lease in self.leases if lease.abandoned is None]
        lease = self.rng.choice(alive) if alive and self.rng.random() < 0.2 else 0
        return rpc.PutRequest(key=key, value=self._value(), lease=lease,
                              prev_kv=self.rng.random() < 0.2)

    def _range(self) -> rpc.RangeRequest:
        request = rpc.RangeRequest(key=self._any_key(), serializable=self.rng.random() < 0.2)
        if self.rng.random() < 0.3:
            request.key = b"c"
            request.range_end = b"d"
            request.limit = self.rng.choice((0, 3))
        return request

    def _txn(self) -> rpc.TxnRequest:
        """Compare with what was last seen of the key, as a lock or an optimistic update does."""
        key = self._any_key()
        seen = next((kv for call in reversed(self.calls[-20:])
                     if isinstance(call.response, rpc.RangeResponse)
                     for kv in call.response.kvs if kv.key == key), None)
        compare = rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL,
                              mod_revision=seen.mod_revision if seen else 0)
        both = [rpc.RequestOp(request_put=self._put(key)),
                rpc.RequestOp(request_range=rpc.RangeRequest(key=b"c", range_end=b"d"))]
        self.rng.shuffle(both)
        other = rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
        if self.rng.random() < 0.2:
            other = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=self._own_key()))]))
        return rpc.TxnRequest(compare=[compare], success=both, failure=[other])

    def _call(self, member: SimMember, request: Request) -> None:
        position = len(self.calls)
        self.calls.append(Call(self.name, self.clock.now, NEVER, request, None))

        def done(outcome: object) -> None:
            if isinstance(outcome, Response):
                self.calls[position] = replace(
                    self.calls[position], returned=self.clock.now, response=outcome)
            elif isinstance(outcome, Refused) and outcome.problem not in DOUBTFUL:
                self.calls.pop()

        service, waiter = member.service, self._once(done)
        match request:
            case rpc.PutRequest():
                service.put(request, waiter)
            case rpc.RangeRequest():
                service.range(request, waiter)
            case rpc.DeleteRangeRequest():
                service.delete_range(request, waiter)
            case _:
                service.txn(request, waiter)

    # Leases.

    def _lease(self, member: SimMember) -> None:
        alive = [lease for lease in self.leases if lease.abandoned is None]
        if len(alive) < LEASES:
            self._grant(member)
        elif self.rng.random() < 0.05:
            alive[0].abandoned = self.clock.now
            self._next()
        else:
            self._renew(member, self.rng.choice(alive))

    def _grant(self, member: SimMember) -> None:
        started = self.clock.now
        request = rpc.LeaseGrantRequest(
            ID=self.rng.getrandbits(62) | 1, TTL=self.rng.randrange(2, 10))

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.LeaseGrantResponse):
                self.leases.append(Lease(outcome.ID, outcome.TTL, started))

        member.service.lease_grant(request, self._once(done))

    def _renew(self, member: SimMember, lease: Lease) -> None:
        started = self.clock.now

        def done(outcome: object) -> None:
            if not isinstance(outcome, rpc.LeaseKeepAliveResponse):
                return
            if outcome.TTL:
                lease.renewed = started
                return
            lease.abandoned = self.clock.now
            if self.clock.now < lease.renewed + lease.ttl_s:
                self.lost_leases.append(
                    f"{self.name} was told at {self.clock.now:.3f} that lease {lease.id:x} is "
                    f"gone, renewed at {lease.renewed:.3f} for {lease.ttl_s} s")

        member.service.lease_keep_alive(
            rpc.LeaseKeepAliveRequest(ID=lease.id), self._once(done))
