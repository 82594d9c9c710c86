"""Shrinking: what fails for a reason keeps its reason and loses the rest."""

from dataclasses import replace

from quorate.sim.plan import Fault, Plan
from quorate.sim.shrink import shrink

FAULTS = tuple(Fault(float(n), "kill" if n % 7 else "cut", 1.0, 0.0, 0.0) for n in range(1, 41))
PLAN = Plan(1, members=5, zones=3, faults_s=50.0, loss=0.1, drift=0.05, clients=4, watchers=3,
            faults=FAULTS)


def silent(_text: str) -> None:
    """Nobody wants to know."""


def test_only_the_faults_that_matter_are_left() -> None:
    """Here the first and the last of one kind."""
    wanted = {FAULTS[6], FAULTS[34]}
    small = shrink(PLAN, lambda plan: wanted <= set(plan.faults), silent)

    assert set(small.faults) == wanted


def test_everything_else_gets_smaller_too() -> None:
    """Members, clients, watchers, time and the links' faults."""
    small = shrink(PLAN, lambda _plan: True, silent)

    assert (small.faults, small.members, small.zones, small.clients, small.watchers) == (
        (), 1, 1, 1, 0)
    assert (small.faults_s, small.loss, small.drift) == (1.0, 0.0, 0.0)


def test_what_matters_stays() -> None:
    """Every plan that is kept still fails."""
    def fails(plan: Plan) -> bool:
        return (plan.members >= 3 and plan.loss > 0.0 and plan.clients >= 2
                and FAULTS[20] in plan.faults)

    small = shrink(PLAN, fails, silent)

    assert (small.members, small.loss, small.clients, small.faults, small.drift) == (
        3, 0.1, 2, (FAULTS[20],), 0.0)
    assert small.faults_s == FAULTS[20].at + 1.0


def test_a_plan_that_cannot_shrink_is_itself() -> None:
    """Nothing is taken away that the failure needs."""
    assert shrink(PLAN, lambda plan: plan == PLAN, silent) == PLAN


def test_a_schedule_that_fails_is_left_alone() -> None:
    """One, with as many steps as it needs; without one, schedules are left out."""
    plan = replace(PLAN, schedules=8)
    third = shrink(plan, lambda p: bool(p.schedules) and p.steps >= 777
                   and p.first_schedule <= 3 < p.first_schedule + p.schedules, silent)

    assert (third.first_schedule, third.schedules, third.steps) == (3, 1, 777)
    assert (third.faults, third.clients, third.watchers) == ((), 0, 0)
    assert shrink(plan, lambda p: p.clients == 4, silent).schedules == 0
