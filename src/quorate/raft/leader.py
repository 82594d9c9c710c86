"""What a leader does: replicate, count, confirm reads, hand over.

Functions over `core.Raft`, one per kind of message. Not here: terms and votes (core.py), what is
known about followers (tracker.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.raft.confchange import as_v2, decode_conf_change, leaves_joint
from quorate.raft.errors import ProposalDropped
from quorate.raft.quorum import VoteResult
from quorate.raft.settings import ReadOnly
from quorate.raft.tracker import Progress, ProgressState
from quorate.raft.types import (
    NONE, Entry, EntryType, InvariantBroken, Message, MessageType as T, ReadState,
    SnapshotUnavailable, StorageError,
)

if TYPE_CHECKING:
    from quorate.raft.core import Raft


def step(raft: Raft, message: Message) -> None:
    """A message of this term, or a local one."""
    kind = message.type
    if kind is T.APP_RESP:
        progress = raft.tracker.progress.get(message.from_)
        if progress is not None:
            _append_answered(raft, message, progress)
    elif kind is T.PROP:
        propose(raft, message.entries)
    elif kind is T.BEAT:
        _broadcast_heartbeat(raft, raft.reads.context())
    elif kind is T.CHECK_QUORUM:
        _check_quorum(raft)
    elif kind is T.READ_INDEX:
        _read_index(raft, message)
    else:
        progress = raft.tracker.progress.get(message.from_)
        if progress is not None:
            _from_follower(raft, message, progress)


def _from_follower(raft: Raft, message: Message, progress: Progress) -> None:
    match message.type:
        case T.HEARTBEAT_RESP:
            _heartbeat_answered(raft, message, progress)
        case T.SNAP_STATUS if progress.state is ProgressState.SNAPSHOT:
            if message.reject:
                progress.pending_snapshot = 0
            progress.become_probe()
            # Taken: wait for the follower's own word. Failed: wait for a heartbeat.
            progress.paused_flow = True
        case T.UNREACHABLE if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        case T.TRANSFER_LEADER:
            _transfer(raft, message.from_, progress)


# Proposals.


def propose(raft: Raft, entries: tuple[Entry, ...], *, quiet: bool = False) -> None:
    """Append and replicate; raises ProposalDropped unless `quiet`."""
    if not entries:
        raise InvariantBroken("a proposal without entries")
    refused = raft.id not in raft.tracker.progress or raft.transferee != NONE
    if not refused:
        if any(entry.type is not EntryType.NORMAL for entry in entries):
            entries = _checked(raft, entries)
        refused = not raft.append_entries(entries)
    if not refused:
        broadcast_append(raft)
    elif not quiet:
        raise ProposalDropped


def _checked(raft: Raft, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Configuration changes that must not be made now become empty entries."""
    out = list(entries)
    for position, entry in enumerate(entries):
        if entry.type is EntryType.NORMAL:
            continue
        change = as_v2(decode_conf_change(entry.type, entry.data))
        pending = raft.pending_conf_index > raft.log.applied
        joint = raft.tracker.config.joint
        wrong = pending or joint != leaves_joint(change)
        if wrong and not raft.config.disable_conf_change_validation:
            out[position] = Entry(0, 0)
        else:
            raft.pending_conf_index = raft.log.last_index() + position + 1
    return tuple(out)


# Replication.


def broadcast_append(raft: Raft) -> None:
    """Send everybody what is missing there."""
    for node_id in raft.tracker.ids:
        if node_id != raft.id:
            maybe_send_append(raft, node_id, even_if_empty=True)


def maybe_send_append(raft: Raft, to: int, *, even_if_empty: bool) -> bool:
    """Send one append, or a snapshot where the log does not reach back; whether it was sent."""
    progress = raft.tracker.progress[to]
    if progress.paused:
        return False
    log, previous = raft.log, progress.next - 1
    try:
        previous_term = log.term(previous)
        entries: tuple[Entry, ...] = ()
        # With a full window only an empty append goes out: answered or rejected, it gets a
        # follower going again whose appends were all lost.
        if progress.state is not ProgressState.REPLICATE or not progress.in_flight.full:
            entries = log.entries(progress.next, raft.config.max_bytes_per_message)
    except StorageError:
        return _send_snapshot(raft, to, progress)
    if not entries and not even_if_empty:
        return False
    raft.messages.append(Message(
        T.APP, to=to, from_=raft.id, term=raft.term, index=previous, log_term=previous_term,
        entries=entries, commit=log.committed))
    progress.sent_entries(len(entries), sum([len(entry.data) for entry in entries]))
    progress.sent_commit = log.committed
    return True


def _send_snapshot(raft: Raft, to: int, progress: Progress) -> bool:
    if not progress.recent_active:
        return False
    try:
        snapshot = raft.log.snapshot or raft.log.storage.snapshot()
    except SnapshotUnavailable:
        return False
    if snapshot.empty:
        raise InvariantBroken("a compacted log needs a snapshot that is not empty")
    if to not in snapshot.conf_state.members:
        return False  # it would refuse one that does not know it, again and again
    progress.become_snapshot(snapshot.index)
    raft.messages.append(Message(
        T.SNAP, to=to, from_=raft.id, term=raft.term, snapshot=snapshot))
    return True


