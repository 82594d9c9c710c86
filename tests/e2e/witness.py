"""Witnesses: what each PostgreSQL truly is, asked of itself over a connection that stays open.

Patroni's own opinion is not asked. Next to them, a thread that measures how late this machine wakes
it up: a recording from a machine too busy to keep time is worth nothing.

Not here: what is done to the nodes (stage.py), how it is written down (record.py).
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from quorate.cli.demo.postgres import PostgresNode

POLL_S = 0.05
ANSWER_S = 1.0
"""A PostgreSQL that has not answered by then is down."""
NAP_S = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """A role was first seen; `at` on the monotonic clock, s."""

    at: float
    node: str
    role: str


class Witness(threading.Thread):
    """Asks one PostgreSQL whether it is in recovery, again and again."""

    def __init__(self, node: PostgresNode, sockets: str, tell: Callable[[Change], None]) -> None:
        super().__init__(name=f"witness of {node.name}", daemon=True)
        self.node = node
        self._sockets = sockets
        self._tell = tell
        self._halt = threading.Event()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self.role = ""

    def run(self) -> None:
        """Ask until halted."""
        while not self._halt.is_set():
            started = time.monotonic()
            try:
                role = "replica" if self._in_recovery() else "primary"
            except (psycopg.Error, OSError, TimeoutError):
                self._drop()
                role = "down"
            if role != self.role:
                self.role = role
                self._tell(Change(time.monotonic(), self.node.name, role))
            self._halt.wait(max(0.0, started + POLL_S - time.monotonic()))
        self._drop()

    def _in_recovery(self) -> bool:
        if self._connection is None:
            self._connection = psycopg.connect(
                host=self._sockets, port=self.node.port, user="superuser", dbname="postgres",
                connect_timeout=1, autocommit=True)
        server = self._connection.pgconn
        server.send_query(b"SELECT pg_is_in_recovery()")
        deadline = time.monotonic() + ANSWER_S
        answer = None
        while True:
            while server.is_busy():
                if not select.select([server.socket], [], [],
                                     max(0.0, deadline - time.monotonic()))[0]:
                    raise TimeoutError
                server.consume_input()
            result = server.get_result()
            if result is None:
                break
            answer = result.get_value(0, 0) if result.ntuples else None
        if answer is None:
            raise psycopg.OperationalError("no answer")
        return answer == b"t"

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def halt(self) -> None:
        """Stop and wait."""
        self._halt.set()
        self.join(3)


class Punctuality(threading.Thread):
    """How late naps end."""

    def __init__(self) -> None:
        super().__init__(name="punctuality", daemon=True)
        self._halt = threading.Event()
        self.latest_s = 0.0

    def run(self) -> None:
        """Nap until halted."""
        while not self._halt.is_set():
            started = time.monotonic()
            time.sleep(NAP_S)
            self.latest_s = max(self.latest_s, time.monotonic() - started - NAP_S)

    def halt(self) -> None:
        """Stop and wait."""
        self._halt.set()
        self.join(1)
