"""One simulated cluster decided by one seed: members, network, faults, clients, judgement.

Two phases. First faults: loss, delay, cuts in one or both directions, crashes that drop un-synced
bytes, restarts. Then everything is healed and started, and the cluster must make progress and
converge. Throughout: what invariants.py lists, and no lease ends early. At the end: all members
give the same events, every watcher was given exactly those, the revision-order judge
(check/revisions.py) confirms every answer that a client got, hashes are equal.

Not here: the members (member.py), the clients (client.py, watcher.py), running many seeds
(runner.py).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from quorate.check.keyvalue import within
from quorate.check.revisions import judge_revisions
from quorate.raft.types import Message
from quorate.sim.client import Client
from quorate.sim.clock import Clock
from quorate.sim.invariants import Invariants
from quorate.sim.member import SimMember, SimSettings
from quorate.sim.network import LinkQuality, Network
from quorate.sim.watcher import Given, Watcher
from quorate.state.members import Member

FAULTS_S = 20.0
"""Simulated length of the first phase."""

HEAL_S = 15.0
"""Time for progress and convergence after healing; several elections."""

CONVERGE_S = 10.0
CONVERGE_LOOK_S = 0.05
"""Without clients, members must be found equal within the first, looked at every so often."""

ABANDONED_S_MAX = 12.0
"""A lease left alone before this, with a last renewal under way for 10 s, is over at the end."""

LOST_CONNECTION_NOTICED = 0.7
"""Chance that a peer notices a crash by its connection rather than by silence."""


class Violation(Exception):
    """A promise was broken; the text says which, where and when."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one seed did."""

    seed: int
    members: int
    acknowledged: int
    unknown: int
    watched: int
    leader_changes: int
    crashes: int
    cuts: int
    expired_leases: int
    snapshots: int
    trace: str


