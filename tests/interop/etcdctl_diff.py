"""Runs the script of invocations against both clusters at once, and prints what came of each.

`scripts/etcdctl-diff` is this; test_etcdctl.py asserts what it prints.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).parent))

from etcdctl_differences import Verdict, idle, judged
from etcdctl_run import Runner, running
from etcdctl_script import SCRIPT


def compared(directory: Path) -> list[Verdict]:
    """Three members of each are started, asked everything, and stopped."""
    def tell(runner: Runner) -> None:
        for step in SCRIPT:
            runner.ask(step)
    with (running(directory / "ours", None, ()) as ours,
          running(directory / "theirs", ["etcd"], ("--log-level=error",)) as theirs,
          ThreadPoolExecutor(2) as pool):
        list(pool.map(tell, (ours, theirs)))
    return list(judged(ours.outcomes, theirs.outcomes))


def main() -> int:
    """The command line."""
    with tempfile.TemporaryDirectory(prefix="quorate-etcdctl-") as directory:
        verdicts = compared(Path(directory))
    for verdict in verdicts:
        print(verdict)
    stale = idle([verdict.ours for verdict in verdicts])
    for names in stale:
        print(f"WRONG (names no invocation) {names}")
    good = [verdict for verdict in verdicts if not verdict.wrong]
    listed = [verdict for verdict in good if verdict.reasons]
    print(f"\n{len(verdicts)} invocations, {len(good) - len(listed)} equal, "
          f"{len(listed)} differ as listed:")
    for reason, count in Counter(r for v in listed for r in v.reasons).items():
        print(f"{count:4}  {reason}")
    failed = len(verdicts) - len(good) + len(stale)
    print(f"{len(good)} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
