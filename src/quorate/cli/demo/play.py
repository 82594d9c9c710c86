"""The demo's scenes, in order, each with what must hold afterwards.

A scene narrates, does something to the cluster, waits for what must follow and asserts it. A failed
assertion ends the play with the reason. Not here: what people see (view.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.cli.demo.members import Store, StoreMember
from quorate.cli.demo.postgres import PostgresCluster, PostgresNode
from quorate.cli.demo.writers import KeyWriter, RowWriter

TTL_S = 20
FAILOVER_S_MAX = TTL_S + 15
"""Patroni's own time: the lock runs out, the replicas race, one is promoted."""


class Failed(Exception):
    """Something that must hold did not."""


@dataclass
class Play:
    """State of one performance."""

    store: Store
    postgres: PostgresCluster
    tell: Callable[[str], None]
    rows: RowWriter = field(init=False)
    keys: KeyWriter = field(init=False)
    failover_s: float = 0.0
    dcs_gap_s: float = 0.0
    cut: StoreMember | None = None

    def __post_init__(self) -> None:
        self.rows = RowWriter(self.postgres)
        self.keys = KeyWriter(self.store)

    def scenes(self) -> list[tuple[str, Callable[[], str]]]:
        """Titles and what happens; each returns what was seen."""
        return [
            ("Start the store and PostgreSQL", self.start),
            ("Write rows through the primary", self.write),
            ("Kill the store's leader", self.kill_store_leader),
            ("Kill the primary with its Patroni", self.kill_primary),
            ("Bring both back", self.bring_back),
            ("Isolate one member of the store", self.isolate),
            ("Stop a majority of the store and bring it back", self.lose_majority),
            ("Count the rows", self.count_rows),
        ]

    def start(self) -> str:
        """Three members, three nodes."""
        self.tell("Three members of the store elect a leader.")
        self.store.start()
        self.tell(f"{self.store.leader().name} leads. Patroni initialises PostgreSQL, and two "
                  f"replicas copy it.")
        self.postgres.start()
        primary = self.postgres.primary(90)
        self.postgres.wait_for_replicas(2, 90)
        return f"{primary.name} is primary, two replicas stream"

    def write(self) -> str:
        """Rows and keys flow."""
        self.tell("A writer inserts rows; each COMMIT is on two nodes before it returns.")
        self.rows.start()
        self.keys.start()
        self._rows_flow("at the start")
        return f"{len(self.rows.acknowledged)} rows acknowledged"

    def kill_store_leader(self) -> str:
        """The store changes its leader; PostgreSQL must not notice."""
        primary = self.postgres.primary(5)
        self.keys.reset()
        victim = self._killed = self.store.leader()
        self.tell(f"kill -9 {victim.name}, the store's leader. The primary must stay primary.")
        victim.process.kill()
        new = self.store.leader()
        time.sleep(6)  # three loops of Patroni
        self.dcs_gap_s = self.keys.gap_s
        if self.postgres.primary(5) is not primary:
            raise Failed("the primary changed although only the store's leader died")
        self._rows_flow("after the store's leader was killed")
        return (f"{new.name} leads, the store did not take writes for {self.dcs_gap_s:.2f} s, "
                f"{primary.name} is still primary")

    def kill_primary(self) -> str:
        """The lock runs out and a replica takes over."""
        primary = self._dead = self.postgres.primary(5)
        self.tell(f"kill -9 {primary.name}, the primary, with its Patroni. Its lock runs out "
                  f"after {TTL_S} s; then a replica takes over.")
        started = time.monotonic()
        primary.kill()
        new = self.postgres.primary(FAILOVER_S_MAX, other_than=primary)
        self.failover_s = time.monotonic() - started
        self._rows_flow("after the failover", 20)
        return f"{new.name} is primary after {self.failover_s:.1f} s"

    def bring_back(self) -> str:
        """The old primary becomes a replica; pg_rewind undoes what only it had."""
        self.tell(f"Start {self._killed.name} and {self._dead.name} again.")
        self._killed.process.start()
        self._dead.process.start()
        self.postgres.wait_for_replicas(2, 90)
        return f"{self._dead.name} streams from {self.postgres.primary(5).name}"

    def isolate(self) -> str:
        """A member without links is not missed, and comes back without disturbing."""
        primary = self.postgres.primary(5)
        leader = self.store.leader()
        self.cut = victim = next(m for m in self.store.members if m is not leader)
        self.tell(f"Cut all links between {victim.name} and the other members.")
        self.store.links.isolate(victim.name)
        time.sleep(8)
        self.tell(f"Mend the links. {victim.name} must not force an election.")
        term = self._term(leader)
        self.store.links.heal(victim.name)
        self.cut = None
        time.sleep(3)
        if self._term(leader) != term or self.store.leader() is not leader:
            raise Failed(f"{victim.name} disturbed the cluster when it came back")
        if self.postgres.primary(5) is not primary:
            raise Failed("the primary changed although a majority of the store was there")
        self._rows_flow("after the isolation")
        return f"{leader.name} still leads in term {term}, {primary.name} is still primary"

    def lose_majority(self) -> str:
        """Without a majority nobody may be sure to hold the lock, so the primary steps down."""
        leader = self.store.leader()
        others = [m for m in self.store.members if m is not leader]
        gone = [leader, others[0]]
        self.tell(f"Stop {gone[0].name} and {gone[1].name}: the store has no majority. Patroni "
                  f"cannot renew the lock, so PostgreSQL becomes read-only: two primaries would "
                  f"be worse.")
        for member in gone:
            member.process.kill()
        deadline = time.monotonic() + TTL_S + 10
        while any(n.role == "primary" for n in self.postgres.nodes):
            if time.monotonic() > deadline:
                raise Failed("a primary went on without a majority of the store")
            time.sleep(0.2)
        self.tell("There is no primary now. Start the two members again.")
        started = time.monotonic()
        for member in gone:
            member.process.start()
        primary = self.postgres.primary(TTL_S + 30)
        took_s = time.monotonic() - started
        self.postgres.wait_for_replicas(2, 60)
        self._rows_flow("after the majority came back", 20)
        return f"{primary.name} is primary {took_s:.1f} s after the majority came back"

    def count_rows(self) -> str:
        """Nothing that was acknowledged may be missing."""
        self.rows.halt()
        self.keys.halt()
        lost = self.rows.lost(self.postgres.primary(30))
        if lost:
            raise Failed(f"{len(lost)} acknowledged rows are lost: {sorted(lost)[:10]}")
        return f"{len(self.rows.acknowledged)} rows were acknowledged, all are there"

    def summary(self) -> str:
        """The last line."""
        return (f"failover {self.failover_s:.1f} s, rows acknowledged "
                f"{len(self.rows.acknowledged)}, rows lost 0, longest write gap at the DCS "
                f"{self.dcs_gap_s:.2f} s")

    def _rows_flow(self, when: str, timeout_s: float = 10) -> None:
        before = len(self.rows.acknowledged)
        deadline = time.monotonic() + timeout_s
        while len(self.rows.acknowledged) < before + 10:
            if time.monotonic() > deadline:
                raise Failed(f"no rows are acknowledged {when}")
            time.sleep(0.05)

    def _term(self, member: StoreMember) -> int:
        status = member.status()
        return int(status["raftTerm"]) if status else 0

    def stop(self) -> None:
        """End everything."""
        for writer in (self.rows, self.keys):
            if writer.is_alive():
                writer.halt()
        self.postgres.stop()
        self.store.stop()


def roles(nodes: list[PostgresNode]) -> dict[str, str]:
    """Role of each node."""
    return {node.name: node.role for node in nodes}