class World:
    """Build it with a seed and `run` it."""

    def __init__(self, seed: int, members: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.clock = Clock()
        self._trace = hashlib.sha256()
        self._ended: dict[int, float] = {}
        self._tables: dict[int, set[int]] = {}
        self.crashes = self.cuts = self.snapshots = 0
        rng = self.rng
        self.network = Network(
            self.clock, rng, LinkQuality(0.0002, rng.choice((0.001, 0.01, 0.05, 0.3)),
                                         rng.choice((0.0, 0.01, 0.1, 0.3)),
                                         rng.choice((0.0, 0.05))), self._deliver,
            self._delivered)
        settings = SimSettings(
            cluster_id=0xC0FFEE, members=tuple(
                Member(id=n, name=f"m{n}", peer_urls=(f"http://m{n}:2380",), client_urls=(),
                       is_learner=False) for n in range(1, members + 1)),
            sync_s_min=0.0001, sync_s_max=rng.choice((0.0005, 0.005, 0.05, 0.3)),
            snapshot_count=rng.choice((20, 100, 1000)),
            snapshot_catch_up_entries=rng.choice((5, 50)))
        self.members = {
            n: SimMember(n, settings, self.clock, rng, self.network.send, self._observe)
            for n in range(1, members + 1)}
        self.invariants = Invariants(self.members.values, self._violation)
        clients = rng.randrange(2, 6)
        self.clients = [Client(f"c{n}", self.clock, rng, self._pick, clients)
                        for n in range(clients)]
        self.watchers = [
            Watcher(self.clock, rng, self._pick, b"c", b"d"),
            Watcher(self.clock, rng, self._pick, b"c0/", b"c00"),
            Watcher(self.clock, rng, self._pick, b"c1/0", b"")]

    def run(self) -> Report:
        """Both phases and the judgement; raises Violation."""
        for member in self.members.values():
            member.start()
        for client in self.clients:
            client.start()
        for watcher in self.watchers:
            watcher.start()
        self.clock.after(self.rng.uniform(0.0, 2.0), self._fault)
        self.clock.run_until(FAULTS_S)
        self._heal()
        before = self._revision()
        self.clock.run_until(FAULTS_S + HEAL_S)
        for client in self.clients:
            client.stopped = True
        if self._revision() <= before:
            raise self._violation("no progress after healing")
        self._converge()
        self._judge()
        return Report(
            self.seed, len(self.members),
            sum(call.response is not None for c in self.clients for call in c.calls),
            sum(call.response is None for c in self.clients for call in c.calls),
            sum(len(w.given) for w in self.watchers), len(self.invariants.leaders), self.crashes,
            self.cuts,
            len(self._ended), self.snapshots, self._trace.hexdigest()[:16])

    def _converge(self) -> None:
        """Run on until all members have applied the same; leases still end meanwhile."""
        deadline = self.clock.now + CONVERGE_S
        while True:
            self.clock.run_until(self.clock.now + CONVERGE_LOOK_S)
            applied = {m.id: m.core.backend.applied.index for m in self.members.values()
                       if m.core is not None}
            if len(set(applied.values())) == 1:
                return
            if self.clock.now >= deadline:
                raise self._violation(f"members did not converge; they have applied {applied}")

    # Faults.

    def _fault(self) -> None:
        if self.clock.now >= FAULTS_S:
            return
        choice = self.rng.random()
        if choice < 0.4:
            self._crash()
        elif choice < 0.7:
            self._cut()
        else:
            self.network.heal()
        self.clock.after(self.rng.uniform(0.2, 3.0), self._fault)

    def _crash(self) -> None:
        up = [m for m in self.members.values() if m.up]
        leaders = [m for m in up if m.core is not None and m.core.is_leader]
        if not up:
            return
        victim = self.rng.choice(leaders if leaders and self.rng.random() < 0.5 else up)
        victim.crash()
        self.crashes += 1
        for other in self.members.values():
            if other.up and self.rng.random() < LOST_CONNECTION_NOTICED:
                other.lost(victim.id)
        self.clock.after(self.rng.uniform(0.05, 4.0), lambda: self._restart(victim))

    def _restart(self, member: SimMember) -> None:
        if not member.up:
            self._tables.pop(member.id, None)
            member.start()

    def _cut(self) -> None:
        ids = sorted(self.members)
        side = set(self.rng.sample(ids, self.rng.randrange(1, len(ids))))
        self.network.isolate(side, set(ids) - side, one_way=self.rng.random() < 0.3)
        self.cuts += 1

    def _heal(self) -> None:
        self.network.heal()
        self.network.quality = LinkQuality(0.0002, 0.001, 0.0, 0.0)
        for member in self.members.values():
            self._restart(member)

    # Plumbing.

    def _pick(self) -> SimMember | None:
        up = [m for m in self.members.values() if m.up]
        return self.rng.choice(up) if up else None

    def _deliver(self, message: Message, image: object) -> bool:
        self._trace.update(
            f"{self.clock.now:.6f} {message.type} {message.from_} {message.to} "
            f"{message.term} {message.index} {message.commit}\n".encode())
        self.snapshots += image is not None
        return self.members[message.to].receive(message, image)

    def _delivered(self, message: Message, ok: bool) -> None:
        self.members[message.from_].snapshot_sent(message.to, ok)

    # Judgement.

    def _observe(self, member: SimMember) -> None:
        self.invariants.look(member)
        if member.core is not None:
            self._observe_leases(member.id, set(member.core.machine.leases.ids()))

    def _observe_leases(self, member_id: int, alive: set[int]) -> None:
        """A lease ends when a member that had it has it no more."""
        gone = self._tables.get(member_id, set()) - alive
        self._tables[member_id] = alive
        for client in self.clients:
            for lease in client.leases:
                if lease.id not in gone or lease.id in self._ended:
                    continue
                self._ended[lease.id] = self.clock.now
                if self.clock.now < lease.renewed + lease.ttl_s:
                    raise self._violation(
                        f"lease {lease.id:x} with TTL {lease.ttl_s} s ended at "
                        f"{self.clock.now:.3f}, renewed at {lease.renewed:.3f}")

    def _judge(self) -> None:
        for client in self.clients:
            if client.lost_leases:
                raise self._violation(client.lost_leases[0])
            for lease in client.leases:
                if (lease.abandoned or FAULTS_S) < ABANDONED_S_MAX and lease.id not in self._ended:
                    raise self._violation(f"lease {lease.id:x} with TTL {lease.ttl_s} s, left "
                                          f"alone at {lease.abandoned:.3f}, never ended")
        events = [self._events(member) for member in self.members.values()]
        if any(one != events[0] for one in events):
            raise self._violation("members differ in the events that they give from the start")
        for watcher in self.watchers:
            self._judge_watcher(watcher, events[0])
        wrong = judge_revisions([call for c in self.clients for call in c.calls], events[0])
        if wrong:
            raise self._violation(wrong[0])
        hashes = {(m.core.machine.revision, m.core.machine.hash_kv(0).hash)
                  for m in self.members.values() if m.core is not None}
        if len(hashes) != 1:
            raise self._violation(f"members differ after healing: {sorted(hashes)}")

    def _events(self, member: SimMember) -> Given:
        """Everything that ever happened, as this member tells it to a watch from the start."""
        recorder = Watcher(self.clock, self.rng, lambda: member, b"\0", b"\0")
        recorder.move(member)
        assert member.core is not None
        member.turn()
        while member.core.watches.lagging:
            member.turn()
        return recorder.given

    def _judge_watcher(self, watcher: Watcher, events: Given) -> None:
        if watcher.wrong:
            raise self._violation(f"a watcher of {watcher.key!r} {watcher.wrong[0]}")
        wanted = [(revision, mine) for revision, changes in events if (mine := [
            c for c in changes if within(c.key, watcher.key, watcher.range_end)])]
        for given, want in zip(watcher.given, wanted, strict=False):
            if given != want:
                raise self._violation(f"a watcher of {watcher.key!r} was given {given}; what "
                                      f"happened is {want}")
        if len(watcher.given) != len(wanted):
            raise self._violation(f"a watcher of {watcher.key!r} was given {len(watcher.given)} "
                                  f"of {len(wanted)} revisions")

    def _revision(self) -> int:
        return max((m.core.machine.revision for m in self.members.values()
                    if m.core is not None), default=0)

    def _violation(self, text: str) -> Violation:
        return Violation(
            f"seed {self.seed}, {len(self.members)} members, {self.clock.now:.3f} s: {text}")
