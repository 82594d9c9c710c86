"""The maths of majorities and of joint majorities (Raft thesis, section 4.3).

Pure functions over sets of ids. An empty majority commits everything and wins every vote: that
makes a joint majority with an empty half the same as the other half.

Not here: who acknowledged what (tracker.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

INFINITE_INDEX = 2**64 - 1
"""What the empty majority has committed."""


class VoteResult(Enum):
    """Where a vote stands."""

    PENDING = "VotePending"
    LOST = "VoteLost"
    WON = "VoteWon"


def committed_index(voters: Collection[int], acked: Mapping[int, int]) -> int:
    """The highest index that a majority of `voters` has acknowledged."""
    if not voters:
        return INFINITE_INDEX
    indexes = sorted([acked.get(voter, 0) for voter in voters])
    return indexes[len(indexes) - (len(indexes) // 2 + 1)]


def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Whether a majority of `voters` has said yes, still may, or cannot any more."""
    if not voters:
        return VoteResult.WON
    quorum = len(voters) // 2 + 1
    yes = missing = 0
    for voter in voters:
        vote = votes.get(voter)
        if vote is None:
            missing += 1
        elif vote:
            yes += 1
    if yes >= quorum:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= quorum else VoteResult.LOST


def joint_committed_index(
    incoming: Collection[int], outgoing: Collection[int], acked: Mapping[int, int]
) -> int:
    """The highest index that both majorities have acknowledged."""
    index = committed_index(incoming, acked)
    return min(index, committed_index(outgoing, acked)) if outgoing else index


def joint_vote_result(
    incoming: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]
) -> VoteResult:
    """Won when both halves are, lost when either is."""
    one, other = vote_result(incoming, votes), vote_result(outgoing, votes)
    if one is other:
        return one
    if VoteResult.LOST in (one, other):
        return VoteResult.LOST
    return VoteResult.PENDING
