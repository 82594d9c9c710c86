"""`quorate`: the commands. Each is imported only when it is used, so that `serve` starts fast."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS = {
    "serve": ("quorate.cli.serve", "run one member, with etcd's flags"),
    "ctl": ("quorate.cli.ctl.main", "ask a running cluster anything that etcdctl can ask"),
    "discovery": ("quorate.cli.discovery.main", "make tokens by which members find each other"),
    "shims": ("quorate.cli.shims", "write an `etcd` executable that is quorate"),
    "import": ("quorate.cli.import_cluster", "make a new cluster from what etcd left behind"),
    "sim": ("quorate.cli.sim", "simulate clusters of the shipped member under faults"),
    "scorecard": ("quorate.cli.scorecard", "run simulations, and write down what they showed"),
    "torture": ("quorate.cli.torture.main", "torment real members and judge what they answered"),
    "conformance": ("quorate.cli.conformance", "run other projects' test data"),
}


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("Usage: quorate COMMAND ...\n")
        print("\n".join(f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()))
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"quorate: there is no command {argv[0]!r}; the commands are "
              f"{', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command: Callable[[list[str]], int] = import_module(COMMANDS[argv[0]][0]).main
    return command(argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
