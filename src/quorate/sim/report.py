"""What one simulated seed did, in figures. Not here: how they add up (runner.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.sim.ha import HaReport

if TYPE_CHECKING:
    from quorate.sim.world import World


@dataclass(slots=True)
class Report:
    """What one seed did."""

    seed: int
    members: int
    simulated_s: float
    events: int = 0
    acknowledged: int = 0
    unknown: int = 0
    watches: int = 0
    watched: int = 0
    commits: int = 0
    leaders: int = 0
    leases_ended: int = 0
    renewals: int = 0
    locks: int = 0
    snapshots: int = 0
    schedules: int = 0
    schedule_commits: int = 0
    progress_s: float = 0.0
    """Until the healed majority acknowledged a write."""
    ha: HaReport | None = None
    stopped_safely: bool = False
    """In "excess": it could not go on, and said so."""
    faults: dict[str, int] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    trace: str = ""

    def fill(self, world: World) -> None:
        """With what a world that has run has done."""
        nodes = world.ha.accesses if world.ha is not None else []
        calls = [call for client in world.clients for call in client.calls]
        calls += [call for node in nodes for call in node.calls]
        self.simulated_s, self.events = world.clock.now, world.clock.events
        self.acknowledged = sum(call.response is not None for call in calls)
        self.unknown = len(calls) - self.acknowledged
        self.watches = sum(len(w.sessions) for w in world.watchers)
        self.watched = sum(w.events for w in world.watchers)
        self.commits, self.leaders = world.invariants.commits, len(world.invariants.leaders)
        self.leases_ended, self.snapshots = len(world.leases.ended), world.snapshots
        self.renewals = sum(c.holder.renewed for c in world.clients) + sum(
            r.acknowledged for node in nodes for h in node.leases.values() for r in h.renewals[1:])
        self.locks = sum(len(c.holder.holds) for c in world.clients)
        self.ha = None if world.ha is None else world.ha.report
        self.faults = dict(sorted(world.faults.counts.items()))
        self.operations = dict(sorted(world.operator.done.items()))
        self.trace = world.trace.hexdigest()[:16]
