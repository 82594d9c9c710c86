"""When a removed member may stop, and who tells it.

A member that was removed is still needed: others may not know yet that the change is committed,
elect by the old configuration, and want its vote. So it goes on until so many have told it of its
removal that the others can do without it; and who tells must still know after a power cut.
A member that missed its own removal learns of it in the same way.

Found by the simulation (docs/track-record.md). Not here: the configuration (raft/), the refusal on
the wire (peers/server.py, status 410).
"""

from __future__ import annotations

from quorate.raft.node import Node
from quorate.state.members import Members


class Removal:
    """Part of `MemberCore`."""

    def __init__(self, node: Node, members: Members) -> None:
        self._node = node
        self._members = members
        self._told_by: set[int] = set()
        self._changed_at = 0
        """The newest change of the configuration that was applied in this life."""

    def reconfigured(self, index: int) -> None:
        """The entry of that index changed the configuration."""
        self._changed_at = index

    def told(self, member_id: int) -> None:
        """That member says that this one was removed."""
        self._told_by.add(member_id)

    @property
    def dispensable(self) -> bool:
        """Whether this member was removed and may stop."""
        return bool(self._told_by) and self._node.is_quorum(self._told_by | {self._node.id})

    def refuses(self, member_id: int, durable: int) -> bool:
        """Whether this member knows, and will after a crash, that the other was removed.
        `durable` is the applied index of the backend on disk."""
        return self._changed_at <= durable and self._members.is_removed(member_id)
