"""Terms, votes and roles: the part of Raft that every role shares.

A node is driven by `step(message)` and `tick()` and speaks through two queues: `messages` may leave
at once, `messages_after_append` only when everything handed out before them is stable: votes and
acknowledgements are promises about what is on disk (lessons L13, L21), also to oneself.

Invariants:
- `term` never falls; `vote` changes at most once in a term.
- A node does not campaign while it has a committed configuration change that it has not applied
  (lesson L2), nor while a snapshot is being installed.
- Peers are visited in ascending order of id, so that the same input gives the same output.

No clock, randomness, I/O or text. Not here: what each role does with a message (leader.py,
follower.py, candidate.py), the driver's surface (node.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.raft import candidate, follower, leader
from quorate.raft.confchange import Changer, as_v2, restore
from quorate.raft.log import Log, encoded_size, payload_size
from quorate.raft.quorum import VoteResult
from quorate.raft.readindex import ReadIndex
from quorate.raft.settings import CAMPAIGN_TRANSFER, Campaign, NodeConfig
from quorate.raft.tracker import Config, Progress, Tracker
from quorate.raft.types import (
    NONE, ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, InvariantBroken,
    Message, MessageType as T, ReadState, Role, Snapshot,
)

VOTE_RESPONSE = {T.VOTE: T.VOTE_RESP, T.PRE_VOTE: T.PRE_VOTE_RESP}


class Raft:
    """One node's consensus state."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self.id = config.id
        self.term = 0
        self.vote = NONE
        self.lead = NONE
        self.role = Role.FOLLOWER
        self.is_learner = False
        self.log = Log(config.storage, config.max_committed_bytes_per_ready)
        self.tracker = Tracker(config.in_flight)
        self.messages: list[Message] = []
        self.messages_after_append: list[Message] = []
        self.read_states: list[ReadState] = []
        self.reads = ReadIndex()
        self.pending_reads: list[Message] = []
        self.transferee = NONE
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = config.election_tick
        state, conf_state = config.storage.initial_state()
        self._switch_config(
            *restore(config.in_flight, conf_state, self.log.last_index()))
        self._load(state, config.applied)
        self.become_follower(self.term, NONE)

    def _load(self, state: HardState, applied: int) -> None:
        """Start from what is stable. The commit index may lag behind what was applied, because
        commit-only changes are not synced (lesson L19)."""
        if state != HardState():
            self.term, self.vote = state.term, state.vote
            self.log.commit_to(state.commit)
        if applied > 0:
            self.log.commit_to(applied)
            self.log.applied_to(applied, 0)

    def hard_state(self) -> HardState:
        """What must be stable."""
        return HardState(self.term, self.vote, self.log.committed)

    # Roles.

    def become_follower(self, term: int, lead: int) -> None:
        """Follow `lead`, or nobody yet."""
        self.reset(term)
        self.lead = lead
        self.role = Role.FOLLOWER

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won; changes neither term nor vote."""
        if self.role is Role.LEADER:
            raise InvariantBroken("a leader cannot become a pre-candidate")
        self.tracker.votes = {}
        self.lead = NONE
        self.role = Role.PRE_CANDIDATE

    def become_candidate(self) -> None:
        """Begin a term of one's own."""
        if self.role is Role.LEADER:
            raise InvariantBroken("a leader cannot become a candidate")
        self.reset(self.term + 1)
        self.vote = self.id
        self.role = Role.CANDIDATE

    def become_leader(self) -> None:
        """Lead the term, beginning with an empty entry of it."""
        if self.role is Role.FOLLOWER:
            raise InvariantBroken("a follower cannot become leader without an election")
        self.reset(self.term)
        self.lead = self.id
        self.role = Role.LEADER
        progress = self.tracker.progress[self.id]
        progress.become_replicate()
        progress.recent_active = True
        # Whatever is in the log may hold a configuration change: wait until all is applied.
        self.pending_conf_index = self.log.last_index()
        if not self.append_entries((Entry(0, 0),)):
            raise InvariantBroken("the empty entry of a new leader was refused")

    def reset(self, term: int) -> None:
        """Forget what belongs to a role."""
        if self.term != term:
            self.term = term
            self.vote = NONE
        self.lead = NONE
        self.election_elapsed = self.heartbeat_elapsed = 0
        self.election_timeout = self.config.random_timeout(self.config.election_tick)
        self.transferee = NONE
        self.tracker.votes = {}
        last = self.log.last_index()
        for node_id in self.tracker.ids:
            old = self.tracker.progress[node_id]
            self.tracker.progress[node_id] = Progress(
                match=last if node_id == self.id else 0, next_index=last + 1,
                limits=self.config.in_flight, is_learner=old.is_learner)
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.reads = ReadIndex()
        self.pending_reads = []

    # Time.

    def tick(self) -> None:
        """One tick has passed."""
        if self.role is Role.LEADER:
            self._tick_leader()
            return
        self.election_elapsed += 1
        if self.promotable and self.election_elapsed >= self.election_timeout:
            self.election_elapsed = 0
            self.step(Message(T.HUP, from_=self.id))

    def _tick_leader(self) -> None:
        self.heartbeat_elapsed += 1
        self.election_elapsed += 1
        if self.election_elapsed >= self.config.election_tick:
            self.election_elapsed = 0
            if self.config.check_quorum:
                self.step(Message(T.CHECK_QUORUM, from_=self.id))
            # A transfer that took longer than an election timeout has failed.
            if self.role is Role.LEADER:
                self.transferee = NONE
        if self.role is Role.LEADER and self.heartbeat_elapsed >= self.config.heartbeat_tick:
            self.heartbeat_elapsed = 0
            self.step(Message(T.BEAT, from_=self.id))

    # Messages.

    def answer(self, type_: T, to: int, **fields: int | bool | bytes) -> None:
        """Queue a promise: it leaves when everything before it is stable."""
        self.messages_after_append.append(Message(
            type_, to=to, from_=self.id, term=self.term, **fields))  # type: ignore[arg-type]

    def answer_vote(self, type_: T, to: int, term: int, *, reject: bool = False) -> None:
        """Queue the answer to a vote request of `term`."""
        self.messages_after_append.append(
            Message(type_, to=to, from_=self.id, term=term, reject=reject))

    def step(self, message: Message) -> None:
        """Handle a message; raises ProposalDropped."""
        if message.reject and message.commit:
            self._learn_commit(message)
        if message.term != 0:
            if message.term > self.term:
                if not self._higher_term(message):
                    return
            elif message.term < self.term:
                self._lower_term(message)
                return
        handler = _WHATEVER_THE_ROLE.get(message.type) or _STEP[self.role]
        handler(self, message)

    def _higher_term(self, message: Message) -> bool:
        """Take over a higher term where it counts; False if the message is to be ignored."""
        kind = message.type
        if kind in VOTE_RESPONSE:
            forced = message.context == CAMPAIGN_TRANSFER
            in_lease = (self.config.check_quorum and self.lead != NONE
                        and self.election_elapsed < self.config.election_tick)
            if in_lease and not forced:
                return False  # a leader was heard: neither term nor vote moves
        if kind is T.PRE_VOTE or (kind is T.PRE_VOTE_RESP and not message.reject):
            return True  # speaks of a term that may never begin
        from_leader = kind in (T.APP, T.HEARTBEAT, T.SNAP)
        self.become_follower(message.term, message.from_ if from_leader else NONE)
        return True

    def _lower_term(self, message: Message) -> None:
        kind = message.type
        if kind in (T.HEARTBEAT, T.APP) and (self.config.check_quorum or self.config.pre_vote):
            # A leader that was away must learn of the term, or it never gets out of the way.
            self.answer(T.APP_RESP, message.from_)
        elif kind is T.PRE_VOTE:
            # Dropping it can deadlock candidates of different terms (lesson L4).
            self.answer_vote(T.PRE_VOTE_RESP, message.from_, self.term, reject=True)
        elif kind is T.STORAGE_APPEND_RESP and message.snapshot is not None:
            # Entries may have been rewritten since; a snapshot is committed in any term.
            self._snapshot_stored(message.snapshot)

    def _vote(self, message: Message) -> None:
        kind, response = message.type, VOTE_RESPONSE[message.type]
        can_vote = (self.vote == message.from_
                    or (self.vote == NONE and self.lead == NONE)
                    or (kind is T.PRE_VOTE and message.term > self.term))
        if can_vote and self.log.is_up_to_date(message.log_term, message.index):
            self.answer_vote(response, message.from_, message.term)
            if kind is T.VOTE:
                self.election_elapsed = 0
                self.vote = message.from_
        else:
            self._refuse_vote(response, message.from_)

    def _refuse_vote(self, response: T, to: int) -> None:
        """Who was removed cannot lead, and may be the only one that knows that its removal is
        committed: those who have not heard elect by the old configuration and need its vote, which
        it must not give to a shorter log. So it tells them (as raft-rs does in every vote)."""
        commit = 0 if self.id in self.tracker.progress else self.log.committed
        self.messages_after_append.append(Message(
            response, to=to, from_=self.id, term=self.term, reject=True, commit=commit,
            log_term=self.log.term(commit) if commit else 0))

    def _learn_commit(self, message: Message) -> None:
        """That an entry is committed is true in any term."""
        if self.role is Role.LEADER or not self.log.maybe_commit(message.log_term, message.commit):
            return
        if self.role is not Role.FOLLOWER and self._has_unapplied_conf_change():
            self.become_follower(self.term, NONE)

    # Elections.

    @property
    def promotable(self) -> bool:
        """Whether this node may become leader."""
        progress = self.tracker.progress.get(self.id)
        return progress is not None and not progress.is_learner and self.log.snapshot is None

    def hup(self, campaign: Campaign) -> None:
        """Ask for votes if allowed."""
        if self.role is Role.LEADER or not self.promotable or self._has_unapplied_conf_change():
            return
        self.campaign(campaign)

    def campaign(self, campaign: Campaign) -> None:
        """Ask for votes."""
        if campaign is Campaign.PRE_ELECTION:
            self.become_pre_candidate()
            request, term = T.PRE_VOTE, self.term + 1
        else:
            self.become_candidate()
            request, term = T.VOTE, self.term
        context = CAMPAIGN_TRANSFER if campaign is Campaign.TRANSFER else b""
        last_term, last_index = self.log.last_term(), self.log.last_index()
        for node_id in self.tracker.config.voter_ids:
            if node_id == self.id:
                self.answer_vote(VOTE_RESPONSE[request], node_id, term)
            else:
                self.messages.append(Message(
                    request, to=node_id, from_=self.id, term=term, index=last_index,
                    log_term=last_term, context=context))

    def poll(self, node_id: int, granted: bool) -> VoteResult:
        """Count a vote; only the first one of each counts."""
        self.tracker.votes.setdefault(node_id, granted)
        return self.tracker.result(self.tracker.votes)

    def _has_unapplied_conf_change(self) -> bool:
        low = self.log.applied + 1
        while low <= self.log.committed:
            entries = self.log.slice(low, self.log.committed + 1, 1 << 20)
            if any(entry.type is not EntryType.NORMAL for entry in entries):
                return True
            low += len(entries)
        return False

    # The log.

    def append_entries(self, entries: tuple[Entry, ...]) -> bool:
        """Append as leader; False if too much is uncommitted already."""
        size = sum([len(entry.data) for entry in entries])
        if (self.uncommitted_bytes > 0 and size > 0
                and self.uncommitted_bytes + size > self.config.max_uncommitted_bytes):
            return False
        self.uncommitted_bytes += size
        term, index = self.term, self.log.last_index()
        own = tuple([Entry(term, index + n, entry.data, entry.type)
                     for n, entry in enumerate(entries, 1)])
        self.answer(T.APP_RESP, self.id, index=self.log.append(own))
        return True

    def maybe_commit(self) -> bool:
        """Commit what a quorum has of this term; whether that is news."""
        return self.log.maybe_commit(self.term, self.tracker.committed())

    def _asked_to_campaign(self, _message: Message) -> None:
        self.hup(Campaign.PRE_ELECTION if self.config.pre_vote else Campaign.ELECTION)

    def _append_stored(self, message: Message) -> None:
        if message.index:
            self.log.stable_to(message.log_term, message.index)
        if message.snapshot is not None:
            self._snapshot_stored(message.snapshot)

    def _snapshot_stored(self, snapshot: Snapshot) -> None:
        self.log.stable_snapshot_to(snapshot.index)
        self._applied_to(snapshot.index, 0)

    def _entries_applied(self, message: Message) -> None:
        entries = message.entries
        if not entries:
            return
        self._applied_to(entries[-1].index, encoded_size(entries))
        if self.uncommitted_bytes:
            self.uncommitted_bytes = max(0, self.uncommitted_bytes - payload_size(entries))

    def _applied_to(self, index: int, size: int) -> None:
        log = self.log
        applied = max(index, log.applied)
        log.applied_to(applied, size)
        if (self.tracker.config.auto_leave and self.role is Role.LEADER
                and applied >= self.pending_conf_index):
            # Looked at after every applied entry, so that a leader that could not propose it
            # (a transfer was under way) or a new one makes up for it (lesson L3).
            leader.propose(self, (Entry(0, 0, b"", EntryType.CONF_CHANGE_V2),), quiet=True)

    # Configuration.

    def apply_conf_change(self, change: ConfChange | ConfChangeV2) -> ConfState:
        """A committed change takes effect; raises ConfigError."""
        changer = Changer(self.tracker, self.log.last_index())
        return self._switch_config(*changer.change(as_v2(change)))

    def _switch_config(self, config: Config, progress: dict[int, Progress]) -> ConfState:
        self.tracker.switch(config, progress)
        own = progress.get(self.id)
        self.is_learner = own is not None and own.is_learner
        state = config.conf_state()
        if self.role is not Role.LEADER:
            return state
        if own is None or own.is_learner:
            if self.config.step_down_on_removal:
                self.become_follower(self.term, NONE)
            return state
        if not state.voters:
            return state
        if self.maybe_commit():
            leader.broadcast_append(self)
        else:
            for node_id in self.tracker.ids:
                if node_id != self.id:
                    leader.maybe_send_append(self, node_id, even_if_empty=False)
        if self.transferee and self.transferee not in config.voter_ids:
            self.transferee = NONE
        return state

    def restore(self, snapshot: Snapshot) -> bool:
        """Take a leader's snapshot; False if it brings nothing."""
        if snapshot.index <= self.log.committed:
            return False
        if self.role is not Role.FOLLOWER:
            raise InvariantBroken("a snapshot reached a node that does not follow")
        state = snapshot.conf_state
        if self.id not in (*state.voters, *state.learners, *state.voters_outgoing):
            return False
        if self.log.matches(snapshot.term, snapshot.index):
            self.log.commit_to(snapshot.index)
            return False
        self.log.restore(snapshot)
        self._switch_config(*restore(self.config.in_flight, state, self.log.last_index()))
        return True


_WHATEVER_THE_ROLE: dict[T, Callable[[Raft, Message], None]] = {
    T.HUP: Raft._asked_to_campaign,
    T.STORAGE_APPEND_RESP: Raft._append_stored,
    T.STORAGE_APPLY_RESP: Raft._entries_applied,
    T.VOTE: Raft._vote,
    T.PRE_VOTE: Raft._vote,
}

_STEP: dict[Role, Callable[[Raft, Message], None]] = {
    Role.FOLLOWER: follower.step,
    Role.CANDIDATE: candidate.step,
    Role.PRE_CANDIDATE: candidate.step,
    Role.LEADER: leader.step,
}
