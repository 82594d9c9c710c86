"""`quorate shims DIR`: executables that stand in for etcd's.

`etcd` runs `quorate serve` in the same process (exec), so that it is one process with visible
arguments that can be stopped and signalled by its pid; `etcdctl` likewise runs `quorate ctl`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

MARK = "# written by quorate shims"
SHIMS = {"etcd": "quorate.cli.serve", "etcdctl": "quorate.cli.ctl.main"}


def script(module: str) -> str:
    """A shell script that becomes that module."""
    python = shlex.quote(sys.executable)
    return f'#!/bin/sh\n{MARK}\nexec {python} -m {module} "$@"\n'


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if len(argv) != 1 or argv[0].startswith("-"):
        print(f"Usage: quorate shims DIR   writes {', '.join(f'DIR/{name}' for name in SHIMS)}",
              file=sys.stderr)
        return 0 if argv in (["--help"], ["-h"]) else 2
    directory = Path(argv[0])
    for name in SHIMS:
        target = directory / name
        if target.exists() and MARK not in target.read_text(errors="replace"):
            print(f"quorate: {target} exists and is not ours; name another directory",
                  file=sys.stderr)
            return 1
    directory.mkdir(parents=True, exist_ok=True)
    for name, module in SHIMS.items():
        target = directory / name
        target.write_text(script(module))
        target.chmod(0o755)
    print(f"wrote {' and '.join(SHIMS)} to {directory}; put it first on PATH to use them.")
    return 0
