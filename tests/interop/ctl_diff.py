"""Runs the script of invocations with `quorate ctl` and with stock etcdctl, each on three members
of quorate, and prints what came of each.

`scripts/etcdctl-diff --ours` is this; test_ctl.py asserts what it prints.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).parent))

from ctl_differences import BLANKED, ROWS, judged
from etcdctl_differences import idle
from etcdctl_run import Outcome, Runner, running
from etcdctl_script import SCRIPT

OURS = (sys.executable, "-m", "quorate.cli.ctl.main")


def compared(directory: Path) -> list[tuple[Outcome, Outcome]]:
    """Ours and etcdctl's, invocation by invocation."""
    def tell(runner: Runner) -> None:
        for step in SCRIPT:
            runner.ask(step)
    with (running(directory / "ours", None, (), OURS) as ours,
          running(directory / "etcdctl", None, ()) as theirs, ThreadPoolExecutor(2) as pool):
        list(pool.map(tell, (ours, theirs)))
    return list(zip(ours.outcomes, theirs.outcomes, strict=True))


def main() -> int:
    """The command line; 1 if something differs that is not listed."""
    with tempfile.TemporaryDirectory(prefix="quorate-ctl-") as directory:
        pairs = compared(Path(directory))
    why: Counter[str] = Counter()
    failed = listed = 0
    for ours, theirs in pairs:
        wrong, reasons = judged(ours, theirs)
        print(f"WRONG  {wrong}" if wrong else f"{'listed' if reasons else 'equal':6} {ours.name}")
        failed += bool(wrong)
        listed += bool(reasons and not wrong)
        why.update(reasons)
    for names in idle([ours for ours, _ in pairs], (*ROWS, *BLANKED)):
        print(f"WRONG (names no invocation) {names}")
        failed += 1
    print(f"\n{len(pairs)} invocations, {len(pairs) - listed - failed} equal, "
          f"{listed} differ as listed:")
    for reason, count in why.items():
        print(f"{count:4}  {reason}")
    print(f"{len(pairs) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
