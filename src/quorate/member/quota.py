"""The space quota: when to raise NOSPACE, and when to take it back.

etcd counts the file, which never shrinks by itself; here only what holds data counts, and the
alarm of a member ends by itself when it has been well below the quota for a while
(docs/divergence.md). Costs are etcd's (etcd-surface.md §10.3).

Pure: sizes and times are arguments. Not here: what an alarm forbids (state/alarms.py).
"""

from __future__ import annotations

from google.protobuf.message import Message as Proto

from quorate.wire._generated import rpc_pb2 as rpc, v2_pb2 as v2

QUOTA_BYTES = 2 << 30
"""etcd's default."""

KEY_OVERHEAD_BYTES = 256
LEASE_BYTES = 64
LOOK_S = 0.1
"""How long a measured size is good for; between, what was asked for is added."""

CLEAR_SHARE = 0.9
CLEAR_S = 10.0
"""Below this share of the quota for so long, the alarm is over."""


def cost_bytes(request: Proto) -> int:
    """What a request may add to the store."""
    if isinstance(request, rpc.PutRequest):
        return KEY_OVERHEAD_BYTES + len(request.key) + len(request.value)
    if isinstance(request, rpc.LeaseGrantRequest):
        return LEASE_BYTES
    if isinstance(request, rpc.TxnRequest):
        return max(_branch(request.success), _branch(request.failure))
    if isinstance(request, v2.V2Request) and request.method != v2.V2Request.DELETE:
        lease_bytes = LEASE_BYTES if request.HasField("ttl") else 0
        return KEY_OVERHEAD_BYTES + len(request.path) + len(request.value) + lease_bytes
    return 0


def _branch(ops: object) -> int:
    total = 0
    for op in ops:  # type: ignore[attr-defined]  # a repeated field
        kind = op.WhichOneof("request")
        if kind in ("request_put", "request_txn"):
            total += cost_bytes(getattr(op, kind))
    return total


class Quota:
    """Of one member; `limit_bytes` 0 is no quota."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._measured_at = -LOOK_S
        self._bytes = 0
        self._below_since: float | None = None

    @property
    def limit_bytes(self) -> int:
        """For status."""
        return self._limit

    def stale(self, now: float) -> bool:
        """Whether `measured` should be called before `exceeds`."""
        return bool(self._limit) and now - self._measured_at >= LOOK_S

    def measured(self, now: float, in_use_bytes: int) -> None:
        """The store's size."""
        self._measured_at, self._bytes = now, in_use_bytes
        if in_use_bytes >= CLEAR_SHARE * self._limit:
            self._below_since = None
        elif self._below_since is None:
            self._below_since = now

    def exceeds(self, request: Proto) -> bool:
        """Whether it is too much; if not, it counts until the next measurement."""
        if not self._limit:
            return False
        cost = cost_bytes(request)
        if not cost:
            return False
        if self._bytes + cost > self._limit:
            return True
        self._bytes += cost
        return False

    def clears(self, now: float) -> bool:
        """Whether an alarm of this member is over."""
        return self._below_since is not None and now - self._below_since >= CLEAR_S
