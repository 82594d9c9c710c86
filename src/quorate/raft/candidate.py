"""What a candidate, and a pre-candidate, does: count votes, or find that there is a leader.

Not here: asking for votes (core.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft import follower, leader
from quorate.raft.errors import ProposalDropped
from quorate.raft.quorum import VoteResult
from quorate.raft.settings import Campaign
from quorate.raft.types import NONE, Message, MessageType as T, Role

if TYPE_CHECKING:
    from quorate.raft.core import Raft


def step(raft: Raft, message: Message) -> None:
    """A message of this term, or a local one."""
    kind = message.type
    if kind is T.PROP:
        raise ProposalDropped
    if kind in follower.HANDLERS:
        raft.become_follower(message.term, message.from_)
        follower.HANDLERS[kind](raft, message)
    elif kind is (T.PRE_VOTE_RESP if raft.role is Role.PRE_CANDIDATE else T.VOTE_RESP):
        _count(raft, message)


def _count(raft: Raft, message: Message) -> None:
    result = raft.poll(message.from_, not message.reject)
    if result is VoteResult.LOST:
        # An answer to a pre-vote speaks of a future term: stay in one's own.
        raft.become_follower(raft.term, NONE)
    elif result is VoteResult.WON:
        if raft.role is Role.PRE_CANDIDATE:
            raft.campaign(Campaign.ELECTION)
        else:
            raft.become_leader()
            leader.broadcast_append(raft)
