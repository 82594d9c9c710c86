"""One simulated member: the shipped core, service, WAL and state on a simulated disk and clock.

Differences from a real member (member/runtime.py): syncs and backend commits take simulated
time, snapshot images travel as objects, the clock runs at a rate of its own, and the member can
be stopped between any two effects of a turn or operations on a file.

Invariants, checked here: after a restart everything is there that the disk had reported as safe;
damage in what was safe is noticed.

Not here: faults (faults.py), clients (client.py), the disk (simdisk.py), writing (appends.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from quorate.disk.files import Crashed
from quorate.disk.wal import WalDamaged, WalMetadata, WalSyncFailed
from quorate.member.build import build_core, open_log
from quorate.member.core import MemberCore
from quorate.member.effects import Effects
from quorate.member.limits import CoreConfig
from quorate.member.requests import RequestIds
from quorate.member.serving import MemberService
from quorate.member.upkeep import TICK_S
from quorate.raft.node import Node
from quorate.raft.types import (
    HardState, InvariantBroken, Message, MessageType, Snapshot, Storage,
)
from quorate.sim.appends import Appends
from quorate.sim.clock import Clock
from quorate.sim.plan import Plan
from quorate.sim.simdisk import Promised, SimDisk
from quorate.sim.upkeep import Keeper
from quorate.state.backend import AppliedPoint
from quorate.state.members import Member

CLUSTER_ID = 0xC0FFEE
SCRUB_RECORDS = 100
DRAINS_MAX = 1000  # in one turn; two or three are usual
REQUEST_BYTES_MAX = 1 << 20
EARLY_CAMPAIGN_JITTER_S = 0.03
PROGRESS_ELECTIONS = 3.0  # between words to idle watchers on how far they are


@dataclass(slots=True)
class Surroundings:
    """What a member reports to. `send` takes a message and a snapshot image, `observe` is called
    after each turn, `note` gets a line for the timeline."""

    clock: Clock
    plan: Plan
    send: Callable[[Message, object], None]
    observe: Callable[[SimMember], None]
    note: Callable[[int, str], None]
    refusals: Callable[[int], list[int]]
    """Members that would answer a connection by this one with "you were removed"."""
    ended: Callable[[int], None]
    """A member's process is gone; its clients' connections break."""
    compacts: Callable[[int], None]
    """A member is about to compact by itself."""


class SimMember:
    """A member that can be killed, lose power, pause, and come back."""

    def __init__(
        self, member_id: int, around: Surroundings, founders: tuple[Member, ...]
    ) -> None:
        """With `founders` it begins with them; without it waits to be told by a leader."""
        self.id = member_id
        self._around = around
        self._clock, plan = around.clock, around.plan
        self._rng = plan.stream(f"member {member_id}")
        self.disk = SimDisk(plan.stream(f"disk {member_id}"), plan.segment_bytes)
        self.life = 0
        self.remembers_since = 0.0
        """When it last started, or took over a state with a snapshot."""
        self.core: MemberCore | None = None
        self.stable: Storage | None = None
        """What its disk reported as safe, also of a life before."""
        self.paused = False
        self.removed = False
        self.fuse: int | None = None
        """Effects until the power fails."""
        self.pause_fuse: int | None = None
        """Effects until it pauses, inside a turn."""
        self._rate = self._rng.uniform(1 - plan.drift, 1 + plan.drift)
        self._offset_s = self._paused_at = self.stood_still_s = 0.0
        self._backlog: deque[Callable[[], None]] = deque()
        self._turning = self._scheduled = self._awake = False
        self._appends = Appends(self, around)
        self._promised = Promised(HardState(), {})
        self._config = CoreConfig(
            CLUSTER_ID, member_id, tick_s=plan.election_s / 10,
            election_timeout_s=plan.election_s, snapshot_count=plan.snapshot_count,
            snapshot_catch_up_entries=plan.catch_up, limits=plan.limits)
        self.disk.begin(WalMetadata(CLUSTER_ID, member_id), founders)

    @property
    def up(self) -> bool:
        """Whether it runs, if only as a paused process."""
        return self.core is not None

    @property
    def node(self) -> Node | None:
        """Its Raft node while it runs."""
        return None if self.core is None else self.core.node

    @property
    def applied(self) -> AppliedPoint:
        """How far the state is, and the configuration there."""
        return self.disk.backend.applied

    @property
    def now(self) -> float:
        """The member's own monotonic clock."""
        return self._offset_s + self._rate * self._clock.now

    # Life.

    def start(self) -> None:
        """Come up from what is on the disk, or stay down if it is damaged."""
        if self.up or self.removed:
            return
        try:
            opened = self.disk.open()
        except WalDamaged as damaged:
            if not self.disk.rotten:
                raise InvariantBroken(f"member {self.id}: {damaged}") from damaged
            self.note(f"refuses to start: {damaged}")
            return
        except (OSError, WalSyncFailed) as failure:
            self.note(f"cannot start: {failure}")
            return
        self.disk.check_kept(self._promised)
        self.life += 1
        self.remembers_since = self._clock.now
        log = open_log(opened, self.disk.backend.applied)
        self.stable = log
        plan = self._around.plan
        self.core = build_core(
            self._config, log, self.disk.backend, RequestIds(self.id, self.life),
            lambda tick: self._rng.randrange(tick, 2 * tick), self.now,
            durable=lambda: self.disk.backend.durable, message_bytes_max=plan.message_bytes,
            in_flight=plan.in_flight)
        keeper = self.keeper = None if plan.upkeep is None else Keeper(
            self.core, self.disk.backend, plan.upkeep, self._around.compacts)
        self.service = MemberService(
            self.core, self.wake, version="simulated", request_bytes_max=REQUEST_BYTES_MAX,
            upkeep=None if keeper is None else keeper.upkeep)
        self._turning = self._scheduled = False
        self.note(f"starts at term {log.initial_state()[0].term}, entry {log.last_index()}")
        self._repeat(self._config.tick_s / self._rate, self._tick)
        self._repeat(plan.commit_s, self._commit_and_cut)
        self._repeat(plan.election_s, self._connect)
        self._repeat(PROGRESS_ELECTIONS * plan.election_s, self.core.watches.tick_progress)
        if keeper is not None:
            self._repeat(TICK_S, self._keep_up)

    def kill(self) -> None:
        """The process is gone; what it wrote is still in the machine's memory."""
        self._remember()
        self.core = None
        self.paused = False
        self.fuse = self.pause_fuse = None
        self._appends.forget()
        self._backlog.clear()
        self.disk.files.crash_at = None
        self.disk.backend.crash()
        self._around.ended(self.id)

    def power_cut(self, *, torn: bool = False) -> None:
        """The machine is gone: un-synced bytes are lost or torn; with `torn` a bit of what is left
        of them is wrong, too."""
        if self.up:
            self.kill()
        self.disk.power_cut(torn=torn)

    def _remember(self) -> None:
        """What the disk has promised to keep is looked for at the next start."""
        if self.core is not None:
            storage = self.core.log.storage
            terms = {index: storage.term(index)
                     for index in range(storage.first_index(), storage.last_index() + 1)}
            self._promised = Promised(storage.initial_state()[0], terms)

    def pause(self) -> None:
        """Nothing happens in it until `resume`; what arrives waits."""
        if self.up and not self.paused:
            self.paused = True
            self._paused_at = self._clock.now
            self.note("pauses")

    def resume(self, *, clock_stood_still: bool = False) -> None:
        """Go on; as after a suspension, the monotonic clock may not have run meanwhile."""
        if not self.paused:
            return
        if clock_stood_still:
            self._offset_s -= self._rate * (self._clock.now - self._paused_at)
            self.stood_still_s += self._clock.now - self._paused_at
        self.paused, life = False, self.life
        self.note("resumes")
        while self._backlog and not self.paused and self.up and life == self.life:
            self.post(self._backlog.popleft())

    # Events.

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` in the member, now or when it wakes up."""
        if self.core is None:
            return
        if self.paused:
            self._backlog.append(call)
            return
        try:
            call()
        except Crashed:
            self.note("loses power")
            self.power_cut()
        except (WalSyncFailed, OSError) as failure:
            self.note(f"stops: {failure}")
            self.power_cut()  # a disk that failed has lost what the system still held

    def receive(self, message: Message, image: object) -> bool:
        """A message arrived; whether the member is up."""
        if self.core is None:
            return False
        self.post(partial(self._receive, message, image))
        return True

    def _receive(self, message: Message, image: object) -> None:
        assert self.core is not None
        if self.core.machine.members.is_removed(message.from_):
            return
        if message.type is MessageType.SNAP and message.snapshot is not None:
            assert isinstance(image, tuple)
            self.disk.images[message.snapshot.index, message.snapshot.term] = image
        self.core.receive(message, self.now)
        self.wake()

    def lost(self, member_id: int) -> None:
        """The connection to a member broke."""
        jitter_s = self._rng.uniform(0.0, EARLY_CAMPAIGN_JITTER_S)

        def lost() -> None:
            if self.core is not None:
                self.core.peer_lost(member_id, jitter_s, self.now)
                self._clock.after(jitter_s + 0.001, lambda: self.post(self._campaign))
                self.wake()

        self.post(lost)

    def snapshot_sent(self, to: int, ok: bool) -> None:
        """What became of a snapshot that this member sent."""

        def report() -> None:
            if self.core is not None:
                self.core.node.report_snapshot(to, ok)
                self.wake()

        self.post(report)

    def _campaign(self) -> None:
        if self.core is not None:
            self.core.wake(self.now)
            self.wake()

    def _tick(self) -> None:
        assert self.core is not None
        self.core.tick(self.now)
        self.turn()

    def _keep_up(self) -> None:
        assert self.keeper is not None
        self.keeper.tick(self.now)
        self.wake()

    def _repeat(self, interval_s: float, call: Callable[[], None]) -> None:
        life = self.life

        def due() -> None:
            if life == self.life and self.core is not None:
                self.post(again)

        def again() -> None:
            call()
            if life == self.life and self.core is not None:
                self._clock.after(interval_s, due)

        self._clock.after(interval_s * self._rng.random(), due)

    # One turn.

    def wake(self) -> None:
        """Take a turn: at once, or when more had time to gather."""
        gather_s = self._around.plan.gather_s
        if not gather_s:
            self.turn()
        elif not self._scheduled:
            self._scheduled, life = True, self.life

            def turn() -> None:
                if life == self.life:
                    self._scheduled = False
                    self.post(self.turn)

            self._clock.after(gather_s * self._rng.random(), turn)

    def turn(self) -> None:
        """Drain the core as often as the runtime does: again after reports, and when it was woken
        meanwhile."""
        self._awake = True
        if self._turning:
            return
        self._turning, now, drains = True, self.now, 0
        try:
            while self._awake and self.core is not None and not self.paused:
                effects, drains = self.core.drain(now), drains + 1
                self._awake = False
                if effects:
                    self._awake = effects.go_on
                    self._carry_out(self._steps(effects))
                if drains > DRAINS_MAX:
                    raise InvariantBroken(f"a turn of member {self.id} does not end")
        finally:
            self._turning = False
        if self.core is not None:
            self._around.observe(self)

    def _connect(self) -> None:
        """What peers say to a connection, as peers/transport.py hears it."""
        assert self.core is not None
        for member_id in self._around.refusals(self.id):
            self.core.removal.told(member_id)
        if self.core.removal.dispensable:
            self.note("stops: it was removed")
            self.removed = True
            self.kill()

    def _steps(self, effects: Effects) -> deque[Callable[[], None]]:
        send = self._send_message
        steps: list[Callable[[], None]] = [
            partial(send, message) for message in effects.messages]
        if effects.appends:
            steps.append(partial(self._appends.add, effects.appends))
        if effects.replies:
            steps += [partial(waiter, outcome) for waiter, outcome in effects.replies]
        return deque(steps)

    def _carry_out(self, steps: deque[Callable[[], None]]) -> None:
        """One by one, with a boundary before each at which the power may fail or the member may
        pause."""
        life = self.life
        while steps and life == self.life and self.core is not None:
            if self.fuse is not None:
                self.fuse -= 1
                if self.fuse < 0:
                    raise Crashed("at an effect boundary")
            if self.pause_fuse is not None:
                self.pause_fuse -= 1
                if self.pause_fuse < 0:
                    self.pause_fuse = None
                    self._backlog.appendleft(self.turn)
                    self._backlog.appendleft(partial(self._carry_out, steps))
                    self.pause()
                    return
            steps.popleft()()

    def _send_message(self, message: Message) -> None:
        if message.type is not MessageType.SNAP:
            self._around.send(message, None)
            return
        point, chunks = self.disk.backend.dump()
        snapshot = Snapshot(point.index, point.term, point.conf_state)
        self._around.send(replace(message, snapshot=snapshot), (point, list(chunks)))

    # Disk.

    def _commit_and_cut(self) -> None:
        assert self.core is not None
        self.disk.backend.commit()
        self.core.machine.scrub(SCRUB_RECORDS)
        if self._appends.syncing:
            return
        wal, durable = self.disk.wal, self.disk.backend.durable
        wal.note_synced()
        if self.core.log.cut_due(durable):
            wal.mark_snapshot(durable.index, durable.term, durable.conf_state)
            wal.sync()
            self.disk.release(self.core.log.cut(durable))

    def note(self, text: str) -> None:
        """A line of this member's for the timeline."""
        self._around.note(self.id, text)
