"""Simulated watchers: a client that watches a range for ever, resuming at another member whenever
its stream is gone or it feels like moving, from the revision after the last that it was given.

What it was given in the end must be exactly what happened from the start: that is the promise of
ordered, unique, atomic, reliable and resumable at once. Not here: the comparison (world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import groupby

from quorate.check.keyvalue import Change
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.state.errors import Refused
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

LOOK_S = 0.25
"""How often a watcher looks whether its member is still there."""

MOVE = 0.05
"""Chance at each look that it moves to another member, though nothing is wrong."""

Given = list[tuple[int, list[Change]]]


class Watcher:
    """One client's watch of [key, range_end)."""

    def __init__(
        self, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        key: bytes, range_end: bytes,
    ) -> None:
        self.key = key
        self.range_end = range_end
        self.given: Given = []
        self.wrong: list[str] = []
        self.resumed = 0
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._stream: _Stream | None = None

    @property
    def next_revision(self) -> int:
        """Where to resume."""
        return self.given[-1][0] + 1 if self.given else 2

    def start(self) -> None:
        """Begin to watch, and go on for ever."""
        if self._stream is None or not self._stream.alive or self._rng.random() < MOVE:
            self.move()
        self._clock.after(LOOK_S, self.start)

    def move(self, member: SimMember | None = None) -> None:
        """Resume, at this member or at any."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        member = member or self._pick()
        if member is not None and member.up:
            self.resumed += 1
            self._stream = _Stream(self, member)

    def take(self, response: rpc.WatchResponse) -> None:
        """Events arrived."""
        for revision, events in groupby(response.events, key=lambda e: e.kv.mod_revision):
            if revision < self.next_revision:
                self.wrong.append(f"was given revision {revision} after {self.next_revision - 1}")
            self.given.append((revision, [
                Change(e.kv.key, None if e.type == kv_pb2.Event.DELETE else e.kv)
                for e in events]))


class _Stream:
    """The watch at one member: a `WatchSink` that falls silent when it is closed."""

    def __init__(self, watcher: Watcher, member: SimMember) -> None:
        self._watcher: Watcher | None = watcher
        self._member = member
        self._life = member.life
        self._stream = member.service.watch(self)
        self._stream.request(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=watcher.key, range_end=watcher.range_end,
            start_revision=watcher.next_revision)))

    @property
    def alive(self) -> bool:
        """Whether the member still is the process that the stream was opened at."""
        return self._watcher is not None and self._member.up and self._member.life == self._life

    def send(self, response: rpc.WatchResponse) -> None:
        if self._watcher is not None:
            self._watcher.take(response)

    def backlog_bytes(self) -> int:
        return 0

    def end(self, reason: Refused | None) -> None:
        self._watcher = None

    def close(self) -> None:
        """The client goes elsewhere."""
        if self.alive:
            self._stream.close()
        self._watcher = None
