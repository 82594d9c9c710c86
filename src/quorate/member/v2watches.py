"""Watches of the v2 API, over the events of v3.

Each watches a path, or all below it, and gets one event, or all if it is a stream. A watch from the
past, or one whose client is slow, is served from history, a bounded batch a turn; the history is
that of v3 (docs/decisions/006-v2.md). Actions are remembered for the newest revisions; older
changes are called `set` and `delete`.

Invariants: a stream gets every matching event once, in order; a watch that goes further back than
the last compaction is told so.
Not here: JSON and sockets (api/v2.py), what requests do (state/v2.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from quorate.member.limits import Limits
from quorate.member.service import V2Sink
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Applied, Machine
from quorate.state.mvcc import DELETE, Event
from quorate.state.v2tree import MARKER, ROOT, ancestors, inside, is_path
from quorate.wire._generated import kv_pb2, v2_pb2 as v2

ACTIONS_KEPT = 10_000
"""Revisions whose action is remembered."""

EVERYTHING = b"\0"
DELETIONS = ("delete", "compareAndDelete")


class Action(NamedTuple):
    """What a revision was for v2: of all its changes, or of `path`, the one that was asked for."""

    name: str
    path: bytes = b""
    refresh: bool = False


@dataclass(slots=True)
class _Told:
    """An event, and what went away with it."""

    path: bytes
    response: v2.V2Response
    removed: set[bytes] = field(default_factory=set)


class V2Watch:
    """One watch, for its client to close."""

    def __init__(
        self, hub: V2Watches, path: bytes, sink: V2Sink, *, recursive: bool, stream: bool,
        next_revision: int,
    ) -> None:
        self._hub = hub
        self.path = path
        self.sink = sink
        self.recursive = recursive
        self.stream = stream
        self.next_revision = next_revision
        """What it has not been looked at for, while it is served from history."""

    def drained(self) -> None:
        """The sink has room again."""
        self._hub.wake()

    def close(self) -> None:
        """Nobody waits any more."""
        self._hub.close(self)


class V2Watches:
    """All of one member. `left_ms` tells what a lease with a TTL has left, `wake` asks for a
    flush."""

    def __init__(
        self, machine: Machine, limits: Limits, left_ms: Callable[[int, int], int]
    ) -> None:
        self._machine = machine
        self._limits = limits
        self._left_ms = left_ms
        self.wake: Callable[[], None] = _nothing
        self._told = machine.revision
        self._synced: dict[bytes, dict[V2Watch, None]] = {}
        self._behind: dict[V2Watch, None] = {}
        self._new: list[Event] = []
        self._actions: OrderedDict[int, Action] = OrderedDict()
        self.lagging = False

    def __len__(self) -> int:
        return len(self._behind) + sum(map(len, self._synced.values()))

    def open(
        self, path: bytes, sink: V2Sink, *, since: int = 0, recursive: bool = False,
        stream: bool = False,
    ) -> V2Watch:
        """A new watch, from index `since` on, or from now on if that is 0."""
        newest = self._machine.revision
        watch = V2Watch(self, path, sink, recursive=recursive, stream=stream,
                        next_revision=since or newest + 1)
        if self._is_cleared(watch):
            return watch
        if watch.next_revision > max(newest, self._told):
            self._attach(watch)
        else:
            self._behind[watch] = None
        return watch

    def close(self, watch: V2Watch) -> None:
        """Forget it."""
        self._behind.pop(watch, None)
        group = self._synced.get(watch.path)
        if group is not None:
            group.pop(watch, None)
            if not group:
                del self._synced[watch.path]

    def publish(self, applied: Applied) -> None:
        """What a command did."""
        if isinstance(applied.result, v2.V2Response):
            response = applied.result
            self._remember(applied.revision, Action(
                response.action, response.node.key, response.refresh))
        elif applied.expired:
            for event in applied.events:
                self._remember(event.revision, Action("expire"))
        if self._synced:
            self._new += applied.events

    def flush(self) -> None:
        """Tell what the turn brought, and serve a batch of history; `lagging` says whether to come
        back soon."""
        if not self._new and not self._behind:
            self._told = self._machine.revision
            self.lagging = False
            return
        new, self._new = self._new, []
        for revision, events in _revisions(new):
            begun: set[V2Watch] = set()
            for told in self._events(revision, events):
                self._notify(told, revision, begun)
        self._told = self._machine.revision
        self.lagging = False
        for watch in list(self._behind):
            self.lagging |= watch in self._behind and self._catch_up(watch)

    def restart(self) -> None:
        """The state was replaced by a snapshot: all go on from history."""
        self._new.clear()
        for group in list(self._synced.values()):
            for watch in list(group):
                self._lag(watch, self._told + 1)

    def fill(self, node: v2.V2Node) -> None:
        """Say how long it, and what is in it, has left."""
        if node.lease and node.HasField("ttl"):
            node.left_ms = self._left_ms(node.lease, node.ttl)
        if node.dir:
            for child in node.nodes:
                self.fill(child)

    def _remember(self, revision: int, action: Action) -> None:
        self._actions[revision] = action
        if len(self._actions) > ACTIONS_KEPT:
            self._actions.popitem(last=False)

    def _attach(self, watch: V2Watch) -> None:
        self._synced.setdefault(watch.path, {})[watch] = None

    def _lag(self, watch: V2Watch, revision: int) -> None:
        self.close(watch)
        watch.next_revision = max(watch.next_revision, revision)
        self._behind[watch] = None

    def _has_room(self, watch: V2Watch) -> bool:
        return watch.sink.backlog_bytes() <= self._limits.watch_backlog_bytes

    def _notify(self, told: _Told, revision: int, begun: set[V2Watch]) -> None:
        """`begun`: who is told of the revision, and so is told all of it: history would begin
        again with its first event."""
        paths = {ROOT: None, **dict.fromkeys((*ancestors(told.path), told.path)),
                 **dict.fromkeys(sorted(told.removed))}
        for path in paths:
            for watch in list(self._synced.get(path, ())):
                if watch.next_revision > revision or not _matches(watch, told):
                    continue
                if watch in begun or self._has_room(watch):
                    begun.add(watch)
                    self._give(watch, told)
                else:
                    self._lag(watch, revision)

    def _is_cleared(self, watch: V2Watch) -> bool:
        """Whether what it wants is compacted; then it is over."""
        oldest, wanted = self._machine.compact_revision, watch.next_revision
        if wanted >= oldest:
            return False
        self.close(watch)
        watch.sink.fail(Refused(
            Problem.V2_HISTORY_CLEARED,
            f"the requested history has been cleared [{oldest}/{wanted}]"))
        return True

    def _give(self, watch: V2Watch, told: _Told) -> None:
        if not watch.stream:
            self.close(watch)
        watch.sink.send(told.response)

    def _catch_up(self, watch: V2Watch) -> bool:
        """A batch of history for one; whether there is more, and room for it."""
        machine = self._machine
        if self._is_cleared(watch) or not self._has_room(watch):
            return False
        events, next_revision = machine.events_since(
            watch.next_revision, EVERYTHING, EVERYTHING, self._limits.watch_history_events,
            self._limits.watch_history_bytes)
        for revision, changes in _revisions(events):
            for told in self._events(revision, changes):
                if _matches(watch, told):
                    self._give(watch, told)
                    if watch not in self._behind:
                        return False
        watch.next_revision = max(watch.next_revision, next_revision)
        if watch.next_revision <= machine.revision:
            return True
        del self._behind[watch]
        self._attach(watch)
        return False

    # What v2 sees in a revision.

    def _events(self, revision: int, events: list[Event]) -> Iterator[_Told]:
        action = self._actions.get(revision)
        seen = [event for event in events if is_path(event.kv.key.removeprefix(MARKER))]
        if action is None or not action.path:
            yield from self._unasked(seen, None if action is None else action.name)
        elif not action.refresh:
            yield self._asked(revision, seen, action)

    def _asked(self, revision: int, seen: list[Event], action: Action) -> _Told:
        """The event of a request of v2."""
        path, deleted = action.path, action.name in DELETIONS
        removed = {_path(event) for event in seen} if deleted else set()
        for event in seen:
            if _path(event) == path and (event.type == DELETE) == deleted:
                return self._tell(event, action.name, removed)
        # A directory that was there because of what was in it.
        node = v2.V2Node(key=path, dir=True, modified_index=revision)
        return _Told(path, v2.V2Response(action=action.name, node=node), removed)

    def _unasked(self, seen: list[Event], name: str | None) -> Iterator[_Told]:
        """Those of a change of v3, of the end of a lease, or of a request that is forgotten."""
        written = {_path(event) for event in seen if event.type != DELETE}
        above = {path for key in written for path in ancestors(key)}
        removed = {_path(event) for event in seen if event.type == DELETE}
        gone = {_path(event) for event in seen
                if event.type == DELETE and event.kv.key.startswith(MARKER)}
        for event in seen:
            path = _path(event)
            if event.type != DELETE:
                if not (event.kv.key.startswith(MARKER) and path in above):  # made on the way
                    yield self._tell(event, name or "set", set())
            elif path not in written and gone.isdisjoint(ancestors(path)):
                yield self._tell(event, name or "delete", {
                    other for other in removed if other.startswith(inside(path))})

    def _tell(self, event: Event, action: str, removed: set[bytes]) -> _Told:
        path, kv = _path(event), event.kv
        node = _node(kv)
        # What became a directory was a file.
        previous = self._machine.previous(kv.key, event.revision) or (
            self._machine.previous(path, event.revision))
        if event.type == DELETE:
            node.ClearField("value")
            node.created_index = 0 if previous is None else previous.create_revision
        elif (ttl_s := self._machine.leases.ttl_s(kv.lease)) is not None:
            node.lease, node.ttl = kv.lease, ttl_s
            self.fill(node)
        response = v2.V2Response(action=action, node=node)
        if previous is not None:
            response.prev_node.CopyFrom(_node(previous))
        return _Told(path, response, removed)


def _node(kv: kv_pb2.KeyValue) -> v2.V2Node:
    is_dir = kv.key.startswith(MARKER)
    return v2.V2Node(
        key=kv.key.removeprefix(MARKER), dir=is_dir, value=None if is_dir else kv.value,
        created_index=kv.create_revision, modified_index=kv.mod_revision)
def _path(event: Event) -> bytes:
    return event.kv.key.removeprefix(MARKER)


def _matches(watch: V2Watch, told: _Told) -> bool:
    """As etcd: what is below a recursive one, but for what is hidden there; and what goes away with
    a directory above."""
    if told.path == watch.path or watch.path in told.removed:
        return True
    below = inside(watch.path)
    return watch.recursive and told.path.startswith(below) and (
        b"/_" not in b"/" + told.path[len(below):])


def _revisions(events: Iterable[Event]) -> Iterator[tuple[int, list[Event]]]:
    for revision, group in groupby(events, key=lambda event: event.revision):
        yield revision, list(group)


def _nothing() -> None:
    """Nobody drives yet."""
