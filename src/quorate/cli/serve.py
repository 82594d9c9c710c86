"""`quorate serve`: one member, with etcd's flags, environment and configuration file.

Wrong input is one sentence on standard error and exit code 1 (2 for a flag that does not exist);
nothing has been written then. Not here: the settings (member/config.py).
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from quorate.api.port import ClientPort
from quorate.api.server import SERVER_VERSION
from quorate.disk.datadir import DataDirError
from quorate.disk.snapshot_files import ImageDamaged
from quorate.disk.wal import WalDamaged
from quorate.member import logs
from quorate.member.config import load_config
from quorate.member.settings import ConfigError
from quorate.member.config_flags import FLAGS, Use
from quorate.member.launch import run

GROUPS = (
    ("Who and where", ("name", "data-dir", "wal-dir", "config-file")),
    ("Addresses", ("listen-client-urls", "advertise-client-urls", "listen-peer-urls",
                   "initial-advertise-peer-urls")),
    ("A new cluster", ("initial-cluster", "initial-cluster-token", "initial-cluster-state")),
    ("Members that find each other", (
        "discovery", "discovery-proxy", "discovery-fallback", "discovery-endpoints",
        "discovery-token", "discovery-dial-timeout", "discovery-request-timeout",
        "discovery-insecure-transport", "discovery-srv", "discovery-srv-name")),
    ("Changes of members", ("strict-reconfig-check", "max-learners")),
    ("Times", ("heartbeat-interval", "election-timeout")),
    ("Limits", ("snapshot-count", "snapshot-catchup-entries", "max-request-bytes",
                "max-txn-ops", "quota-backend-bytes")),
    ("History", ("auto-compaction-mode", "auto-compaction-retention")),
    ("Logs", ("log-level", "log-format", "log-outputs", "warning-unary-request-duration")),
    ("Metrics", ("listen-metrics-urls", "metrics")),
    ("The v2 API", ("enable-v2",)),
)


def usage() -> str:
    """What `--help` prints."""
    lines = ["Usage: quorate serve [--FLAG=VALUE ...]", "",
             "Runs one member. Flags, ETCD_* variables and the file are etcd's.", ""]
    for title, names in GROUPS:
        lines.append(f"{title}:")
        lines += [f"  --{name:<30} {FLAGS[name].env}" for name in names]
    others = [name for name, flag in FLAGS.items() if flag.use is Use.NONE]
    lines += ["", f"{len(others)} more flags of etcd are accepted without effect; "
                  f"each says so when it is used."]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if any(word.lstrip("-") in ("help", "h") and word.startswith("-") for word in argv):
        print(usage())
        return 0
    if any(word.lstrip("-") == "version" and word.startswith("-") for word in argv):
        print(f"etcd Version: {SERVER_VERSION}\nServer: quorate")
        return 0
    try:
        config = load_config(argv, os.environ, lambda path: Path(path).read_text())
        for warning in config.warnings:
            print(f"quorate: warning: {warning}", file=sys.stderr)
        logs.set_up(config.log_level, config.log_outputs, config.log_format)
        return run(config, partial(
            ClientPort, extensive_metrics=config.metrics_extensive,
            slow_request_s=config.slow_request_s, serves_v2=config.enable_v2), SERVER_VERSION)
    except ConfigError as wrong:
        print(f"quorate: {wrong}", file=sys.stderr)
        return 2 if wrong.usage else 1
    except (DataDirError, WalDamaged, ImageDamaged, OSError) as failure:
        print(f"quorate: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
