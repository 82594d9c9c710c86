"""One member as a step function: requests, messages, ticks and finished storage work in,
`Effects` out. The asyncio runtime and the simulator are thin drivers of this very code.

Invariants:
- Everything that arrives between two `drain`s is one batch: one Raft proposal, one read round,
  one round of lease renewals.
- An entry is applied after it is on this member's disk and before its waiter is answered.
- What clients are told (`header`) never carries a term that this member could forget, or one
  that a failed candidacy produced.
- A proposal forwarded by a member is taken once, in the very term it was meant for, or dropped.

No I/O, no clock (`now` comes with every event), no randomness. Not here: consensus (raft/), the
state (state/), queues (proposals.py, reads.py), leases, the work of effects (runtime.py, sim/).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from google.protobuf.message import Message as Proto

from quorate.member.effects import AppendWork, Effects, Reply, Waiter
from quorate.member.handover import Handover
from quorate.member.leadership import Leadership
from quorate.member.leasekeeper import LeaseKeeper
from quorate.member.limits import CoreConfig
from quorate.member.logkeeper import LogKeeper
from quorate.member.proposals import FORWARD_BYTES_MAX, Proposal, Proposals, pieces
from quorate.member.reads import Read, Reads
from quorate.member.removal import Removal
from quorate.member.requests import RequestIds, encode_request
from quorate.member.v2watches import V2Watches
from quorate.member.watchhub import WatchHub
from quorate.raft.confchange import decode_conf_change, encode_conf_change
from quorate.raft.errors import ProposalDropped, StepPeerNotFound
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, ConfChange, ConfChangeV2, ConfState, Entry,
    EntryType, Message, MessageType, Ready, Role,
)
from quorate.state.backend import AppliedPoint, Backend
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Applied, Machine
from quorate.state.reconfiguration import permitted
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc, v2_pb2 as v2

READY_ROUNDS_MAX = 64
"""Raft Readys handled in one drain; more means that storage or a peer answers itself in a loop."""

BATCHES_REMEMBERED = 256
"""Forwarded batches that a leader remembers, to tell a copy: a sender in doubt may send one."""


class MemberCore:
    """See the module's text."""

    def __init__(
        self, config: CoreConfig, node: Node, log: MemoryStorage, backend: Backend,
        machine: Machine, ids: RequestIds, now: float,
    ) -> None:
        self.config = config
        self.node = node
        self.machine = machine
        self.ids = ids
        self.backend = backend
        self.now = now
        self.proposals = Proposals(config.limits.pending_proposals)
        self.reads = Reads(config.limits.read_rounds)
        self.watches = WatchHub(machine, self.header, config.limits)
        self.leadership = Leadership(config.election_timeout_s, node.term, now)
        self.leases = LeaseKeeper(self)
        self.v2_watches = V2Watches(machine, config.limits, self._left_ms)
        self.log = LogKeeper(log, backend, config)
        self.applied_term = backend.applied.term
        self.conf_state: ConfState = backend.applied.conf_state
        self._batches: deque[bytes] = deque(maxlen=BATCHES_REMEMBERED)
        self._effects = Effects()
        self.removal = Removal(node, machine.members)
        self.handover = Handover(node)
        self._stopping = False
        self._request_timeout_s = config.request_timeout_s

    # What clients see.

    def header(self) -> rpc.ResponseHeader:
        """The header of every answer."""
        return rpc.ResponseHeader(
            cluster_id=self.config.cluster_id, member_id=self.config.member_id,
            revision=self.machine.revision, raft_term=self.leadership.reported_term)

    def fill(self, header: rpc.ResponseHeader) -> None:
        """The same, in place."""
        header.cluster_id = self.config.cluster_id
        header.member_id = self.config.member_id
        header.revision = self.machine.revision
        header.raft_term = self.leadership.reported_term

    @property
    def lagging(self) -> bool:
        """Whether watchers wait for history that there is room for."""
        return self.watches.lagging or self.v2_watches.lagging

    def propose(self, request: Proto, done: Waiter, *, own: bool = False) -> None:
        """Replicate a command, a client's up to a limit or the member's `own`; `done` gets the
        response with its header, or a Refused."""
        refused = self.refusal() or self.proposals.submit(Proposal(
            encode_request(request, self.ids.next()), request, done, self.deadline()), own=own)
        if refused is not None:
            self.reply(done, refused)

    def reconfigure(self, change: ConfChange | ConfChangeV2, done: Waiter) -> None:
        """Replicate a configuration change, which must be unlike any other by its id or context;
        `done` gets None once it is applied here, or a Refused. A change that comes while another
        is under way is void, and refused at its deadline."""
        kind = (EntryType.CONF_CHANGE if isinstance(change, ConfChange)
                else EntryType.CONF_CHANGE_V2)
        refused = self.refusal() or self.proposals.submit(Proposal(
            encode_conf_change(change), None, done, self.deadline(), kind))
        if refused is not None:
            self.reply(done, refused)

    def read(self, ready: Waiter) -> None:
        """Call `ready` with None once the local state is as new as this call, or a Refused."""
        refused = self.refusal()
        if refused is not None:
            self.reply(ready, refused)
        else:
            self.reads.ask(Read(ready, self.deadline()))

    def deadline(self) -> float:
        """When a request that starts now must be answered."""
        return self.now + self._request_timeout_s

    def reply(self, waiter: Callable[..., None], outcome: object) -> None:
        """Answer with this drain's effects."""
        self._effects.replies.append((waiter, outcome))

    def reply_all(self, replies: list[Reply]) -> None:
        """Answer many."""
        self._effects.replies += replies

    def send(self, message: Message) -> None:
        """Send with this drain's effects."""
        self._effects.messages.append(message)

    def refusal(self) -> Refused | None:
        """Why a request that needs consensus is not even tried now, if so."""
        if self._stopping:
            return Refused(Problem.STOPPED)
        if self.leadership.given_up(self.now):
            return Refused(Problem.NO_LEADER)
        return None

    # Events.

    def tick(self, now: float) -> None:
        """One heartbeat interval has passed; `now` may show that it was longer."""
        self._moved(now)
        if self.is_leader and self.log.stalled(now, self.config.election_timeout_s):
            self.node.step_down()
        self.node.tick()
        self.leases.tick()
        if not self.idle:
            self.proposals.retry()
            self.reply_all(self.proposals.expired(now) + self.reads.expired(now))
            self.reads.restart(now)
        if self.leadership.given_up(now):
            self.fail_pending(Problem.NO_LEADER, Problem.TIMED_OUT_LEADER_LOST)
        self.wake(now)

    def wake(self, now: float) -> None:
        """The moment named by `leadership.campaign_at` has come."""
        self._moved(now)
        if self.leadership.campaign_due(now) and self.node.lead == 0:
            self.node.campaign()

    def receive(self, message: Message, now: float) -> None:
        """A message from a peer. Wrong or stale ones are ignored."""
        self._moved(now)
        if message.type == MessageType.NOTICE:
            self.leases.receive(message)
        elif message.type == MessageType.PROP:
            self._receive_proposal(message)
        else:
            self._step(message)

    def peer_lost(self, member_id: int, jitter_s: float, now: float) -> None:
        """The connection to a peer broke as it does when its process is gone. If it was the
        leader, stop waiting for it and ask for votes after `jitter_s`."""
        self._moved(now)
        if member_id != self.node.lead or member_id == self.node.id:
            return
        self.proposals.connection_lost()
        self.leases.calls.restart()
        self.reads.restart(self.now, all_rounds=True)
        self.node.forget_leader()
        self.leadership.campaign_soon(self.now, jitter_s)

    def append_done(self, work: AppendWork) -> None:
        """The oldest append is on disk: only now may anything that reflects it leave."""
        self.log.append_done(work)
        if work.hard_state is not None:
            self.leadership.durable_term = work.hard_state.term
        if work.snapshot is not None:
            self._snapshot_installed()
        for response in work.responses:
            self._route(response)

    def fail_pending(self, queued: Problem, in_flight: Problem) -> None:
        """Refuse everything that waits for consensus."""
        self.reply_all(self.proposals.fail(queued, in_flight))
        self.reply_all(self.reads.fail(queued))
        self.reply_all(self.leases.calls.fail(queued))

    def stop(self) -> None:
        """Take no new requests; those under way go on until the driver stops draining."""
        self._stopping = True

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.node.role is Role.LEADER

    @property
    def leads_with_authority(self) -> bool:
        """Whether it leads and has applied an entry of its own term: its state is current."""
        return self.node.raft.role is Role.LEADER and self.applied_term == self.node.raft.term

    @property
    def idle(self) -> bool:
        """Whether no request waits for consensus."""
        return not (len(self.proposals) or len(self.reads) or len(self.leases.calls))

    def quorum(self, ids: set[int]) -> bool:
        """Whether these members are a quorum of the current configuration, both halves of it."""
        return self.node.is_quorum(ids)

    # One turn.

    def drain(self, now: float) -> Effects:
        """Everything the events since the last drain lead to."""
        if now != self.now:
            self._moved(now)
        node = self.node
        if self.proposals.queued and node.lead != 0:
            self._propose_batch()
        if self.reads.waiting and node.lead != 0 and (
                context := self.reads.start(now, self.ids.next)) is not None:
            node.read_index(context)
        self.leases.dispatch()
        for _ in range(READY_ROUNDS_MAX):
            if not node.has_ready():
                break
            self._handle_ready(node.ready())
        if self.reads.releasable:
            self.reply_all(self.reads.release(self.backend.applied.index))
        if self.handover.waiting:
            self.reply_all(self.handover.settled(now))
        self.watches.flush()
        self.v2_watches.flush()
        effects, self._effects = self._effects, Effects()
        return effects

    def _moved(self, now: float) -> None:
        """Time has passed; after a jump, a pause, others may have acted meanwhile (lesson L8)."""
        if now - self.now > self.config.election_timeout_s:
            self.leases.mistrust()
        self.now = now

    def _propose_batch(self) -> None:
        node = self.node
        entries = self.proposals.take(node.term)
        if not self.is_leader:
            for piece in pieces(entries, FORWARD_BYTES_MAX):
                self.send(Message(
                    MessageType.PROP, to=node.lead, from_=node.id, entries=piece,
                    context=node.term.to_bytes(8, "big") + self.ids.next().to_bytes(8, "big")))
            return
        try:
            node.propose_entries(entries)
        except ProposalDropped:  # handing over, or too much uncommitted: next turn
            self.proposals.put_back(tuple(entry.data for entry in entries))

    def _receive_proposal(self, message: Message) -> None:
        term, batch = message.context[:8], message.context[8:]
        if not self.is_leader or self.node.term != int.from_bytes(term, "big"):
            return
        if batch in self._batches:
            return  # a copy: what it asks for must not happen twice
        self._batches.append(batch)
        try:
            self.node.propose_entries(message.entries)
        except ProposalDropped:
            return  # the sender's deadline, or the next term, settles it

    def _handle_ready(self, ready: Ready) -> None:
        if ready.soft_state is not None or ready.hard_state is not None:
            self._observe_leader()
        for state in ready.read_states:
            self.reads.confirmed(state.context, state.index)
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                self._effects.appends.append(self.log.append_asked(message, self.now))
            elif message.to == LOCAL_APPLY_THREAD:
                self._apply(message.entries)
                for response in message.responses:
                    self._route(response)
            else:
                self.send(message)

    def _observe_leader(self) -> None:
        lead, term = self.node.lead, self.node.term
        if not self.leadership.observe(lead, term, self.now):
            return
        if lead == 0:
            self.leases.leader_changed()
            return
        self.reply_all(self.proposals.leader_known(term))
        self.reads.restart(self.now, all_rounds=True)
        self.leases.leader_changed()

    def _route(self, message: Message) -> None:
        if message.to == self.node.id:
            self._step(message)
        else:
            self.send(message)

    def _step(self, message: Message) -> None:
        try:
            self.node.step(message)
        except (ProposalDropped, StepPeerNotFound):
            return  # it needs a leader, or is an answer from a member that has been removed

    # Applying.

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            if entry.term != self.applied_term:
                self.proposals.term_passed(entry.term)
            if entry.type is not EntryType.NORMAL:
                self._apply_conf_change(entry)
            elif entry.data:
                self._apply_command(entry)
            self.applied_term = entry.term
        last = entries[-1]
        self.backend.advance(AppliedPoint(last.index, last.term, self.conf_state))

    def _apply_command(self, entry: Entry) -> None:
        proposal = self.proposals.applied(entry.data)
        if proposal is not None and proposal.request is not None:
            applied = self.machine.apply_command(proposal.request, entry.term)
            self.reply(proposal.done, self._answer(applied))
        else:
            request = internal.InternalRaftRequest.FromString(entry.data)
            applied = self.machine.apply(entry.term, request)
        if applied.granted or applied.revoked:
            self.leases.applied(applied)
        if applied.events:
            self.watches.publish(applied.events)
            self.v2_watches.publish(applied)

    def _left_ms(self, lease_id: int, ttl_s: int) -> int:
        return self.leases.clock.left_ms(lease_id, ttl_s, self.now)

    def _answer(self, applied: Applied) -> Proto | Refused:
        result = applied.result
        if isinstance(result, v2.V2Response):  # before leases that it ended are forgotten
            self.v2_watches.fill(result.node)
            self.v2_watches.fill(result.prev_node)
        if isinstance(result, Refused | internal.EmptyResponse):
            return result
        header = result.header  # type: ignore[attr-defined]
        self.fill(header)
        header.revision = applied.revision
        return result

    def _apply_conf_change(self, entry: Entry) -> None:
        change = decode_conf_change(entry.type, entry.data)
        change, refused = permitted(self.machine.members, change)
        self.conf_state = self.node.apply_conf_change(change)
        self.machine.reconfigured(change, self.conf_state)
        self._effects.members_changed = True
        self.leases.reconfigured(entry.index)
        self.removal.reconfigured(entry.index)
        if (proposal := self.proposals.applied(entry.data)) is not None:
            self.reply(proposal.done, refused)

    def _snapshot_installed(self) -> None:
        """The driver has loaded a snapshot into the backend: everything derived starts over."""
        self.machine.reload()
        self.applied_term = self.backend.applied.term
        self.conf_state = self.backend.applied.conf_state
        self.leases.reload()
        self.reply_all(self.proposals.snapshot_installed())
        self.watches.restart()
        self.v2_watches.restart()
        self._effects.members_changed = True
