"""The log: forms of a line, and a sink that does not take any."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.member import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The logger as it was."""
    root = logging.getLogger("quorate")
    handlers, level, propagate = root.handlers, root.level, root.propagate
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.propagate = handlers, propagate
    root.setLevel(level)


def written(path: Path) -> list[str]:
    """What the log has when it is closed."""
    for handler in logging.getLogger("quorate").handlers:
        handler.close()
    return path.read_text().splitlines()


def test_a_line_for_people(tmp_path: Path) -> None:
    """Time, level, sentence; what is below the level is not there."""
    logs.set_up("info", (str(tmp_path / "log"),))
    log = logging.getLogger("quorate.x")
    log.debug("nothing")
    log.warning("%d of %s", 1, "two", extra={"fields": {"n": 1}})

    [line] = written(tmp_path / "log")
    assert line.endswith(" WARNING 1 of two")
    assert line[:4].isdigit() and line[10] == "T"


def test_a_line_of_json(tmp_path: Path) -> None:
    """etcd's keys, and the sentence's values beside it."""
    logs.set_up("info", (str(tmp_path / "log"),), "json")
    log = logging.getLogger("quorate.x")
    log.warning("%d of %s", 1, "two", extra={"fields": {"n": 1}})
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("broken")

    first, second = map(json.loads, written(tmp_path / "log"))
    assert (first["level"], first["msg"], first["n"]) == ("warn", "1 of two", 1)
    assert first["caller"].startswith("test_logs.py:") and first["ts"].endswith("Z")
    assert second["level"] == "error" and "ValueError: why" in second["stacktrace"]


class Stuck(io.StringIO):
    """A sink that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        """When it may."""
        self.go.wait()
        return super().write(text)


def test_a_sink_that_hangs_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, and the log says so when it goes on."""
    sink = Stuck()
    monkeypatch.setattr(sys, "stderr", sink)
    monkeypatch.setattr(logs, "QUEUE_LINES_MAX", 10)
    logs.set_up("info", ("stderr",))
    log = logging.getLogger("quorate.x")
    for number in range(100):
        log.info("line %d", number)

    assert logs.dropped() >= 100 - 10 - 1
    sink.go.set()
    logging.getLogger("quorate").handlers[0].close()
    assert f"{logs.dropped()} lines were dropped" in sink.getvalue()


def test_a_sink_that_fails_costs_lines(tmp_path: Path) -> None:
    """And the other sinks get them."""
    logs.set_up("info", ("/dev/full", str(tmp_path / "log")))
    logging.getLogger("quorate.x").info("something")

    lines = written(tmp_path / "log")
    assert lines[0].endswith("something")
    assert logs.dropped() >= 1
