"""What one simulated seed did, in figures. Not here: how they add up (runner.py)."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.sim.ha import HaReport


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
