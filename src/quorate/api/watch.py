"""A watch stream over the JSON gateway: one chunked reply, one JSON line per response.

The head and the `created` line leave at once. The end of the request body does not end the stream
(surface §4.4, rule 9); the client's going away does. No line is split over chunks.

Not here: which events go where (member/watchhub.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quorate.api.errors import SHUTDOWN, form
from quorate.member.service import Service, WatchSink, WatchStream
from quorate.net.http1 import Exchange
from quorate.state.errors import Refused
from quorate.wire import gateway
from quorate.wire._generated import rpc_pb2 as rpc


class WatchExchange(WatchSink):
    """A `service.WatchSink` on an exchange."""

    def __init__(
        self, exchange: Exchange, headers: bytes, closed: Callable[[WatchExchange], None]
    ) -> None:
        self._exchange = exchange
        self._headers = headers
        self._closed = closed
        self._stream: WatchStream | None = None

    def serve(self, service: Service, requests: Iterable[rpc.WatchRequest]) -> None:
        """Begin the reply and hand the requests to the member."""
        self._exchange.start(200, headers=self._headers)
        self._exchange.on_disconnected = self._disconnected
        self._stream = stream = service.watch(self)
        self._exchange.on_drained = stream.drained
        for request in requests:
            stream.request(request)

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        self._exchange.write(b'{"result":%b}\n' % gateway.encode(response))

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return self._exchange.buffered()

    def end(self, reason: Refused | None) -> None:
        """See `WatchSink`."""
        if reason is not None:
            self._exchange.write(form(reason).streaming())
        self._exchange.end()
        self._closed(self)

    def shut_down(self) -> None:
        """The member stops."""
        if self._stream is not None:
            self._stream.close()
        self._exchange.write(SHUTDOWN.streaming())
        self._exchange.end()
        self._closed(self)

    def _disconnected(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._closed(self)
