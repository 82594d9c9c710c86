"""Election and lock calls over the JSON gateway that may take for ever: Lock, Campaign, Observe.

Each ends when its client goes away or the member stops. Not here: watches (watch.py), what the
calls do (queues.py, elections.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message as Proto

from quorate.api.elections import Elections, Observer
from quorate.api.calls import Served
from quorate.api.errors import SHUTDOWN, Code
from quorate.api.queues import Cancel
from quorate.api.streams import StreamExchange
from quorate.member.service import Done
from quorate.net.http1 import Exchange
from quorate.state.errors import Refused
from quorate.wire._generated import election_pb2 as election


class WaitingExchange:
    """A unary call that waits."""

    def __init__(
        self, exchange: Exchange, headers: bytes, served: Served,
        closed: Callable[[WaitingExchange], None],
    ) -> None:
        self._exchange = exchange
        self._served = served
        self._headers = headers
        self._closed = closed
        self._cancel: Cancel | None = None

    def serve(
        self, serve: Callable[[Any, Done], Cancel | None], request: Proto, done: Done
    ) -> None:
        """Begin; `done` makes the reply."""

        def decided(outcome: Proto | Refused) -> None:
            self._closed(self)
            done(outcome)

        self._exchange.on_disconnected = self._disconnected
        self._cancel = serve(request, decided)

    def shut_down(self) -> None:
        """The member stops."""
        self._served.ended(SHUTDOWN.code)
        self._disconnected()
        self._exchange.respond(SHUTDOWN.status, SHUTDOWN.unary(), headers=self._headers)

    def _disconnected(self) -> None:
        self._served.ended(Code.CANCELED)
        self._closed(self)
        if self._cancel is not None:
            self._cancel()


class ObserveExchange(StreamExchange):
    """An `elections.LeaderSink` on an exchange: a line per leader."""

    _observer: Observer | None = None

    def serve(self, elections: Elections, request: election.LeaderRequest) -> None:
        """Begin the reply, and observe."""
        self.start()
        self._observer = observer = elections.observe(request, self)
        self.exchange.on_drained = observer.drained

    def send(self, response: election.LeaderResponse) -> None:
        """See `LeaderSink`."""
        self.send_line(response)

    def fail(self, reason: Refused) -> None:
        """See `LeaderSink`."""
        self.finish(reason)

    def close_source(self) -> None:
        """See `StreamExchange`."""
        if self._observer is not None:
            self._observer.close()
