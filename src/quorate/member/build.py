"""From what the disk holds to a core that can take events; used by runtime and simulator alike.

Invariants: the log starts at the snapshot mark of the WAL; what the backend has applied beyond
the mark is not applied again; a commit index on disk that lags behind the applied one is lifted
(lesson L19: commit-only changes are not synced).

Not here: reading the disk (disk/recover.py), sockets and timers (runtime.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.disk.wal import WalContents
from quorate.member.core import MemberCore
from quorate.member.limits import CoreConfig
from quorate.member.requests import RequestIds
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import HardState, InFlightLimits, Snapshot
from quorate.state.backend import AppliedPoint, Backend
from quorate.state.machine import Machine

MESSAGE_BYTES_MAX = 1 << 20
IN_FLIGHT_MESSAGES = 512
"""Replication limits of etcd's server (maxSizePerMsg, maxInflightMsgs)."""

UNCOMMITTED_BYTES_MAX = 1 << 30
COMMITTED_BYTES_PER_READY = 8 << 20
"""How much is applied in one go, so that a follower catching up still answers heartbeats."""


def open_log(contents: WalContents, applied: AppliedPoint) -> MemoryStorage:
    """The stable log as Raft reads it, from what the WAL holds."""
    log = MemoryStorage()
    mark = contents.snapshot
    log.apply_snapshot(Snapshot(mark.index, mark.term, mark.conf_state))
    log.append(contents.entries)
    log.set_hard_state(contents.hard_state)
    lift_commit(log, applied.index)
    return log


def lift_commit(log: MemoryStorage, applied: int) -> None:
    """A commit index alone is not synced: after a restart it may lag behind what is applied, and
    is lifted as far as the log goes (lesson L19)."""
    state = log.initial_state()[0]
    commit = min(max(state.commit, applied), log.last_index())
    log.set_hard_state(HardState(state.term, state.vote, commit))


def build_core(
    config: CoreConfig, log: MemoryStorage, backend: Backend, ids: RequestIds,
    random_timeout: Callable[[int], int], now: float,
    *, durable: Callable[[], AppliedPoint], max_txn_ops: int = 128,
    message_bytes_max: int = MESSAGE_BYTES_MAX, in_flight: int = IN_FLIGHT_MESSAGES,
) -> MemberCore:
    """A core over this log and state. `durable` is the point that a snapshot taken now has."""

    def snapshot() -> Snapshot:
        point = durable()
        return Snapshot(point.index, point.term, point.conf_state)

    log.snapshot_source = snapshot
    log.start_with(backend.applied.conf_state)
    node = Node(NodeConfig(
        id=config.member_id, storage=log, applied=backend.applied.index,
        election_tick=max(1, round(config.election_timeout_s / config.tick_s)),
        heartbeat_tick=1, check_quorum=True, pre_vote=True, step_down_on_removal=True,
        max_bytes_per_message=message_bytes_max,
        max_committed_bytes_per_ready=COMMITTED_BYTES_PER_READY,
        max_uncommitted_bytes=UNCOMMITTED_BYTES_MAX,
        in_flight=InFlightLimits(in_flight), disable_proposal_forwarding=True,
        random_timeout=random_timeout))
    machine = Machine(backend, max_txn_ops=max_txn_ops)
    return MemberCore(config, node, log, backend, machine, ids, now)
