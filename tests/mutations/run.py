"""`scripts/mutations`: plants each bug of the catalogue in a copy and sees which net finds it.

Nets, in order: `sim` (random seeds), `tests` (the unit, crash, small-simulation and conformance
tests). Prints a line per bug and a score; exit code 1 if fewer than TARGET were found or a safety
bug escaped the simulator. Not here: the bugs (catalogue.py, told.py).
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from catalogue import CATALOGUE
from mutation import Mutation

ROOT = Path(__file__).parents[2]
CONFORMANCE = os.environ.get("QUORATE_CONFORMANCE", str(ROOT.parent / "shared" / "conformance"))
TARGET = 0.95
CONTROL_SECONDS = 120
SIMULATED = ("raft", "state", "wire", "disk", "member")
"""Packages that the simulator runs; of others it could not find anything."""

WALL_FACTOR = 4
"""A net that does not use the processor, or has to share it, ends after this many times its
limit."""

OUT_OF_TIME = 124
"""Exit code of `timeout`; above are deaths by a signal, as out of processor time is."""


class Verdict(NamedTuple):
    """Which net found a bug, after how many seeds and seconds of one core; net is empty if none
    did."""

    mutation: Mutation
    net: str
    seeds: int
    seconds: float


def plant(mutation: Mutation, copy: Path) -> None:
    """Apply to a copy of the sources; raises ValueError if the text is not there once."""
    path = copy / "src" / "quorate" / mutation.module
    text = path.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name!r}: {mutation.module} has its text "
                         f"{text.count(mutation.old)} times, not once")
    path.write_text(text.replace(mutation.old, mutation.new))


def grade(mutation: Mutation, first: int, seeds: int, seconds: float) -> Verdict:
    """Plant and run the nets until one finds it."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for part in ("src", "tests", "pyproject.toml"):
            source = ROOT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / part)
        plant(mutation, copy)
        output, failed, took = "", False, 0.0
        if mutation.module.split("/")[0] in SIMULATED:
            output, failed, took = run(
                copy, seconds, "-m", "quorate.cli.main", "sim", "--until-failure",
                "--first", str(first), "--seeds", str(seeds))
        if failed:
            found = re.search(r"replay: quorate sim --seed (\d+)", output)
            return Verdict(mutation, "sim", int(found[1]) - first + 1 if found else 1, took)
        _, failed, more = run(
            copy, seconds, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
            "tests/unit", "tests/crash", "tests/conformance/test_raft_scenarios.py")
        return Verdict(mutation, "tests" if failed else "", seeds, took + more)


def control(first: int) -> str | None:
    """What a few seeds find in the sources as they are; None if all is well."""
    output, failed, _ = run(ROOT, CONTROL_SECONDS, "-m", "quorate.cli.main", "sim",
                         "--until-failure", "--first", str(first), "--seeds", "10")
    return output if failed else None


def run(copy: Path, seconds: float, *arguments: str) -> tuple[str, bool, float]:
    """Run in the copy; its output, whether it found fault (out of time is none), and its seconds of
    processor time: what else the machine does counts neither for nor against a net."""
    with tempfile.TemporaryFile("w+") as output:
        limit = (f"ulimit -t {math.ceil(seconds)}; "
                 f"exec timeout --foreground --kill-after=5 {seconds * WALL_FACTOR} \"$@\"")
        process = subprocess.Popen(
            ["bash", "-c", limit, "bash", sys.executable, *arguments], cwd=copy, text=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={"PYTHONPATH": str(copy / "src"), "PATH": "/usr/bin:/bin",
                 "QUORATE_CONFORMANCE": CONFORMANCE})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return output.read(), 0 < code < OUT_OF_TIME, usage.ru_utime + usage.ru_stime


def main() -> int:
    """The command line; 1 if the nets are not good enough."""
    parser = argparse.ArgumentParser(prog="scripts/mutations", description=__doc__)
    parser.add_argument("--first", type=int, default=10_000, help="first seed")
    parser.add_argument("--seeds", type=int, default=2000, help="seeds at most for each bug")
    parser.add_argument("--seconds", type=float, default=600, help="of one core, limit of each net")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write the verdicts for the scorecard")
    parser.add_argument("--only", default="", help="bugs whose name contains this")
    options = parser.parse_args()
    bugs = [m for m in CATALOGUE if options.only in m.name]
    if (fault := control(options.first)) is not None:
        print(f"the sources fail without any planted bug; mend that first:\n{fault}")
        return 2
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(lambda m: grade(
                m, options.first, options.seeds, options.seconds), bugs):
            verdicts.append(verdict)
            print(line(verdict), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps([
            {"name": v.mutation.name, "module": v.mutation.module, "safety": v.mutation.safety,
             "net": v.net, "seeds": v.seeds, "seconds": round(v.seconds, 1)}
            for v in verdicts], indent=1) + "\n")
    found = sum(bool(v.net) for v in verdicts)
    escaped = [v for v in verdicts if v.mutation.safety and v.net != "sim"]
    print(f"{found} of {len(verdicts)} planted bugs found, {len(escaped)} safety bugs not by the "
          f"simulator")
    return 1 if escaped or found < TARGET * len(verdicts) else 0


def line(verdict: Verdict) -> str:
    """One bug for people."""
    kind = "safety  " if verdict.mutation.safety else "progress"
    seeds = f"{verdict.seeds:4} seeds" if verdict.net == "sim" else "          "
    return (f"{verdict.net or 'NOBODY':6} {seeds} {verdict.seconds:6.1f} s  {kind} "
            f"{verdict.mutation.module:22} {verdict.mutation.name}")


if __name__ == "__main__":
    raise SystemExit(main())
