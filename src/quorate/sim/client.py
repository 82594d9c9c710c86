"""Simulated clients: sequential, over the member's own service façade, recording every call.

Each draws puts (some with a lease), ranges of all sorts, transactions and deletes with values
that nobody else writes, keeps leases alive or leaves them to end, and takes locks. What was
refused for sure leaves no record; what was refused with a doubt, or never answered, is recorded
as unknown.

Not here: the judgement (check/, judge.py), leases and locks (holder.py), watches (watcher.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from quorate.check.keyvalue import Request, Response
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call
from quorate.member.service import Done
from quorate.sim.clock import Clock
from quorate.sim.holder import Holder
from quorate.sim.member import SimMember
from quorate.sim.plan import Plan
from quorate.sim.requests import serve
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

ANSWER_S_MAX = 10.0
"""A client that hears nothing for this long goes on; its member may have crashed."""

KEYS = 6
"""Keys of one client; others read and compare them, too."""

SEEN = 20
"""Recent calls in which a client looks for what it knows of a key."""

DOUBTFUL = (Problem.TIMED_OUT, Problem.TIMED_OUT_LEADER_LOST, Problem.STOPPED)
"""Refusals after which the request may still take place."""

LEGITIMATE = (
    Problem.NO_LEADER, Problem.TOO_MANY_REQUESTS, Problem.LEASE_NOT_FOUND, Problem.KEY_NOT_FOUND,
    Problem.COMPACTED, Problem.FUTURE_REVISION, *DOUBTFUL)
"""Anything else is wrong, for nothing malformed is asked."""


class Client:
    """One sequential client. `pick` gives a member to talk to, None if all are down."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        plan: Plan, pause_s: float, *, only_puts: bool = False,
        answer_s: float = ANSWER_S_MAX,
    ) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.wrong: list[str] = []
        self.stopped = False
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._clients, self._leases = plan.clients, plan.leases
        self._pause_s = pause_s
        self._only_puts = only_puts
        self._answer_s = answer_s
        self._count = self._turn = 0
        self.holder = Holder(name, clock, rng, self._call, plan.give_up,
                             plan.ttl_factor)

    def start(self) -> None:
        """Begin to work."""
        self._next()

    def _next(self) -> None:
        self._turn += 1
        turn = self._turn
        pause_s = 2 * self._pause_s * self._rng.random()
        self._clock.after(pause_s, self._act)
        self._clock.after(
            pause_s + self._answer_s, lambda: self._next() if turn == self._turn else None)

    def once(self, handle: Callable[[object], None]) -> Done:
        """A waiter that counts only while this is the client's current request."""
        turn = self._turn

        def done(outcome: object) -> None:
            if turn != self._turn:
                return
            if isinstance(outcome, Refused) and outcome.problem not in LEGITIMATE:
                self.wrong.append(f"{self.name} was refused with {outcome} at "
                                  f"{self._clock.now:.3f}, for no reason")
            handle(outcome)
            self._next()

        return done

    def _act(self) -> None:
        if self.stopped:
            return
        member = self._pick()
        if member is None:
            self._next()
        elif self._only_puts:
            self._call(member, self._put(self._own_key()), self.once(_ignore))
        elif self._rng.random() >= self._leases:
            self._call(member, self._draw(), self.once(_ignore))
        elif not self.holder.act(member, self.once):
            self._next()

    # Requests.

    def _draw(self) -> Request:
        choice = self._rng.random()
        if choice < 0.45:
            return self._put(self._own_key())
        if choice < 0.75:
            return self._range()
        if choice < 0.9:
            return self._txn()
        if choice < 0.98:
            return rpc.DeleteRangeRequest(key=self._own_key(), prev_kv=choice < 0.95)
        return rpc.DeleteRangeRequest(
            key=f"{self.name}/".encode(), range_end=f"{self.name}0".encode(), prev_kv=True)

    def _own_key(self) -> bytes:
        return f"{self.name}/{self._rng.randrange(KEYS)}".encode()

    def _any_key(self) -> bytes:
        return f"c{self._rng.randrange(self._clients)}/{self._rng.randrange(KEYS)}".encode()

    def _value(self) -> bytes:
        self._count += 1
        return f"{self.name}-{self._count}".encode()

    def _put(self, key: bytes) -> rpc.PutRequest:
        choice = self._rng.random()
        if choice < 0.04:
            return rpc.PutRequest(key=key, ignore_value=True, lease=self.holder.any_lease())
        if choice < 0.08:
            return rpc.PutRequest(key=key, value=self._value(), ignore_lease=True)
        lease = self.holder.any_lease() if choice < 0.3 else 0
        return rpc.PutRequest(key=key, value=self._value(), lease=lease, prev_kv=choice > 0.8)

    def _range(self) -> rpc.RangeRequest:
        rng = self._rng
        request = rpc.RangeRequest(key=self._any_key(), serializable=rng.random() < 0.2)
        if rng.random() < 0.4:
            request.key, request.range_end = b"c", rng.choice((b"d", b"c1", b"\0"))
            request.limit = rng.choice((0, 0, 3))
            request.keys_only = rng.random() < 0.1
            request.count_only = rng.random() < 0.1
            if rng.random() < 0.4:
                request.sort_order = rng.choice((rpc.RangeRequest.ASCEND, rpc.RangeRequest.DESCEND))
                request.sort_target = rng.choice((
                    rpc.RangeRequest.KEY, rpc.RangeRequest.VERSION, rpc.RangeRequest.CREATE,
                    rpc.RangeRequest.MOD, rpc.RangeRequest.VALUE))
        newest = max((call.revision for call in self.calls[-SEEN:]), default=0)
        if newest > 1 and rng.random() < 0.2:
            past = max(1, newest - rng.randrange(30))
            field = rng.choice(("revision", "min_mod_revision", "max_mod_revision",
                                "min_create_revision", "max_create_revision"))
            setattr(request, field, past)
        return request

    def _txn(self) -> rpc.TxnRequest:
        """Compare with what was last seen of the key, as a lock or an optimistic update does."""
        key = self._any_key()
        seen = next((kv for call in reversed(self.calls[-SEEN:])
                     if isinstance(call.response, rpc.RangeResponse)
                     for kv in call.response.kvs if kv.key == key), None)
        compare = rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL,
                              mod_revision=seen.mod_revision if seen else 0)
        if seen is not None and self._rng.random() < 0.2:
            compare = self._rng.choice((
                rpc.Compare(key=key, target=rpc.Compare.VALUE, value=seen.value),
                rpc.Compare(key=key, target=rpc.Compare.VERSION, version=seen.version),
                rpc.Compare(key=key, target=rpc.Compare.LEASE, lease=seen.lease),
                rpc.Compare(key=key, target=rpc.Compare.CREATE, result=rpc.Compare.LESS,
                            create_revision=seen.create_revision + 1),
                rpc.Compare(key=b"c", range_end=b"d", target=rpc.Compare.MOD,
                            result=rpc.Compare.GREATER, mod_revision=0)))
        both = [rpc.RequestOp(request_put=self._put(key)),
                rpc.RequestOp(request_range=rpc.RangeRequest(key=b"c", range_end=b"d"))]
        self._rng.shuffle(both)
        other = rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
        if self._rng.random() < 0.2:
            other = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[
                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=self._own_key()))]))
        return rpc.TxnRequest(compare=[compare], success=both, failure=[other])

    def _call(self, member: SimMember, request: Request, waiter: Done) -> None:
        """Record the call and give its outcome to the waiter, too."""
        position = len(self.calls)
        self.calls.append(Call(self.name, self._clock.now, NEVER, request, None))
        turn = self._turn

        def done(outcome: object) -> None:
            if turn == self._turn:
                if isinstance(outcome, Response):
                    self.calls[position] = replace(
                        self.calls[position], returned=self._clock.now, response=outcome)
                elif isinstance(outcome, Refused) and outcome.problem not in DOUBTFUL:
                    self.calls.pop()
            waiter(outcome)  # type: ignore[arg-type]  # what services give

        member.post(lambda: serve(member.service, request, done))


def _ignore(_outcome: object) -> None:
    """The call's record has it."""
