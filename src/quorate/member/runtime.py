"""The asyncio driver of one member: sockets, timers and files around `MemberCore`.

One turn: whatever the loop read since the last turn went into the core; `_pump` drains it, lets
the messages leave, hands the appends to the disk, and calls the waiters, until nothing is left.

Invariants:
- The core is touched on the loop's thread only.
- The followers' bytes leave before the leader's own sync starts.
- A broken invariant or a failed sync ends the process; nothing is answered after it.

Not here: what the events mean (core.py), how a member starts and stops (launch.py).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from quorate.disk.lmdb_backend import Batch, LmdbBackend
from quorate.disk.probe import SyncMode
from quorate.disk.snapshot_files import SnapshotFiles, framed
from quorate.disk.wal import Wal
from quorate.member.appender import Appender
from quorate.member.chronicle import Chronicle
from quorate.member.core import MemberCore
from quorate.member.membership import Membership, Respond
from quorate.member.pace import COMMIT_S, CommitPace
from quorate.member.upkeep import TICK_S, Upkeep
from quorate.peers.handler import SnapshotSink
from quorate.peers.counts import PeerCounts
from quorate.peers.transport import PeerTransport
from quorate.raft.types import Message, MessageType, Snapshot
from quorate.state.backend import AppliedPoint
from quorate.state.members import Member, to_json
from quorate.wire.prometheus import Histogram

log = logging.getLogger(__name__)

PUMP_ROUNDS_MAX = 32
"""Drains in one turn before other events of the loop get their chance."""

EARLY_CAMPAIGN_JITTER_S = 0.03
"""Spread of the early campaigns of members that lost their leader at the same moment."""

SCRUB_RECORDS = 200
"""Records cleaned up per step of physical compaction, about a millisecond of work."""

PROGRESS_S = 600.0
"""Interval of watch progress notifications (etcd's default)."""


class Removed(Exception):
    """The cluster has gone on without this member; the text says what to do."""


class Runtime:
    """Everything that moves in a running member."""

    def __init__(
        self, core: MemberCore, upkeep: Upkeep, wal: Wal, backend: LmdbBackend,
        images: SnapshotFiles,
        *, heartbeat_s: float, failed: Callable[[BaseException], None],
        flush: Callable[[], None],
    ) -> None:
        """`flush` lets the replies of a turn leave."""
        self.core = core
        self.upkeep = upkeep
        self.backend = backend
        self.transport: PeerTransport | None = None
        self.membership: Membership | None = None
        self.chronicle = Chronicle(core, heartbeat_s)
        self.commit_s = Histogram()
        """Durations of the backend's commits."""
        self.installing = False
        """A received snapshot is being loaded."""
        self._images = images
        self._heartbeat_s = heartbeat_s
        self._failed = failed
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()
        self.appender = Appender(
            wal, SyncMode(heartbeat_s), done=core.append_done, wake=self.wake,
            failed=failed, install=self._install)
        self._commits = ThreadPoolExecutor(1, thread_name_prefix="backend-commit")
        self._committing_since: float | None = None
        self._pace = CommitPace()
        self._scheduled = self._settled = self._preparing = False
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._wake_timer: asyncio.TimerHandle | None = None
        self._stopped = False

    # Life.

    def start(self) -> None:
        """Begin to tick."""
        self._tick()
        self._commit()
        self._progress()
        self._keep_up()
        self.wake()

    def wake(self) -> None:
        """Run a turn when what the loop has read so far is in the core."""
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        """Let the loop poll once more: requests that arrive microseconds later share the sync.
        It adds a fifth to the writes a second of 16 connections, and nothing that can be measured
        to the latency of one (docs/performance.md)."""
        self._loop.call_soon(self._pump)

    async def stop(self) -> None:
        """Stop turning and leave the disk in order."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        await self._loop.run_in_executor(None, self._commits.shutdown)
        batch = self.backend.freeze()
        if batch is not None:
            self.backend.write(batch)
            self.backend.thaw(batch)
        self.appender.close()
        self.backend.close()

    # One turn.

    def _pump(self) -> None:
        self._scheduled = False
        try:
            for _ in range(PUMP_ROUNDS_MAX):
                if not self._turn():
                    break
            else:
                self.wake()
        except Exception as failure:
            self._stopped = True
            self._failed(failure)
            return
        if self.core.lagging:
            self.wake()
        self._arm_early_campaign()

    def _turn(self) -> bool:
        started = time.perf_counter()
        effects = self.core.drain(self._loop.time())
        self.chronicle.turned(time.perf_counter() - started)
        if not effects:
            return False
        if effects.messages and self.transport is not None:
            self.transport.send(effects.messages)
        if effects.appends:
            self.appender.append(effects.appends)
        for waiter, outcome in effects.replies:
            waiter(outcome)
        self._flush()
        if effects.members_changed:
            self.update_peers()
        return effects.go_on

    def _tick(self) -> None:
        self._again(0, self._heartbeat_s, self._tick)
        self.chronicle.ticked(self._loop.time())
        self._campaign_at_start()
        self.core.tick(self._loop.time())
        self.wake()

    def _campaign_at_start(self) -> None:
        """Without a leader since the start, do not wait a whole timeout once a quorum can be
        talked to; pre-vote keeps this from disturbing a cluster that has a leader."""
        core = self.core
        if self._settled or core.node.lead:
            self._settled = self._settled or bool(core.node.lead)
            return
        active = self.transport.active() if self.transport is not None else set()
        if core.quorum({core.config.member_id, *active}):
            self._settled = True
            core.leadership.campaign_soon(
                self._loop.time(), self._random.uniform(0.0, EARLY_CAMPAIGN_JITTER_S))

    def _progress(self) -> None:
        self._again(1, PROGRESS_S, self._progress)
        self.core.watches.tick_progress()

    def _keep_up(self) -> None:
        self._again(3, TICK_S, self._keep_up)
        self.upkeep.tick(self._loop.time())
        self.wake()

    def _again(self, slot: int, delay_s: float, call: Callable[[], None]) -> None:
        if not self._stopped:
            self._timers[slot] = self._loop.call_later(delay_s, call)

    def _arm_early_campaign(self) -> None:
        at = self.core.leadership.campaign_at
        if at is None or (self._wake_timer is not None and self._wake_timer.when() == at):
            return
        if self._wake_timer is not None:
            self._wake_timer.cancel()
        self._wake_timer = self._loop.call_at(at, self._campaign)

    def _campaign(self) -> None:
        self._wake_timer = None
        self.core.wake(self._loop.time())
        self.wake()

    # The backend and the length of the log.

    @property
    def writing_since(self) -> float | None:
        """When the oldest write that the disk has not answered began, by the loop's clock."""
        begun = (self.appender.syncing_since, self._committing_since)
        return min((since for since in begun if since is not None), default=None)

    def _commit(self) -> None:
        self._again(2, COMMIT_S, self._commit)
        if self._committing_since is not None:
            return
        if not self.appender.busy:
            self.appender.wal.note_synced()
            if self.appender.wal.wants_spare and not self._preparing:
                self._prepare_segment()
            if self.core.log.cut_due(self.backend.durable):
                self._cut_log()
        self.core.machine.scrub(SCRUB_RECORDS)
        now, log_bytes = self._loop.time(), self.appender.wal.written_bytes
        batch = self.backend.freeze() if self._pace.due(now, log_bytes) else None
        if batch is None:
            return
        self._committing_since = now
        self._pace.began(now, log_bytes)
        future = self._loop.run_in_executor(self._commits, self._write_batch, batch)

        def written(done: asyncio.Future[None]) -> None:
            self._committing_since = None
            failure = done.exception()
            if failure is not None:
                self._failed(failure)
            else:
                self.backend.thaw(batch)
                self._pace.took(self._loop.time() - now)

        future.add_done_callback(written)

    def _write_batch(self, batch: Batch) -> None:
        started = time.perf_counter()
        self.backend.write(batch)
        self.commit_s.observe(time.perf_counter() - started)

    def _prepare_segment(self) -> None:
        self._preparing = True

        def prepared(done: asyncio.Future[None]) -> None:
            self._preparing = False
            failure = done.exception()
            if failure is not None:
                log.warning("the next segment of the log could not be prepared: %s", failure)

        self._loop.run_in_executor(
            self._commits, self.appender.wal.prepare).add_done_callback(prepared)

    def _cut_log(self) -> None:
        durable = self.backend.durable
        wal = self.appender.wal
        wal.mark_snapshot(durable.index, durable.term, durable.conf_state)
        wal.sync()
        wal.release(self.core.log.cut(durable))

    # Peers (`peers.PeerHandler`).

    def on_message(self, message: Message) -> None:
        """A message from a peer."""
        self.core.receive(message, self._loop.time())
        self.wake()

    def on_unreachable(self, member_id: int, dropped: list[Message]) -> None:
        """See `PeerHandler`. What clients wait for is tried again at the next tick."""
        self.core.node.report_unreachable(member_id)
        for message in dropped:
            if message.type is MessageType.PROP:
                self.core.proposals.not_sent(entry.data for entry in message.entries)
            elif message.type is MessageType.NOTICE:
                self.core.leases.not_sent(message)

    def on_lost(self, member_id: int) -> None:
        """The peer's process is gone, as far as its connection tells."""
        self.core.peer_lost(
            member_id, self._random.uniform(0.002, EARLY_CAMPAIGN_JITTER_S), self._loop.time())
        self.wake()

    def on_refused(self, member_id: int) -> None:
        """The peer says that this member was removed."""
        self.core.removal.told(member_id)
        if self.core.removal.dispensable:
            self._failed(Removed(
                "this member was removed from the cluster for good; to use the machine again, "
                "add it as a new member and start it with an empty data directory"))

    def on_snapshot_sent(self, member_id: int, ok: bool) -> None:
        """A snapshot left, or failed to."""
        self.core.node.report_snapshot(member_id, ok)
        self.wake()

    def open_snapshot(self, message: Message) -> tuple[Message, Iterator[bytes]]:
        """The durable state to send: at least as new as the snapshot that Raft named."""
        point, chunks = self.backend.dump()
        snapshot = Snapshot(point.index, point.term, point.conf_state)
        return replace(message, snapshot=snapshot), framed(chunks)

    def receive_snapshot(self, message: Message) -> SnapshotSink:
        """An image is coming in."""
        return _IncomingImage(self, message, self._images)

    def members_json(self) -> bytes:
        """The members, for `/members` of the peer port."""
        return b"[" + b",".join(map(to_json, self.core.machine.members.all())) + b"]"

    def on_post(self, path: str, body: bytes, respond: Respond) -> bool:
        """Another member wants this one, as the leader, to decide."""
        return self.membership is not None and self.membership.answer_peer(path, body, respond)

    def peer_counts(self) -> dict[int, PeerCounts]:
        """What was exchanged with which member, removed ones included."""
        return {} if self.transport is None else dict(self.transport.counts)

    def accepts(self, member_id: int) -> bool:
        """Whether a member that the state does not have may be talked to."""
        return not self.core.machine.members.is_removed(member_id)

    # What membership changes need to know (`membership.Links`).

    def active_since(self, member_id: int) -> float | None:
        """See `Links`."""
        return self.transport.active_since(member_id) if self.transport is not None else None

    def post(self, member: Member, path: str, body: bytes, respond: Respond) -> None:
        """See `Links`."""
        if self.transport is None:
            return respond(0, b"")
        return self.transport.post(member.peer_urls, member.id, path, body, respond)

    def is_removed(self, member_id: int) -> bool:
        """Whether that member was removed for good, as far as this one will still know after a
        power cut: the member stops when enough others tell it so."""
        return self.core.removal.refuses(member_id, self.backend.durable.index)

    def _install(self, snapshot: Snapshot) -> None:
        """Replace the state by a received image; its WAL mark is durable already."""
        point = AppliedPoint(snapshot.index, snapshot.term, snapshot.conf_state)
        self.installing = True
        self.backend.load(point, self._images.read(snapshot.index, snapshot.term))
        self.installing = False
        self._images.clear()

    def update_peers(self) -> None:
        """Talk to exactly the members that the state has."""
        if self.transport is not None:
            self.transport.set_peers(
                (m.id, m.peer_urls) for m in self.core.machine.members.all()
                if m.id != self.core.config.member_id)


class _IncomingImage:
    """A `peers.SnapshotSink`: the message is stepped when the image is durable."""

    def __init__(self, runtime: Runtime, message: Message, images: SnapshotFiles) -> None:
        self._runtime = runtime
        self._message = message
        assert message.snapshot is not None
        self._writer = images.begin(message.snapshot.index, message.snapshot.term)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def finish(self) -> None:
        self._writer.commit()
        self._runtime.on_message(self._message)

    def abort(self) -> None:
        self._writer.abort()
