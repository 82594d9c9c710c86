"""Processes of the demo: started as an unprivileged user, in groups of their own, always ended.

PostgreSQL and Patroni refuse to run as root. When the demo is root, everything it starts runs as
`nobody` in a directory of its own; the interpreter and the packages must be readable by everybody.

Not here: what is started (members.py, postgres.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

NOBODY = 65534


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Workspace:
    """A temporary directory that the unprivileged user owns, with a copy of our sources in it, so
    that they can be read wherever the checkout lies."""

    keep: bool = False
    unprivileged: bool = True
    """Whether root becomes somebody else for what it starts."""
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="quorate-", dir="/var/tmp"))
        source = Path(__file__).parents[2]
        shutil.copytree(source, self.path / "src" / "quorate",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.own(self.path)
        for directory, names, files in os.walk(self.path):
            for name in (*names, *files):
                self.own(Path(directory) / name)

    @property
    def user(self) -> int | None:
        """The user to become, None to stay who we are."""
        return NOBODY if self.unprivileged and os.geteuid() == 0 else None

    def own(self, path: Path) -> None:
        """Give a path to the unprivileged user."""
        if self.user is not None:
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def directory(self, name: str) -> Path:
        """A new directory in it."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        self.own(path)
        return path

    def remove(self) -> None:
        """Delete it unless it is to be kept."""
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


class Process:
    """One program with its log."""

    def __init__(self, workspace: Workspace, name: str, arguments: list[str],
                 environment: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = workspace.path / f"{name}.log"
        self._arguments = arguments
        self._workspace = workspace
        self._environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(workspace.path), "LANG": "C.UTF-8",
            "PYTHONPATH": str(workspace.path / "src"), "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; does not wait."""
        user = self._workspace.user
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment, cwd=self._workspace.path, start_new_session=True,
                user=user, group=user, extra_groups=None if user is None else [])

    def signal(self, number: int) -> None:
        """Signal the program and everything it started in its group."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """kill -9 of the whole group."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask it to stop, then insist."""
        if self._process is not None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self._process.wait()
            self._process = None

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
