"""Servers and their logs: what is acknowledged, what diverges, what is rewound."""

import random

from quorate.sim.clock import Clock
from quorate.sim.postgres import Server
from quorate.sim.process import Program, Steps


class Pair:
    """A primary "a" and a replica "b" that follows it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.linked = True
        self.roles: list[tuple[str, str]] = []
        servers: dict[str, Server] = {}
        for name in "ab":
            servers[name] = Server(
                name, self.clock, random.Random(name), servers, lambda _one, _other: self.linked,
                lambda role, n=name: self.roles.append((n, role)))  # type: ignore[misc]
        self.a, self.b = servers.values()
        self.run(self.a.start(""))
        self.run(self.a.promote())
        self.run(self.b.start("a"))
        self.acknowledged: list[int] = []

    def run(self, steps: Steps[object]) -> None:
        """To its end."""

        def program() -> Steps[None]:
            yield from steps

        Program(self.clock, program()).start()
        self.wait(20.0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now + seconds)

    def insert(self, row: int) -> None:
        """Through "a"."""
        self.a.insert(row, lambda: self.acknowledged.append(row))


def test_rows_stream_to_the_replica() -> None:
    """Its log is the primary's."""
    pair = Pair()

    pair.insert(1)
    pair.wait(1.0)

    assert pair.b.log == pair.a.log
    assert pair.acknowledged == [1]


def test_a_synchronous_row_waits_for_its_standby() -> None:
    """And is acknowledged when the link works again."""
    pair = Pair()
    pair.a.standby, pair.linked = "b", False

    pair.insert(1)
    pair.wait(1.0)
    waited = list(pair.acknowledged)
    pair.linked = True
    pair.wait(10.0)

    assert (waited, pair.acknowledged) == ([], [1])


def test_a_row_that_nobody_waits_for_may_be_lost() -> None:
    """The replica is promoted without it; the old primary has to be rewound."""
    pair = Pair()
    pair.linked = False
    pair.insert(1)
    pair.a.crash()
    pair.run(pair.b.promote())
    pair.linked = True
    pair.run(pair.a.start("b"))

    assert pair.acknowledged == [1]
    assert pair.a.diverged(pair.b)
    assert not pair.a.streaming
    pair.run(pair.a.rewind(pair.b))
    pair.wait(10.0)
    assert pair.a.log == pair.b.log
    assert pair.a.streaming


def test_two_promotions_are_told_apart_without_a_row() -> None:
    """Timelines are."""
    pair = Pair()
    pair.linked = False
    pair.run(pair.b.promote())
    pair.a.crash()
    pair.run(pair.a.start(""))
    pair.run(pair.a.promote())

    assert pair.a.diverged(pair.b)
    assert pair.b.diverged(pair.a)


def test_a_stopped_server_takes_nothing_and_says_so() -> None:
    """Roles are told as they change."""
    pair = Pair()
    pair.run(pair.a.stop())

    assert not pair.a.writable
    assert pair.roles[-1] == ("a", "down")
