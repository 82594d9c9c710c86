"""Many seeds, one after the other: the small simulation of the test run.

`python -m quorate.sim.runner --seeds 200` prints one line per seed that breaks a promise, with
the command that replays it, and a summary. Not here: what a seed does (world.py).
"""

from __future__ import annotations

import argparse
import time
import traceback

from quorate.sim.world import Report, Violation, World

SIZES = (3, 5)
"""Cluster sizes, in turn over the seeds."""


def run_seed(seed: int) -> Report:
    """Run one seed; raises Violation."""
    return World(seed, SIZES[seed % len(SIZES)]).run()


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 if any seed broke a promise."""
    parser = argparse.ArgumentParser(prog="quorate.sim.runner", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    options = parser.parse_args(argv)
    started, reports, failed = time.perf_counter(), [], 0
    for seed in range(options.first, options.first + options.seeds):
        try:
            reports.append(run_seed(seed))
        except Exception as failure:
            failed += 1
            if not isinstance(failure, Violation):
                traceback.print_exc()
            print(f"{failure}\n  replay: python -m quorate.sim.runner --first {seed} --seeds 1")
            if options.until_failure:
                break
    print(_summary(reports, failed, time.perf_counter() - started))
    return 1 if failed else 0


def _summary(reports: list[Report], failed: int, seconds: float) -> str:
    acknowledged = sum(report.acknowledged for report in reports)
    crashes = sum(report.crashes for report in reports)
    leaders = sum(report.leader_changes for report in reports)
    expired = sum(report.expired_leases for report in reports)
    snapshots = sum(report.snapshots for report in reports)
    unknown = sum(report.unknown for report in reports)
    watched = sum(report.watched for report in reports)
    return (
        f"{len(reports)} seeds held, {failed} failed in {seconds:.1f} s: {acknowledged} "
        f"calls judged, {unknown} of unknown outcome, {watched} revisions watched, {leaders} "
        f"leaders, {crashes} crashes, {expired} leases ended, "
        f"{snapshots} snapshots sent")


if __name__ == "__main__":
    raise SystemExit(main())
