"""PostgreSQL in the model: a server with a log of rows that is primary or replica, and replicas
that pull from the server they follow.

The log is a list of records: rows, and a mark for every promotion, so that two logs that went
different ways are told apart as timelines are. Invariants: only a running primary takes rows; a
replica's log is a prefix of that of the server it streams from, else it has to be rewound first.
A row is acknowledged when it is on the primary's disk and, if there is one, on the synchronous
standby's.

Not here: who starts, stops and promotes (patroni.py), the application (ha.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.sim.clock import Clock
from quorate.sim.process import Pause, Steps

STOP_S = (0.1, 0.4)
START_S = (0.6, 1.6)
PROMOTE_S = (0.1, 0.7)
REWIND_S = (0.5, 1.5)
STREAM_S = 0.005
"""A record's way to a replica."""

RETRY_S = 5.0
"""wal_retrieve_retry_interval: when a replica looks for its primary again."""


class Record(NamedTuple):
    """A row, or a promotion by a node for the n-th time."""

    origin: str
    number: int


Linked = Callable[[str, str], bool]


@dataclass(slots=True, eq=False)
class Server:
    """One PostgreSQL. `told` hears of changes of its role: "primary", "replica", "down"."""

    name: str
    clock: Clock
    rng: random.Random
    servers: dict[str, Server]
    linked: Linked
    told: Callable[[str], None]
    log: list[Record] = field(default_factory=list)
    primary: bool = False
    running: bool = False
    upstream: str = ""
    standby: str = ""
    """synchronous_standby_names: whose log a row must reach before it is acknowledged."""
    _promotions: int = 0
    _looking: bool = False
    _waiting: dict[int, Callable[[], None]] = field(default_factory=dict)
    """Rows that are not acknowledged yet, by the length of the log that they need."""

    @property
    def writable(self) -> bool:
        """Whether it takes rows."""
        return self.primary and self.running

    @property
    def streaming(self) -> bool:
        """Whether it has an upstream that it can follow right now."""
        server = self.servers.get(self.upstream)
        return (self.running and server is not None and server.running
                and self.linked(self.name, self.upstream) and not self.diverged(server))

    def diverged(self, other: Server) -> bool:
        """Whether this log is not the beginning of the other's."""
        count = len(self.log)
        return len(other.log) < count or (
            count > 0 and other.log[count - 1] != self.log[count - 1])

    # What Patroni does to it; all take time.

    def stop(self) -> Steps[None]:
        """It takes no more rows from now on."""
        if self.running:
            self._end()
            yield Pause(self.rng.uniform(*STOP_S))
            self.primary = False

    def start(self, upstream: str) -> Steps[None]:
        """As a replica."""
        yield Pause(self.rng.uniform(*START_S))
        self.primary, self.running = False, True
        self.told("replica")
        self.follow(upstream)

    def promote(self) -> Steps[bool]:
        """Become primary, on a timeline of its own."""
        yield Pause(self.rng.uniform(*PROMOTE_S))
        if not self.running:
            return False
        self._promotions += 1
        self.log.append(Record(f"promotion of {self.name}", self._promotions))
        self.primary, self.upstream, self.standby = True, "", ""
        self.told("primary")
        for server in self.servers.values():
            if server.upstream == self.name:
                server.pull()
        return True

    def rewind(self, other: Server) -> Steps[None]:
        """pg_rewind: forget what the other does not have."""
        yield Pause(self.rng.uniform(*REWIND_S))
        common = 0
        for mine, its in zip(self.log, other.log, strict=False):
            if mine != its:
                break
            common += 1
        del self.log[common:]

    def crash(self) -> None:
        """The host is gone."""
        self._end()
        self.primary = False

    def _end(self) -> None:
        if self.running:
            self.running = False
            self._waiting.clear()
            self.told("down")

    # Rows and replication.

    def insert(self, row: int, acknowledge: Callable[[], None]) -> None:
        """On a writable server."""
        self.log.append(Record("row", row))
        self._waiting[len(self.log)] = acknowledge
        for server in self.servers.values():
            if server.upstream == self.name:
                self.clock.after(STREAM_S, server.pull)
        self.confirm()

    def confirm(self) -> None:
        """Acknowledge what is safe."""
        standby = self.servers.get(self.standby)
        safe = len(self.log)
        if standby is not None:
            safe = len(standby.log) if standby.upstream == self.name and standby.streaming else 0
        for length in [n for n in self._waiting if n <= safe]:
            self._waiting.pop(length)()

    def follow(self, upstream: str) -> None:
        """Stream from there, now or as soon as it works."""
        if upstream != self.upstream:
            self.upstream = upstream
            self.pull()

    def pull(self) -> None:
        """Take what the upstream has; look again if it cannot be reached."""
        if not self.running or self.primary or not self.upstream:
            return
        server = self.servers[self.upstream]
        if self.streaming:
            self.log += server.log[len(self.log):]
            server.confirm()
        elif not self._looking:
            self._looking = True
            self.clock.after(RETRY_S, self._look_again)

    def _look_again(self) -> None:
        self._looking = False
        self.pull()
