"""Fan-out of events to watch streams.

Rules: etcd-surface.md §4.4. Invariants:
- A watcher sees every matching event once, in revision order; `next_revision` is the first
  revision it has not been given.
- Events of one revision are never split over messages (unless the client allows fragments).
- A synced watcher gets events as they are applied. One whose client is slow becomes unsynced
  and is served from history when there is room, in batches of bounded size: a stopped reader
  costs its stream's backlog and one batch.
- Watchers that a turn gave the same events are told in one response, made once and sent to all of
  a stream at once.
- A watcher that falls below the compacted revision is cancelled with that revision, which itself
  can still be given.

Not here: requests of clients (watchstream.py), which watchers a key matches (watchindex.py), the
history itself (state/mvcc.py), encodings and sockets (api/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from quorate.member.limits import Limits
from quorate.member.service import WatchSink
from quorate.member.watchindex import WatchIndex
from quorate.member.watchstream import Stream, Watcher
from quorate.state.errors import Refused
from quorate.state.machine import Machine
from quorate.state.mvcc import Event
from quorate.wire._generated import rpc_pb2 as rpc

SEND_BYTES = 64 << 10
"""Sent to watchers of a stream before its backlog is looked at again."""

Same = tuple[int, ...]
"""What watchers have in common that are told the same: whether they want previous values, and which
events they wait for."""


class WatchCounts(NamedTuple):
    """For metrics. `slow` watchers are served from history, where `pending` revisions wait for
    them; `sent` events were sent since the start, once for each watcher."""

    streams: int
    watchers: int
    slow: int
    pending: int
    sent: int


class WatchHub:
    """All watchers of one member."""

    def __init__(
        self, machine: Machine, header: Callable[[], rpc.ResponseHeader], limits: Limits
    ) -> None:
        self.machine = machine
        self._header = header
        self._limits = limits
        self._told = machine.revision
        """Up to here synced watchers have been given, or told by progress, everything."""
        self._streams: dict[Stream, None] = {}
        self._synced: WatchIndex[Watcher] = WatchIndex()
        self._behind: dict[Stream, None] = {}
        """Streams with watchers that history serves."""

        self._touched: dict[Watcher, None] = {}
        self._sent = 0
        self.lagging = False

    def __len__(self) -> int:
        return sum(len(stream.watchers) for stream in self._streams)

    def counts(self) -> WatchCounts:
        """What there is now."""
        slow = [w.next_revision for stream in self._behind for w in stream.unsynced]
        newest = self.machine.revision
        return WatchCounts(
            len(self._streams), len(self), len(slow),
            sum(max(0, newest + 1 - revision) for revision in slow), self._sent)

    def open(self, sink: WatchSink) -> Stream:
        """A new client stream."""
        stream = Stream(self, sink)
        self._streams[stream] = None
        return stream

    def close(self, stream: Stream) -> None:
        """Forget the stream and its watchers."""
        self._streams.pop(stream, None)
        self._behind.pop(stream, None)
        for watcher in stream.watchers.values():
            self.remove(watcher)
        stream.watchers.clear()

    def end_all(self, reason: Refused) -> None:
        """End every stream, e.g. because the member stops."""
        for stream in list(self._streams):
            self.close(stream)
            stream.sink.end(reason)

    def add(self, watcher: Watcher) -> None:
        """Start serving a watcher."""
        if watcher.synced:
            self._attach(watcher)
        else:
            self._fall_behind(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Stop serving a watcher."""
        self._detach(watcher)
        self._keep_up(watcher)
        self._touched.pop(watcher, None)

    def publish(self, events: Iterable[Event]) -> None:
        """Events of one revision that was just applied."""
        for event in events:
            for group in self._synced.matching(event.kv.key):
                for watcher in group:
                    self._offer(watcher, event)

    def flush(self) -> None:
        """Send what the turn brought and serve watchers that lag; `lagging` says whether to come
        back soon."""
        if self._touched:
            touched, self._touched = self._touched, {}
            self._tell_all(touched)
        self._told = self.machine.revision
        self.lagging = False
        for stream in list(self._behind):
            self.lagging |= self._serve(stream)

    def restart(self) -> None:
        """The state was replaced by a snapshot: all watchers continue from history."""
        for stream in self._streams:
            for watcher in stream.watchers.values():
                self._lag(watcher)

    def drained(self, stream: Stream) -> None:
        """The stream has room: its watchers that lag are served."""
        self._serve(stream)

    def progress(self, stream: Stream) -> None:
        """Answer a progress request when all watchers of the stream are synced, never if one waits
        for the future (§4.4 rule 6)."""
        stream.progress_owed = bool(stream.unsynced)
        if not stream.unsynced and all(
                w.next_revision <= self.machine.revision + 1 for w in stream.watchers.values()):
            stream.sink.send(self.response(-1))

    def tick_progress(self) -> None:
        """The progress interval has passed: tell idle watchers that asked for it (rule 5)."""
        for stream in self._streams:
            for watcher in stream.watchers.values():
                if watcher.progress_notify and watcher.synced and not watcher.sent_since_progress:
                    stream.sink.send(self.response(watcher.id))
                watcher.sent_since_progress = False

    def response(self, watch_id: int) -> rpc.WatchResponse:
        """An empty response with the current header."""
        return rpc.WatchResponse(header=self._header(), watch_id=watch_id)

    def _attach(self, watcher: Watcher) -> None:
        watcher.synced = True
        self._synced.add(watcher.key, watcher.range_end, watcher)

    def _detach(self, watcher: Watcher) -> None:
        self._synced.discard(watcher.key, watcher.range_end, watcher)

    def _fall_behind(self, watcher: Watcher) -> None:
        watcher.stream.unsynced[watcher] = None
        self._behind[watcher.stream] = None

    def _keep_up(self, watcher: Watcher) -> None:
        unsynced = watcher.stream.unsynced
        unsynced.pop(watcher, None)
        if not unsynced:
            self._behind.pop(watcher.stream, None)

    def _has_room(self, stream: Stream) -> bool:
        return stream.sink.backlog_bytes() <= self._limits.watch_backlog_bytes

    def _lag(self, watcher: Watcher) -> None:
        """From history, and from there after what it was given, or told by progress."""
        if watcher.synced:
            watcher.next_revision = max(watcher.next_revision, self._told + 1)
        watcher.synced = False
        watcher.pending = []
        self._touched.pop(watcher, None)
        self._detach(watcher)
        self._fall_behind(watcher)

    def _offer(self, watcher: Watcher, event: Event) -> None:
        if event.revision >= watcher.next_revision and event.type not in watcher.unwanted:
            watcher.pending.append(event)
            self._touched[watcher] = None

    def _tell_all(self, touched: Iterable[Watcher]) -> None:
        """Send what waits for these watchers."""
        groups: dict[Same, dict[Stream, list[Watcher]]] = {}
        waiting: dict[Same, list[Event]] = {}  # also keeps events, and so their ids, alive
        for watcher in touched:
            events, watcher.pending = watcher.pending, []
            same = (watcher.prev_kv, *map(id, events))
            streams = groups.get(same)
            if streams is None:
                streams = groups[same] = {}
                waiting[same] = events
            streams.setdefault(watcher.stream, []).append(watcher)
        for same, streams in groups.items():
            events = waiting[same]
            response = self._tell(events, bool(same[0]))
            at_once = max(1, SEND_BYTES // (response.ByteSize() + 1))
            for watchers in streams.values():
                for at in range(0, len(watchers), at_once):
                    self._send(watchers[at:at + at_once], response, events[-1].revision + 1)

    def _send(
        self, watchers: list[Watcher], response: rpc.WatchResponse, next_revision: int
    ) -> None:
        """Send whole revisions to some of one stream, or fall back to history when the client is
        slow."""
        watchers = [watcher for watcher in watchers if watcher.open]
        if not watchers:
            return
        stream = watchers[0].stream
        if not self._has_room(stream):
            for watcher in watchers:
                self._lag(watcher)
            return
        self._sent += len(response.events) * len(watchers)
        whole: list[int] = []
        large = response.ByteSize() > self._limits.watch_fragment_bytes
        for watcher in watchers:
            watcher.next_revision = next_revision
            watcher.sent_since_progress = True
            if not (large and watcher.fragment):
                whole.append(watcher.id)
                continue
            response.watch_id = watcher.id
            for part in _fragments(response, self._limits.watch_fragment_bytes):
                stream.sink.send(part)
        if whole:
            stream.sink.send_all(response, whole)

    def _tell(self, events: list[Event], prev_kv: bool) -> rpc.WatchResponse:
        response = self.response(0)
        for event in events:
            out = response.events.add(type=event.type, kv=event.kv)
            if prev_kv:
                previous = self.machine.previous(event.kv.key, event.revision)
                if previous is not None:
                    out.prev_kv.CopyFrom(previous)
        return response

    def _serve(self, stream: Stream) -> bool:
        """A batch from history for each watcher of a stream that lags, while there is room; True
        if there is more to serve and room for it."""
        more = False
        for watcher in list(stream.unsynced):
            if not self._has_room(stream):
                return False
            more |= watcher.open and self._catch_up(watcher)
        if stream.progress_owed and not stream.unsynced:
            self.progress(stream)
        return more and self._has_room(stream)

    def _catch_up(self, watcher: Watcher) -> bool:
        """Serve one batch from history; True if there is more to serve."""
        if watcher.next_revision < self.machine.compact_revision:
            self._cancel_compacted(watcher)
            return False
        events, next_revision = self.machine.events_since(
            watcher.next_revision, watcher.key, watcher.range_end,
            self._limits.watch_history_events, self._limits.watch_history_bytes)
        wanted = [event for event in events if event.type not in watcher.unwanted]
        if wanted:
            self._send([watcher], self._tell(wanted, watcher.prev_kv), next_revision)
        else:
            watcher.next_revision = max(watcher.next_revision, next_revision)
        if not watcher.open:  # closed by the sink itself
            return False
        self._keep_up(watcher)
        if watcher.next_revision <= self.machine.revision:
            self._fall_behind(watcher)  # as the last one: others of the stream have their turn
            return True
        self._attach(watcher)
        return False

    def _cancel_compacted(self, watcher: Watcher) -> None:
        watcher.stream.watchers.pop(watcher.id, None)
        self.remove(watcher)
        response = self.response(watcher.id)
        response.header.revision = 0
        response.canceled = True
        response.compact_revision = self.machine.compact_revision
        watcher.stream.sink.send(response)


def _fragments(response: rpc.WatchResponse, bytes_max: int) -> list[rpc.WatchResponse]:
    """The response in parts below `bytes_max`; all but the last say that more follows."""
    if response.ByteSize() <= bytes_max:
        return [response]
    parts = [rpc.WatchResponse(header=response.header, watch_id=response.watch_id)]
    size = 0
    for event in response.events:
        if size and size + event.ByteSize() > bytes_max:
            parts[-1].fragment = True
            parts.append(rpc.WatchResponse(header=response.header, watch_id=response.watch_id))
            size = 0
        parts[-1].events.append(event)
        size += event.ByteSize()
    return parts
