"""What can go wrong in a simulated cluster, and how each thing ends.

Every kind of plan.py is a method here, found by name. A fault does what it does at once, and
registers how it ends with `_later`; what has not ended when the fault phase is over is ended by
`World.heal`.

The budget: no fault takes from the cluster for good what Raft needs. Processes, links and clocks
may fail in any number, for they come back; a disk that rots does not, so in all profiles but
"excess" only a minority of the voters' disks may.

Not here: when faults happen (plan.py), what must hold in spite of them (world.py).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from quorate.sim.network import Link
from quorate.sim.plan import EXACT_LINKS, Fault

if TYPE_CHECKING:
    from quorate.sim.member import SimMember
    from quorate.sim.patroni import Node
    from quorate.sim.world import World

FUSE_MAX = 40
"""Effects, or operations on files, until a crash at one of their boundaries."""


class Faults:
    """Carries out a plan's faults on a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng: random.Random = world.plan.stream("faults")
        self.over = False
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill, "power": self._power, "fuse": self._fuse,
            "file fuse": self._file_fuse, "pause": self._pause,
            "pause inside a turn": self._pause_inside, "suspend": self._suspend,
            EXACT_LINKS: self._exact, "cut": self._cut, "one-way cut": self._one_way,
            "link graph": self._graph,
            "isolate": self._isolate, "clog": self._clog, "swizzle": self._swizzle,
            "ring": self._ring, "slow disk": self._slow_disk, "hung disk": self._hung_disk,
            "failing disk": self._failing_disk, "full disk": self._full_disk,
            "torn tail": self._torn_tail, "rot": self._rot, "power of all": self._power_of_all,
            "zone power": self._zone_power, "zone links": self._zone_links,
            "node kill": self._node_kill, "node cut": self._node_cut,
            "nodes apart": self._nodes_apart,
        }

    def schedule(self) -> None:
        """Put the plan's faults on the agenda; the operator's kinds are operator.py's."""
        for fault in self._world.plan.faults:
            if fault.kind in self._kinds:
                self._world.clock.after(fault.at, partial(self._strike, fault))

    def _strike(self, fault: Fault) -> None:
        if self.over:
            return
        self.counts[fault.kind] += 1
        self._world.note(0, f"fault: {fault.kind} for {fault.for_s} s")
        self._kinds[fault.kind](fault)

    # Choosing.

    def _victim(self, fault: Fault, *, up: bool = True) -> SimMember | None:
        """The leader for half of all aims, else anybody."""
        members = [m for m in self._world.members.values() if m.up or not up]
        if not members:
            return None
        leaders = [m for m in members if m.core is not None and m.core.is_leader]
        if leaders and fault.aim < 0.5:
            return leaders[int(2 * fault.aim * len(leaders))]
        return members[int(fault.size * len(members))]

    def _later(self, fault: Fault, call: Callable[[], None]) -> None:
        self._after(fault.for_s, call)

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._world.clock.after(delay_s, lambda: None if self.over else call())

    def _come_back(self, fault: Fault, member: SimMember) -> None:
        """Start again after a while, which may be at once."""
        self._later(fault, member.start)

    # Members.

    def _down(self, member: SimMember, how: Callable[[], None]) -> None:
        member.note("is killed")
        how()
        self._world.connections_lost(member.id)

    def _kill(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            self._down(member, member.kill)
            self._come_back(fault, member)

    def _power(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            self._down(member, member.power_cut)
            self._come_back(fault, member)

    def _torn_tail(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            self._down(member, lambda: member.power_cut(torn=True))
            self._come_back(fault, member)

    def _fuse(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.fuse = int(FUSE_MAX * self._rng.random() ** 2)
            self._later(fault, lambda: _disarm(member))

    def _file_fuse(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            files = member.disk.files
            files.crash_at = files.steps + 1 + int(FUSE_MAX * self._rng.random() ** 2)
            self._later(fault, lambda: _disarm(member))

    def _pause(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.pause()
            self._later(fault, member.resume)

    def _pause_inside(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.pause_fuse = int(FUSE_MAX * self._rng.random() ** 2)
            self._later(fault, member.resume)

    def _suspend(self, fault: Fault) -> None:
        """As when a virtual machine is suspended and CLOCK_MONOTONIC stands still."""
        if (member := self._victim(fault)) is not None and not member.paused:
            member.pause()
            self._later(fault, lambda: member.resume(clock_stood_still=True))

    # Links.

    def _cut_links(self, fault: Fault, links: Iterable[Link]) -> None:
        network, cut = self._world.network, sorted(set(links) - self._world.network.cut)
        network.cut.update(cut)
        self._later(fault, lambda: network.mend(cut))

    def _sides(self, fault: Fault) -> tuple[list[int], list[int]]:
        ids = sorted(self._world.members)
        self._rng.shuffle(ids)
        count = 1 + int(fault.size * (len(ids) - 1))
        return ids[:count], ids[count:]

    def _cut(self, fault: Fault) -> None:
        here, there = self._sides(fault)
        self._cut_links(fault, _both_ways(here, there))

    def _one_way(self, fault: Fault) -> None:
        here, there = self._sides(fault)
        self._cut_links(fault, ((a, b) for a in here for b in there))

    def _graph(self, fault: Fault) -> None:
        """Each directed link works or does not."""
        ids, share = sorted(self._world.members), fault.size
        self._cut_links(fault, [(a, b) for a in ids for b in ids
                                if a != b and self._rng.random() < share])

    def _exact(self, fault: Fault) -> None:
        ids = sorted(self._world.members)
        links = [(a, b) for a in ids for b in ids if (a < b or fault.aim < 0.5) and a != b]
        graph = round(fault.size * (1 << len(links)))
        cut = [link for n, link in enumerate(links) if graph >> n & 1]
        if fault.aim >= 0.5:
            cut += [(b, a) for a, b in cut]
        self._cut_links(fault, cut)

    def _isolate(self, fault: Fault) -> None:
        """One member, often the leader, hears nothing, is not heard, or both."""
        member = self._victim(fault)
        if member is None:
            return
        others = [i for i in self._world.members if i != member.id]
        to = [(i, member.id) for i in others]
        from_ = [(member.id, i) for i in others]
        self._cut_links(fault, (to, from_, to + from_)[int(3 * fault.size)])

    def _ring(self, fault: Fault) -> None:
        """Everybody reaches a majority, no two the same one."""
        ids = sorted(self._world.members)
        near = len(ids) // 4 + 1 if len(ids) > 3 else 1
        self._cut_links(fault, [
            (a, b) for x, a in enumerate(ids) for y, b in enumerate(ids)
            if a != b and min((x - y) % len(ids), (y - x) % len(ids)) > near
        ] if len(ids) > 3 else [(ids[0], ids[-1]), (ids[-1], ids[0])])

    def _clog(self, fault: Fault) -> None:
        ids, network = sorted(self._world.members), self._world.network
        links = [(a, b) for a in ids for b in ids if a != b and self._rng.random() < fault.size]
        network.clog(links)
        self._later(fault, lambda: network.unclog(links))

    def _swizzle(self, fault: Fault) -> None:
        """Clog the links one by one, free them in another order."""
        ids, network = sorted(self._world.members), self._world.network
        links = [(a, b) for a in ids for b in ids if a != b]
        for link in self._rng.sample(links, len(links)):
            self._after(fault.for_s * self._rng.random() / 2, partial(network.clog, [link]))
            self._after(fault.for_s * (0.5 + self._rng.random() / 2),
                        partial(network.unclog, [link]))

    # Disks.

    def _slow_disk(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.disk.slow = True
            self._later(fault, lambda: setattr(member.disk, "slow", False))

    def _hung_disk(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.disk.hung = True
            self._later(fault, lambda: setattr(member.disk, "hung", False))

    def _failing_disk(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.disk.files.fail_syncs = True

            def replaced() -> None:
                member.disk.files.fail_syncs = False
                member.start()

            self._later(fault, replaced)

    def _full_disk(self, fault: Fault) -> None:
        if (member := self._victim(fault)) is not None:
            member.disk.files.full = True

            def room() -> None:
                member.disk.files.full = False
                member.start()

            self._later(fault, room)

    def _rot(self, fault: Fault) -> None:
        """A bit of the log changes; the member, killed before, must notice when it starts."""
        member = self._victim(fault)
        if member is None or not (
                self._world.plan.profile == "excess" or self._world.may_lose(member.id)):
            return
        self._down(member, member.kill)
        member.disk.rot()
        self._come_back(fault, member)

    # Zones.

    def _power_of_all(self, fault: Fault) -> None:
        for member in self._world.members.values():
            if member.up:
                member.power_cut()
                self._after(fault.for_s * self._rng.random(), member.start)

    def _zone(self, fault: Fault) -> tuple[list[int], list[int]]:
        zone = int(fault.size * self._world.plan.zones)
        ids = sorted(self._world.members)
        here = [i for i in ids if i % self._world.plan.zones == zone]
        return here, [i for i in ids if i not in here]

    def _zone_power(self, fault: Fault) -> None:
        for member_id in self._zone(fault)[0]:
            member = self._world.members[member_id]
            if member.up:
                self._down(member, member.power_cut)
                self._come_back(fault, member)

    def _zone_links(self, fault: Fault) -> None:
        here, there = self._zone(fault)
        self._cut_links(fault, _both_ways(here, there))

    # PostgreSQL's nodes.

    def _node(self, fault: Fault) -> Node:
        """The primary for half of all aims, else any."""
        ha = self._world.ha
        assert ha is not None
        names = ha.primaries if ha.primaries and fault.aim < 0.5 else list(ha.nodes)
        return ha.nodes[names[int(fault.size * len(names))]]

    def _node_kill(self, fault: Fault) -> None:
        node = self._node(fault)
        node.kill()
        self._later(fault, node.start)

    def _node_cut(self, fault: Fault) -> None:
        """It does not reach the store; it may still reach the other nodes."""
        assert self._world.ha is not None
        access = self._world.ha.access(self._node(fault).name)
        access.sever()
        self._later(fault, access.heal)

    def _nodes_apart(self, fault: Fault) -> None:
        """It does not reach the other nodes."""
        ha = self._world.ha
        assert ha is not None
        name = self._node(fault).name
        pairs = {frozenset((name, other)) for other in ha.nodes if other != name}
        ha.cut |= pairs
        self._later(fault, lambda: ha.cut.difference_update(pairs))


def _disarm(member: SimMember) -> None:
    """Start it again, or forget the crash that it did not get to."""
    member.fuse = member.disk.files.crash_at = None
    member.start()


def _both_ways(here: Iterable[int], there: Iterable[int]) -> list[Link]:
    pairs = [(a, b) for a in here for b in there]
    return pairs + [(b, a) for a, b in pairs]
