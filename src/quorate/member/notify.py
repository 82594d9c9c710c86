"""What a member tells the service manager that started it: that it is ready, how it is, that it
stops, and, if there is a watchdog, that it lives (systemd's protocol, sd_notify(3)).

It lives while the loop runs, which sends this, the clock of the core ticks, and no write to the
disk has been under way for a whole watchdog interval: a slow disk is no reason to be killed, one
that never answers is. Without a manager nothing is sent.

Not here: what a member does about a disk that hangs (core.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

from quorate.member.runtime import Runtime

log = logging.getLogger(__name__)


class Notifier:
    """Of one process. `watchdog_s` is 0 without a watchdog."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        usec = environ.get("WATCHDOG_USEC", "")
        here = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_s = int(usec) / 1e6 if usec.isdecimal() and here and self._address else 0.0

    def tell(self, *lines: str) -> None:
        """One message."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        try:
            with socket.socket(socket.AF_UNIX, kind) as once:
                once.sendto("\n".join(lines).encode(), self._address)
        except OSError as failure:
            log.warning("the service manager at NOTIFY_SOCKET was not told %s: %s",
                        lines[0], failure)

    def watch(self, runtime: Runtime) -> None:
        """Feed the watchdog from now on, if there is one."""
        if self.watchdog_s:
            self._feed(asyncio.get_running_loop(), runtime, -1)

    def _feed(self, loop: asyncio.AbstractEventLoop, runtime: Runtime, ticks: int) -> None:
        """Twice an interval. `ticks`: how many there had been the last time."""
        now_ticks, since = runtime.chronicle.ticks, runtime.writing_since
        if now_ticks == ticks:
            log.warning("the watchdog is not fed: no tick for %.1f s", self.watchdog_s / 2)
        elif since is not None and loop.time() - since > self.watchdog_s:
            log.warning("the watchdog is not fed: the disk has not answered for %.1f s",
                        loop.time() - since)
        else:
            self.tell("WATCHDOG=1", f"STATUS={runtime.chronicle.status}")
        loop.call_later(self.watchdog_s / 2, self._feed, loop, runtime, now_ticks)
