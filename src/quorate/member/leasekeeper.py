"""Leases at a running member: routes calls to the leader, renewals to a quorum, expiry to the log.

The clock and its promise are leases.py; this is its hands. Messages between members are
`Notice`s (proto peer.proto) inside Raft messages of type NOTICE; each carries the sender's term,
and is ignored by a member of another term.

Not here: the table of leases (state/lease.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from quorate.member.leasecalls import LeaseAnswer, LeaseCall, LeaseCalls
from quorate.member.leases import LeaseClock
from quorate.raft.types import Message, MessageType
from quorate.state.errors import Refused
from quorate.state.machine import Applied
from quorate.wire._generated import peer_pb2 as peer, raft_internal_pb2 as internal
from quorate.wire.prometheus import Histogram, exponential

if TYPE_CHECKING:
    from quorate.member.core import MemberCore

NO_LEASE = LeaseAnswer(0)
AGES_ASK_TICKS = 3
"""A new leader repeats its question for lease ages this often until everybody has answered."""


@dataclass(slots=True)
class LeaseCounts:
    """What happened since the start, for metrics: granted and revoked on every member, renewed and
    ended for lack of renewal where this one led."""

    granted: int = 0
    revoked: int = 0
    renewed: int = 0
    expired: int = 0
    ttls_s: Histogram = field(default_factory=lambda: Histogram(
        exponential(1, 2, 24)))


class LeaseKeeper:
    """Part of `MemberCore`, which it uses to send, to propose and to reply."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core
        self.counts = LeaseCounts()
        self.calls = LeaseCalls(core.config.limits.lease_calls)
        self.clock = LeaseClock(core.config.member_id, core.machine.leases.ttl_s, core.now,
                                core.config.limits.expiries_per_turn)
        self.clock.reload(core.machine.leases.ids(), core.now)
        self._parked: list[LeaseCall] = []
        self._known_at = core.backend.applied.index
        """Answers count from members that have applied at least this: then they know every lease
        in question, and the configuration."""
        self._leading_term = 0
        self._ticks_since_ask = 0
        self._gaps = 0
        """How often this member was paused or without a leader: what it reads now may have been
        sent before, and is no news unless it was sent to who has had these gaps."""
        self._gaps_of: dict[int, int] = {}
        """Of other members, as they told the leader."""

    def call(
        self, lease_id: int, done: Callable[[LeaseAnswer | Refused], None],
        *, time_to_live: bool = False,
    ) -> None:
        """A client renews a lease or asks for its remaining time."""
        refused = self._core.refusal() or self.calls.submit(
            LeaseCall(lease_id, time_to_live, done, self._core.deadline()))
        if refused is not None:
            self._core.reply(done, refused)

    # Events of the core.

    def tick(self) -> None:
        """A heartbeat interval has passed."""
        core = self._core
        if len(self.calls):
            core.reply_all(self.calls.expired(core.now))
        if self._parked:
            self._retry_parked()
        if not core.leads_with_authority:
            return
        self._ticks_since_ask += 1
        if self._ticks_since_ask >= AGES_ASK_TICKS:
            self._ask_ages()
        if not self.clock.synced:
            return
        ended = [i for i in self.clock.due(core.now) if core.machine.leases.get(i) is not None]
        if ended:
            self.counts.expired += len(ended)
            core.propose(
                internal.LeaseExpireRequest(ids=ended, term=core.node.term), _ignore, own=True)

    def leader_changed(self) -> None:
        """Another leader, or another term of the same, or none: whatever was under way with
        the old one starts over."""
        self._leading_term = 0
        self._gaps += not self._core.node.lead
        self.calls.put_back(self._parked)
        self._parked = []
        self.calls.put_back(self.clock.follow())
        self.calls.restart()

    def mistrust(self) -> None:
        """This member was paused. If it leads, others may have renewed leases, so it asks again
        (lesson L8)."""
        self._gaps += 1
        if self._leading_term:
            self._lead()

    def applied(self, applied: Applied) -> None:
        """An entry granted or revoked leases."""
        self.counts.granted += len(applied.granted)
        self.counts.revoked += len(applied.revoked)
        for lease_id in applied.granted:
            self.counts.ttls_s.observe(self._core.machine.leases.ttl_s(lease_id) or 0)
            self.clock.granted(lease_id, self._core.now)
        for lease_id in applied.revoked:
            self.clock.revoked(lease_id)
        if applied.revoked and self._parked:
            self._retry_parked()

    def reconfigured(self, index: int) -> None:
        """The configuration changed with the entry of that index."""
        self._known_at = index
        self.clock.reconfigured(self._core.now)

    def reload(self) -> None:
        """The table was replaced by a snapshot, and the configuration perhaps, too."""
        self.reconfigured(self._core.backend.applied.index)
        self.clock.reload(self._core.machine.leases.ids(), self._core.now)

    def dispatch(self) -> None:
        """Answer or forward this turn's calls, and tell the members of its renewals."""
        core = self._core
        if core.leads_with_authority:
            if self._leading_term != core.node.term:
                self._leading_term = core.node.term
                self._lead()
            if self.calls.queued:
                self._answer_all(self.calls.take())
            self._renewal_round()
        elif self.calls.queued and core.node.lead not in (0, core.node.id):
            for call in self.calls.take():
                self._forward(call)

    def not_sent(self, message: Message) -> None:
        """This notice did not leave: what was forwarded with it is tried again at the next tick."""
        notice = peer.Notice.FromString(message.context)
        if notice.WhichOneof("kind") == "lease_forward" and (
                call := self.calls.answered(notice.sequence)) is not None:
            self._parked.append(call)

    def receive(self, message: Message) -> None:
        """A notice from another member."""
        try:
            notice = peer.Notice.FromString(message.context)
        except DecodeError:
            return
        core, sender = self._core, message.from_
        kind = notice.WhichOneof("kind")
        if kind == "lease_forwarded":
            self._forwarded(notice)
        elif notice.term != core.node.term or sender not in core.node.peers:
            if kind == "lease_forward":
                self._send_forwarded(sender, notice.sequence, peer.LeaseForwarded.NOT_LEADER)
        elif kind == "lease_renew":
            late = notice.lease_renew.gaps != self._gaps
            if not late:
                self.clock.heard(notice.lease_renew.ids, core.now)
            self._send(sender, peer.Notice(
                sequence=notice.sequence,
                lease_renew_ack=peer.LeaseRenewAck(late=late, gaps=self._gaps)))
        elif kind == "lease_renew_ack":
            if notice.lease_renew_ack.late:
                self._gaps_of[sender] = notice.lease_renew_ack.gaps
                self._send_renewals(sender, notice.sequence)
            else:
                self._acknowledged(sender, notice.sequence)
        elif kind == "lease_forward":
            self._serve_forward(sender, notice)
        elif kind == "lease_ages_ask":
            ages = self.clock.ages(core.now, notice.lease_ages_ask.question)
            ages.gaps = self._gaps
            self._send(sender, peer.Notice(
                sequence=core.backend.applied.index, lease_ages=ages))
        elif kind == "lease_ages":
            self._gaps_of[sender] = notice.lease_ages.gaps
            if notice.sequence >= self._known_at:
                self.clock.learn(sender, notice.lease_ages, core.now, core.quorum)

    # The leader.

    def _answer_all(self, calls: list[LeaseCall]) -> None:
        core = self._core
        for call in calls:
            if core.machine.leases.ttl_s(call.lease_id) is None or call.time_to_live:
                self._prove_and_answer(call)
            elif self.clock.expiring(call.lease_id):
                self._parked.append(call)  # settled when the expiry is applied
            else:
                self.clock.renew(call, core.now)

    def _retry_parked(self) -> None:
        parked, self._parked = self._parked, []
        if self._core.leads_with_authority:
            self._answer_all(parked)
        else:
            self.calls.put_back(parked)

    def _prove_and_answer(self, call: LeaseCall) -> None:
        """Answer from a state that is as new as the call. A leader may apply later than the
        members that stored an entry before it did, so a lease that it does not know may have
        been granted elsewhere already."""
        core = self._core

        def ready(refused: Refused | None) -> None:
            if refused is not None:
                return call.done(refused)
            ttl_s = core.machine.leases.ttl_s(call.lease_id)
            if ttl_s is None:
                return call.done(LeaseAnswer(0))
            if not call.time_to_live:
                self._parked.append(call)
                return self._retry_parked()
            return call.done(LeaseAnswer(ttl_s, self.clock.remaining_s(call.lease_id, core.now)))

        core.read(ready)

    def _renewal_round(self) -> None:
        sequence = self.clock.start_round()
        if sequence is None:
            return
        for member_id in self._core.node.peers:
            if member_id != self._core.node.id:
                self._send_renewals(member_id, sequence)
        self._acknowledged(self._core.node.id, sequence)

    def _send_renewals(self, member_id: int, sequence: int) -> None:
        """Of a round, unless a quorum has heard of it."""
        ids = self.clock.round_ids(sequence)
        if ids:
            self._send(member_id, peer.Notice(sequence=sequence, lease_renew=peer.LeaseRenew(
                ids=ids, gaps=self._gaps_of.get(member_id, 0))))

    def _acknowledged(self, member_id: int, sequence: int) -> None:
        core = self._core
        for call in self.clock.acknowledged(member_id, sequence, core.now, core.quorum):
            ttl_s = core.machine.leases.ttl_s(call.lease_id) or 0
            self.counts.renewed += 1
            core.reply(call.done, LeaseAnswer(ttl_s, ttl_s))

    def _lead(self) -> None:
        self._known_at = self._core.backend.applied.index
        self.calls.put_back(self.clock.lead(self._core.quorum))
        self._core.reply_all(self.calls.expired(self._core.now))
        self._ask_ages()

    def _ask_ages(self) -> None:
        self._ticks_since_ask = 0
        for member_id in self.clock.unheard(self._core.node.peers):
            self._send(member_id, peer.Notice(
                lease_ages_ask=peer.LeaseAgesAsk(question=self.clock.question)))

    def _serve_forward(self, sender: int, notice: peer.Notice) -> None:
        core, sequence = self._core, notice.sequence
        if not core.leads_with_authority:
            self._send_forwarded(sender, sequence, peer.LeaseForwarded.NOT_LEADER)
            return

        def done(answer: LeaseAnswer | Refused) -> None:
            if isinstance(answer, Refused):
                self._send_forwarded(sender, sequence, peer.LeaseForwarded.NOT_LEADER)
            else:
                self._send_forwarded(sender, sequence, peer.LeaseForwarded.OK, answer)

        call = LeaseCall(notice.lease_forward.id, notice.lease_forward.time_to_live, done,
                         core.deadline(), (sender, sequence))
        self._answer_all([call])

    # A member that does not lead.

    def _forward(self, call: LeaseCall) -> None:
        sequence = self._core.ids.next()
        self.calls.forward(call, sequence)
        self._send(self._core.node.lead, peer.Notice(
            sequence=sequence,
            lease_forward=peer.LeaseForward(id=call.lease_id, time_to_live=call.time_to_live)))

    def _forwarded(self, notice: peer.Notice) -> None:
        call = self.calls.answered(notice.sequence)
        if call is None:
            return
        answer = notice.lease_forwarded
        if answer.outcome == peer.LeaseForwarded.NOT_LEADER:
            self._parked.append(call)  # it is not ready yet: try again at the next tick
        else:
            self._core.reply(call.done, LeaseAnswer(answer.ttl_s, answer.remaining_s))

    # Sending.

    def _send_forwarded(
        self, to: int, sequence: int, outcome: peer.LeaseForwarded.Outcome,
        answer: LeaseAnswer = NO_LEASE,
    ) -> None:
        self._send(to, peer.Notice(sequence=sequence, lease_forwarded=peer.LeaseForwarded(
            outcome=outcome, ttl_s=answer.ttl_s, remaining_s=answer.remaining_s)))

    def _send(self, to: int, notice: peer.Notice) -> None:
        notice.term = self._core.node.term
        self._core.send(Message(
            MessageType.NOTICE, to=to, from_=self._core.node.id,
            context=notice.SerializeToString()))


def _ignore(_outcome: object) -> None:
    """The outcome of an expiry is seen when it is applied."""
