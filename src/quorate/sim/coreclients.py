"""What clients ask of member cores in a schedule, and what they must be told.

Every value is written once. No value and no revision comes twice, an acknowledged write is where
its answer says, a linearizable read is at least as new as everything that was acknowledged when it
was asked, a lease that was granted is known to everybody who is asked until TTL after its last
acknowledged renewal was asked for, and the term in an answer never falls and is on the member's
disk.

Not here: what else happens, and when (corechaos.py).
"""

from __future__ import annotations

import random

from google.protobuf.message import Message as Proto

from quorate.member.service import Done
from quorate.raft.types import InvariantBroken
from quorate.sim.cored import Cored
from quorate.sim.requests import serve
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

TTL_S = 1_000_000
SHORT_TTL_S = 2
"""Leases live for ever, so that one answer cannot be taken for another's, or end soon."""


class CoreClients:
    """Base of a schedule."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 1000.0
        self.acknowledged = 0
        self._count = self._newest = 0
        self._values: dict[bytes, int] = {}
        self._revisions: dict[int, bytes] = {}
        self._leases: list[tuple[int, int]] = []
        """Ids and TTLs; the long ones are all different."""
        self._promised: dict[int, float] = {}

    def _turn(self, member: Cored) -> None:
        """Let the member do what it was asked."""
        raise NotImplementedError

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
