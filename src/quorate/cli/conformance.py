"""`scripts/conformance`: runs other projects' test data against this one.

`raft DIR...` runs Raft scenario files of all three kinds (told apart by their commands) and
compares everything but log lines. `histories DIR...` judges recorded histories and compares with
`verdicts.json` beside them (file name: whether it is linearizable). The last line is `N passed,
M failed`, counting directives or histories.

Not here: the scenarios (cli/scenarios/), the judge (check/).
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from quorate.check.linearizability import judge
from quorate.check.recorded import NotAHistory, parse as parse_history
from quorate.cli.scenarios.datadriven import Directive, parse, without_logs
from quorate.cli.scenarios.interaction import InteractionScenario
from quorate.cli.scenarios.maths import ConfChangeScenario, QuorumScenario
from quorate.raft.types import InvariantBroken


class Scenario(Protocol):
    """One file's runner."""

    def run(self, directive: Directive) -> str: ...

    def violations(self) -> list[str]: ...


def scenario_for(directives: list[Directive]) -> Scenario:
    """The runner for a file, by the commands it uses."""
    commands = {directive.command for directive in directives}
    if commands <= {"committed", "vote"}:
        return QuorumScenario()
    if commands <= {"simple", "enter-joint", "leave-joint"}:
        return ConfChangeScenario()
    return InteractionScenario()


def run_file(path: Path) -> Iterator[tuple[Directive, str | None]]:
    """Each directive with None, or with what is wrong with it."""
    directives = parse(path)
    scenario = scenario_for(directives)
    for directive in directives:
        try:
            got = without_logs(scenario.run(directive))
        except InvariantBroken as broken:
            got = f"invariant broken: {broken}"
        want = without_logs(directive.expected)
        problems = scenario.violations()
        if got != want:
            problems += difflib.unified_diff(
                want.split("\n"), got.split("\n"), "expected", "got", lineterm="", n=1)
        yield directive, "\n".join(problems) or None


def run_raft(directories: list[Path]) -> int:
    """Run all files and print the score; the exit code."""
    files = sorted(f for d in directories for f in ([d] if d.is_file() else d.rglob("*"))
                   if f.suffix == ".txt")
    if not files:
        print("no scenario files (*.txt) in", *directories, file=sys.stderr)
        return 2
    passed = failed = 0
    for path in files:
        before = failed
        count = 0
        for directive, problem in run_file(path):
            count += 1
            if problem is None:
                passed += 1
            else:
                failed += 1
                print(f"{path}:{directive.line}: {directive.command}\n{problem}")
        print(f"{path.name}: {count - (failed - before)} of {count}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def run_histories(directories: list[Path]) -> int:
    """Judge all files that have a verdict and print the score; the exit code."""
    passed = failed = 0
    for directory in directories:
        table = directory / "verdicts.json"
        if not table.is_file():
            print(f"{directory} has no verdicts.json: name a directory of judged histories",
                  file=sys.stderr)
            return 2
        for name, linearizable in json.loads(table.read_text()).items():
            problem = history_problem(directory / name, linearizable)
            passed += problem is None
            if problem is not None:
                failed += 1
                print(f"{directory / name}: {problem}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def history_problem(path: Path, linearizable: bool) -> str | None:
    """What is wrong with the judge's verdict on one file, if anything."""
    try:
        operations, model = parse_history(path.read_text())
    except (OSError, NotAHistory) as error:
        return str(error)
    stuck = judge(operations, model)  # type: ignore[misc]  # each file has one model
    if (stuck is None) == linearizable:
        return None
    return ("judged linearizable, the verdict says that it is not" if stuck is None else
            f"judged not linearizable, the verdict says that it is: after {len(stuck.order)} "
            f"operations and state {stuck.state!r}, none of {stuck.blocked} fits")


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    raft = commands.add_parser("raft", help="Raft scenario files")
    raft.add_argument("directories", nargs="+", type=Path)
    histories = commands.add_parser("histories", help="recorded histories with verdicts")
    histories.add_argument("directories", nargs="+", type=Path)
    options = parser.parse_args(argv)
    if options.command == "histories":
        return run_histories(options.directories)
    return run_raft(options.directories)


if __name__ == "__main__":
    raise SystemExit(main())
