"""A node as its driver sees it: calls in, one `Ready` out, in asynchronous-storage form.

The driver carries a Ready out in any order that respects it: messages to peers may leave at once;
the work in the STORAGE_APPEND message is done in order, and its responses, votes and
acknowledgements among them, are delivered only when it is durable; entries in the STORAGE_APPLY
message are applied in order and then acknowledged. `sync.SyncNode` is the Ready/Advance form.

Not here: consensus (core.py and the roles).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quorate.raft.confchange import encode_conf_change
from quorate.raft.core import Raft
from quorate.raft.errors import StepLocalMessage, StepPeerNotFound
from quorate.raft.settings import NodeConfig
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE, ConfChange, ConfChangeV2, ConfState, Entry,
    EntryType, HardState, Message, MessageType as T, Ready, Role, Snapshot, SoftState,
)

LOCAL_TYPES = frozenset({
    T.HUP, T.BEAT, T.UNREACHABLE, T.SNAP_STATUS, T.CHECK_QUORUM, T.STORAGE_APPEND,
    T.STORAGE_APPEND_RESP, T.STORAGE_APPLY, T.STORAGE_APPLY_RESP})
RESPONSE_TYPES = frozenset({
    T.APP_RESP, T.VOTE_RESP, T.HEARTBEAT_RESP, T.UNREACHABLE, T.READ_INDEX_RESP,
    T.PRE_VOTE_RESP, T.STORAGE_APPEND_RESP, T.STORAGE_APPLY_RESP})
LOCAL_TARGETS = (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)
UNCHANGED = HardState()
"""In a STORAGE_APPEND: term 0 says that the hard state need not be written."""


@dataclass(frozen=True, slots=True)
class Status:
    """For operators and tests."""

    id: int
    hard_state: HardState
    soft_state: SoftState
    applied: int
    match: dict[int, int]
    """Per member, empty unless this node leads."""


class Node:
    """See the module's text."""

    def __init__(self, config: NodeConfig) -> None:
        self.raft = Raft(config)
        self.id = config.id
        self._async = config.async_storage
        self._soft_state = SoftState(NONE, Role.FOLLOWER)
        self._hard_state = self.raft.hard_state()

    # Reading.

    @property
    def term(self) -> int:
        """The current term."""
        return self.raft.term

    @property
    def lead(self) -> int:
        """The leader, NONE if not known."""
        return self.raft.lead

    @property
    def role(self) -> Role:
        """What this node is."""
        return self.raft.role

    @property
    def commit(self) -> int:
        """The committed index."""
        return self.raft.log.committed

    @property
    def applied(self) -> int:
        """The last index that was reported as applied."""
        return self.raft.log.applied

    @property
    def last_index(self) -> int:
        """The end of the log, stable or not."""
        return self.raft.log.last_index()

    @property
    def is_learner(self) -> bool:
        """Whether this node has no vote."""
        return self.raft.is_learner

    @property
    def transferring(self) -> bool:
        """Whether leadership is being handed over."""
        return self.raft.transferee != NONE

    @property
    def peers(self) -> tuple[int, ...]:
        """Everybody in the configuration, this node included, ascending."""
        return self.raft.tracker.ids

    def is_quorum(self, ids: Iterable[int]) -> bool:
        """Whether these members decide, in both halves of a joint configuration."""
        return self.raft.tracker.is_quorum(ids)

    def status(self) -> Status:
        """A snapshot of everything above."""
        raft = self.raft
        match = {}
        if raft.role is Role.LEADER:
            match = {i: raft.tracker.progress[i].match for i in raft.tracker.ids}
        return Status(
            self.id, raft.hard_state(), SoftState(raft.lead, raft.role), raft.log.applied, match)

    # Driving.

    def tick(self) -> None:
        """One tick of the logical clock has passed."""
        self.raft.tick()

    def step(self, message: Message) -> None:
        """A message from a peer or from local storage; raises RaftError."""
        local = message.from_ in LOCAL_TARGETS
        if not local:
            if message.type in LOCAL_TYPES:
                raise StepLocalMessage
            if (message.type in RESPONSE_TYPES
                    and message.from_ not in self.raft.tracker.progress):
                raise StepPeerNotFound
        self.raft.step(message)

    def propose(self, *data: bytes) -> None:
        """Append entries, in one message; raises ProposalDropped."""
        self.propose_entries(tuple([Entry(0, 0, payload) for payload in data]))

    def propose_entries(self, entries: tuple[Entry, ...]) -> None:
        """The same with entries whose term and index are not looked at; raises ProposalDropped.
        A configuration change that must not be made now becomes an empty entry."""
        self.raft.step(Message(T.PROP, from_=self.id, entries=entries))

    def propose_conf_change(self, change: ConfChange | ConfChangeV2) -> None:
        """Append a configuration change; raises ProposalDropped."""
        old = isinstance(change, ConfChange)
        kind = EntryType.CONF_CHANGE if old else EntryType.CONF_CHANGE_V2
        self.raft.step(Message(T.PROP, from_=self.id, entries=(
            Entry(0, 0, encode_conf_change(change), kind),)))

    def apply_conf_change(self, change: ConfChange | ConfChangeV2) -> ConfState:
        """A committed change takes effect; raises ConfigError."""
        return self.raft.apply_conf_change(change)

    def campaign(self) -> None:
        """Ask for votes now."""
        self.raft.step(Message(T.HUP, from_=self.id))

    def transfer_leader(self, to: int) -> None:
        """Hand leadership over; nothing happens unless `to` votes."""
        self.raft.step(Message(T.TRANSFER_LEADER, from_=to))

    def forget_leader(self) -> None:
        """A follower stops believing in its leader, and may vote for another."""
        self.raft.step(Message(T.FORGET_LEADER))

    def step_down(self) -> None:
        """A leader stops leading, for reasons of its driver's (lesson L7)."""
        if self.raft.role is Role.LEADER:
            self.raft.become_follower(self.raft.term, NONE)

    def read_index(self, context: bytes) -> None:
        """Ask for a read index; the answer is a ReadState with the same context, or never."""
        self.raft.step(Message(T.READ_INDEX, entries=(Entry(0, 0, context),)))

    def report_unreachable(self, member_id: int) -> None:
        """A message to the member was lost."""
        self.raft.step(Message(T.UNREACHABLE, from_=member_id))

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        """A snapshot was delivered to the member, or was not."""
        self.raft.step(Message(T.SNAP_STATUS, from_=member_id, reject=not ok))

    # Ready.

    def has_ready(self) -> bool:
        """Whether there is anything to do."""
        raft, log = self.raft, self.raft.log
        return bool(
            raft.messages or raft.messages_after_append or raft.read_states
            or log.has_next(not self._async)
            or (raft.term, raft.vote, log.committed) != self._hard_state
            or (raft.lead, raft.role) != self._soft_state)

    def ready(self) -> Ready:
        """What to do now; it counts as handed out."""
        ready = self._build()
        messages = self.raft.messages
        append = self._append_message(ready)
        if append is not None:
            messages.append(append)
        if ready.committed_entries:
            messages.append(self._apply_message(ready.committed_entries))
        self.accept(ready)
        ready.messages = tuple(messages)
        return ready

    def _build(self) -> Ready:
        """A Ready without messages."""
        raft, log, old = self.raft, self.raft.log, self._hard_state
        soft = hard = None
        if (raft.lead, raft.role) != self._soft_state:
            soft = SoftState(raft.lead, raft.role)
        if (raft.term, raft.vote, log.committed) != old:
            hard = raft.hard_state()
        entries = log.next_unstable()
        return Ready(
            soft, hard, tuple(raft.read_states), entries, log.next_snapshot,
            log.next_committed(not self._async),
            must_sync=bool(entries) or (raft.term, raft.vote) != old[:2])

    def accept(self, ready: Ready) -> None:
        """The Ready was handed out: do not hand it out again."""
        raft = self.raft
        if ready.soft_state is not None:
            self._soft_state = ready.soft_state
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        if ready.read_states:
            raft.read_states = []
        raft.messages = []
        raft.messages_after_append = []
        raft.log.accept_unstable()
        if ready.committed_entries:
            raft.log.accept_applying(ready.committed_entries, not self._async)

    def _append_message(self, ready: Ready) -> Message | None:
        """The work for stable storage, with everything that waits for it."""
        raft, hard = self.raft, ready.hard_state
        if not (ready.entries or hard or ready.snapshot or raft.messages_after_append):
            return None
        responses = tuple(raft.messages_after_append)
        stored = self.stored_message(ready.snapshot)
        if stored is not None:
            # Last: acknowledging first lets the leader look terms up in the unstable tail.
            responses += (stored,)
        hard = hard or UNCHANGED
        return Message(
            T.STORAGE_APPEND, to=LOCAL_APPEND_THREAD, from_=self.id, term=hard.term,
            vote=hard.vote, commit=hard.commit, entries=ready.entries, snapshot=ready.snapshot,
            responses=responses)

    def stored_message(self, snapshot: Snapshot | None) -> Message | None:
        """The report that this append is stable. It carries the term of now, and names the end of
        the log: in a later term, or when something else is there by then, it says nothing about
        entries (lesson L20)."""
        log = self.raft.log
        if not log.has_unstable and snapshot is None:
            return None
        index, log_term = (log.last_index(), log.last_term()) if log.has_unstable else (0, 0)
        return Message(
            T.STORAGE_APPEND_RESP, to=self.id, from_=LOCAL_APPEND_THREAD, term=self.raft.term,
            index=index, log_term=log_term, snapshot=snapshot)

    def _apply_message(self, entries: tuple[Entry, ...]) -> Message:
        return Message(
            T.STORAGE_APPLY, to=LOCAL_APPLY_THREAD, from_=self.id, entries=entries,
            responses=(self.applied_message(entries),))

    def applied_message(self, entries: tuple[Entry, ...]) -> Message:
        """The report that these are applied."""
        return Message(
            T.STORAGE_APPLY_RESP, to=self.id, from_=LOCAL_APPLY_THREAD, entries=entries)
