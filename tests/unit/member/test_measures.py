"""Counts that a cluster moves only by chance, and lines about turns, ticks and leaders."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from three import Trio

from quorate.member import measures
from quorate.member.chronicle import Chronicle
from quorate.member.measures import Measures
from quorate.member.runtime import Runtime
from quorate.peers.counts import PeerCounts
from quorate.raft.types import ConfState, Snapshot
from quorate.wire.prometheus import Histogram


@pytest.fixture
def trio() -> Trio:
    """Three cores, whose first leads."""
    trio = Trio()
    trio.cores[1].node.campaign()
    trio.settle()
    assert trio.cores[1].is_leader
    return trio


def pages(trio: Trio, transport: Any = None) -> Any:
    """A runtime's worth of counts around the first core, and what is told of them."""
    runtime = SimpleNamespace(
        core=trio.cores[1], chronicle=Chronicle(trio.cores[1], 0.1), installing=False,
        commit_s=Histogram(), transport=transport,
        peer_counts=lambda: {} if transport is None else transport.counts,
        upkeep=SimpleNamespace(defrag_s=Histogram()),
        appender=SimpleNamespace(sync_s=Histogram(), write_s=Histogram(),
                                 wal=SimpleNamespace(written_bytes=0)))
    collect = Measures(cast(Any, runtime), cast(Any, SimpleNamespace(took_s=Histogram())),
                       version="3.5.21", quota_bytes=0)

    def values(name: str) -> list[Any]:
        return [sample.value for family in collect() if family.name == name
                for sample in family.samples]

    return runtime, values


def test_a_slow_turn(trio: Trio, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and told."""
    runtime, values = pages(trio)
    with caplog.at_level(logging.WARNING, "quorate"):
        runtime.chronicle.turned(0.09)
        runtime.chronicle.turned(0.25)

    assert values("etcd_server_slow_apply_total") == [1]
    assert [r.getMessage() for r in caplog.records] == [
        "a turn took 250 ms; everything on this member waited for it"]


def test_a_late_heartbeat(trio: Trio, caplog: pytest.LogCaptureFixture) -> None:
    """Of a leader; others only have the lag."""
    runtime, values = pages(trio)
    with caplog.at_level(logging.WARNING, "quorate"):
        for now in (0.0, 0.1, 0.25, 0.5):
            runtime.chronicle.ticked(now)

    assert values("etcd_server_heartbeat_send_failures_total") == [1]
    [lag] = values("quorate_loop_lag_seconds")
    assert (lag.count, round(lag.total, 3)) == (3, 0.2)
    assert "150 ms late" in caplog.text

    follower = Chronicle(trio.cores[2], 0.1)
    for now in (0.0, 9.0):
        follower.ticked(now)
    assert (follower.late_heartbeats, follower.lag_s.count) == (0, 1)


def test_leaders_are_told_by_name(trio: Trio, caplog: pytest.LogCaptureFixture) -> None:
    """Who leads, since when, and how long nobody did."""
    core = trio.cores[2]
    chronicle = Chronicle(core, 0.1)
    with caplog.at_level(logging.INFO, "quorate"):
        core.leadership.observe(0, 2, 5.0)
        core.now = 5.0
        chronicle.turned(0.0)
        core.now = 6.5
        core.leadership.observe(3, 3, 6.5)
        chronicle.turned(0.0)
        core.leadership.observe(2, 4, 6.5)
        chronicle.turned(0.0)
        chronicle.turned(0.0)

    assert [r.getMessage() for r in caplog.records] == [
        "there is no leader: m1 (1) is lost, in term 2",
        "m3 (3) leads in term 3, after 1.5 s without a leader",
        "this member (2) leads in term 4, after 0.0 s without a leader"]


def test_a_snapshot_that_is_being_loaded(trio: Trio) -> None:
    """The gauge is up meanwhile, and only then."""
    runtime, values = pages(trio)
    seen = []
    runtime.backend = SimpleNamespace(
        load=lambda *_: seen.extend(values("etcd_server_snapshot_apply_in_progress_total")))
    runtime._images = SimpleNamespace(read=lambda *_: iter(()), clear=lambda: None)

    Runtime._install(runtime, Snapshot(5, 2, ConfState((1, 2, 3))))

    assert seen + values("etcd_server_snapshot_apply_in_progress_total") == [True, False]


@pytest.mark.parametrize(("way", "direction"), [("send", "sent"), ("receive", "received")])
def test_snapshots_of_peers(trio: Trio, way: str, direction: str) -> None:
    """Under way, arrived, failed."""
    transport = SimpleNamespace(counts={2: PeerCounts()}, active=lambda: {2})
    _, values = pages(trio, transport)
    transfers = getattr(transport.counts[2], direction)

    def told() -> list[Any]:
        return [values(f"etcd_network_snapshot_{way}_{what}")[0]
                for what in ("inflights_total", "success", "failures")]

    transfers.under_way += 2
    assert told() == [2, 0, 0]
    transfers.ended(True, 1.5)
    transfers.ended(False, 9.0)
    assert told() == [0, 1, 1]
    [seconds] = values(f"etcd_network_snapshot_{way}_total_duration_seconds")
    assert seconds.total == 1.5


def test_lines_that_were_dropped(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as they are."""
    _, values = pages(trio)
    monkeypatch.setattr(measures.logs, "dropped", lambda: 7)

    assert values("quorate_log_lines_dropped_total") == [7]


def test_the_margin_of_a_quorum(trio: Trio) -> None:
    """Of three voters one may go; in a joint configuration the smaller margin counts."""
    reached: set[int] = {2, 3}
    runtime, values = pages(trio, SimpleNamespace(counts={}, active=lambda: reached))
    assert values("quorate_quorum_margin") == [1]
    reached.clear()
    assert values("quorate_quorum_margin") == [-1]
    reached |= {2, 3}
    runtime.core.conf_state = ConfState((1, 2, 3), voters_outgoing=(1, 4, 5))
    assert values("quorate_quorum_margin") == [-1]
