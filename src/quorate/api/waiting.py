"""Election and lock calls over the JSON gateway that may take for ever: Lock, Campaign, Observe.

Each ends when its client goes away or the member stops. Not here: watches (watch.py), what the
calls do (queues.py, elections.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message as Proto

from quorate.api.elections import Elections, Observer
from quorate.api.errors import SHUTDOWN, form
from quorate.api.queues import Cancel
from quorate.member.service import Done
from quorate.net.http1 import Exchange
from quorate.state.errors import Refused
from quorate.wire import gateway
from quorate.wire._generated import election_pb2 as election


class WaitingExchange:
    """A unary call that waits."""

    def __init__(
        self, exchange: Exchange, headers: bytes, closed: Callable[[WaitingExchange], None]
    ) -> None:
        self._exchange = exchange
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
        self._disconnected()
        self._exchange.respond(SHUTDOWN.status, SHUTDOWN.unary(), headers=self._headers)

    def _disconnected(self) -> None:
        self._closed(self)
        if self._cancel is not None:
            self._cancel()


class ObserveExchange:
    """An `elections.LeaderSink` on an exchange: one chunked reply, one JSON line per leader."""

    def __init__(
        self, exchange: Exchange, headers: bytes, closed: Callable[[ObserveExchange], None]
    ) -> None:
        self._exchange = exchange
        self._headers = headers
        self._closed = closed
        self._observer: Observer | None = None

    def serve(self, elections: Elections, request: election.LeaderRequest) -> None:
        """Begin the reply, and observe."""
        self._exchange.start(200, headers=self._headers)
        self._exchange.on_disconnected = self._disconnected
        self._observer = observer = elections.observe(request, self)
        self._exchange.on_drained = observer.drained

    def send(self, response: election.LeaderResponse) -> None:
        """See `LeaderSink`."""
        self._exchange.write(b'{"result":%b}\n' % gateway.encode(response))

    def backlog_bytes(self) -> int:
        """See `LeaderSink`."""
        return self._exchange.buffered()

    def fail(self, reason: Refused) -> None:
        """See `LeaderSink`."""
        self._exchange.write(form(reason).streaming())
        self._exchange.end()
        self._closed(self)

    def shut_down(self) -> None:
        """The member stops."""
        self._disconnected()
        self._exchange.write(SHUTDOWN.streaming())
        self._exchange.end()

    def _disconnected(self) -> None:
        self._closed(self)
        if self._observer is not None:
            self._observer.close()
