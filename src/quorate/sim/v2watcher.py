"""Simulated v2 watchers: a client that streams what happens at a path, for ever, and opens the
stream anew, at any member, after the last index that it was told.

Now and then it stops reading, also between two events of one revision, so that it is served from
history. Not here: the judgement (check/v2watches.py), v3's watchers (watcher.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from quorate.check.v2watches import Told, V2Watched
from quorate.member.service import V2Sink, V2Stream
from quorate.raft.types import InvariantBroken
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.sim.plan import Plan
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import v2_pb2 as v2

WATCHERS = 2

PATHS = ((b"/", True), (b"/c0", True), (b"/c0/d", True), (b"/c1/a", False), (b"/c0-ttl", True),
         (b"/c0/_h", False))
LOOK_S = 0.25
MOVE = 0.05
"""Chance at each look that it opens another stream, though nothing is wrong."""
SLOW = 0.1
"""Chance at each look that it stops reading for a while."""
FULL = 0.05
"""Chance at each event that there is no room for the next, for a moment."""
BACKLOG_BYTES = 16 << 20
TURNS_MAX = 10_000
"""For catching up with everything that ever happened; a few are usual."""


def v2_watchers(
    plan: Plan, clock: Clock, pick: Callable[[random.Random], SimMember | None]
) -> list[V2Watcher]:
    """A few, if the plan has v2."""
    look_s = LOOK_S * max(1.0, 10 * plan.pause_s)
    dice = [plan.stream(f"v2 watcher {number}") for number in range(WATCHERS if plan.v2 else 0)]
    return [V2Watcher(f"v{number}", clock, rng, partial(pick, rng), look_s)
            for number, rng in enumerate(dice)]


def start(watchers: Sequence[V2Watcher]) -> None:
    """Have them begin to watch."""
    for watcher in watchers:
        watcher.start()


def catch_up(watchers: Sequence[V2Watcher], member: SimMember) -> None:
    """Have them be told everything, by this member."""
    for watcher in watchers:
        watcher.catch_up(member)


class V2Watcher:
    """One client with a stream at a time."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        look_s: float,
    ) -> None:
        self.sessions: list[V2Watched] = []
        self._name = name
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._look_s = look_s
        self._path, self._recursive = rng.choice(PATHS)
        self._since = rng.choice((0, 1))
        self._stream: _Stream | None = None

    def start(self) -> None:
        """Begin to watch, and go on for ever."""
        stream, choice = self._stream, self._rng.random()
        if stream is None or not stream.alive or choice < MOVE:
            self.move()
        elif stream.slow:
            stream.read_again()
        elif choice < MOVE + SLOW:
            stream.slow = True
        self._clock.after(self._look_s, self.start)

    def move(self, member: SimMember | None = None) -> None:
        """Open a stream at this member or at any. Of the last revision it may have been told a
        part, and asks for no more of it, as its index is all that it knows."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self.sessions and (told := self.sessions[-1].told):
            self._since = told[-1].at + 1
            self.sessions[-1].complete = told[-1].at - 1
        member = member or self._pick()
        if member is not None and member.up:
            self._stream = _Stream(member, self._rng, self._open)

    def catch_up(self, member: SimMember) -> None:
        """Open a stream at this member, and be told everything."""
        self.move(member)
        stream, core = self._stream, member.core
        if stream is not None:
            stream.eager = True
        for _ in range(TURNS_MAX):
            member.turn()
            if stream is None or core is None or stream.watched is None or not stream.alive:
                return
            if not core.v2_watches.lagging:
                stream.watched.complete = core.machine.revision
                return
        raise InvariantBroken(f"{self._name} does not catch up at member {member.id}")

    def _open(self, stream: _Stream, member: SimMember) -> V2Stream:
        """In the member."""
        assert member.core is not None
        newest = member.core.machine.revision
        watched = stream.watched = V2Watched(
            self._name, self._path, self._recursive, self._since or newest + 1)
        self.sessions.append(watched)
        return member.service.v2_watch(self._path, stream, since=self._since,
                                       recursive=self._recursive, stream=True)


class _Stream(V2Sink):
    """A `V2Sink` that falls silent when it is closed."""

    def __init__(
        self, member: SimMember, rng: random.Random,
        open_: Callable[[_Stream, SimMember], V2Stream],
    ) -> None:
        self.slow = self.eager = False
        self.watched: V2Watched | None = None
        self._member = member
        self._life = member.life
        self._rng = rng
        self._closed = False
        self._watch: V2Stream | None = None

        def opened() -> None:
            if not self._closed:
                self._watch = open_(self, member)

        member.post(opened)

    @property
    def alive(self) -> bool:
        """Whether the member still is the process that the stream was opened at."""
        return not self._closed and self._member.up and self._member.life == self._life

    def read_again(self) -> None:
        """The client reads again."""
        self.slow = False
        watch = self._watch
        if watch is not None and self.alive:
            self._member.post(lambda: watch.drained() if self.alive else None)

    def close(self) -> None:
        """The client goes elsewhere."""
        if self.alive and self._watch is not None:
            self._member.post(self._watch.close)
        self._closed = True

    # See `V2Sink`.

    def send(self, event: v2.V2Response) -> None:
        """One event."""
        if self._closed:
            return
        assert self.watched is not None
        node = event.node
        told = Told(node.modified_index, node.key, node.value if node.HasField("value") else None)
        self.watched.told.append(told)

    def fail(self, reason: Refused) -> None:
        """The member cannot serve it."""
        if reason.problem is not Problem.V2_HISTORY_CLEARED:
            raise InvariantBroken(f"a v2 watch was refused with {reason}")
        self._closed = True

    def backlog_bytes(self) -> int:
        """Too much while the client does not read."""
        if self.eager or not (self.slow or self._rng.random() < FULL):
            return 0
        return BACKLOG_BYTES
