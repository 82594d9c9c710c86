"""Simulated watchers: a client that watches ranges for ever, on one stream, resuming at another
member whenever that is gone or it feels like moving, from after what it was given or told.

Each watch, from its creation to its end, is recorded for check/watches.py, with the options that
were drawn: previous values, filters, fragments, progress, ids, a start in the past, now or in the
future. Now and then one is cancelled and created again. A slow watcher's stream reports a
backlog, so that the hub serves it from history.

Not here: the judgement (judge.py).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from quorate.check.watches import Watched
from quorate.member.service import WatchSink, WatchStream
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

ASK = 0.1
"""Chance at each look that it asks how far it is."""

CANCEL = 0.1
"""Chance at each look that it cancels a watch, to create it again or to watch something else."""

FORGET = 0.3
"""Chance of the latter."""

TURNS_MAX = 10_000
"""For catching up with everything that ever happened; a few are usual."""

FUTURE = 40
"""How many revisions ahead a watch may start."""

BACKLOG_BYTES = 16 << 20
NOPUT, NODELETE = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE
PROGRESS = -1
"""The id of an answer to a request for progress: it is for all watches of the stream."""


class Interest:
    """One range that a client watches, over as many watches as it takes."""

    def __init__(self, name: str, rng: random.Random, newest: int = 1) -> None:
        """`newest`: the newest revision that its client knows of."""
        key, range_end = rng.choice(
            ((b"c", b"d"), (b"c0/", b"c00"), (b"c1/0", b""), (b"\0", b"\0"), (b"c0/3", b"c1/3")))
        self._wish = rpc.WatchCreateRequest(
            key=key, range_end=range_end, prev_kv=rng.random() < 0.4,
            fragment=rng.random() < 0.3, progress_notify=rng.random() < 0.5,
            filters=rng.choice(((), (), (), (NOPUT,), (NODELETE,))),
            watch_id=rng.choice((0, 0, 0, rng.randrange(1, 6))))
        self._trusts_progress = rng.random() < 0.5
        self._name = name
        self.next_revision = rng.choice((1, 2, 2, 0, newest, newest + rng.randrange(FUTURE)))
        """Where to go on; 0 is now, whenever that is."""
        self.sessions: list[Watched] = []

    def create(self) -> tuple[rpc.WatchCreateRequest, list[rpc.WatchResponse]]:
        """A new watch, and where its responses go."""
        request = rpc.WatchCreateRequest()
        request.CopyFrom(self._wish)
        request.start_revision = self.next_revision
        responses: list[rpc.WatchResponse] = []
        self.sessions.append(Watched(self._name, request, responses))
        return request, responses

    def refused(self) -> None:
        """Its id was in use: the member may choose one."""
        self._wish.watch_id = 0

    def take(self, response: rpc.WatchResponse) -> None:
        """Go on after what was given or told, or after what nobody can give any more."""
        if response.compact_revision:
            self.next_revision = response.compact_revision
        elif response.events:
            if not response.fragment:
                self.next_revision = response.events[-1].kv.mod_revision + 1
        elif response.created:
            self.next_revision = self.next_revision or response.header.revision + 1
        elif self._trusts_progress and not response.canceled:
            self.next_revision = max(self.next_revision, response.header.revision + 1)


class Watcher:
    """One client with a stream."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        look_s: float = LOOK_S,
    ) -> None:
        self.name = name
        self.interests = [Interest(f"{name}.{n}", rng) for n in range(rng.choice((1, 1, 2, 3)))]
        """All that it ever had."""
        self._present = list(self.interests)
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._look_s = look_s
        self._stream: Stream | None = None

    @property
    def sessions(self) -> list[Watched]:
        """All its watches."""
        return [session for interest in self.interests for session in interest.sessions]

    @property
    def events(self) -> int:
        """How many it was given."""
        return sum(len(r.events) for w in self.sessions for r in w.responses)

    def start(self) -> None:
        """Begin to watch, and go on for ever."""
        stream, choice = self._stream, self._rng.random()
        if stream is None or not stream.alive or choice < MOVE:
            self.move()
        elif stream.slow:
            stream.read_again()
        elif choice < MOVE + SLOW:
            stream.slow = True
        elif choice < MOVE + SLOW + CANCEL:
            self._cancel(stream)
        if stream is not None and self._rng.random() < ASK:
            stream.ask_progress()
        self._clock.after(self._look_s, self.start)

    def _cancel(self, stream: Stream) -> None:
        place = self._rng.randrange(len(self._present))
        before = self._present[place]
        if self._rng.random() < FORGET:
            newest = max(interest.next_revision for interest in self._present)
            other = Interest(f"{self.name}.{len(self.interests)}", self._rng, newest)
            self.interests.append(other)
            self._present[place] = other
        stream.cancel(before, self._present[place])

    def move(self, member: SimMember | None = None) -> None:
        """Resume, at this member or at any."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        member = member or self._pick()
        if member is None or not member.up:
            return
        stream = self._stream = Stream(member)
        stream.open(self._present)
        if self._rng.random() < ASK:
            stream.ask_progress()

    def catch_up(self, member: SimMember) -> None:
        """Resume at this member, read everything, and be told so."""
        self.move(member)
        stream, core = self._stream, member.core
        for _ in range(TURNS_MAX):
            member.turn()
            if stream is None or core is None:
                return
            missing = [i for i in self._present if not stream.has(i)]
            if missing:  # cancelled, for compaction, or refused
                stream.open(missing)
            elif not core.watches.lagging:
                stream.ask_progress()
                future = any(i.next_revision > core.machine.revision + 1 for i in self._present)
                if not future and stream.told_revision != core.machine.revision:
                    raise InvariantBroken(f"{self.name} is not told how far it is")
                return
        raise InvariantBroken(f"{self.name} does not catch up at member {member.id}")


class Stream(WatchSink):
    """The watches at one member: a `WatchSink` that falls silent when it is closed."""

    def __init__(self, member: SimMember) -> None:
        self.slow = False
        self.told_revision = 0
        self._member = member
        self._life = member.life
        self._closed = False
        self._open: WatchStream | None = None
        self._asked: deque[tuple[Interest, list[rpc.WatchResponse]]] = deque()
        """What was asked to be created, in order, and is not confirmed yet."""
        self._watches: dict[int, tuple[Interest, list[rpc.WatchResponse]]] = {}
        """By id, also those that are over: nothing must come for these."""
        self._over: set[int] = set()

    @property
    def alive(self) -> bool:
        """Whether the member still is the process that the stream was opened at."""
        return not self._closed and self._member.up and self._member.life == self._life

    def has(self, interest: Interest) -> bool:
        """Whether there is a watch of this, confirmed and not over."""
        return self._id(interest) is not None

    def open(self, interests: list[Interest]) -> None:
        """Create a watch for each."""

        wanted = tuple(interests)

        def opened() -> None:
            if self._closed:
                return
            if self._open is None:
                self._open = self._member.service.watch(self)
            for interest in wanted:
                self._create(self._open, interest)

        self._member.post(opened)

    def cancel(self, interest: Interest, then: Interest) -> None:
        """Cancel the watch of one if there is one, and create one of the other."""

        def canceled(stream: WatchStream) -> None:
            watch_id = self._id(interest)
            if watch_id is not None:
                stream.request(rpc.WatchRequest(
                    cancel_request=rpc.WatchCancelRequest(watch_id=watch_id)))
            if all(one is not then for one, _ in self._asked):
                self._create(stream, then)

        self._post(canceled)

    def ask_progress(self) -> None:
        """The client wants to know how far it is."""
        self._post(lambda stream: stream.request(
            rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())))

    def read_again(self) -> None:
        """The client reads again."""
        self.slow = False
        self._post(lambda stream: stream.drained())

    def close(self) -> None:
        """The client goes elsewhere."""
        if self.alive and self._open is not None:
            self._member.post(self._open.close)
        self._closed = True

    # See `WatchSink`.

    def send(self, response: rpc.WatchResponse) -> None:
        """A response: to the watch with its id, or to all."""
        if self._closed:
            return
        copy = rpc.WatchResponse()
        copy.CopyFrom(response)
        if copy.created and copy.canceled:
            self._refused()
            return
        if copy.created:
            if copy.watch_id in self._watches and copy.watch_id not in self._over:
                raise InvariantBroken(f"two watches of a stream have the id {copy.watch_id}")
            self._watches[copy.watch_id] = self._asked.popleft()
            self._over.discard(copy.watch_id)
        if copy.watch_id == PROGRESS:
            self.told_revision = copy.header.revision
            to = [watch for watch_id, watch in self._watches.items()
                  if watch_id not in self._over]
        else:
            to = [self._watches[copy.watch_id]]
        for interest, responses in to:
            responses.append(copy)
            interest.take(copy)
        if copy.canceled:
            self._over.add(copy.watch_id)

    def backlog_bytes(self) -> int:
        """Too much while the client does not read."""
        return BACKLOG_BYTES if self.slow else 0

    def end(self, reason: Refused | None) -> None:
        """The member ended it."""
        self._closed = True

    # In the member.

    def _create(self, stream: WatchStream, interest: Interest) -> None:
        request, responses = interest.create()
        self._asked.append((interest, responses))
        stream.request(rpc.WatchRequest(create_request=request))

    def _refused(self) -> None:
        interest, _ = self._asked.popleft()
        request = interest.sessions[-1].request
        if request.watch_id not in self._watches or request.watch_id in self._over:
            raise InvariantBroken(f"a watch was refused for no reason: {request}")
        interest.refused()

    def _id(self, interest: Interest) -> int | None:
        return next((watch_id for watch_id, (one, _) in self._watches.items()
                     if one is interest and watch_id not in self._over), None)

    def _post(self, call: Callable[[WatchStream], None]) -> None:
        """If it still is the process that the stream was opened at."""

        def posted() -> None:
            if self._open is not None and self.alive:
                call(self._open)

        self._member.post(posted)
