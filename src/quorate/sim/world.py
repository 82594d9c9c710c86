"""One simulated cluster, as its plan decides: members, network, faults, clients, judgement.

Two phases. First faults. Then a random majority is healed, and alone must make progress within
PROGRESS_ELECTIONS; then everything is healed, alarms for want of space must end (room.py), and all
members must converge. Throughout: what invariants.py lists. At the end: what judge.py lists.

In the profile "excess" more is broken than is promised to be survived: there the cluster may
stop, and progress is not asked for, but whatever it did answer must have been right.

Not here: the members (member.py), faults (faults.py, operator.py), clients (client.py,
watcher.py), running many seeds (runner.py).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from quorate.check.linearizability import NEVER
from quorate.raft.types import ConfState, EntryType, InvariantBroken, Message, MessageType
from quorate.sim.answers import Answers
from quorate.sim.client import Client
from quorate.sim.clock import Clock
from quorate.sim.events import Events
from quorate.sim.faults import Faults
from quorate.sim.ha import HaCluster
from quorate.sim.invariants import Invariants, is_majority
from quorate.sim.judge import LeaseWatch, judge_clients
from quorate.sim.member import CLUSTER_ID, SimMember, Surroundings
from quorate.sim.network import LinkQuality, Network, summary
from quorate.sim.operator import Operator, described
from quorate.sim.plan import Plan
from quorate.sim.report import Report
from quorate.sim.room import make_room
from quorate.sim.schedules import run_schedules
from quorate.sim.upkeep import owed_compaction
from quorate.sim.v2watcher import catch_up, start, v2_watchers
from quorate.sim.watcher import Watcher
from quorate.wire._generated import rpc_pb2 as rpc

PROGRESS_ELECTIONS = 20
"""Election timeouts within which a healed majority must have acknowledged a write."""

PATIENCE_ELECTIONS = 2
"""Without an answer for so long, the next member is asked: the first may have been removed."""

CONVERGE_ELECTIONS = 30
"""Until all members have applied the same, without clients."""

STEADY_ELECTIONS = 3
"""After so long whoever leads has led for a while, unless another leads later."""

SETTLE_S = 12.0
"""How long clients go on after everything is healed: the longest lease and its end."""

LOOK_ELECTIONS = 0.05
"""How often, in election timeouts, is looked whether a phase is over."""


class Violation(Exception):
    """A promise was broken; the text says which, where and when."""


class World:
    """Build it with a plan and `run` it. `tell` gets each line of the timeline."""

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.clock = Clock()
        self.healing = False
        self.snapshots = 0
        self.steady_since = NEVER
        self._tell = tell
        self.trace = hashlib.sha256()
        self._ids = plan.members
        self._rng = plan.stream("world")
        self.network = Network(
            self.clock, plan.stream("network"),
            LinkQuality(plan.delay_s, plan.loss, plan.duplication), self._deliver,
            self._delivered)
        self._around = Surroundings(
            self.clock, plan, self.network.send, self._observe, self.note, self._refusals,
            self._ended, lambda revision: self.operator.compacts(revision))
        founders = tuple(described(i) for i in range(1, plan.members + 1))
        self.members = {m.id: SimMember(m.id, self._around, founders) for m in founders}
        self.events = Events(self.violation)
        self.invariants = Invariants(self.members.values, self.events, self.violation)
        self.leases = LeaseWatch(self.violation)
        self.answers = Answers(CLUSTER_ID)
        self.faults = Faults(self)
        self.operator = Operator(self)
        self.clients = [self._client(n) for n in range(plan.clients)]
        self.watchers = [self._watcher(n) for n in range(plan.watchers)]
        self.v2_watchers = v2_watchers(plan, self.clock, self.pick)
        self.ha = None if plan.ha is None else HaCluster(
            plan, plan.ha, self.clock, lambda: self.members, self.note, self.violation)

    def _client(self, number: int) -> Client:
        rng = self.plan.stream(f"client {number}")
        return Client(f"c{number}", self.clock, rng, lambda: self.pick(rng), self.plan,
                      self.answers, self.plan.pause_s)

    def _watcher(self, number: int) -> Watcher:
        rng = self.plan.stream(f"watcher {number}")
        return Watcher(f"w{number}", self.clock, rng, lambda: self.pick(rng),
                       0.25 * max(1.0, 10 * self.plan.pause_s))

    # The two phases.

    def run(self) -> Report:
        """Everything; raises Violation."""
        try:
            entries = run_schedules(self.plan, self.violation, self._tell)
            report = self._run()
            report.schedules, report.schedule_commits = self.plan.schedules, entries
            return report
        except InvariantBroken as broken:
            raise self.violation(f"{broken}") from broken

    def begin(self) -> None:
        """Everybody starts; what the plan has is on the agenda."""
        for member in list(self.members.values()):
            member.start()
        for actor in (*self.clients, *self.watchers, *([self.ha] if self.ha else ())):
            actor.start()
        start(self.v2_watchers)
        self.faults.schedule()
        self.operator.schedule()

    def _run(self) -> Report:
        report = Report(self.plan.seed, len(self.members), 0.0)
        self.begin()
        self.clock.run_until(self.plan.faults_s)
        trouble = self.clock.now
        self.healing = self.faults.over = True
        if self.plan.profile == "excess":
            self._heal(list(self.members))
            self.clock.run_until(self.clock.now + PROGRESS_ELECTIONS * self.plan.election_s)
            report.stopped_safely = not self._can_go_on()
        else:
            report.progress_s = self._progress(self._heal_majority())
        if not report.stopped_safely:
            self._heal(list(self.members))
            trouble, settle_s = self.clock.now, self._settle_s()
            self.clock.run_until(trouble + min(settle_s, STEADY_ELECTIONS * self.plan.election_s))
            steady, leaders = self.clock.now, len(self.invariants.leaders)
            revision = len(self.events.log) + 1
            self.clock.run_until(trouble + settle_s)
            if leaders == len(self.invariants.leaders):
                self.steady_since = steady
                self._look_at_compaction(revision)
            if self.plan.upkeep is not None:
                make_room(self)
        self._finish(report, trouble)
        return report

    def _look_at_compaction(self, revision: int) -> None:
        """By whoever has led since `revision` was the newest."""
        owed = owed_compaction(self.plan, self.clock.now - self.steady_since, revision)
        done = max(m.core.machine.compact_revision for m in self.members.values() if m.core)
        if done < owed:
            raise self.violation(f"history is compacted to {done}, it was to be to {owed}")

    def _settle_s(self) -> float:
        settle_s = SETTLE_S * self.plan.ttl_factor
        if self.ha is None:
            return settle_s
        self.ha.heal()
        return max(settle_s, self.ha.settle_s)

    def _finish(self, report: Report, trouble: float) -> None:
        until = self.clock.now
        for client in self.clients:
            client.stopped = True
        wrong = [] if self.ha is None or report.stopped_safely else self.ha.judge()
        if self.ha is not None:
            self.ha.stop()
        if not report.stopped_safely:
            self._converge()
            healthy = next(m for m in self.members.values() if m.id in self._voters() and m.up)
            for watcher in self.watchers:
                watcher.catch_up(healthy)
            catch_up(self.v2_watchers, healthy)
        wrong += judge_clients(
            self.plan, self.clients, self.watchers, self.events, self.leases,
            self.answers, trouble=(0.0, self.clock.now + 1e9 if report.stopped_safely else trouble),
            until=until, steady_since=self.steady_since,
            late_s=max(m.stood_still_s for m in self.members.values()),
            memories={
                m.id: max(m.remembers_since, self.invariants.reconfigured_at) if m.up else NEVER
                for m in map(self.members.__getitem__, self._voters())},
            nodes=[] if self.ha is None else self.ha.accesses, v2_watchers=self.v2_watchers)
        if not report.stopped_safely:
            wrong += self._ask_at_rest(healthy)
        if wrong:
            raise self.violation(wrong[0])
        report.fill(self)

    def _ask_at_rest(self, member: SimMember) -> list[str]:
        """Only then the next revision is known, which nobody may compact to. Nobody looks on: if
        a lease ends meanwhile, its events are compacted at once."""
        self._around.observe = lambda _member: None
        last = Client("last", self.clock, self._rng, lambda: member, self.plan, self.answers, 1.0)
        last.stopped = True
        last.ask(member, rpc.CompactionRequest(revision=len(self.events.log) + 2))
        self.clock.run_until(self.clock.now + PATIENCE_ELECTIONS * self.plan.election_s)
        return last.complaints

    def _progress(self, core: list[int]) -> float:
        """Wait until a healed member acknowledges a write; how long that took. A change of the
        configuration that was still under way may put the decision into other hands: then these
        are healed, too."""
        healed, rng, state = self.clock.now, self.plan.stream("probe"), self.conf_state()

        def pick() -> SimMember | None:
            up = [self.members[i] for i in core if self.members[i].up]
            return rng.choice(up) if up else None

        probe = Client("probe", self.clock, rng, pick, self.plan, self.answers,
                       LOOK_ELECTIONS * self.plan.election_s, only_puts=True,
                       answer_s=PATIENCE_ELECTIONS * self.plan.election_s)
        self.clients.append(probe)
        probe.start()
        while not any(call.response is not None for call in probe.calls):
            if self.clock.now >= healed + PROGRESS_ELECTIONS * self.plan.election_s:
                raise self.violation(f"the healed members {core} acknowledged no write")
            self.clock.run_until(self.clock.now + LOOK_ELECTIONS * self.plan.election_s)
            if self.conf_state() != state:
                healed, state = self.clock.now, self.conf_state()
                core[:] = state.voters
                self._heal(list(self.members))
        probe.stopped = True
        return self.clock.now - healed

    def _converge(self) -> None:
        """Run on until all members have applied the same; leases still end meanwhile."""
        deadline = self.clock.now + CONVERGE_ELECTIONS * self.plan.election_s
        while True:
            self.clock.run_until(self.clock.now + LOOK_ELECTIONS * self.plan.election_s)
            state = self.conf_state()
            members = [self.members[i] for i in sorted(state.members)
                       if not self.members[i].disk.rotten]
            applied = {m.id: m.core.backend.applied.index if m.core is not None else None
                       for m in members}
            if len(set(applied.values())) == 1 and None not in applied.values():
                break
            if self.clock.now >= deadline:
                raise self.violation(f"members did not converge; they have applied {applied}")
        hashes = {(m.core.machine.revision, m.core.machine.hash_kv(0).hash)
                  for m in members if m.core is not None}
        if len(hashes) != 1:
            raise self.violation(f"members differ after healing: {sorted(hashes)}")

    # Healing.

    def _heal_majority(self) -> list[int]:
        """A random majority works again, and only it; the others stay as they are, cut off or
        not. With a change of the configuration under way everybody is healed: who is needed is
        not known yet. Returns the voters among the healed."""
        state = self.conf_state()
        sound = [i for i in state.voters if not self.members[i].disk.rotten]
        if self._changing() or state.voters_outgoing:
            core = list(self.members)
        else:
            core = self._rng.sample(sorted(sound), len(state.voters) // 2 + 1)
        others = [i for i in self.members if i not in core]
        self.note(0, f"healed: {sorted(core)}")
        if self._rng.random() < 0.5:
            self.network.cut_between(core, others)
        self._heal(core)
        return [i for i in sound if i in core]

    def _changing(self) -> bool:
        """Whether some voter has not heard of the configuration yet, or a log has another one."""
        newest = max(m.disk.backend.applied.index for m in self.members.values())
        state = self.conf_state()
        if any(self.members[i].disk.backend.applied.conf_state != state for i in state.voters):
            return True
        for member in self.members.values():
            log = None if member.core is None else member.core.node.raft.log
            if log is None:
                return True  # nobody knows what its disk holds
            for index in range(max(newest + 1, log.first_index()), log.last_index() + 1):
                if log.slice(index, index + 1, 1)[0].type is not EntryType.NORMAL:
                    return True
        return False

    def _heal(self, ids: list[int]) -> None:
        """These members and the links among them are as they should be."""
        inside = [(a, b) for a in ids for b in ids if a != b]
        self.network.quality = LinkQuality(0.001 * self.plan.election_s, 0.0, 0.0)
        self.network.mend(inside)
        self.network.unclog(inside)
        for member_id in ids:
            member = self.members[member_id]
            member.fuse = member.pause_fuse = None
            disk = member.disk
            disk.slow = disk.hung = False
            disk.files.crash_at = None
            disk.files.fail_syncs = disk.files.full = False
            member.resume()
            member.start()

    def _can_go_on(self) -> bool:
        """Whether a majority of the voters is up."""
        return is_majority({m.id for m in self.members.values() if m.up}, self.conf_state())

    # What faults and operator need.

    def conf_state(self) -> ConfState:
        """The configuration as the most advanced member has it."""
        return max((m.disk.backend.applied for m in self.members.values()),
                   key=lambda point: point.index).conf_state

    def _voters(self) -> tuple[int, ...]:
        return self.conf_state().voters

    def may_lose(self, member_id: int) -> bool:
        """Whether the disk of a member may be lost for good."""
        changes = {"add", "promote", "remove", "swap"}
        if changes.intersection(fault.kind for fault in self.plan.faults):
            return False
        lost = {m.id for m in self.members.values() if m.disk.rotten} | {member_id}
        return 2 * len(lost) < len(self._voters())

    def new_id(self) -> int:
        """An id that no member ever had."""
        self._ids += 1
        return self._ids

    def add_member(self, member_id: int) -> None:
        """A new machine with an empty disk, which waits to be told."""
        if member_id not in self.members:
            self.members[member_id] = member = SimMember(member_id, self._around, ())
            member.start()

    def pick(self, rng: random.Random) -> SimMember | None:
        """Any member that runs."""
        up = [m for m in self.members.values() if m.up]
        return rng.choice(up) if up else None

    def connections_lost(self, member_id: int) -> None:
        """A member is gone; peers may notice."""
        for other in self.members.values():
            if other.up and self._rng.random() < self.plan.lost_connection_noticed:
                other.lost(member_id)

    # Plumbing.

    def note(self, member_id: int, text: str) -> None:
        """A line of the timeline, and of the trace."""
        line = f"{self.clock.now:11.6f} {member_id or '-':>2} {text}"
        self.trace.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    def _deliver(self, message: Message, image: object) -> bool:
        self.trace.update(
            b"%f %d %d %d %d %d %d %d" % (
                self.clock.now, message.type, message.from_, message.to, message.term,
                message.index, message.commit, len(message.entries)))
        if self._tell is not None:
            self._tell(f"{self.clock.now:11.6f} {message.to:>2} {summary(message)}")
        self.snapshots += image is not None
        member = self.members.get(message.to)
        if member is None:
            return False
        if message.type is MessageType.NOTICE:
            member.post(lambda: self.leases.read(message, self.clock.now))
        return member.receive(message, image)

    def _delivered(self, message: Message, ok: bool) -> None:
        self.members[message.from_].snapshot_sent(message.to, ok)

    def _refusals(self, member_id: int) -> list[int]:
        tellers = [
            m for m in self.members.values() if m.core is not None and not m.paused
            and m.core.removal.refuses(member_id, m.disk.backend.durable.index)
            and not {(m.id, member_id), (member_id, m.id)} & self.network.cut]
        for teller in tellers:
            self.invariants.look_at_refusal(teller, member_id)
        return [teller.id for teller in tellers]

    def _ended(self, member_id: int) -> None:
        if self.ha is not None:
            self.ha.broken(member_id)

    def _observe(self, member: SimMember) -> None:
        if self.invariants.look(member, self.clock.now) and member.core is not None:
            if (index := member.core.backend.applied.index) > self.answers.applied:
                self.answers.applied = index
                self.operator.look_at_alarms(member.disk.backend.full)
            self.leases.look(member.id, member.life, member.core.machine.leases.ids(),
                             self.clock.now)

    def violation(self, text: str) -> Violation:
        """The exception for a broken promise."""
        return Violation(f"seed {self.plan.seed} ({self.plan.profile}, {self.plan.members} "
                         f"members), {self.clock.now:.3f} s: {text}")
