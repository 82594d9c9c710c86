"""`scripts/demo`: a store of three members under three Patroni nodes, and what failures do to it.

Without `--headless` a live view is shown (view.py); with it one line per scene. `--assert` makes
the exit code say whether everything held; the last line gives the figures.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from quorate.cli.demo.members import Store
from quorate.cli.demo.play import Failed, Play
from quorate.cli.demo.postgres import PostgresCluster, find_postgres
from quorate.cli.demo.processes import Workspace


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--headless", action="store_true", help="one line per scene")
    parser.add_argument("--assert", dest="check", action="store_true",
                        help="exit with 1 if anything did not hold")
    parser.add_argument("--postgres", choices=("wheel", "system"), default="wheel",
                        help="PostgreSQL from PyPI (default) or the distribution's")
    parser.add_argument("--dcs", choices=("quorate", "etcd"), default="quorate",
                        help="the same play on a stock etcd, to compare")
    parser.add_argument("--keep", action="store_true", help="keep the working directory")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        binaries = find_postgres(options.postgres)
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    workspace = Workspace(options.keep)
    command = ["etcd"] if options.dcs == "etcd" else [sys.executable, "-m", "quorate.cli.serve"]
    store = Store(workspace, command)
    postgres = PostgresCluster(workspace, store.hosts, binaries)
    if options.headless:
        failed = _headless(store, postgres)
    else:
        from quorate.cli.demo.view import perform

        failed = perform(store, postgres)
    if options.keep or failed:
        print(f"logs are in {workspace.path}")
        workspace.keep = True
    workspace.remove()
    return 1 if failed and options.check else 0


def _headless(store: Store, postgres: PostgresCluster) -> bool:
    """Play with one line per scene; whether something failed."""
    play = Play(store, postgres, lambda _text: None)
    started = time.monotonic()
    try:
        for title, scene in play.scenes():
            seen = scene()
            print(f"{time.monotonic() - started:6.1f} s  ok  {title}: {seen}", flush=True)
        print(play.summary(), flush=True)
        return False
    except (Failed, TimeoutError) as failure:
        print(f"{time.monotonic() - started:6.1f} s  FAILED  {failure}", flush=True)
        return True
    except KeyboardInterrupt:
        print("interrupted")
        return True
    finally:
        play.stop()


if __name__ == "__main__":
    raise SystemExit(main())
