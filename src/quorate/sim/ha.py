"""A highly available PostgreSQL on the simulated store: nodes, an application, and what they owe.

Judged while it runs: never two writable primaries at a time. Judged at the end: with synchronous
replication every acknowledged row is there; once everything works again there is one primary, the
others stream from it, and rows are acknowledged. How long nobody could write is measured.

Nodes fail by losing the store, each other, or power; they do not pause.

Not here: the loop of a node (patroni.py), the store (world.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.sim.access import Access
from quorate.sim.clock import Clock
from quorate.sim.dcs import StoreClient
from quorate.sim.drivers import Driver, Etcd3
from quorate.sim.member import SimMember
from quorate.sim.patroni import REBOOT_S, Node
from quorate.sim.plan import HaSettings, Plan
from quorate.sim.postgres import Server
from quorate.sim.process import Signal
from quorate.sim.v2driver import Etcd

DRIVERS: dict[str, type[Driver]] = {"etcd3": Etcd3, "etcd": Etcd}
BOOT_S = 1.0
SETTLE_LOOPS = 6
"""Loops, after the longest lock has run out, until everything must be well again."""

LATE_ROWS_S = 5.0
"""How long the application goes on after that: a row must be acknowledged within it."""


class Change(NamedTuple):
    """A server's role from then on: "primary", "replica" or "down". Time in seconds."""

    at: float
    node: str
    role: str


@dataclass(slots=True)
class HaReport:
    """What the application saw."""

    acknowledged: int = 0
    lost: int = 0
    """Acknowledged, and not there at the end: rows at risk without synchronous replication."""
    promotions: int = 0
    longest_s: float = 0.0
    """Without a writable primary."""


@dataclass(slots=True)
class HaCluster:
    """Nodes pg1, pg2, … on the members that `members` gives; `fail` makes exceptions."""

    plan: Plan
    settings: HaSettings
    clock: Clock
    members: Callable[[], dict[int, SimMember]]
    note: Callable[[int, str], None]
    fail: Callable[[str], Exception]
    nodes: dict[str, Node] = field(default_factory=dict)
    roles: list[Change] = field(default_factory=list)
    cut: set[frozenset[str]] = field(default_factory=set)
    """Pairs of nodes that do not reach each other."""
    report: HaReport = field(default_factory=HaReport)
    _stopped: bool = False
    _access: dict[str, Access] = field(default_factory=dict)
    _acknowledged: list[tuple[int, float]] = field(default_factory=list)
    _rows: int = 0
    _down_since: float | None = None

    def __post_init__(self) -> None:
        servers: dict[str, Server] = {}
        for number in range(self.settings.nodes):
            name = f"pg{number + 1}"
            rng = self.plan.stream(f"node {name}")
            self._access[name] = access = Access(
                name, self.clock, rng, self.members, self.settings.ttl_s)
            client = StoreClient(self.clock, rng, access, self.settings)
            woken = Signal()
            servers[name] = server = Server(
                name, self.clock, rng, servers, self._linked, lambda role, n=name: self._told(
                    n, role))  # type: ignore[misc]
            self.nodes[name] = Node(
                name, self.clock, self.settings,
                DRIVERS[self.settings.driver](name, client, woken), server, self.nodes, woken,
                lambda text, n=name: self.note(0, f"{n} {text}"))  # type: ignore[misc]

    def start(self) -> None:
        """Boot all nodes, one after the other, and the application."""
        for number, node in enumerate(self.nodes.values()):
            self.clock.after(BOOT_S * (1 + number), node.start)
        if self.settings.row_s:
            self._next_row(self.plan.stream("application").random)

    def stop(self) -> None:
        """Everybody goes home."""
        self._stopped = True
        for node in self.nodes.values():
            node.kill()

    # Links.

    def _linked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cut

    def access(self, name: str) -> Access:
        """A node's way to the store."""
        return self._access[name]

    @property
    def accesses(self) -> list[Access]:
        """All nodes' ways to the store, with what they recorded."""
        return list(self._access.values())

    def broken(self, member_id: int) -> None:
        """A member's process has ended."""
        for access in self._access.values():
            access.broken(member_id)

    # What happens.

    @property
    def primaries(self) -> list[str]:
        """Who takes rows; at most one."""
        return [n.name for n in self.nodes.values() if n.server.writable]

    def _told(self, name: str, role: str) -> None:
        if self._stopped:
            return
        self.roles.append(Change(self.clock.now, name, role))
        self.note(0, f"{name} is {role}")
        primaries = self.primaries
        if len(primaries) > 1:
            raise self.fail(f"{' and '.join(primaries)} are primaries at the same time")
        self.report.promotions += role == "primary"
        if primaries:
            if self._down_since is not None:
                self.report.longest_s = max(
                    self.report.longest_s, self.clock.now - self._down_since)
                self._down_since = None
        elif self._down_since is None and self.report.promotions:
            self._down_since = self.clock.now

    def _next_row(self, chance: Callable[[], float]) -> None:
        def write() -> None:
            if self._stopped:
                return
            for name in self.primaries:
                self._rows += 1
                row = self._rows
                self.nodes[name].server.insert(
                    row, lambda: self._acknowledged.append((row, self.clock.now)))
            self._next_row(chance)

        self.clock.after(2 * self.settings.row_s * chance(), write)

    # The judgement.

    @property
    def settle_s(self) -> float:
        """How long after everything works again it must be well."""
        s = self.settings
        return (REBOOT_S + s.ttl_s + SETTLE_LOOPS * s.loop_wait_s + 2 * s.retry_timeout_s
                + LATE_ROWS_S)

    def heal(self) -> None:
        """All nodes run and reach everything."""
        self.cut.clear()
        for name, node in self.nodes.items():
            self._access[name].heal()
            node.start()

    def judge(self) -> list[str]:
        """What is wrong at the end, in sentences."""
        report = self.report
        report.acknowledged = len(self._acknowledged)
        primaries = self.primaries
        if not primaries:
            return ["there is no primary, although everything works again"]
        primary = self.nodes[primaries[0]].server
        wrong = [f"{node.name} does not stream from {primary.name}, although everything works "
                 f"again" for node in self.nodes.values()
                 if node.server is not primary
                 and not (node.server.upstream == primary.name and node.server.streaming)]
        there = {record.number for record in primary.log if record.origin == "row"}
        lost = [row for row, _ in self._acknowledged if row not in there]
        report.lost = len(lost)
        if lost and self.settings.synchronous:
            wrong.append(f"{len(lost)} acknowledged rows are lost, {lost[0]} first")
        latest = max((at for _, at in self._acknowledged), default=0.0)
        if self.settings.row_s and latest < self.clock.now - LATE_ROWS_S:
            wrong.append(f"no row was acknowledged after {latest:.3f}, although everything works "
                         f"again")
        return wrong
