"""The schedules of a plan: bare Raft nodes, lease clocks and member cores, before its cluster runs.

Not here: what happens in a schedule (chaos.py, leasechaos.py, corechaos.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.sim.chaos import Chaos
from quorate.sim.corechaos import CoreChaos
from quorate.sim.leasechaos import LeaseChaos
from quorate.sim.plan import Plan

LEASES_EACH = 5
"""Schedules of lease clocks for each of the others: they cost next to nothing."""


def run_schedules(
    plan: Plan, fail: Callable[[str], Exception], tell: Callable[[str], None] | None = None
) -> int:
    """How many entries were committed in them. Raises what `fail` makes. A plan with one schedule,
    as shrinking leaves it, has a line for each step."""
    commits = 0
    for number in range(plan.first_schedule, plan.first_schedule + plan.schedules):
        def failed(text: str, number: int = number) -> Exception:
            return fail(f"schedule {number}: {text}")

        line = tell if plan.schedules == 1 else None
        chaos = Chaos(plan.stream(f"schedule {number}"), failed, line)
        chaos.run(plan.steps)
        commits += chaos.invariants.commits
        for part in range(LEASES_EACH):
            LeaseChaos(
                plan.stream(f"leases {number}.{part}"), failed, line).run(plan.steps // 2)
        CoreChaos(plan.stream(f"cores {number}"), failed, line).run(2 * plan.steps // 5)
    return commits
