"""Two writers: rows through the PostgreSQL primary, and a key through the store.

The row writer inserts numbered rows and remembers each for which COMMIT returned; at the end every
one of them must be in the table. The store writer measures the longest time without a successful
write. Not here: the faults (play.py).
"""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg

from quorate.cli.demo.members import NoAnswer, Store, b64, call
from quorate.cli.demo.postgres import PASSWORDS, PostgresCluster, PostgresNode

ROW_PAUSE_S = 0.02
KEY_PAUSE_S = 0.02


def connect(node: PostgresNode, timeout_s: int = 2) -> psycopg.Connection[tuple[object, ...]]:
    """A connection as superuser; raises psycopg.Error."""
    return psycopg.connect(
        host="127.0.0.1", port=node.port, user="superuser", dbname="postgres",
        password=PASSWORDS["superuser"], connect_timeout=timeout_s, autocommit=True,
        options="-c statement_timeout=5000")


class RowWriter(threading.Thread):
    """Inserts rows through whichever node is primary."""

    def __init__(self, cluster: PostgresCluster) -> None:
        super().__init__(name="rows", daemon=True)
        self._cluster = cluster
        self._halt = threading.Event()
        self._next = 0
        self.acknowledged: set[int] = set()
        self.last_at = time.monotonic()
        self.longest_gap_s = 0.0

    def run(self) -> None:
        """Insert until halted."""
        while not self._halt.is_set():
            for node in self._cluster.nodes:
                with contextlib.suppress(psycopg.Error, OSError):
                    self._write_through(node)
            self._halt.wait(0.05)

    def _write_through(self, node: PostgresNode) -> None:
        with connect(node) as connection:
            row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
            if row is None or row[0]:
                return
            connection.execute("CREATE TABLE IF NOT EXISTS demo (id bigint PRIMARY KEY)")
            while not self._halt.is_set():
                self._next += 1
                connection.execute("INSERT INTO demo VALUES (%s)", (self._next,))
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - self.last_at)
                self.last_at = now
                self.acknowledged.add(self._next)
                time.sleep(ROW_PAUSE_S)

    def halt(self) -> None:
        """Stop and wait."""
        self._halt.set()
        self.join(10)

    def lost(self, node: PostgresNode) -> set[int]:
        """Rows that were acknowledged and are not there."""
        with connect(node) as connection:
            found = {int(str(row[0])) for row in connection.execute("SELECT id FROM demo")}
        return self.acknowledged - found


class KeyWriter(threading.Thread):
    """Puts one key again and again, through any member that answers."""

    def __init__(self, store: Store) -> None:
        super().__init__(name="keys", daemon=True)
        self._store = store
        self._halt = threading.Event()
        self.count = 0
        self.last_at = time.monotonic()
        self.gap_s = 0.0
        """The longest time without a success since `reset`."""

    def run(self) -> None:
        """Put until halted."""
        turn = 0
        while not self._halt.wait(KEY_PAUSE_S):
            member = self._store.members[turn % len(self._store.members)]
            try:
                call(member.port, "/v3/kv/put", {"key": b64("/demo/tick"),
                                                 "value": b64(str(self.count))}, 0.5)
            except NoAnswer:
                turn += 1
                continue
            now = time.monotonic()
            self.gap_s = max(self.gap_s, now - self.last_at)
            self.last_at = now
            self.count += 1

    def reset(self) -> None:
        """Measure anew."""
        self.last_at = time.monotonic()
        self.gap_s = 0.0

    def halt(self) -> None:
        """Stop and wait."""
        self._halt.set()
        self.join(5)