def _append_answered(raft: Raft, message: Message, progress: Progress) -> None:
    progress.recent_active = True
    if message.reject:
        hint = message.reject_hint
        if message.log_term > 0:
            hint, _ = raft.log.conflict_by_term(message.reject_hint, message.log_term)
        if progress.maybe_decrease(message.index, hint):
            if progress.state is ProgressState.REPLICATE:
                progress.become_probe()
            maybe_send_append(raft, message.from_, even_if_empty=True)
        return
    probing = progress.state is ProgressState.PROBE
    if not progress.maybe_update(message.index) and not (
            probing and progress.match == message.index):
        return
    if probing:
        progress.become_replicate()
    elif progress.state is ProgressState.REPLICATE:
        progress.in_flight.free_to(message.index)
    elif progress.match + 1 >= raft.log.first_index():
        # Whichever snapshot it took: the log reaches back to it (lesson L16).
        progress.become_probe()
        progress.become_replicate()
    _after_progress(raft, message.from_, progress)


def _after_progress(raft: Raft, follower: int, progress: Progress) -> None:
    if raft.maybe_commit():
        _release_pending_reads(raft)
        broadcast_append(raft)
    elif follower != raft.id and progress.can_bump_commit(raft.log.committed):
        maybe_send_append(raft, follower, even_if_empty=True)
    if follower == raft.id:
        return
    while maybe_send_append(raft, follower, even_if_empty=False):
        pass
    if follower == raft.transferee and progress.match == raft.log.last_index():
        _send_timeout_now(raft, follower)


# Heartbeats and reads.


def _broadcast_heartbeat(raft: Raft, context: bytes) -> None:
    for node_id in raft.tracker.ids:
        if node_id == raft.id:
            continue
        progress = raft.tracker.progress[node_id]
        # Never a commit index beyond what is known to agree.
        commit = min(progress.match, raft.log.committed)
        raft.messages.append(Message(
            T.HEARTBEAT, to=node_id, from_=raft.id, term=raft.term, commit=commit,
            context=context))
        progress.sent_commit = commit


def _heartbeat_answered(raft: Raft, message: Message, progress: Progress) -> None:
    progress.recent_active = True
    progress.paused_flow = False
    if progress.match < raft.log.last_index() or progress.state is ProgressState.PROBE:
        maybe_send_append(raft, message.from_, even_if_empty=True)
    if not message.context:
        return
    acked = raft.reads.acknowledge(message.from_, message.context)
    if raft.tracker.result(acked) is VoteResult.WON:
        for request, index in raft.reads.confirm(message.context):
            _answer_read(raft, request, index)


def _check_quorum(raft: Raft) -> None:
    if not raft.tracker.quorum_active():
        raft.become_follower(raft.term, NONE)
    for node_id in raft.tracker.ids:
        if node_id != raft.id:
            raft.tracker.progress[node_id].recent_active = False


def _read_index(raft: Raft, message: Message) -> None:
    if not _committed_in_term(raft):
        # Before that the leader does not know what was committed before it (lesson L9), not even
        # the only voter: after a restart the commit index on its disk may lag.
        raft.pending_reads.append(message)
    elif raft.tracker.is_singleton and raft.id in raft.tracker.config.voters:
        _answer_read(raft, message, raft.log.committed)
    else:
        _start_read(raft, message)


def _start_read(raft: Raft, message: Message) -> None:
    if raft.config.read_only is ReadOnly.LEASE_BASED:
        _answer_read(raft, message, raft.log.committed)
        return
    context = raft.reads.add(message, raft.log.committed)
    raft.reads.acknowledge(raft.id, context)
    _broadcast_heartbeat(raft, context)


def _committed_in_term(raft: Raft) -> bool:
    return raft.log.matches(raft.term, raft.log.committed)


def _release_pending_reads(raft: Raft) -> None:
    if raft.pending_reads and _committed_in_term(raft):
        messages, raft.pending_reads = raft.pending_reads, []
        for message in messages:
            _read_index(raft, message)


def _answer_read(raft: Raft, request: Message, index: int) -> None:
    if request.from_ in (NONE, raft.id):
        raft.read_states.append(ReadState(index, request.entries[0].data))
    else:
        raft.messages.append(Message(
            T.READ_INDEX_RESP, to=request.from_, from_=raft.id, term=raft.term, index=index,
            entries=request.entries))


# Handing over.


def _transfer(raft: Raft, to: int, progress: Progress) -> None:
    if progress.is_learner or raft.transferee == to:
        return
    raft.transferee = NONE
    if to == raft.id:
        return
    raft.election_elapsed = 0  # the transfer has one election timeout
    raft.transferee = to
    if progress.match == raft.log.last_index():
        _send_timeout_now(raft, to)
    else:
        maybe_send_append(raft, to, even_if_empty=True)


def _send_timeout_now(raft: Raft, to: int) -> None:
    raft.messages.append(Message(T.TIMEOUT_NOW, to=to, from_=raft.id, term=raft.term))

