"""Logging that can never block the loop: a bounded queue and a thread that writes.

A log sink that does not take lines (a full pipe, a hung disk) costs lines, which are counted, and
nothing else (etcd issue 22214). A line is a sentence for people, or an object of JSON whose keys
are those of etcd's, with the sentence's values beside it where a record has `fields`.
Not here: what is logged.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO

QUEUE_LINES_MAX = 10_000
"""Lines that wait for a slow sink."""

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "panic": 50, "fatal": 50}
FORMATS = ("console", "json")
_ROOT = logging.getLogger("quorate")


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        level = {"warning": "warn", "critical": "fatal"}.get(
            record.levelname.lower(), record.levelname.lower())
        ts = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"level": level, "ts": ts.replace("+00:00", "Z"),
                "caller": f"{record.module}.py:{record.lineno}", "msg": record.getMessage(),
                **getattr(record, "fields", {})}
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class BoundedHandler(logging.Handler):
    """Formats on the calling thread, writes on its own."""

    def __init__(self, sinks: list[TextIO]) -> None:
        super().__init__()
        self._sinks = sinks
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES_MAX)
        self._full = 0
        """Lines for which the queue had no room."""
        self._failed = 0
        """Lines that a sink did not take."""
        self._told = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Lines since the start that somebody did not get."""
        return self._full + self._failed

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line or drop it."""
        try:
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self._full += 1

    def close(self) -> None:
        """Let the thread finish what is queued, but do not wait long for a sink that hangs."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=1.0)
            except queue.Full:
                return
            self._thread.join(1.0)
        super().close()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            self._put(line)
            if self.dropped > self._told:
                count, self._told = self.dropped - self._told, self.dropped
                self._put(self.format(_ROOT.makeRecord(
                    __name__, logging.WARNING, __file__, 0, "%d lines were dropped: the log was "
                    "not read", (count,), None, extra={"fields": {"dropped": count}})))

    def _put(self, line: str) -> None:
        for sink in self._sinks:
            try:
                sink.write(line + "\n")
                sink.flush()
            except OSError:
                self._failed += 1


def set_up(level: str, outputs: tuple[str, ...], form: str = FORMATS[0]) -> None:
    """Log to these from now on: `stderr` or `default`, `stdout`, or a file's path, in one of
    FORMATS; raises OSError."""
    sinks: list[TextIO] = []
    for output in outputs:
        if output in ("default", "stderr", ""):
            sinks.append(sys.stderr)
        elif output == "stdout":
            sinks.append(sys.stdout)
        else:
            sinks.append(open(output, "a", encoding="utf-8"))  # lives as long as we
    handler = BoundedHandler(sinks)
    handler.setFormatter(
        JsonFormatter() if form == "json" else logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S"))
    _ROOT.handlers = [handler]
    _ROOT.setLevel(LEVELS[level])
    _ROOT.propagate = False


def dropped() -> int:
    """Lines that were dropped since the start."""
    return sum(handler.dropped for handler in _ROOT.handlers
               if isinstance(handler, BoundedHandler))
