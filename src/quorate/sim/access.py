"""How a node of PostgreSQL reaches the members of the store: latency, dead members, silent links.

A request to a dead member, or to one that dies meanwhile, is reset at once. One over a cut link, or
to a member that is paused, stays without an answer until the caller gives up. A connection that was
open when the link was cut never works again, as behind a firewall that forgot it; the system gives
it up after TCP_USER_TIMEOUT, which Patroni sets to its ttl.

Every request and what was answered is recorded for the judges, as a client's is.

Not here: what to do about it (dcs.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from functools import partial

from google.protobuf.message import Message as Proto

from quorate.check import v2
from quorate.check.keyvalue import Request, Response
from quorate.check.leases import LeaseHistory, Renewal
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call
from quorate.member.service import WatchSink
from quorate.sim.client import DOUBTFUL
from quorate.sim.clock import Clock
from quorate.sim.member import SimMember
from quorate.sim.process import Pause, Signal, Steps
from quorate.sim.requests import serve
from quorate.sim.ttls import Ttls
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire._generated.v2_pb2 import V2Request, V2Response

LATENCY_S = (0.0002, 0.001)
"""One way between a node and a member; every node has its own."""


class Lost(Enum):
    """Why there is no answer."""

    RESET = "the connection broke"
    SILENT = "nothing came back in time"


Answer = Proto | Refused | Lost


class Access:
    """One node's connections. `members` gives the store's members by id."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random,
        members: Callable[[], dict[int, SimMember]], user_timeout_s: float,
    ) -> None:
        self.calls: list[Call] = []
        self.leases: dict[int, LeaseHistory] = {}
        self.asked: set[int] = set()
        """Leases that it asked for, granted or not."""
        self.ttls = Ttls(name)
        self._name = name
        self._clock = clock
        self._latency_s = rng.uniform(*LATENCY_S)
        self._members = members
        self._user_timeout_s = user_timeout_s
        self._open: dict[Signal | Stream, int] = {}
        """What waits for something from which member."""
        self._cut = False

    @property
    def cut(self) -> bool:
        """Whether nothing goes through between this node and any member."""
        return self._cut

    def sever(self) -> None:
        """Nothing goes through any more, and nobody is told."""
        self._cut = True
        frozen, self._open = self._open, {}
        for waiting in frozen:
            self._clock.after(self._user_timeout_s, partial(_break, waiting))

    def heal(self) -> None:
        """New connections work."""
        self._cut = False

    @property
    def ids(self) -> list[int]:
        """All members that may be asked."""
        return list(self._members())

    def ask(self, member_id: int, request: Proto, timeout_s: float) -> Steps[Answer]:
        """Send a request and wait for its answer."""
        signal, sending = Signal(), Renewal(self._clock.now, NEVER, False)
        if isinstance(request, rpc.LeaseGrantRequest):
            self.asked.add(request.ID)
        elif isinstance(request, V2Request):
            self.ttls.asked(request, sending.sent)
        self._open[signal] = member_id

        def call(member: SimMember) -> None:
            sending.taken = self._clock.now
            serve(member.service, request,
                  lambda outcome: self._way(signal, lambda: _first(signal, outcome)))

        self._arrive(signal, member_id, call)
        answer: object = None
        try:
            answer = yield Pause(timeout_s, signal)
        finally:  # also when the node dies meanwhile
            self._open.pop(signal, None)
            self._record(request, answer, sending)
        return answer if isinstance(answer, (Proto, Refused, Lost)) else Lost.SILENT

    def _record(self, request: Proto, answer: object, sending: Renewal) -> None:
        answered = not isinstance(answer, Refused) or answer.problem in DOUBTFUL
        if isinstance(answer, Proto):
            sending.returned = self._clock.now
        if isinstance(request, rpc.LeaseGrantRequest) and isinstance(answer, Proto):
            sending.acknowledged = True
            self.leases[request.ID] = LeaseHistory(
                self._name, request.ID, request.TTL, [sending])
        elif isinstance(request, rpc.LeaseKeepAliveRequest) and answered:
            sending.acknowledged = isinstance(
                answer, rpc.LeaseKeepAliveResponse) and answer.TTL > 0
            self.leases[request.ID].renewals.append(sending)
        elif isinstance(request, Request | v2.Request) and answered:
            self.calls.append(Call(self._name, sending.sent, sending.returned, request,
                                   answer if isinstance(answer, Response | V2Response) else None))
        if isinstance(request, V2Request):
            if isinstance(answer, V2Response):
                self.ttls.answered(request, answer.node, sending.sent, sending.returned)
            elif not answered:
                self.ttls.settled(request)

    def watch(self, member_id: int, request: rpc.WatchCreateRequest, stream: Stream) -> None:
        """Open a watch; its responses and its end come to the stream."""
        self._open[stream] = member_id
        self._arrive(stream, member_id, lambda member: stream.open(
            member, lambda response: self._way(stream, lambda: stream.take(response)), request))

    def close(self, stream: Stream) -> None:
        """Nothing more is wanted from it."""
        self._open.pop(stream, None)
        stream.close()

    def broken(self, member_id: int) -> None:
        """That member's process has ended; its machine says so at once."""
        for waiting in [w for w, m in self._open.items() if m == member_id]:
            self._way(waiting, partial(_break, waiting))

    def _arrive(
        self, waiting: Signal | Stream, member_id: int, call: Callable[[SimMember], None]
    ) -> None:
        def arrive() -> None:
            member = self._members()[member_id]
            if waiting not in self._open or self._cut:
                return
            if member.up:
                member.post(lambda: call(member))
            else:
                self._way(waiting, partial(_break, waiting))

        self._clock.after(self._latency_s, arrive)

    def _way(self, waiting: Signal | Stream, call: Callable[[], None]) -> None:
        """Back to the node, if the connection still works then."""
        self._clock.after(
            self._latency_s, lambda: call() if waiting in self._open and not self._cut else None)


def _break(waiting: Signal | Stream) -> None:
    _first(waiting.ended if isinstance(waiting, Stream) else waiting, Lost.RESET)


def _first(signal: Signal, answer: Answer) -> None:
    if signal.value is None:
        signal.set(answer)


class Stream:
    """A watch as a node has it: `take` gets responses until it ends, then `ended` is set."""

    def __init__(self, take: Callable[[rpc.WatchResponse], None]) -> None:
        self._take = take
        self._close: Callable[[], None] | None = None
        self.ended = Signal()

    def open(
        self, member: SimMember, send: Callable[[rpc.WatchResponse], None],
        request: rpc.WatchCreateRequest,
    ) -> None:
        """In the member."""
        life, watch = member.life, member.service.watch(_Sink(send, self))
        self._close = lambda: member.post(
            lambda: watch.close() if member.life == life else None)
        watch.request(rpc.WatchRequest(create_request=request))

    def take(self, response: rpc.WatchResponse) -> None:
        """A response has arrived."""
        if self.ended.value is None:
            self._take(response)
            if response.canceled:
                self.ended.set()

    def close(self) -> None:
        """The node does not want it any more."""
        if self._close is not None:
            self._close()
        if self.ended.value is None:
            self.ended.set()


class _Sink(WatchSink):
    """See `WatchSink`. Copies, for the member goes on with its message."""

    def __init__(self, send: Callable[[rpc.WatchResponse], None], stream: Stream) -> None:
        self._send = send
        self._stream = stream

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        copy = rpc.WatchResponse()
        copy.CopyFrom(response)
        self._send(copy)

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return 0

    def end(self, _reason: Refused | None) -> None:
        """See `WatchSink`."""
        self._stream.ended.set()
