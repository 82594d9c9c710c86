"""What a member tells of itself, under etcd's names (surface §9) and, for what etcd does not have,
under ours.

Everything is counted where it happens; this collects it when somebody asks. Not here: requests
(api/calls.py), the process (api/metrics.py), the text (wire/prometheus.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from quorate.member import logs
from quorate.member.runtime import Runtime
from quorate.member.snapshots import Snapshots
from quorate.wire.prometheus import Family, Kind, Sample, counter, gauge, histogram

COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM


class Measures:
    """Of one running member."""

    def __init__(
        self, runtime: Runtime, snapshots: Snapshots, *, version: str, quota_bytes: int
    ) -> None:
        self._runtime = runtime
        self._core = runtime.core
        self._snapshots = snapshots
        self._version = version
        self._quota_bytes = quota_bytes

    def __call__(self) -> list[Family]:
        """Everything as it is now."""
        return [*self._server(), *self._consensus(), *self._keys(), *self._leases(),
                *self._disk(), *self._peers(), *self._own()]

    def _server(self) -> Iterator[Family]:
        me = f"{self._core.config.member_id:x}"
        cluster_version = self._version.rpartition(".")[0]
        yield Family("etcd_server_id", GAUGE, "1 under the id of this member.",
                     (Sample(1, {"server_id": me}),))
        yield Family("etcd_server_version", GAUGE,
                     "1 under the release of etcd whose behaviour this server has.",
                     (Sample(1, {"server_version": self._version}),))
        yield Family("etcd_cluster_version", GAUGE, "1 under the version of the cluster.",
                     (Sample(1, {"cluster_version": cluster_version}),))
        yield gauge("etcd_server_quota_backend_bytes",
                    "Size in bytes that the store may have; 0 for no limit.", self._quota_bytes)

    def _consensus(self) -> Iterator[Family]:
        core, chronicle = self._core, self._runtime.chronicle
        node, proposals, reads = core.node, core.proposals, core.reads
        yield gauge("etcd_server_has_leader", "1 if this member knows a leader.", bool(node.lead))
        yield gauge("etcd_server_is_leader", "1 if this member leads.", core.is_leader)
        yield gauge("etcd_server_is_learner", "1 if this member is a learner.", node.is_learner)
        yield counter("etcd_server_leader_changes_seen_total",
                      "Leaders, or terms of one, that this member has seen.",
                      core.leadership.changes)
        yield gauge("etcd_server_proposals_committed_total", "Index up to which the log is "
                    "committed, as far as this member knows.", node.commit)
        yield gauge("etcd_server_proposals_applied_total", "Index up to which this member has "
                    "applied the log.", core.backend.applied.index)
        yield gauge("etcd_server_proposals_pending",
                    "Writes of this member that wait for consensus.", len(proposals))
        yield counter("etcd_server_proposals_failed_total", "Writes of this member that were "
                      "refused after they were taken, or whose outcome is unknown.",
                      proposals.failed)
        yield counter("etcd_server_read_indexes_failed_total",
                      "Linearizable reads that were refused after they were taken.", reads.failed)
        yield counter("etcd_server_slow_read_indexes_total",
                      "Rounds of linearizable reads that had to be repeated for lack of an answer.",
                      reads.slow_rounds)
        yield counter("etcd_server_slow_apply_total",
                      "Turns, which include applying, that took more than 100 ms.",
                      chronicle.slow_turns)
        yield counter("etcd_server_heartbeat_send_failures_total",
                      "Heartbeats that left more than one interval late.",
                      chronicle.late_heartbeats)
        yield gauge("etcd_server_snapshot_apply_in_progress_total",
                    "1 while a snapshot from the leader is being loaded.",
                    self._runtime.installing)

    def _keys(self) -> Iterator[Family]:
        machine, counts, watches = (
            self._core.machine, self._core.machine.counts, self._core.watches.counts())
        done = {"put": counts.puts, "range": counts.ranges, "delete": counts.deletes,
                "txn": counts.txns}
        for what, number in done.items():
            for prefix in ("etcd_mvcc", "etcd_debugging_mvcc"):  # the latter up to 3.4
                yield counter(f"{prefix}_{what}_total", f"Executions of {what} by this member, "
                              f"those inside transactions included.", number)
        yield gauge("etcd_debugging_mvcc_keys_total", "Keys.", machine.keys)
        yield gauge("etcd_debugging_mvcc_current_revision", "The newest revision.",
                    machine.revision)
        yield gauge("etcd_debugging_mvcc_compact_revision",
                    "The revision that was compacted last; -1 for none.",
                    machine.compact_revision)
        yield counter("etcd_debugging_mvcc_db_compaction_keys_total",
                      "Changes that were physically removed.", counts.cleaned)
        yield gauge("etcd_debugging_mvcc_total_put_size_in_bytes",
                    "Bytes of keys and values that were put.", counts.put_bytes)
        yield gauge("etcd_debugging_mvcc_watch_stream_total", "Streams of watches.",
                    watches.streams)
        yield gauge("etcd_debugging_mvcc_watcher_total", "Watches.", watches.watchers)
        yield gauge("etcd_debugging_mvcc_slow_watcher_total",
                    "Watches that are served from history.", watches.slow)
        yield gauge("etcd_debugging_mvcc_pending_events_total",
                    "Revisions that watches which are served from history have before them.",
                    watches.pending)
        yield counter("etcd_debugging_mvcc_events_total", "Events that were sent to watches.",
                      watches.sent)

    def _leases(self) -> Iterator[Family]:
        counts = self._core.leases.counts
        yield counter("etcd_debugging_lease_granted_total", "Leases that were granted.",
                      counts.granted)
        yield counter("etcd_debugging_lease_revoked_total",
                      "Leases that were revoked, or ended.", counts.revoked)
        yield counter("etcd_debugging_lease_renewed_total",
                      "Renewals that this member acknowledged as the leader.", counts.renewed)
        yield counter("etcd_debugging_server_lease_expired_total",
                      "Leases that this member found ended as the leader.", counts.expired)
        yield histogram("etcd_debugging_lease_ttl_total", "TTLs of granted leases, in seconds.",
                        counts.ttls_s)

    def _disk(self) -> Iterator[Family]:
        runtime, size = self._runtime, self._core.backend.size()
        for prefix in ("etcd_mvcc", "etcd_debugging_mvcc"):
            yield gauge(f"{prefix}_db_total_size_in_bytes", "Bytes of the store's file.",
                        size.total)
        yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes that hold data.",
                    size.in_use)
        yield histogram("etcd_disk_wal_fsync_duration_seconds", "Syncs of the log.",
                        runtime.appender.sync_s)
        yield histogram("etcd_disk_wal_write_duration_seconds",
                        "Writes to the log, without their sync.", runtime.appender.write_s)
        yield gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.",
                    runtime.appender.wal.written_bytes)
        yield histogram("etcd_disk_backend_commit_duration_seconds",
                        "Commits of applied state, which writes do not wait for.",
                        runtime.commit_s)
        yield histogram("etcd_disk_backend_defrag_duration_seconds",
                        "Defragmentations, which have nothing to do here.",
                        runtime.upkeep.defrag_s)
        yield histogram("etcd_disk_backend_snapshot_duration_seconds",
                        "Snapshots for clients, from the question to the last byte.",
                        self._snapshots.took_s)

    def _peers(self) -> Iterator[Family]:
        transport, counts = self._runtime.transport, self._runtime.peer_counts()
        active = transport.active() if transport is not None else set()
        me = f"{self._core.config.member_id:x}"

        def each(name: str, kind: Kind, help_: str, count: str, label: str = "To") -> Family:
            value = attrgetter(count)
            return Family(f"etcd_network_{name}", kind, help_, tuple(
                Sample(value(one), {label: f"{peer:x}"}) for peer, one in counts.items()))

        def pair(name: str, kind: Kind, help_: str, value: Callable[[int], float]) -> Family:
            return Family(f"etcd_network_{name}", kind, help_, tuple(
                Sample(value(peer), {"Local": me, "Remote": f"{peer:x}"}) for peer in counts))

        yield pair("active_peers", GAUGE, "1 while the stream from that member is open.",
                   lambda peer: peer in active)
        yield pair("disconnected_peers_total", COUNTER, "Ends of open streams from that member.",
                   lambda peer: counts[peer].disconnects)
        yield each("peer_sent_bytes_total", COUNTER,
                   "Bytes sent to that member, but for snapshots.", "sent_bytes")
        yield each("peer_received_bytes_total", COUNTER,
                   "Bytes received from that member, but for snapshots.", "received_bytes", "From")
        yield each("peer_sent_failures_total", COUNTER,
                   "Messages to that member that were dropped.", "send_failures")
        yield each("peer_round_trip_time_seconds", HISTOGRAM,
                   "A question to that member and its answer, every 5 s.", "round_trips.seconds")
        for way, label, direction in (("send", "To", "sent"), ("receive", "From", "received")):
            yield each(f"snapshot_{way}_inflights_total", GAUGE, "Snapshots under way.",
                       f"{direction}.under_way", label)
            yield each(f"snapshot_{way}_success", COUNTER, "Snapshots that arrived.",
                       f"{direction}.succeeded", label)
            yield each(f"snapshot_{way}_failures", COUNTER, "Snapshots that did not arrive.",
                       f"{direction}.failed", label)
            yield each(f"snapshot_{way}_total_duration_seconds", HISTOGRAM,
                       "Snapshots that arrived.", f"{direction}.seconds", label)

    def _own(self) -> Iterator[Family]:
        yield gauge("quorate_quorum_margin", "Voters that may be lost now: those connected to this "
                    "member, and itself, beyond a quorum. Below 0 there is none.", self._margin())
        yield histogram("quorate_loop_lag_seconds",
                        "How late the loop came to each heartbeat interval.",
                        self._runtime.chronicle.lag_s)
        yield counter("quorate_log_lines_dropped_total",
                      "Lines of the log that nobody took in time.", logs.dropped())

    def _margin(self) -> int:
        transport, state = self._runtime.transport, self._core.conf_state
        reached = {self._core.config.member_id} | (
            transport.active() if transport is not None else set())
        halves = [set(half) for half in (state.voters, state.voters_outgoing) if half]
        return min((len(half & reached) - len(half) // 2 - 1 for half in halves), default=-1)
