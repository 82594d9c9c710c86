"""Makes a failing plan smaller while it still fails: fewer faults, fewer members, fewer clients,
less time.

Faults are taken away in halves, quarters and so on down to single ones (delta debugging; Zeller
and Hildebrandt 2002), then the rest is tried one by one, until nothing can be taken away. Any
failure counts: a smaller plan that fails otherwise is worth as much.

Not here: running a plan (runner.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from quorate.sim.plan import Plan

Fails = Callable[[Plan], bool]


def shrink(plan: Plan, fails: Fails, tell: Callable[[str], None]) -> Plan:
    """The smallest plan found; `fails(plan)` must be true."""
    if plan.schedules:
        bare = _schedule(plan, fails, tell)
        if bare is not None:
            return bare
        plan = replace(plan, schedules=0)
    while True:
        smaller = _fewer_faults(plan, fails, tell)
        for simpler in _simpler(smaller):
            if fails(simpler):
                tell(f"{simpler.members} members, {simpler.clients} clients, "
                     f"{simpler.watchers} watchers, {simpler.faults_s:.1f} s of faults")
                smaller = simpler
                break
        if smaller == plan:
            return plan
        plan = smaller


def _schedule(plan: Plan, fails: Fails, tell: Callable[[str], None]) -> Plan | None:
    """If it is a schedule of bare nodes that fails: that one, and no step more than it needs."""
    alone = replace(plan, faults=(), clients=0, watchers=0, faults_s=0.0, schedules=1)
    for number in range(plan.first_schedule, plan.first_schedule + plan.schedules):
        candidate = replace(alone, first_schedule=number)
        if fails(candidate):
            enough, few = plan.steps, 0
            while enough - few > 1:
                steps = (enough + few) // 2
                enough, few = (steps, few) if fails(replace(candidate, steps=steps)) else (
                    enough, steps)
            tell(f"schedule {number}, {enough} steps")
            return replace(candidate, steps=enough)
    return None


def _fewer_faults(plan: Plan, fails: Fails, tell: Callable[[str], None]) -> Plan:
    size = max(1, len(plan.faults) // 2)
    while plan.faults:
        position = 0
        while position < len(plan.faults):
            fewer = replace(
                plan, faults=plan.faults[:position] + plan.faults[position + size:])
            if fails(fewer):
                plan = fewer
                tell(f"{len(plan.faults)} faults left")
            else:
                position += size
        if size == 1:
            break
        size = max(1, size // 2)
    return plan


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less; the first that fails is taken."""
    last = max((fault.at for fault in plan.faults), default=0.0)
    if last + 1.0 < 0.9 * plan.faults_s:
        yield replace(plan, faults_s=last + 1.0)
    for members in sorted({1, 2, 3, plan.members - 1}):
        if 0 < members < plan.members:
            yield replace(plan, members=members, zones=min(plan.zones, members))
    if plan.clients > 1:
        yield replace(plan, clients=plan.clients - 1)
    if plan.watchers:
        yield replace(plan, watchers=plan.watchers - 1)
    for name in ("loss", "duplication", "drift", "gather_s"):
        if getattr(plan, name):
            yield replace(plan, **{name: 0.0})  # type: ignore[arg-type]  # all are floats
