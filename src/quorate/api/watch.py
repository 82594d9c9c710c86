"""A watch stream over the JSON gateway.

The head and the `created` line leave at once. The end of the request body does not end the stream
(surface §4.4, rule 9); the client's going away does.

Not here: which events go where (member/watchhub.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from quorate.api.streams import StreamExchange
from quorate.member.service import Service, WatchSink, WatchStream
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc


class WatchExchange(StreamExchange, WatchSink):
    """A `service.WatchSink` on an exchange."""

    _stream: WatchStream | None = None

    def serve(self, service: Service, requests: Iterable[rpc.WatchRequest]) -> None:
        """Begin the reply and hand the requests to the member."""
        self.start()
        self._stream = stream = service.watch(self)
        self.exchange.on_drained = stream.drained
        for request in requests:
            stream.request(request)

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        self.send_line(response)

    def end(self, reason: Refused | None) -> None:
        """See `WatchSink`."""
        self.finish(reason)

    def close_source(self) -> None:
        """See `StreamExchange`."""
        if self._stream is not None:
            self._stream.close()
