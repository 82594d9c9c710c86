"""`quorate sim`: simulated clusters of the shipped member, under faults, judged.

One seed decides everything; `--seed S` replays it and prints what happened, line by line.

Not here: the simulation (sim/), what was measured with it (cli/scorecard.py).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from quorate.sim.plan import PROFILES, Plan, draw, from_json, link_graphs
from quorate.sim.runner import Outcome, Totals, run_plan, run_plans, run_seeds
from quorate.sim.shrink import shrink

PROGRESS_S = 2.0
FRESH_SEEDS = 1 << 40
"""Fresh seeds are drawn below this, far from those that people count from 0."""

EPILOG = "profiles:\n" + "\n".join(f"  {name:8} {text}" for name, text in PROFILES.items())


def main(argv: list[str] | None = None) -> int:
    """0 if every promise held, 1 if one was broken, 2 for a wrong command line."""
    options = _parser().parse_args(argv)
    if options.jobs < 1 or (options.members is not None and not 1 <= options.members <= 7):
        print(f"quorate sim: --members {options.members} and --jobs {options.jobs}: members are "
              f"1 to 7, jobs at least 1", file=sys.stderr)
        return 2
    if options.plan is not None:
        try:
            plan = from_json(Path(options.plan).read_text())
        except (OSError, ValueError) as wrong:
            print(f"quorate sim: {options.plan}: {wrong}", file=sys.stderr)
            return 2
        return _replay(plan, options)
    if options.seed is not None:
        return _replay(draw(options.seed, options.profile, options.members), options)
    return _many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quorate sim", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    what.add_argument("--minutes", type=float, help="go on for this long instead")
    what.add_argument("--seed", type=int, help="replay this one, with its timeline")
    what.add_argument("--links", type=int, choices=(2, 3, 4, 5), metavar="N",
                      help="every graph of links over N members: all directed ones up to 3, all "
                           "undirected ones for 4 and 5")
    what.add_argument("--plan", metavar="FILE", help="replay a plan that --shrink wrote")
    first = parser.add_mutually_exclusive_group()
    first.add_argument("--first", type=int, default=0, help="the first of the seeds (0)")
    first.add_argument("--fresh", action="store_true", help="begin at a seed that nobody has run")
    parser.add_argument("--profile", choices=PROFILES, default="swarm")
    parser.add_argument("--members", type=int, help="so many in every cluster")
    parser.add_argument("--jobs", type=int, default=1, help="cores to use (1)")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    parser.add_argument("--quiet", action="store_true", help="with --seed: no timeline")
    parser.add_argument("--shrink", metavar="FILE",
                        help="with --seed or --plan: write the smallest plan that still fails")
    return parser


# One plan.


def _replay(plan: Plan, options: argparse.Namespace) -> int:
    outcome = run_plan(plan, None if options.quiet or options.shrink else print)
    if outcome.report is None:
        print(outcome.failure)
        if options.shrink:
            _shrink(plan, Path(options.shrink))
        return 1
    report = outcome.report
    print(f"seed {plan.seed} held: {report.acknowledged} answers judged, {report.commits} entries "
          f"committed under {report.leaders} leaders, {report.events} events in "
          f"{report.simulated_s:.1f} simulated seconds; trace {report.trace}")
    if report.ha is not None:
        print(f"PostgreSQL: {report.ha.promotions} promotions, {report.ha.acknowledged} rows "
              f"acknowledged, {report.ha.lost} lost, {report.ha.longest_s:.1f} s at most without "
              f"a primary")
    return 0


def _shrink(plan: Plan, target: Path) -> None:
    def fails(candidate: Plan) -> bool:
        return run_plan(candidate).report is None

    smallest = shrink(plan, fails, lambda text: print(f"  {text}", flush=True))
    target.write_text(smallest.to_json())
    print(f"{run_plan(smallest).failure}\nwritten to {target}; replay: "
          f"quorate sim --plan {target}")


# Many seeds.


def _many(options: argparse.Namespace) -> int:
    first = random.SystemRandom().randrange(FRESH_SEEDS) if options.fresh else options.first
    deadline = time.monotonic() + 60 * options.minutes if options.minutes is not None else None
    seeds = count(first) if deadline is not None else range(first, first + options.seeds)
    totals, shown = Totals(), Progress(None if deadline is not None else options.seeds)
    outcomes = run_seeds(seeds, options.profile, options.members, options.jobs)
    if options.links is not None:
        outcomes, shown = run_plans(link_graphs(options.links), options.jobs), Progress(None)
    for outcome in _until(outcomes, deadline):
        totals.add(outcome)
        shown.show(totals)
        if outcome.report is None:
            shown.clear()
            print(outcome.failure)
            print(f"  replay: {_command(outcome, options)}", flush=True)
            if options.until_failure:
                break
    shown.clear()
    print(summary(totals, first))
    return 1 if totals.failed else 0


def _until(outcomes: Iterator[Outcome], deadline: float | None) -> Iterator[Outcome]:
    for outcome in outcomes:
        yield outcome
        if deadline is not None and time.monotonic() >= deadline:
            return


def _command(outcome: Outcome, options: argparse.Namespace) -> str:
    if options.links is not None:
        return f"quorate sim --links {options.links}  # graph {outcome.plan.seed}"
    parts = ["quorate sim", f"--seed {outcome.plan.seed}"]
    if options.profile != "swarm":
        parts.append(f"--profile {options.profile}")
    if options.members is not None:
        parts.append(f"--members {options.members}")
    return " ".join(parts)


class Progress:
    """A line on a terminal that shows how far it is; nothing elsewhere."""

    def __init__(self, seeds: int | None) -> None:
        self._of = f" of {seeds}" if seeds is not None else ""
        self._on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = 0.0

    def show(self, totals: Totals) -> None:
        """Now and then."""
        if self._on and time.monotonic() - self._shown > PROGRESS_S:
            self._shown = time.monotonic()
            print(f"\r\x1b[K{totals.seeds}{self._of} seeds, {totals.failed} failed, "
                  f"{totals.speed:.0f} times as fast as real time", end="", file=sys.stderr,
                  flush=True)

    def clear(self) -> None:
        """Make room for lines that stay."""
        if self._on:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def summary(totals: Totals, first: int) -> str:
    """Several lines for people."""
    n = totals.numbers
    faults = ", ".join(f"{number} {kind}" for kind, number in totals.faults.most_common())
    operations = ", ".join(f"{number} {kind}" for kind, number in totals.operations.most_common())
    progress = sorted(totals.progress_elections)
    lines = [
        f"{totals.seeds - totals.failed} seeds held, {totals.failed} failed (from seed {first}): "
        f"{totals.simulated_s / 3600:.2f} simulated hours in {totals.seconds:.1f} s of one core, "
        f"{totals.speed:.0f} times as fast as real time",
        f"judged: {n['acknowledged']} answers, {n['unknown']} unknown outcomes, {n['watched']} "
        f"events of {n['watches']} watches, {n['commits']} commits, {n['leaders']} leaders, "
        f"{n['renewals']} renewals, {n['leases_ended']} leases ended, {n['locks']} locks held, "
        f"{n['snapshots']} snapshots",
    ]
    if n["schedules"]:
        lines.append(f"bare Raft nodes: {n['schedules']} schedules, {n['schedule_commits']} "
                     f"entries committed")
    if n["promotions"]:
        lines.append(f"PostgreSQL: {n['promotions']} promotions, never two primaries at a time; "
                     f"{n['rows']} rows acknowledged, {n['rows_lost']} lost without synchronous "
                     f"replication, none with it")
    if faults:
        lines.append(f"faults: {faults}")
    if operations:
        lines.append(f"operations: {operations}")
    if progress:
        lines.append(
            f"a healed majority acknowledged a write after "
            f"{progress[len(progress) // 2]:.2f} election timeouts (median), "
            f"{progress[int(len(progress) * 0.99)]:.2f} (99 %), {progress[-1]:.2f} (longest)")
    if totals.stopped_safely:
        lines.append(f"{totals.stopped_safely} clusters could not go on, and stopped safely")
    return "\n".join(lines)
