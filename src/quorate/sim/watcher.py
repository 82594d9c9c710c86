"""Simulated watchers: a client that watches a range for ever, resuming at another member whenever
its stream is gone or it feels like moving, from the revision after the last that it was given.

Each watch, from its creation to its end, is recorded for check/watches.py, with the options that
were drawn: previous values, filters, fragments, progress. A slow watcher's stream reports a
backlog, so that the hub serves it from history.

Not here: the judgement (judge.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from quorate.check.watches import Watched
from quorate.member.service import WatchStream
from quorate.raft.types import InvariantBroken
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

LOOK_S = 0.25
"""How often a watcher looks whether its member is still there."""

MOVE = 0.05
"""Chance at each look that it moves to another member, though nothing is wrong."""

SLOW = 0.1
"""Chance at each look that the client stops reading for a while."""

TURNS_MAX = 10_000
"""For catching up with everything that ever happened; a few are usual."""

BACKLOG_BYTES = 16 << 20
NOPUT, NODELETE = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE


class Watcher:
    """One client's watch of [key, range_end)."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        look_s: float = LOOK_S,
    ) -> None:
        self.name = name
        key, range_end = rng.choice(
            ((b"c", b"d"), (b"c0/", b"c00"), (b"c1/0", b""), (b"\0", b"\0"), (b"c0/3", b"c1/3")))
        self._wish = rpc.WatchCreateRequest(
            key=key, range_end=range_end, prev_kv=rng.random() < 0.4,
            fragment=rng.random() < 0.3, progress_notify=rng.random() < 0.5,
            filters=rng.choice(((), (), (), (NOPUT,), (NODELETE,))))
        self.sessions: list[Watched] = []
        self.next_revision = 2
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._look_s = look_s
        self._stream: Stream | None = None

    def start(self) -> None:
        """Begin to watch, and go on for ever."""
        stream, choice = self._stream, self._rng.random()
        if stream is None or not stream.alive or choice < MOVE:
            self.move()
        elif stream.slow:
            stream.read_again()
        elif choice < MOVE + SLOW:
            stream.slow = True
        elif choice < MOVE + SLOW + 0.1:
            stream.ask_progress()
        self._clock.after(self._look_s, self.start)

    @property
    def events(self) -> int:
        """How many it was given."""
        return sum(len(r.events) for w in self.sessions for r in w.responses)

    def catch_up(self, member: SimMember) -> None:
        """Resume at this member, and read everything."""
        self.move(member)
        for _ in range(TURNS_MAX):
            if member.core is None or not member.core.watches.lagging:
                return
            member.turn()
        raise InvariantBroken(f"{self.name} does not catch up at member {member.id}")

    def move(self, member: SimMember | None = None) -> None:
        """Resume, at this member or at any."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        member = member or self._pick()
        if member is None or not member.up:
            return
        request = rpc.WatchCreateRequest()
        request.CopyFrom(self._wish)
        request.start_revision = self.next_revision
        stream = self._stream = Stream(self, member, request)
        self.sessions.append(Watched(self.name, request, stream.responses))
        member.post(stream.open)

    def take(self, response: rpc.WatchResponse) -> None:
        """Where to go on: after what was given, or after what nobody can give any more."""
        if response.compact_revision:
            self.next_revision = response.compact_revision
        elif response.events and not response.fragment:
            self.next_revision = response.events[-1].kv.mod_revision + 1


class Stream:
    """The watch at one member: a `WatchSink` that falls silent when it is closed."""

    def __init__(
        self, watcher: Watcher, member: SimMember, request: rpc.WatchCreateRequest
    ) -> None:
        self.responses: list[rpc.WatchResponse] = []
        self.slow = False
        self._watcher: Watcher | None = watcher
        self._member = member
        self._life = member.life
        self._request = request
        self._open: WatchStream | None = None

    def open(self) -> None:
        """In the member."""
        self._open = self._member.service.watch(self)
        self._open.request(rpc.WatchRequest(create_request=self._request))

    @property
    def alive(self) -> bool:
        """Whether the member still is the process that the stream was opened at."""
        return self._watcher is not None and self._member.up and self._member.life == self._life

    def ask_progress(self) -> None:
        """The client wants to know how far it is."""
        self._post(lambda stream: stream.request(
            rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())))

    def read_again(self) -> None:
        """The client reads again."""
        self.slow = False
        self._post(lambda stream: stream.drained())

    def _post(self, call: Callable[[WatchStream], None]) -> None:
        """In the member, if it still is the one that the stream was opened at."""

        def posted() -> None:
            if self._open is not None and self._life == self._member.life:
                call(self._open)

        self._member.post(posted)

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        if self._watcher is None:
            return
        copy = rpc.WatchResponse()
        copy.CopyFrom(response)
        self.responses.append(copy)
        self._watcher.take(copy)
        if copy.canceled:
            self._watcher = None

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return BACKLOG_BYTES if self.slow else 0

    def end(self, reason: Refused | None) -> None:
        """See `WatchSink`."""
        self._watcher = None

    def close(self) -> None:
        """The client goes elsewhere."""
        if self.alive:
            self._post(lambda stream: stream.close())
        self._watcher = None
