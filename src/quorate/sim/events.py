"""The omniscient event log of a simulated cluster.

Not here: its judgement (judge.py), what else members owe each other (invariants.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.check.keyvalue import Change
from quorate.state.machine import Machine
from quorate.wire._generated import kv_pb2

EVENTS_MAX = 1 << 30


class Events:
    """Everything that ever happened, as the first member to apply it tells it; every other must
    tell the same."""

    def __init__(self, fail: Callable[[str], Exception]) -> None:
        self._fail = fail
        self.log: list[tuple[int, list[Change]]] = []

    def look(self, member_id: int, machine: Machine, after: int) -> None:
        """The member has applied something since revision `after`."""
        start = max(after + 1, 2)
        events, _ = machine.events_since(start, b"\0", b"\0", EVENTS_MAX)
        told: dict[int, list[Change]] = {}
        for event in events:
            told.setdefault(event.revision, []).append(
                Change(event.kv.key, None if event.type == kv_pb2.Event.DELETE else event.kv))
        for revision in range(start, machine.revision + 1):
            changes = told.get(revision)
            position = revision - 2
            if revision < machine.compact_revision and position < len(self.log):
                continue  # clean-up may have taken some of it
            if changes is None:
                raise self._fail(f"revision {revision} has no events on {member_id}")
            if position == len(self.log):
                self.log.append((revision, changes))
            elif position > len(self.log):
                raise self._fail(f"{member_id} has revision {revision}, nobody had the one before")
            elif self.log[position][1] != changes:
                raise self._fail(f"revision {revision} is {changes} on {member_id}, it was "
                                 f"{self.log[position][1]} elsewhere")
