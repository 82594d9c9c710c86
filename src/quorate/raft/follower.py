"""What a follower does: append what its leader sends, forward what only a leader can do.

Functions over `core.Raft`. `handle_append`, `handle_heartbeat` and `handle_snapshot` also serve a
candidate that has found a leader. Not here: votes (core.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quorate.raft.errors import ProposalDropped
from quorate.raft.settings import Campaign, ReadOnly
from quorate.raft.types import NONE, Message, MessageType as T, ReadState

if TYPE_CHECKING:
    from quorate.raft.core import Raft


def step(raft: Raft, message: Message) -> None:
    """A message of this term, or a local one."""
    match message.type:
        case T.APP | T.HEARTBEAT | T.SNAP:
            raft.election_elapsed = 0
            raft.lead = message.from_
            HANDLERS[message.type](raft, message)
        case T.PROP:
            if raft.lead == NONE or raft.config.disable_proposal_forwarding:
                raise ProposalDropped
            _forward(raft, message)
        case T.READ_INDEX if raft.lead != NONE:
            _forward(raft, message)
        case T.TRANSFER_LEADER if raft.lead != NONE:
            raft.messages.append(replace(message, to=raft.lead, term=raft.term))
        case T.READ_INDEX_RESP if len(message.entries) == 1:
            raft.read_states.append(ReadState(message.index, message.entries[0].data))
        case T.TIMEOUT_NOW:
            # The leader asked for it, so pre-vote and stickiness do not apply.
            raft.hup(Campaign.TRANSFER)
        case T.FORGET_LEADER if raft.config.read_only is not ReadOnly.LEASE_BASED:
            raft.lead = NONE


def _forward(raft: Raft, message: Message) -> None:
    """Pass on what is for the leader; it is local there too, so it carries no term."""
    sender = message.from_ or raft.id
    raft.messages.append(replace(message, to=raft.lead, from_=sender))


def handle_append(raft: Raft, message: Message) -> None:
    """Append if the logs agree, else say where they may."""
    log, leader = raft.log, message.from_
    if message.index < log.committed:
        raft.answer(T.APP_RESP, leader, index=log.committed)
        return
    last = log.maybe_append(message.log_term, message.index, message.entries, message.commit)
    if last is not None:
        raft.answer(T.APP_RESP, leader, index=last)
        return
    hint, hint_term = log.conflict_by_term(
        min(message.index, log.last_index()), message.log_term)
    raft.answer(T.APP_RESP, leader, index=message.index, reject=True, reject_hint=hint,
                log_term=hint_term)


def handle_heartbeat(raft: Raft, message: Message) -> None:
    """Take over the commit index and confirm."""
    raft.log.commit_to(message.commit)
    raft.messages.append(Message(
        T.HEARTBEAT_RESP, to=message.from_, from_=raft.id, term=raft.term,
        context=message.context))


def handle_snapshot(raft: Raft, message: Message) -> None:
    """Take the snapshot if it brings anything; tell how far the log goes."""
    snapshot = message.snapshot
    taken = snapshot is not None and raft.restore(snapshot)
    index = raft.log.last_index() if taken else raft.log.committed
    raft.answer(T.APP_RESP, message.from_, index=index)


HANDLERS = {T.APP: handle_append, T.HEARTBEAT: handle_heartbeat, T.SNAP: handle_snapshot}
