"""Watches of v2: history, slow clients, compaction, and what a member calls changes it forgot.

What they tell of requests of v2 is compared with stock etcd in tests/interop/test_v2.py.
"""

from __future__ import annotations

import pytest
from both import BothStore

from quorate.member.limits import Limits
from quorate.member.v2watches import V2Watches
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Applied
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc, v2_pb2 as v2

LIMITS = Limits(watch_history_events=3, watch_backlog_bytes=100)


class Sink:
    """A client that may be slow."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.failed: Refused | None = None
        self.backlog = 0

    def send(self, event: v2.V2Response) -> None:
        """As `action path index`."""
        node = event.node
        self.got.append(f"{event.action} {node.key.decode()} {node.modified_index}")

    def fail(self, reason: Refused) -> None:
        """The end."""
        self.failed = reason

    def backlog_bytes(self) -> int:
        """As the test says."""
        return self.backlog


class Watched(BothStore):
    """A store that tells watches what it applies."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = self.forgetful()

    def forgetful(self) -> V2Watches:
        """The watches of a member that has just started."""
        self.watches = V2Watches(self.machine, LIMITS, lambda _lease, ttl_s: 1000 * ttl_s)
        return self.watches

    def ask(self, method: str, path: str, form: str = "") -> Applied:
        """A request of v2."""
        return self._applied(super().ask(method, path, form))

    def apply(self, **command: object) -> Applied:
        """A command of v3."""
        return self._applied(self.machine.apply(
            1, internal.InternalRaftRequest(**command)))  # type: ignore[arg-type]

    def expire(self, *leases: int) -> Applied:
        """Leases run out."""
        return self._applied(super().expire(*leases))

    def _applied(self, applied: Applied) -> Applied:
        self.watches.publish(applied)
        return applied

    def flush(self) -> None:
        """Turns, until nothing lags."""
        self.watches.flush()
        while self.watches.lagging:
            self.watches.flush()


@pytest.fixture
def store() -> Watched:
    """An empty one, at revision 1."""
    return Watched()


def put_v3(store: Watched, *keys: str, lease: int = 0) -> None:
    """One transaction of v3."""
    store.apply(txn=rpc.TxnRequest(success=[
        rpc.RequestOp(request_put=rpc.PutRequest(key=key.encode(), lease=lease)) for key in keys]))


def test_changes_of_v3_are_told(store: Watched) -> None:
    """As set and delete, each key of a transaction by itself, and what ends as expire."""
    sink = Sink()
    store.watches.open(b"/", sink, recursive=True, stream=True)
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=5, TTL=9))
    put_v3(store, "/a", "/b", "/a//odd", "odd", lease=5)
    store.apply(delete_range=rpc.DeleteRangeRequest(key=b"/a"))
    store.expire(5)
    store.flush()

    assert sink.got == ["set /a 2", "set /b 2", "delete /a 3", "expire /b 4"]


def test_a_single_watch_gets_one_event_and_is_over(store: Watched) -> None:
    """Also of a revision with several."""
    sink = Sink()
    store.watches.open(b"/", sink, recursive=True)
    put_v3(store, "/a", "/b")
    store.flush()

    assert (sink.got, len(store.watches)) == (["set /a 2"], 0)


def test_the_past_is_told_in_batches(store: Watched) -> None:
    """Of whole revisions; then what is new, without a gap or a repetition."""
    sink = Sink()
    for n in range(8):
        store.ask("PUT", f"/a/{n}", "value=1")
    store.watches.open(b"/a", sink, since=4, recursive=True, stream=True)
    store.watches.flush()
    assert store.watches.lagging
    assert len(sink.got) < 6
    store.ask("PUT", "/a/8", "value=1")
    store.flush()
    store.ask("PUT", "/a/9", "value=1")
    store.flush()

    assert sink.got == [f"set /a/{n - 2} {n}" for n in range(4, 12)]


def test_the_future_is_waited_for(store: Watched) -> None:
    """Events before it are not told."""
    sink = Sink()
    store.watches.open(b"/a", sink, since=4)
    for _ in range(4):
        store.ask("PUT", "/a", "value=1")
        store.flush()

    assert sink.got == ["set /a 4"]


def test_a_slow_stream_loses_nothing(store: Watched) -> None:
    """It is served from history when there is room again."""
    sink = Sink()
    watch = store.watches.open(b"/a", sink, stream=True)
    store.ask("PUT", "/a", "value=1")
    store.flush()
    sink.backlog = LIMITS.watch_backlog_bytes + 1
    for value in range(5):
        store.ask("PUT", "/a", f"value={value}")
        store.flush()
    assert sink.got == ["set /a 2"]
    assert not store.watches.lagging

    sink.backlog = 0
    watch.drained()
    store.flush()

    assert sink.got == [f"set /a {n}" for n in range(2, 8)]


