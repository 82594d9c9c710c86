"""Watches: every rule of surface §4.4 that the hub decides."""

from __future__ import annotations

import pytest

from quorate.disk.memory_backend import MemoryBackend
from quorate.member.limits import Limits
from quorate.member.service import WatchSink
from quorate.member.watchhub import Stream, WatchHub
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Machine
from quorate.wire._generated import kv_pb2, raft_internal_pb2 as internal, rpc_pb2 as rpc

Create = rpc.WatchCreateRequest
TOO_MUCH = Limits().watch_backlog_bytes + 1


class Sink(WatchSink):
    """A client that may be slow."""

    def __init__(self) -> None:
        self.got: list[rpc.WatchResponse] = []
        self.backlog = 0
        self.ended: Refused | None = None

    def send(self, response: rpc.WatchResponse) -> None:
        """One response; a copy, for it is sent to others, too."""
        copy = rpc.WatchResponse()
        copy.CopyFrom(response)
        self.got.append(copy)

    def backlog_bytes(self) -> int:
        """As the test says."""
        return self.backlog

    def end(self, reason: Refused | None) -> None:
        """The end."""
        self.ended = reason

    def events(self) -> list[tuple[bytes, int]]:
        """(key, revision) of all events."""
        return [(e.kv.key, e.kv.mod_revision) for r in self.got for e in r.events]


class Hub:
    """A store with watches on it."""

    def __init__(self) -> None:
        self.machine = Machine(MemoryBackend())
        self.hub = WatchHub(
            self.machine, lambda: rpc.ResponseHeader(revision=self.machine.revision),
            Limits())
        self.sink = Sink()
        self.stream: Stream = self.hub.open(self.sink)

    def apply(self, **command: object) -> None:
        """Apply and publish, without a flush."""
        applied = self.machine.apply(
            1, internal.InternalRaftRequest(**command))  # type: ignore[arg-type]
        self.hub.publish(applied.events)

    def put(self, *keys: bytes) -> None:
        """One revision a key, flushed each."""
        for key in keys:
            self.apply(put=rpc.PutRequest(key=key, value=b"v"))
            self.hub.flush()

    def watch(self, **create: object) -> None:
        """Create a watch."""
        self.stream.request(rpc.WatchRequest(
            create_request=Create(**create)))  # type: ignore[arg-type]
        self.hub.flush()


@pytest.fixture
def hub() -> Hub:
    """An empty store."""
    return Hub()


def test_a_watch_says_that_it_is_there_and_then_what_happens(hub: Hub) -> None:
    """Ids count from 0; only what matches comes."""
    hub.put(b"a")
    hub.watch(key=b"a")
    hub.watch(key=b"b", range_end=b"d")
    hub.put(b"a", b"b", b"c", b"d")

    assert [(r.watch_id, r.created) for r in hub.sink.got[:2]] == [(0, True), (1, True)]
    assert hub.sink.events() == [(b"a", 3), (b"b", 4), (b"c", 5)]


def test_a_watch_from_the_past_gets_it_first(hub: Hub) -> None:
    """Nothing twice, nothing missing, also while history is served."""
    hub.put(b"a", b"a", b"b", b"a")
    hub.watch(key=b"a", start_revision=3)
    hub.put(b"a")

    assert hub.sink.events() == [(b"a", 3), (b"a", 5), (b"a", 6)]


def test_a_watch_from_the_future_waits_silently(hub: Hub) -> None:
    """Until that revision."""
    hub.watch(key=b"a", start_revision=4)
    hub.put(b"a", b"a", b"a")

    assert hub.sink.events() == [(b"a", 4)]


def test_one_revision_is_one_message(hub: Hub) -> None:
    """A transaction's events come together."""
    hub.watch(key=b"\0", range_end=b"\0")
    ops = [rpc.RequestOp(request_put=rpc.PutRequest(key=k)) for k in (b"a", b"b")]
    hub.apply(txn=rpc.TxnRequest(success=ops))
    hub.hub.flush()

    assert len(hub.sink.got[-1].events) == 2


