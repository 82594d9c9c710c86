"""Many seeds, one after the other or on several cores; one seed, replayed; a plan, replayed.

Not here: what a seed does (world.py), the command line (cli/sim.py), shrinking (shrink.py).
"""

from __future__ import annotations

import logging
import multiprocessing
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field

from quorate.sim.plan import Plan, draw
from quorate.sim.report import Report
from quorate.sim.world import Violation, World

# What members would tell their operators is not for whoever runs thousands of them.
logging.getLogger("quorate").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one plan: a report, or why it failed."""

    plan: Plan
    report: Report | None
    failure: str
    seconds: float


def run_plan(plan: Plan, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run a plan. Whatever is raised counts as a failure: a member that crashes is wrong, too."""
    started = time.perf_counter()
    report, failure = None, ""
    try:
        report = World(plan, tell).run()
    except Violation as violation:
        failure = str(violation)
    except Exception as crash:
        failure = (f"seed {plan.seed} ({plan.profile}, {plan.members} members): "
                   f"{type(crash).__name__}: {crash}\n{traceback.format_exc()}")
    return Outcome(plan, report, failure, time.perf_counter() - started)


def run_seeds(
    seeds: Iterable[int], profile: str = "swarm", members: int | None = None, jobs: int = 1
) -> Iterator[Outcome]:
    """Outcomes in order of seeds, as they come."""
    yield from run_plans((draw(seed, profile, members) for seed in seeds), jobs)


def run_plans(plans: Iterable[Plan], jobs: int = 1) -> Iterator[Outcome]:
    """The same for plans. With several jobs, plans are asked for as far ahead as cores are free."""
    if jobs == 1:
        yield from map(run_plan, plans)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[Outcome]] = deque()
        for plan in plans:
            waiting.append(pool.submit(run_plan, plan))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(slots=True)
class Totals:
    """Sums over many outcomes."""

    seeds: int = 0
    failed: int = 0
    simulated_s: float = 0.0
    seconds: float = 0.0
    """Time of one core."""
    events: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    progress_elections: list[float] = field(default_factory=list)
    stopped_safely: int = 0

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.seeds += 1
        self.seconds += outcome.seconds
        report = outcome.report
        if report is None:
            self.failed += 1
            return
        self.simulated_s += report.simulated_s
        self.events += report.events
        for name in ("acknowledged", "unknown", "watches", "watched", "commits", "leaders",
                     "leases_ended", "renewals", "locks", "snapshots", "schedules",
                     "schedule_commits"):
            self.numbers[name] += getattr(report, name)
        if report.ha is not None:
            self.numbers.update(rows=report.ha.acknowledged, rows_lost=report.ha.lost,
                                promotions=report.ha.promotions)
        self.faults.update(report.faults)
        self.operations.update(report.operations)
        self.stopped_safely += report.stopped_safely
        if outcome.plan.profile != "excess":
            self.progress_elections.append(report.progress_s / outcome.plan.election_s)

    @property
    def speed(self) -> float:
        """Simulated seconds in a second of one core."""
        return self.simulated_s / self.seconds if self.seconds else 0.0
