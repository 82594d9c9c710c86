"""Clients that wait for another member to lead (Maintenance.MoveLeader).

Raft gives a transfer up after one election timeout; then this member still leads, and says so. No
client waits longer than that for it. Not here: the transfer (raft/leader.py).
"""

from __future__ import annotations

from typing import NamedTuple

from quorate.member.effects import Reply, Waiter
from quorate.raft.node import Node
from quorate.raft.types import Role
from quorate.state.errors import Problem, Refused

TOOK_TOO_LONG = "etcdserver: request timed out, leader transfer took too long"


class _Wait(NamedTuple):
    target: int
    done: Waiter
    deadline: float


class Handover:
    """Part of `MemberCore`; looked at in every turn while anybody waits."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.waiting: list[_Wait] = []

    def to(self, target: int, done: Waiter, deadline: float) -> None:
        """Begin, as the leader. `done` gets None when the target leads, or a Refused."""
        self._node.transfer_leader(target)
        self.waiting.append(_Wait(target, done, deadline))

    def settled(self, now: float) -> list[Reply]:
        """The answers of those that need not wait any longer."""
        replies: list[Reply] = []
        kept = []
        for wait in self.waiting:
            over, outcome = self._outcome(wait, now)
            if over:
                replies.append((wait.done, outcome))
            else:
                kept.append(wait)
        self.waiting = kept
        return replies

    def _outcome(self, wait: _Wait, now: float) -> tuple[bool, Refused | None]:
        node = self._node
        if node.lead == wait.target:
            return True, None
        failed = node.role is Role.LEADER and not node.transferring
        if failed or now >= wait.deadline:
            return True, Refused(Problem.TIMED_OUT, TOOK_TOO_LONG)
        if node.lead not in (0, node.id):
            return True, Refused(Problem.LEADER_CHANGED)
        return False, None
