"""The scripted faults that are recorded, as one table.

Whom a step hits is named by role and looked up when time 0 comes: `primary` and `replica` are
nodes; `leader`, `majority` (the leader and one more, drawn) and `primary's member` (the one that
the primary's node spoke to last) are members of the store; anything else is a name.

Not here: how a step is done (stage.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.cli.demo.postgres import Settings

COMMON = Settings(20, 5, 5, False, False)
FAILSAFE = Settings(20, 5, 5, True, False)
SYNCHRONOUS = Settings(20, 5, 5, False, True)
DEFAULT = Settings(30, 10, 10, False, False)
"""Patroni's own defaults."""
REJOIN_S = 45.0


@dataclass(frozen=True, slots=True)
class Step:
    """One action; `at` in s after the first."""

    at: float
    do: str
    who: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done to which cluster."""

    name: str
    about: str
    steps: tuple[Step, ...]
    settings: Settings = COMMON
    etcd: bool = False
    """Stock etcd instead of quorate."""
    driver: str = "etcd3"
    speaks_to: str = ""
    """Which member the primary's node must speak to at time 0: `leader`, `follower`, or any."""


def _killed(
    name: str, about: str, settings: Settings = COMMON, *, etcd: bool = False,
    driver: str = "etcd3",
) -> Scenario:
    return Scenario(name, about, (
        Step(0, "kill node", "primary"), Step(REJOIN_S, "start node", "primary"),
    ), settings, etcd, driver)


def _majority(
    name: str, about: str, settings: Settings = COMMON, *, lost_s: float = 30,
    etcd: bool = False, driver: str = "etcd3",
) -> Scenario:
    return Scenario(name, about, (
        Step(0, "kill members", "majority"), Step(lost_s, "start members", "majority"),
    ), settings, etcd, driver)


def _cut(
    name: str, about: str, settings: Settings = COMMON, *, who: str = "primary",
    cut_s: float = REJOIN_S, etcd: bool = False, driver: str = "etcd3",
) -> Scenario:
    return Scenario(name, about, (
        Step(0, "cut node", who), Step(cut_s, "heal node", who),
    ), settings, etcd, driver)


SCENARIOS = (
    _killed("primary-killed", "The primary's host dies and comes back 45 s later."),
    _majority("majority-lost", "The store's leader and one more member are dead for 30 s."),
    _majority("majority-lost-failsafe",
              "The store's leader and one more member are dead for 30 s, with failsafe mode.",
              FAILSAFE),
    _majority("majority-lost-briefly", "The store's leader and one more member are dead for 2 s.",
              lost_s=2),
    Scenario("member-paused",
             "The member that the primary's node speaks to, a follower, hangs for 25 s.",
             (Step(0, "pause members", "primary's member"),
              Step(25, "resume members", "primary's member")), speaks_to="follower"),
    Scenario("store-leader-paused", "The store's leader hangs for 25 s.",
             (Step(0, "pause members", "leader"), Step(25, "resume members", "leader"))),
    _cut("primary-cut", "The primary's node does not reach the store for 45 s."),
    _cut("primary-cut-failsafe",
         "The primary's node does not reach the store for 45 s, with failsafe mode.", FAILSAFE),
    Scenario("store-leader-isolated",
             "The store's leader, to which the primary's node speaks, loses its peers for 30 s.",
             (Step(0, "isolate members", "leader"), Step(30, "heal members", "leader")),
             speaks_to="leader"),
    Scenario("rolling-restart", "Each member is stopped and started in turn.",
             tuple(step for turn, member in enumerate(("m1", "m2", "m3")) for step in (
                 Step(turn * 10, "stop members", member),
                 Step(turn * 10 + 5, "start members", member)))),
    _killed("primary-killed-sync",
            "The primary's host dies and comes back 45 s later, with a synchronous standby.",
            SYNCHRONOUS),
    _cut("replica-cut", "A replica's node does not reach the store for 30 s.",
         who="replica", cut_s=30),
    _killed("primary-killed-v2",
            "The primary's host dies and comes back 45 s later; v2 driver on stock etcd.",
            etcd=True, driver="etcd"),
    _majority("majority-lost-v2",
              "The store's leader and one more member are dead for 30 s; v2 driver on stock etcd.",
              etcd=True, driver="etcd"),
    _cut("primary-cut-v2",
         "The primary's node does not reach the store for 45 s; v2 driver on stock etcd.",
         etcd=True, driver="etcd"),
    _killed("primary-killed-etcd",
            "The primary's host dies and comes back 45 s later, on stock etcd.", etcd=True),
    _majority("majority-lost-etcd",
              "The store's leader and one more member are dead for 30 s, on stock etcd.",
              etcd=True),
    _killed("primary-killed-default",
            "The primary's host dies and comes back 45 s later, with Patroni's default times.",
            DEFAULT),
    _majority("majority-lost-default",
              "The store's leader and one more member are dead for 30 s, with Patroni's defaults.",
              DEFAULT),
)
