"""The quota and its alarm, automatic compaction, and their settings."""

from __future__ import annotations

import pytest

from three import Trio

from quorate.member.autocompact import AutoCompactor, Retention, parse_retention
from quorate.member.quota import CLEAR_S, LOOK_S, Quota, cost_bytes
from quorate.member.upkeep import Upkeep
from quorate.state.errors import Problem
from quorate.wire._generated import rpc_pb2 as rpc

PUT = rpc.PutRequest(key=b"k" * 10, value=b"v" * 34)


def op(**request: object) -> rpc.RequestOp:
    """Of a transaction."""
    return rpc.RequestOp(**request)  # type: ignore[arg-type]


@pytest.mark.parametrize(("request_", "cost"), [
    (PUT, 300), (rpc.LeaseGrantRequest(), 64), (rpc.RangeRequest(), 0),
    (rpc.DeleteRangeRequest(key=b"k"), 0), (rpc.CompactionRequest(revision=1), 0),
    (rpc.TxnRequest(success=[op(request_put=PUT)],
                    failure=[op(request_put=PUT), op(request_put=PUT)]), 600),
    (rpc.TxnRequest(success=[op(request_txn=rpc.TxnRequest(success=[op(request_put=PUT)]))]), 300),
])
def test_costs_are_etcds(request_: object, cost: int) -> None:
    """A key is 256 bytes more than it says; the dearer branch counts."""
    assert cost_bytes(request_) == cost  # type: ignore[arg-type]


def test_what_was_asked_counts_until_the_next_look() -> None:
    """So a burst does not run over the quota; what frees space is never too much."""
    quota = Quota(1000)
    assert quota.stale(0.0)
    quota.measured(0.0, 200)

    assert [quota.exceeds(PUT) for _ in range(3)] == [False, False, True]
    assert not quota.exceeds(rpc.DeleteRangeRequest(key=b"k"))
    assert not quota.stale(LOOK_S / 2)
    quota.measured(LOOK_S, 0)
    assert not quota.exceeds(PUT)


def test_an_alarm_ends_well_below_the_quota_after_a_while() -> None:
    """And not by a moment of room."""
    quota = Quota(1000)
    quota.measured(0.0, 899)
    assert not quota.clears(CLEAR_S - 1)
    quota.measured(5.0, 901)
    quota.measured(6.0, 100)
    assert not quota.clears(CLEAR_S)

    assert quota.clears(6.0 + CLEAR_S)


def test_no_quota_is_never_too_much() -> None:
    """It is not even measured."""
    assert not Quota(0).stale(100.0)
    assert not Quota(0).exceeds(PUT)


def test_who_is_refused_for_space_can_see_the_alarm() -> None:
    """The answer waits for it; once it is raised, nothing waits."""
    trio = Trio()
    core = trio.elect(1)
    upkeep = Upkeep(core, Quota(1), Retention(amount=0))
    seen: list[tuple[object, bool]] = []

    def refuse() -> None:
        assert not upkeep.admits(PUT)
        upkeep.refuse(lambda answer: seen.append(
            (answer, core.machine.alarms.has(1, rpc.AlarmType.NOSPACE))))

    refuse()
    refuse()
    assert not seen
    trio.settle()
    assert [(answer.problem, raised) for answer, raised in seen  # type: ignore[attr-defined]
            ] == [(Problem.NO_SPACE, True)] * 2

    refuse()
    assert len(seen) == 3


def test_compaction_goes_where_the_revision_was_a_retention_ago() -> None:
    """Once per retention; by the leader, with what it recorded before it led."""
    compactor = AutoCompactor(Retention("periodic", 100.0))
    asked = {at: compactor.ask(float(at), at, 0, leads=at >= 150) for at in range(0, 400, 10)}

    assert {at: target for at, target in asked.items() if target} == {150: 50, 250: 150, 350: 250}


def test_compaction_is_not_refused_in_an_overload() -> None:
    """When clients may ask for nothing more, it is proposed none the less."""
    trio = Trio()
    core = trio.elect(1)
    retention = Retention("revision", 1)
    upkeep = Upkeep(core, Quota(0), retention)
    for _ in range(3):
        core.propose(PUT, lambda _: None)
    trio.settle()
    for _ in range(core.config.limits.pending_proposals + 1):
        core.propose(PUT, lambda _: None)
    waiting = len(core.proposals)

    upkeep.tick(core.now + retention.interval_s)

    assert waiting == core.config.limits.pending_proposals
    assert len(core.proposals) == waiting + 1


def test_long_retentions_compact_every_hour() -> None:
    """As etcd does."""
    retention = Retention("periodic", 5 * 3600.0)
    compactor = AutoCompactor(retention)
    asked = {at: compactor.ask(float(at), at + 2, 0, leads=True)
             for at in range(0, 8 * 3600, int(retention.interval_s))}
    due = [at for at, target in asked.items() if target]

    assert retention.interval_s == 360.0
    assert due == [5 * 3600, 6 * 3600, 7 * 3600]
    assert [asked[at] for at in due] == [at - 5 * 3600 + 2 for at in due]


def test_compaction_by_revisions() -> None:
    """The newest so many are kept; nothing is compacted twice."""
    compactor = AutoCompactor(Retention("revision", 100))

    assert compactor.ask(0.0, 90, -1, leads=True) is None
    assert compactor.ask(0.0, 250, -1, leads=True) == 150
    assert compactor.ask(0.0, 250, 150, leads=True) is None
    assert compactor.ask(0.0, 350, 150, leads=False) is None


@pytest.mark.parametrize(("mode", "text", "retention"), [
    ("periodic", "1h", Retention("periodic", 3600.0)), ("periodic", "2", Retention(amount=7200.0)),
    ("periodic", "1h30m", Retention(amount=5400.0)), ("periodic", "0", Retention(amount=0)),
    ("revision", "1000", Retention("revision", 1000)),
])
def test_settings_are_etcds(mode: str, text: str, retention: Retention) -> None:
    """Hours as a bare number."""
    assert parse_retention(mode, text) == retention


@pytest.mark.parametrize(("mode", "text"), [
    ("periodic", "x"), ("periodic", "1h x"), ("revision", "1h"), ("sometimes", "1")])
def test_wrong_settings_say_so(mode: str, text: str) -> None:
    """With the value."""
    with pytest.raises(ValueError, match=f"'{text if mode != 'sometimes' else mode}'"):
        parse_retention(mode, text)
