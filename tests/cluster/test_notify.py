"""A member under a service manager: ready when it serves, alive while it works, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import make_cluster

pytestmark = pytest.mark.cluster

WATCHDOG_S = 1.0
HEARD_S_MAX = 20.0


class Manager:
    """What systemd is to a service."""

    def __init__(self, path: Path) -> None:
        self.messages: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def listen(self, seconds: float, until: str = "") -> bool:
        """For so long, or until that line; whether it came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                text = self._socket.recv(4096).decode()
                self.messages.append((time.monotonic(), text))
                if until in text.split("\n"):
                    return True
        return False

    def close(self) -> None:
        """It is gone."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Of what is started next."""
    here = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(1e6 * WATCHDOG_S)))
    yield here
    here.close()


def test_ready_alive_and_the_end(tmp_path: Path, manager: Manager) -> None:
    """One of three alone is alive, and not ready; with another it is."""
    cluster = make_cluster(tmp_path, 3)
    first, second, _ = cluster.members
    try:
        first.start()
        assert not manager.listen(2.5 * WATCHDOG_S, "READY=1")
        fed = [at for at, text in manager.messages if "WATCHDOG=1" in text]
        assert len(fed) >= 3
        assert "STATUS=no leader" in manager.messages[-1][1]

        os.environ.pop("NOTIFY_SOCKET")
        second.start()
        assert manager.listen(HEARD_S_MAX, "READY=1")
        assert "STATUS=leads" in manager.messages[-1][1] or (
            "STATUS=follows" in manager.messages[-1][1])

        first.signal(signal.SIGSTOP)
        manager.listen(0.2)
        heard = len(manager.messages)
        assert not manager.listen(2.5 * WATCHDOG_S)
        assert len(manager.messages) == heard  # and systemd would have started it anew
        first.signal(signal.SIGCONT)
        first.signal(signal.SIGTERM)
        assert manager.listen(HEARD_S_MAX, "STOPPING=1")
    finally:
        cluster.stop()
