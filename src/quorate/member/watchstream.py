"""One client's stream of watches: what its requests mean (surface §4.4).

Not here: events (watchhub.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.member.service import WatchSink
from quorate.state.mvcc import Event
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

if TYPE_CHECKING:
    from quorate.member.watchhub import WatchHub

_FILTERED: dict[int, int] = {
    rpc.WatchCreateRequest.FilterType.NOPUT: kv_pb2.Event.PUT,
    rpc.WatchCreateRequest.FilterType.NODELETE: kv_pb2.Event.DELETE}
"""The type of events that each filter keeps away."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One watch of a stream."""

    stream: Stream
    id: int
    key: bytes
    range_end: bytes
    next_revision: int
    unwanted: frozenset[int]
    """Types of events."""

    prev_kv: bool
    fragment: bool
    progress_notify: bool
    synced: bool = True
    sent_since_progress: bool = False
    pending: list[Event] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether nobody has closed it meanwhile, which a sink may do while it is sent to."""
        return self.stream.watchers.get(self.id) is self


class Stream:
    """One client stream (`service.WatchStream`)."""

    def __init__(self, hub: WatchHub, sink: WatchSink) -> None:
        self.sink = sink
        self.watchers: dict[int, Watcher] = {}
        self.unsynced: dict[Watcher, None] = {}
        """Those that history serves, the next one first."""

        self.progress_owed = False
        """Asked for progress while there were some."""

        self._hub = hub
        self._next_id = 0

    def request(self, request: rpc.WatchRequest) -> None:
        """Create, cancel or ask for progress."""
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._cancel(request.cancel_request.watch_id)
            case "progress_request":
                self._hub.progress(self)

    def drained(self) -> None:
        """The client took what it was sent."""
        self._hub.drained(self)

    def close(self) -> None:
        """The client is gone."""
        self._hub.close(self)

    def _create(self, create: rpc.WatchCreateRequest) -> None:
        key, range_end = create.key or b"\0", create.range_end
        if range_end and range_end != b"\0" and range_end <= key:
            return self._refuse("mvcc: watcher range is empty")
        if create.watch_id in self.watchers and create.watch_id:
            return self._refuse("mvcc: duplicate watch ID provided on the WatchStream")
        if create.start_revision < 0:
            return self._refuse("etcdserver: mvcc: required revision has been compacted")
        watch_id = create.watch_id or self._free_id()  # a refusal takes none
        current = self._hub.machine.revision
        start = create.start_revision or current + 1
        watcher = Watcher(
            self, watch_id, key, range_end, start,
            frozenset(_FILTERED[one] for one in create.filters if one in _FILTERED),
            create.prev_kv, create.fragment, create.progress_notify, synced=start > current)
        self.watchers[watch_id] = watcher
        response = self._hub.response(watch_id)
        response.created = True
        self.sink.send(response)
        self._hub.add(watcher)
        return None

    def _refuse(self, reason: str) -> None:
        response = self._hub.response(-1)
        response.created = response.canceled = True
        response.cancel_reason = reason
        self.sink.send(response)

    def _cancel(self, watch_id: int) -> None:
        watcher = self.watchers.pop(watch_id, None)
        if watcher is None:
            return
        self._hub.remove(watcher)
        response = self._hub.response(watch_id)
        response.canceled = True
        self.sink.send(response)

    def _free_id(self) -> int:
        while self._next_id in self.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1
