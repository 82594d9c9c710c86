"""Schedules of bare nodes, lease clocks and cores: much happens in them, and they find bugs."""

import random
from dataclasses import replace

import pytest

from quorate.member.core import MemberCore
from quorate.member.leases import LeaseClock
from quorate.raft.log import Log
from quorate.sim.bare import Applied, Bare, Limits
from quorate.sim.chaos import Chaos
from quorate.sim.corechaos import CoreChaos
from quorate.sim.leasechaos import LeaseChaos
from quorate.sim.plan import Plan
from quorate.sim.schedules import run_schedules
from quorate.sim.shrink import shrink


class Broken(Exception):
    """What `fail` makes."""


def _run(seed: int, steps: int = 2000) -> Chaos:
    chaos = Chaos(random.Random(seed), Broken)
    chaos.run(steps)
    return chaos


def test_leaders_change_and_entries_are_committed() -> None:
    """In a few schedules there is a good deal of both."""
    schedules = [_run(seed) for seed in range(10)]

    assert sum(c.invariants.commits for c in schedules) > 50
    assert sum(len(c.invariants.leaders) for c in schedules) > 15


def test_the_dice_decide_everything() -> None:
    """The same seed, the same leaders and entries."""
    one, other = _run(3).invariants, _run(3).invariants

    assert (one.commits, one.leaders) == (other.commits, other.leaders)


def test_votes_for_shorter_logs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voter that does not look at the log lets somebody lead who lacks what is committed."""
    monkeypatch.setattr(Log, "is_up_to_date", lambda _self, _term, _index: True)

    with pytest.raises(Broken, match="committed"):
        for seed in range(30):
            _run(seed)


def test_a_bare_node_forgets_what_was_not_on_its_disk() -> None:
    """A lone voter campaigns; before its vote is on disk a crash takes it back."""
    node = Bare(1, Limits(1 << 20, 256, lambda ticks: ticks), (1,))
    node.node.campaign()
    while node.node.has_ready():
        node.appends.extend(m for m in node.node.ready().messages if m.to != 1)

    node.start()

    assert node.log.initial_state()[0].term == 1
    assert node.applied == Applied(1, node.applied.conf_state)
    assert not node.appends


def test_leases_end_under_leaders_that_change() -> None:
    """And none too early."""
    ended = 0
    for seed in range(20):
        chaos = LeaseChaos(random.Random(seed), Broken)
        chaos.run(1000)
        ended += chaos.ended

    assert ended > 50


def test_a_leader_that_believes_only_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends what others renewed."""
    monkeypatch.setattr(
        LeaseClock, "_remembered", lambda self, lease_id, _quorum: self._inherited[lease_id])

    with pytest.raises(Broken, match="which lives until"):
        for seed in range(200):
            LeaseChaos(random.Random(seed), Broken).run(1000)


def test_writes_of_member_cores_are_acknowledged() -> None:
    """In a few schedules there are many."""
    schedules = [CoreChaos(random.Random(seed), Broken) for seed in range(10)]
    for chaos in schedules:
        chaos.run(1500)

    assert sum(chaos.acknowledged for chaos in schedules) > 100


def test_reads_that_ask_nobody_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are older than what was acknowledged."""
    monkeypatch.setattr(MemberCore, "read", lambda self, ready: self.reply(ready, None))

    with pytest.raises(Broken, match="had been acknowledged when it was asked"):
        for seed in range(20):
            CoreChaos(random.Random(seed), Broken).run(1500)


def test_shrinking_leaves_one_schedule_and_the_steps_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its replay has a line for each of them."""
    monkeypatch.setattr(Log, "is_up_to_date", lambda _self, _term, _index: True)
    plan = Plan(1, schedules=20)

    def fails(candidate: Plan) -> bool:
        try:
            run_schedules(candidate, Broken)
        except Broken:
            return True
        return False

    assert fails(plan)
    smallest = shrink(plan, fails, lambda _text: None)

    lines: list[str] = []
    with pytest.raises(Broken):
        run_schedules(smallest, Broken, lines.append)
    assert smallest.schedules == 1
    assert not fails(replace(smallest, steps=smallest.steps - 1))
    assert len(lines) == smallest.steps
