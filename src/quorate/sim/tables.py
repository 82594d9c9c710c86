"""What members know besides keys: who is a member, who was one, the leases with their keys, alarms.

Every member has the same tables at the same applied index; whole tables at every index would cost
more than the run, so the backend keeps a sum of each, changed with each record. Equal in every
process only by comparison: the sums themselves are not.

Invariant, checked here where every change ends up: while a NOSPACE alarm is raised, no key is put
and no lease granted. Not here: who compares (invariants.py).
"""

from __future__ import annotations

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfState, InvariantBroken
from quorate.state.backend import BackendSize, Bucket
from quorate.state.members import REMOVED, Members
from quorate.wire._generated import rpc_pb2 as rpc

SUMMED = (Bucket.LEASE, Bucket.LEASE_KEY, Bucket.MEMBER, Bucket.ALARM)
PUT_BYTES = 17
"""Length of the key of a put in Bucket.KEY; a deletion's is longer."""


class TableBackend(MemoryBackend):
    """A backend in memory that sums up its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.members = self.leases = self.alarms = 0
        self.full: frozenset[int] = frozenset()
        """Members whose NOSPACE alarm is raised."""
        self.alarm_changes = 0
        self.low = 0
        """The fewest bytes in use since `lowest` was asked."""
        self._used = self._total = 0

    def put(self, bucket: Bucket, key: bytes, value: bytes) -> None:
        """See `Backend`."""
        if bucket in SUMMED:
            self._toggle(bucket, key, self.get(bucket, key))
            self._toggle(bucket, key, value)
        if self.full and (bucket is Bucket.LEASE or (
                bucket is Bucket.KEY and len(key) == PUT_BYTES)):
            raise InvariantBroken(f"{'a key' if bucket is Bucket.KEY else 'a lease'} is made while "
                                  f"NOSPACE is raised by {sorted(self.full)}")
        self._count(bucket, key, value)
        super().put(bucket, key, value)
        self._look(bucket)

    def delete(self, bucket: Bucket, key: bytes) -> None:
        """See `Backend`."""
        if bucket in SUMMED:
            self._toggle(bucket, key, self.get(bucket, key))
        self._count(bucket, key, None)
        super().delete(bucket, key)
        self._look(bucket)

    def size(self) -> BackendSize:
        """See `Backend`: as of a file, which never shrinks, and of what it holds."""
        return BackendSize(self._total, self._used)

    def lowest(self) -> int:
        """The fewest bytes in use since this was asked before."""
        low, self.low = self.low, self._used
        return low

    def crash(self) -> None:
        """See `MemoryBackend`."""
        super().crash()
        self._used = self.low = super().size().in_use
        self._total = max(self._total, self._used)
        self.members = self.leases = self.alarms = 0
        for bucket in SUMMED:
            for key, value in self.scan(bucket, b"", None):
                self._toggle(bucket, key, value)
        self._look(Bucket.ALARM)

    def keeps_removal(self, member_id: int) -> bool:
        """Whether the state on disk says that this member was removed."""
        return self._durable[Bucket.MEMBER].get(member_id.to_bytes(8, "big")) == REMOVED

    def _count(self, bucket: Bucket, key: bytes, value: bytes | None) -> None:
        before = self.get(bucket, key)
        if value is not None:
            self._used += len(key) + len(value)
            self._total = max(self._total, self._used)
        if before is not None:
            self._used -= len(key) + len(before)
        self.low = min(self.low, self._used)

    def _look(self, bucket: Bucket) -> None:
        """Alarms may have changed."""
        if bucket is Bucket.ALARM:
            self.alarm_changes += 1
            alarms = (rpc.AlarmMember.FromString(key) for key, _ in self.scan(bucket, b"", None))
            self.full = frozenset(
                one.memberID for one in alarms if one.alarm == rpc.AlarmType.NOSPACE)

    def _toggle(self, bucket: Bucket, key: bytes, value: bytes | None) -> None:
        if value is None:
            return
        if bucket is Bucket.MEMBER:
            self.members ^= hash((key, value))
        elif bucket is Bucket.ALARM:
            self.alarms ^= hash((key, value))
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