@pytest.mark.parametrize("stream", [False, True])
def test_who_wants_what_is_compacted_is_told(store: Watched, *, stream: bool) -> None:
    """At once, or when it comes to that; with the oldest and the wanted index."""
    early, late = Sink(), Sink()
    for _ in range(6):
        store.ask("PUT", "/b", "value=1")
    early.backlog = LIMITS.watch_backlog_bytes + 1
    store.watches.open(b"/a", early, since=3, stream=stream)
    store.flush()
    store.apply(compaction=rpc.CompactionRequest(revision=5))
    store.flush()
    store.watches.open(b"/a", late, since=4, stream=stream)

    for sink, since in ((early, 3), (late, 4)):
        assert sink.failed is not None
        assert sink.failed.problem is Problem.V2_HISTORY_CLEARED
        assert sink.failed.detail == f"the requested history has been cleared [5/{since}]"
    assert len(store.watches) == 0


def test_after_a_snapshot_watches_go_on_from_history(store: Watched) -> None:
    """With what it brought."""
    sink = Sink()
    store.watches.open(b"/a", sink, stream=True)
    store.ask("PUT", "/a", "value=1")
    store.flush()
    BothStore.ask(store, "PUT", "/a", "value=2")  # it came with the snapshot
    store.watches.restart()
    store.flush()

    assert sink.got == ["set /a 2", "set /a 3"]


def test_what_a_member_has_forgotten_is_set_or_deleted(store: Watched) -> None:
    """One event for each request: without the directories that it made on its way, and with all
    that went with a directory as one."""
    for method, path, form in (
            ("PUT", "/d/e/f", "value=1&prevExist=false"), ("PUT", "/d/e/f", "value=2&prevValue=1"),
            ("PUT", "/d/g", "dir=true"), ("POST", "/d/g", "value=3"), ("PUT", "/d/e/f", "dir=true"),
            ("DELETE", "/d", "recursive=true")):
        store.ask(method, path, form)
    everything, inside = Sink(), Sink()
    store.forgetful()
    store.watches.open(b"/", everything, since=1, recursive=True, stream=True)
    store.watches.open(b"/d/e", inside, since=6)
    store.flush()

    assert everything.got == [
        "set /d/e/f 2", "set /d/e/f 3", "set /d/g 4", "set /d/g/00000000000000000005 5",
        "set /d/e/f 6", "delete /d 7"]
    assert inside.got == ["delete /d 7"]


def test_a_directory_of_v3_that_is_deleted_is_told(store: Watched) -> None:
    """To who watches it and what was in it."""
    put_v3(store, "/d/e")
    sinks = {path: Sink() for path in (b"/d", b"/d/e", b"/d/none")}
    for path, sink in sinks.items():
        store.watches.open(path, sink)
    store.ask("DELETE", "/d", "recursive=true")
    store.flush()

    assert {path: sink.got for path, sink in sinks.items()} == {
        b"/d": ["delete /d 3"], b"/d/e": ["delete /d 3"], b"/d/none": []}


def test_a_refresh_is_not_told_but_moves_the_index(store: Watched) -> None:
    """Neither now nor later."""
    now, later = Sink(), Sink()
    store.ask("PUT", "/a", "value=1&ttl=5")
    store.watches.open(b"/a", now, stream=True)
    store.ask("PUT", "/a", "refresh=true&ttl=9")
    store.ask("PUT", "/a", "value=2&prevIndex=3")
    store.watches.open(b"/a", later, since=3, stream=True)
    store.flush()

    assert now.got == later.got == ["compareAndSwap /a 4"]


def test_a_stream_that_is_full_within_a_revision_is_told_each_event_once(store: Watched) -> None:
    """A transaction of v3 is several events of v2; after the first there is no room for another
    revision."""

    class Small(Sink):
        def send(self, event: v2.V2Response) -> None:
            super().send(event)
            self.backlog = LIMITS.watch_backlog_bytes + 1

    sink = Small()
    store.watches.open(b"/", sink, recursive=True, stream=True)
    store.apply(txn=rpc.TxnRequest(success=[
        rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=b"v")) for key in (b"/a", b"/b")]))
    store.flush()
    store.ask("PUT", "/c", "value=1")
    store.flush()
    assert sink.got == ["set /a 2", "set /b 2"]
    sink.backlog = 0
    store.flush()

    assert sink.got == ["set /a 2", "set /b 2", "set /c 3"]
