"""What members know besides keys: who is a member, who was one, and the leases with their keys.

Every member has the same tables at the same applied index; whole tables at every index would cost
more than the run, so the backend keeps a sum of each, changed with each record. Equal in every
process only by comparison: the sums themselves are not. Not here: who compares (invariants.py).
"""

from __future__ import annotations

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfState
from quorate.state.backend import Bucket
from quorate.state.members import REMOVED, Members

SUMMED = (Bucket.LEASE, Bucket.LEASE_KEY, Bucket.MEMBER)


class TableBackend(MemoryBackend):
    """A backend in memory that sums up its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.members = self.leases = 0

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        """See `Backend`."""
        if bucket in SUMMED:
            self._toggle(bucket, key, self.get(bucket, key))
            self._toggle(bucket, key, value)
        super().put(bucket, key, value)

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """See `Backend`."""
        if bucket in SUMMED:
            self._toggle(bucket, key, self.get(bucket, key))
        super().delete(bucket, key)

    def crash(self) -> None:
        """See `MemoryBackend`."""
        super().crash()
        self.members = self.leases = 0
        for bucket in SUMMED:
            for key, value in self.scan(bucket, b"", None):
                self._toggle(bucket, key, value)

    def keeps_removal(self, member_id: int) -> bool:
        """Whether the state on disk says that this member was removed."""
        return self._durable[Bucket.MEMBER].get(member_id.to_bytes(8, "big")) == REMOVED

    def _toggle(self, bucket: Bucket, key: bytes, value: bytes | None) -> None:
        if value is None:
            return
        if bucket is Bucket.MEMBER:
            self.members ^= hash((key, value))
        else:
            self.leases ^= hash((int(bucket), key, value))


def wrong_members(members: Members, state: ConfState) -> str | None:
    """How the table of members contradicts the configuration, if it does."""
    table = members.all()
    learners = {member.id for member in table if member.is_learner}
    if {member.id for member in table} != state.members:
        return f"the members {[member.id for member in table]}"
    if learners != {*state.learners, *state.learners_next}:
        return f"the learners {sorted(learners)}"
    return None
