"""Logging that can never block the loop: a bounded queue and a thread that writes.

A log sink that does not take lines (a full pipe, a hung disk) costs lines, which are counted, and
nothing else (etcd issue 22214). Not here: what is logged.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import threading
from typing import TextIO

QUEUE_LINES_MAX = 10_000
"""Lines that wait for a slow sink."""

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "panic": 50, "fatal": 50}


class BoundedHandler(logging.Handler):
    """Formats on the calling thread, writes on its own."""

    def __init__(self, sinks: list[TextIO]) -> None:
        super().__init__()
        self._sinks = sinks
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES_MAX)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line or drop it."""
        try:
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Let the thread finish what is queued, but not wait for a sink that hangs."""
        if self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(1.0)
        super().close()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            if self.dropped:
                line += f"\n({self.dropped} lines were dropped: the log was not read)"
                self.dropped = 0
            for sink in self._sinks:
                try:
                    sink.write(line + "\n")
                    sink.flush()
                except OSError:
                    self.dropped += 1


def set_up(level: str, outputs: tuple[str, ...]) -> None:
    """Log to these from now on: `stderr` or `default`, `stdout`, or a file's path; raises
    OSError."""
    sinks: list[TextIO] = []
    for output in outputs:
        if output in ("default", "stderr", ""):
            sinks.append(sys.stderr)
        elif output == "stdout":
            sinks.append(sys.stdout)
        else:
            sinks.append(open(output, "a", encoding="utf-8"))  # lives as long as we
    handler = BoundedHandler(sinks)
    handler.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger("quorate")
    root.handlers = [handler]
    root.setLevel(LEVELS[level])
    root.propagate = False
