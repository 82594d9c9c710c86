"""What simulated members do by themselves, and what is owed for it."""

from __future__ import annotations

import pytest

from quorate.raft.types import InvariantBroken
from quorate.sim.answers import Answers
from quorate.sim.plan import Plan, UpkeepSettings, draw
from quorate.sim.tables import TableBackend
from quorate.sim.upkeep import NOWHERE, Keeper, owed_compaction
from quorate.state.backend import Bucket
from quorate.state.errors import Problem
from quorate.state.machine import Machine
from quorate.state.revision import revision_key
from quorate.wire._generated import rpc_pb2 as rpc
from three import Trio

ACTION = rpc.AlarmRequest.AlarmAction
PUT = rpc.PutRequest(key=b"k")


def alarm(machine: Machine, action: int, member: int) -> None:
    """NOSPACE."""
    machine.apply_command(rpc.AlarmRequest(
        action=action, memberID=member, alarm=rpc.AlarmType.NOSPACE), 1)  # type: ignore[arg-type]


def test_the_backend_knows_who_is_full_and_takes_no_puts_then() -> None:
    """Deletions it takes; after a crash it knows what was durable."""
    backend = TableBackend()
    machine = Machine(backend)
    machine.apply_command(PUT, 1)
    alarm(machine, ACTION.ACTIVATE, 2)
    backend.commit()
    alarm(machine, ACTION.ACTIVATE, 1)
    assert backend.full == {1, 2}
    machine.apply_command(rpc.DeleteRangeRequest(key=b"k"), 1)
    for bucket, key in ((Bucket.KEY, revision_key(9, 0)), (Bucket.LEASE, b"x")):
        with pytest.raises(InvariantBroken, match=r"raised by \[1, 2\]"):
            backend.put(bucket, key, b"")

    backend.crash()
    assert backend.full == {2}
    alarm(Machine(backend), ACTION.DEACTIVATE, 2)
    assert (backend.full, backend.alarms) == (frozenset(), 0)
    backend.put(Bucket.LEASE, b"x", b"")


def test_a_file_never_shrinks() -> None:
    """What it holds does."""
    backend = TableBackend()
    backend.put(Bucket.LEASE, b"x", b"y" * 99)
    assert backend.size().in_use == backend.size().total == 100
    backend.delete(Bucket.LEASE, b"x")

    assert (backend.size().in_use, backend.size().total) == (0, 100)


def test_who_is_beyond_the_quota_from_tick_to_tick_is_full() -> None:
    """Not who was below it in between; and the end of an alarm is too early then."""
    core, backend = Trio().elect(1), TableBackend()
    keeper = Keeper(core, backend, UpkeepSettings(quota_bytes=50), lambda _revision: None)
    backend.put(Bucket.LEASE, b"x", b"y" * 99)
    keeper.tick(1.0)
    assert not keeper.full
    keeper.tick(2.0)
    assert keeper.full
    with pytest.raises(InvariantBroken, match=r"ends the alarm of 1, 3\.0 s after"):
        keeper._look_at_end(rpc.AlarmRequest(memberID=1), 5.0)
    with pytest.raises(InvariantBroken, match="ends the alarm of 2"):
        keeper._look_at_end(rpc.AlarmRequest(memberID=2), 50.0)

    backend.delete(Bucket.LEASE, b"x")
    backend.put(Bucket.LEASE, b"x", b"y" * 99)
    assert not keeper.full
    keeper.tick(3.0)
    assert not keeper.full


def test_refusals_for_space_have_a_reason() -> None:
    """The request needs some; when one leads on there is an alarm, too."""
    answers = Answers(1)
    put = answers.ask(PUT, 1, 1, 5.0)
    assert answers.refused(put, Problem.NO_SPACE, 1) == []
    assert answers.judge([], steady_since=5.0) == []
    assert "without an alarm" in answers.judge([], steady_since=4.0)[0]

    delete = answers.ask(rpc.DeleteRangeRequest(key=b"k"), 1, 1, 5.0)
    assert "for no reason" in answers.refused(delete, Problem.NO_SPACE, 1, alarmed=True)[0]


def test_compaction_beyond_the_retention_is_found() -> None:
    """Whatever the product's own rule says."""
    trio = Trio()
    core, told = trio.elect(1), list[int]()
    keeper = Keeper(core, TableBackend(), UpkeepSettings(revisions=2), told.append)
    for _ in range(5):
        core.propose(PUT, lambda _outcome: None)
        trio.settle()
    keeper.tick(core.now + 10.0)
    assert told == [core.machine.revision - 2]

    keeper._settings = UpkeepSettings(revisions=3)
    with pytest.raises(InvariantBroken, match="compacts by itself"):
        keeper.tick(core.now + 20.0)


@pytest.mark.parametrize(("settings", "steady_s", "owed"), [
    (None, 99.0, NOWHERE), (UpkeepSettings(1000), 99.0, NOWHERE),
    (UpkeepSettings(revisions=20), 1.0, NOWHERE), (UpkeepSettings(revisions=20), 99.0, 80),
    (UpkeepSettings(period_s=4.0), 9.0, NOWHERE), (UpkeepSettings(period_s=4.0), 99.0, 100),
])
def test_compaction_is_owed_after_a_while(
    settings: UpkeepSettings | None, steady_s: float, owed: int
) -> None:
    """By revisions at the next look; by time when two periods are over."""
    assert owed_compaction(Plan(1, upkeep=settings), steady_s, 100) == owed


def test_some_seeds_have_upkeep_of_each_kind() -> None:
    """About a quarter; the others are as they were before there was any."""
    drawn = [settings for seed in range(200) if (settings := draw(seed).upkeep) is not None]

    assert 30 < len(drawn) < 70
    for kind in ("quota_bytes", "revisions", "period_s"):
        assert len({getattr(settings, kind) for settings in drawn}) > 2
