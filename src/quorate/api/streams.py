"""A stream over the JSON gateway: one chunked reply, one line of JSON per response.

No line is split over chunks. Not here: what is streamed (watch.py, waiting.py, snapshot.py,
server.py), the streams of gRPC (grpc.py).
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message as Proto

from quorate.api.calls import Served
from quorate.api.errors import SHUTDOWN, Code, ErrorForm, form
from quorate.net.http1 import Exchange
from quorate.state.errors import Refused
from quorate.wire import gateway


class StreamExchange:
    """Base of one. It is over once: because of an error or not, or because the client is gone."""

    def __init__(
        self, exchange: Exchange, headers: bytes, served: Served,
        closed: Callable[[StreamExchange], None],
    ) -> None:
        self.exchange = exchange
        self._headers = headers
        self._served = served
        self._closed = closed
        self._started = False
        exchange.on_disconnected = self._disconnected

    def start(self, status: int = 200) -> None:
        """Send the head, if it is not sent yet."""
        if not self._started:
            self._started = True
            self.exchange.start(status, headers=self._headers)

    def send_line(self, response: Proto) -> None:
        """One response."""
        self.start()
        line = b'{"result":%b}\n' % gateway.encode(response)
        self._served.sent(len(line))
        self.exchange.write(line)

    def backlog_bytes(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.exchange.buffered()

    def finish(self, reason: Refused | ErrorForm | None) -> None:
        """The stream ends; an error that comes first decides the status."""
        error = form(reason) if isinstance(reason, Refused) else reason
        self._over(error.code if error is not None else 0)
        self.start(error.status if error is not None else 200)
        if error is not None:
            self.exchange.write(error.streaming())
        self.exchange.end()

    def shut_down(self) -> None:
        """The member stops."""
        self.close_source()
        self.finish(SHUTDOWN)

    def close_source(self) -> None:
        """Nobody wants more of whatever is streamed."""

    def _disconnected(self) -> None:
        self._over(Code.CANCELED)
        self.close_source()

    def _over(self, code: int) -> None:
        self._served.ended(code)
        self._closed(self)
