"""What is told to the service manager, and when the watchdog is not fed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quorate.member.notify import Notifier

WATCHDOG_S = 10.0


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address)

    def close(self) -> None:
        """It is gone."""
        self._socket.close()

    def heard(self) -> list[str]:
        """All messages since the last time."""
        out = []
        while True:
            try:
                out.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return out


class Loop:
    """A clock that is moved by hand, and the one call that is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: Any = None

    def time(self) -> float:
        """As a loop's."""
        return self.now

    def call_later(self, delay_s: float, call: Any, *arguments: Any) -> None:
        """As a loop's."""
        self.due = (self.now + delay_s, call, arguments)

    def run(self) -> None:
        """Make the call at its time."""
        self.now, call, arguments = self.due
        call(*arguments)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[Manager, dict[str, str]]]:
    """And the environment of what it starts."""
    address = str(tmp_path / "notify")
    here = Manager(address)
    yield here, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(1e6 * WATCHDOG_S))}
    here.close()


def test_without_a_manager_nothing_is_told() -> None:
    """Nor is there a watchdog."""
    notifier = Notifier({"WATCHDOG_USEC": "1000"})
    notifier.tell("READY=1")

    assert notifier.watchdog_s == 0.0


def test_lines_of_one_message(manager: tuple[Manager, dict[str, str]]) -> None:
    """Separated by line feeds."""
    here, environ = manager
    Notifier(environ).tell("READY=1", "STATUS=leads")

    assert here.heard() == ["READY=1\nSTATUS=leads"]


def test_an_abstract_address() -> None:
    """It begins with @ in the variable, with a zero byte in the system."""
    here = Manager("\0quorate-test-notify")
    Notifier({"NOTIFY_SOCKET": "@quorate-test-notify"}).tell("READY=1")
    heard = here.heard()
    here.close()

    assert heard == ["READY=1"]


def test_a_manager_that_is_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    """It is logged."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).tell("READY=1")


def test_a_watchdog_of_another_process(manager: tuple[Manager, dict[str, str]]) -> None:
    """It is not fed."""
    assert Notifier(manager[1] | {"WATCHDOG_PID": "1"}).watchdog_s == 0.0


def test_the_watchdog_is_fed_while_all_goes_on(manager: tuple[Manager, dict[str, str]]) -> None:
    """Twice an interval; not while the ticks stand still, or the disk does not answer for one."""
    (here, environ), loop = manager, Loop()
    runtime = SimpleNamespace(
        chronicle=SimpleNamespace(ticks=1, status="leads"), writing_since=None)
    Notifier(environ)._feed(cast(Any, loop), cast(Any, runtime), -1)
    fed = [bool(here.heard())]
    for ticks, since in ((2, None), (2, None), (3, 9.0), (4, 9.0), (5, 9.0), (6, None)):
        runtime.chronicle.ticks, runtime.writing_since = ticks, since
        loop.run()
        fed.append(bool(here.heard()))

    assert loop.now == 6 * WATCHDOG_S / 2
    assert fed == [True, True, False, True, False, False, True]