@pytest.mark.parametrize(("create", "reason"), [
    ({"key": b"a", "watch_id": 5}, "duplicate watch ID"),
    ({"key": b"b", "range_end": b"a"}, "range is empty"),
    ({"key": b"a", "start_revision": -1}, "compacted"),
])
def test_what_cannot_be_watched(hub: Hub, create: dict[str, object], reason: str) -> None:
    """Created and cancelled at once, with id −1 and a reason."""
    hub.watch(key=b"x", watch_id=5)
    hub.watch(**create)
    answer = hub.sink.got[-1]

    assert (answer.watch_id, answer.created, answer.canceled) == (-1, True, True)
    assert reason in answer.cancel_reason


def test_a_compacted_start_is_cancelled_with_the_revision(hub: Hub) -> None:
    """First created, then cancelled, header revision 0, no reason (rule 3)."""
    hub.put(b"a", b"a", b"a")
    hub.apply(compaction=rpc.CompactionRequest(revision=3))
    hub.watch(key=b"a", start_revision=2)
    created, canceled = hub.sink.got

    assert created.created and not created.canceled
    assert (canceled.canceled, canceled.compact_revision, canceled.header.revision,
            canceled.cancel_reason) == (True, 3, 0, "")


def test_filters_and_previous_values(hub: Hub) -> None:
    """NOPUT, NODELETE, prev_kv."""
    hub.watch(key=b"a", filters=[Create.FilterType.NOPUT], prev_kv=True)
    hub.put(b"a")
    hub.apply(delete_range=rpc.DeleteRangeRequest(key=b"a"))
    hub.hub.flush()
    event = hub.sink.got[-1].events[0]

    assert len(hub.sink.got) == 2
    assert event.type == kv_pb2.Event.DELETE
    assert event.prev_kv.value == b"v"


def test_the_compacted_revision_itself_is_still_given(hub: Hub) -> None:
    """Even a deletion, and whatever clean-up has done (etcd issue 18089)."""
    hub.put(b"a")
    hub.apply(delete_range=rpc.DeleteRangeRequest(key=b"a"))
    hub.put(b"a")
    hub.apply(compaction=rpc.CompactionRequest(revision=3))
    hub.machine.scrub(100)

    hub.watch(key=b"a", start_revision=3)

    assert hub.sink.events() == [(b"a", 3), (b"a", 4)]


def test_what_progress_told_is_not_asked_of_history(hub: Hub) -> None:
    """A watcher that begins to lag goes on after what it knows, however much is compacted."""
    hub.watch(key=b"a", progress_notify=True)
    hub.put(b"b", b"b")
    hub.hub.tick_progress()
    hub.sink.backlog = TOO_MUCH
    hub.put(b"a")
    hub.apply(compaction=rpc.CompactionRequest(revision=4))
    hub.sink.backlog = 0
    hub.hub.flush()

    assert hub.sink.events() == [(b"a", 4)]


def test_a_slow_client_loses_nothing_and_is_sent_nothing(hub: Hub) -> None:
    """It is served from history when it has room again."""
    hub.watch(key=b"a")
    hub.sink.backlog = TOO_MUCH
    hub.put(b"a", b"a", b"a")
    assert hub.sink.events() == []
    hub.sink.backlog = 0
    hub.stream.drained()
    hub.put(b"a")

    assert hub.sink.events() == [(b"a", r) for r in (2, 3, 4, 5)]


