"""`quorate shims DIR`: executables that stand in for etcd's.

`etcd` runs `quorate serve` in the same process (exec), so that it is one process with visible
arguments that can be stopped and signalled by its pid. `etcdctl` comes with a later release.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

MARK = "# written by quorate shims"


def script(module: str) -> str:
    """A shell script that becomes that module."""
    python = shlex.quote(sys.executable)
    return f'#!/bin/sh\n{MARK}\nexec {python} -m {module} "$@"\n'


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if len(argv) != 1 or argv[0].startswith("-"):
        print("Usage: quorate shims DIR   writes DIR/etcd", file=sys.stderr)
        return 0 if argv in (["--help"], ["-h"]) else 2
    target = Path(argv[0]) / "etcd"
    if target.exists() and MARK not in target.read_text(errors="replace"):
        print(f"quorate: {target} exists and is not ours; name another directory",
              file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(script("quorate.cli.serve"))
    target.chmod(0o755)
    print(f"wrote {target}; put {target.parent} first on PATH to use it. "
          f"etcdctl comes with a later release.")
    return 0
