"""Automatic compaction, as etcd does it: by time or by number of revisions.

Every member records revisions, the leader compacts. Periodic: to where the revision was a
retention ago, once per retention, at most an hour apart. By revision: to the newest minus the
retention, every five minutes. Source: etcd's v3compactor.

Pure: the driver asks at each `interval_s`. Not here: the compaction itself (state/).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

HOUR_S = 3600.0
REVISION_INTERVAL_S = 300.0
RECORDS_PER_PERIOD = 10


@dataclass(frozen=True, slots=True)
class Retention:
    """`amount`: seconds or revisions; 0 is off. `every_s`: how often to ask, by revisions."""

    mode: Literal["periodic", "revision"] = "periodic"
    amount: float = HOUR_S
    every_s: float = REVISION_INTERVAL_S

    @property
    def interval_s(self) -> float:
        """How often to ask."""
        if self.mode == "revision":
            return self.every_s
        return min(self.amount, HOUR_S) / RECORDS_PER_PERIOD


def parse_retention(mode: str, text: str) -> Retention:
    """etcd's two settings: a duration such as `90m`, or hours as a bare number, for `periodic`; a
    number for `revision`; 0 is off. Raises ValueError with what is wrong."""
    if mode == "revision":
        if not text.isdigit():
            raise ValueError(f"{text!r} is not a number of revisions")
        return Retention("revision", int(text))
    if mode != "periodic":
        raise ValueError(f"the mode {mode!r} is neither periodic nor revision")
    if text.isdigit():
        return Retention("periodic", int(text) * HOUR_S)
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 1h30m or 10m")
    factor = {"h": HOUR_S, "m": 60.0, "s": 1.0, "ms": 0.001}
    return Retention("periodic", sum(float(n) * factor[unit] for n, unit in parts))


class AutoCompactor:
    """What has been recorded."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._records: deque[tuple[float, int]] = deque()
        self._compacted_at: float | None = None

    def ask(self, now: float, revision: int, compacted: int, *, leads: bool) -> int | None:
        """Where to compact to now, if anywhere. Called every `interval_s`."""
        if self._retention.mode == "revision":
            target = revision - int(self._retention.amount)
            return target if leads and target > max(compacted, 0) else None
        self._records.append((now, revision))
        if self._compacted_at is None:
            self._compacted_at = now
        while len(self._records) > 1 and self._records[1][0] <= now - self._retention.amount:
            self._records.popleft()
        at, target = self._records[0]
        period_s = min(self._retention.amount, HOUR_S)
        if (not leads or at > now - self._retention.amount or target <= max(compacted, 0)
                or now - self._compacted_at < period_s):
            return None
        self._compacted_at = now
        return target