def test_progress_is_told_when_all_is_synced(hub: Hub) -> None:
    """To those who ask, and on the interval to those who are idle."""
    hub.watch(key=b"a", progress_notify=True)
    hub.put(b"other")
    hub.stream.request(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
    assert (hub.sink.got[-1].watch_id, hub.sink.got[-1].header.revision) == (-1, 2)
    hub.hub.tick_progress()

    assert (hub.sink.got[-1].watch_id, len(hub.sink.got[-1].events)) == (0, 0)


def test_progress_that_is_asked_for_early_is_told_later(hub: Hub) -> None:
    """Once, behind the history that the watch had still to be served."""
    hub.put(b"a", b"other")
    hub.stream.request(rpc.WatchRequest(create_request=Create(key=b"a", start_revision=2)))
    hub.stream.request(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
    hub.hub.flush()
    hub.hub.flush()

    assert [(r.watch_id, len(r.events), r.header.revision) for r in hub.sink.got[1:]] == [
        (0, 1, 3), (-1, 0, 3)]


def test_cancelling(hub: Hub) -> None:
    """Answered with the id; an unknown id is silent."""
    hub.watch(key=b"a")
    for watch_id in (0, 9):
        hub.stream.request(rpc.WatchRequest(
            cancel_request=rpc.WatchCancelRequest(watch_id=watch_id)))
    hub.put(b"a")

    assert [r.canceled for r in hub.sink.got] == [False, True]
    assert len(hub.hub) == 0


def test_a_replaced_state_continues_from_history(hub: Hub) -> None:
    """After a snapshot from the leader."""
    hub.watch(key=b"a")
    hub.machine.apply(1, internal.InternalRaftRequest(put=rpc.PutRequest(key=b"a")))
    hub.hub.restart()
    hub.hub.flush()

    assert hub.sink.events() == [(b"a", 2)]


@pytest.mark.parametrize("lags", [False, True])
def test_a_sink_may_close_its_stream_while_it_is_sent_to(hub: Hub, lags: bool) -> None:
    """Synced or served from history: nothing of the stream is left, nothing more is sent."""
    hub.watch(key=b"a")
    hub.watch(key=b"a")
    if lags:
        hub.hub.restart()
    kept = hub.sink.send

    def send(response: rpc.WatchResponse) -> None:
        kept(response)
        hub.stream.close()

    hub.sink.send = send  # type: ignore[method-assign]
    hub.put(b"a")
    hub.hub.flush()
    sent = len(hub.sink.got)
    hub.put(b"a")
    hub.hub.flush()

    assert len(hub.hub) == 0
    assert (hub.hub.lagging, len(hub.sink.got)) == (False, sent)


def test_a_stopping_member_ends_all_streams(hub: Hub) -> None:
    """With the reason."""
    hub.watch(key=b"a")
    hub.hub.end_all(Refused(Problem.STOPPED))

    assert hub.sink.ended is not None
    assert len(hub.hub) == 0


def test_watchers_are_told_what_each_of_them_watches(hub: Hub) -> None:
    """Those who are told the same share a response; ids, filters and previous values are their
    own."""
    hub.put(b"a")
    for create in ({"key": b"a"}, {"key": b"a", "range_end": b"c"}, {"key": b"a", "prev_kv": True},
                   {"key": b"a", "filters": [Create.FilterType.NOPUT]}, {"key": b"a"}):
        hub.watch(**create)
    del hub.sink.got[:]
    for key in (b"a", b"b", b"a"):
        hub.apply(put=rpc.PutRequest(key=key, value=b"w"))
    hub.hub.flush()

    assert {r.watch_id: [(e.kv.key, e.kv.mod_revision, e.prev_kv.value) for e in r.events]
            for r in hub.sink.got} == {
        0: [(b"a", 3, b""), (b"a", 5, b"")],
        1: [(b"a", 3, b""), (b"b", 4, b""), (b"a", 5, b"")],
        2: [(b"a", 3, b"v"), (b"a", 5, b"w")],
        4: [(b"a", 3, b""), (b"a", 5, b"")]}


def test_history_is_served_in_batches_of_bounded_size(hub: Hub) -> None:
    """However large its values: what a client that stopped reading may cost."""
    size = Limits().watch_history_bytes // 3
    for _ in range(10):
        hub.apply(put=rpc.PutRequest(key=b"a", value=bytes(size)))
    hub.watch(key=b"a", start_revision=1)
    while hub.hub.lagging:
        hub.hub.flush()

    assert hub.sink.events() == [(b"a", revision) for revision in range(2, 12)]
    assert max(len(r.events) for r in hub.sink.got) == 3


def test_watchers_of_a_slow_stream_are_served_in_turn(hub: Hub) -> None:
    """With room for one batch at a time, none waits for ever behind another."""
    many = Limits().watch_history_events + 1
    hub.put(*[b"a"] * many)
    hub.sink.backlog = TOO_MUCH
    for _ in range(2):
        hub.watch(key=b"a", start_revision=1)
    kept = hub.sink.send

    def send(response: rpc.WatchResponse) -> None:
        kept(response)
        hub.sink.backlog = TOO_MUCH

    hub.sink.send = send  # type: ignore[method-assign]
    for _ in range(4):
        hub.sink.backlog = 0
        hub.stream.drained()

    assert [r.watch_id for r in hub.sink.got if r.events] == [0, 1, 0, 1]
    assert not hub.stream.unsynced
