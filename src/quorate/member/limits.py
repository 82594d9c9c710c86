"""What bounds one member's memory, the length of its turns and its waits, all in one place.

The simulator draws tiny ones, so that what happens at a limit happens often.
Not here: limits of messages and sockets (raft/, net/), of requests (state/machine.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds; a request beyond one is refused, anything else waits for its turn."""

    pending_proposals: int = 5_000
    """Writes that wait or are under way at once (etcd's apply gap)."""

    read_rounds: int = 16
    """Rounds under way at once; beyond it reads gather into fewer, larger rounds."""

    lease_calls: int = 10_000
    """Renewals and questions about leases that wait at once."""

    expiries_per_turn: int = 500
    """Leases revoked by one proposal; keeps one entry, and the events of it, small."""

    watch_backlog_bytes: int = 1 << 20
    """Unsent bytes above which a stream's watchers are served from history instead."""

    watch_history_events: int = 1_000
    """Events read from history for one watcher in one turn; keeps a turn short."""

    watch_history_bytes: int = 1 << 20
    """Of keys and values in such a batch, whole revisions excepted; what a client that stopped
    reading may cost besides its backlog."""

    watch_fragment_bytes: int = 1_572_864 + 512 * 1024
    """Message size above which a watcher that allows it gets fragments (surface §4.4 rule 4)."""

    log_bytes: int = 64 << 20
    """Size of the log above which it is cut whatever its number of entries."""


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Identity and times of one member; seconds of the driver's monotonic clock."""

    cluster_id: int
    member_id: int
    tick_s: float = 0.1
    election_timeout_s: float = 1.0
    snapshot_count: int = 10_000
    snapshot_catch_up_entries: int = 5_000
    limits: Limits = Limits()

    @property
    def request_timeout_s(self) -> float:
        """How long a request may take: etcd's 5 s + 2 elections."""
        return 5 + 2 * self.election_timeout_s

    @property
    def lease_ttl_s_min(self) -> int:
        """The shortest lease: 1.5 elections, rounded up (etcd minTTL)."""
        return -int(-1.5 * self.election_timeout_s // 1)
