"""A snapshot as clients see it: a gRPC stream, or lines of JSON whose status the first one decides.

Not here: what is in it and how fast it is made (member/snapshots.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.api.errors import form
from quorate.member.service import Service, SnapshotStream
from quorate.net.grpc import Call
from quorate.net.http1 import Exchange
from quorate.state.errors import Refused
from quorate.wire import gateway
from quorate.wire._generated import rpc_pb2 as rpc


class SnapshotCall:
    """A `service.SnapshotSink` on a gRPC call."""

    def __init__(self, call: Call, ended: Callable[[Call], None]) -> None:
        self._call = call
        self._ended = ended

    def serve(self, service: Service) -> SnapshotStream:
        """Begin."""
        stream = service.snapshot(self)
        self._call.on_drained = stream.drained
        return stream

    def send(self, response: rpc.SnapshotResponse) -> None:
        """See `SnapshotSink`."""
        self._call.send(response.SerializeToString())

    def backlog_bytes(self) -> int:
        """See `SnapshotSink`."""
        return self._call.buffered()

    def end(self, reason: Refused | None) -> None:
        """See `SnapshotSink`."""
        self._ended(self._call)
        if reason is None:
            self._call.finish()
        else:
            error = form(reason)
            self._call.fail(error.code, error.text)


class SnapshotExchange:
    """A `service.SnapshotSink` on an exchange of HTTP/1.1."""

    def __init__(
        self, exchange: Exchange, headers: bytes, closed: Callable[[SnapshotExchange], None]
    ) -> None:
        self._exchange = exchange
        self._headers = headers
        self._closed = closed
        self._stream: SnapshotStream | None = None
        self._started = False

    def serve(self, service: Service) -> None:
        """Begin."""
        self._exchange.on_disconnected = self._disconnected
        self._stream = stream = service.snapshot(self)
        self._exchange.on_drained = stream.drained

    def send(self, response: rpc.SnapshotResponse) -> None:
        """See `SnapshotSink`."""
        self._start(200)
        self._exchange.write(b'{"result":%b}\n' % gateway.encode(response))

    def backlog_bytes(self) -> int:
        """See `SnapshotSink`."""
        return self._exchange.buffered()

    def end(self, reason: Refused | None) -> None:
        """See `SnapshotSink`."""
        if reason is not None:
            error = form(reason)
            self._start(error.status)
            self._exchange.write(error.streaming())
        self._exchange.end()
        self._closed(self)

    def shut_down(self) -> None:
        """The member stops: a snapshot that is cut short must not look complete."""
        self._disconnected()
        self._exchange.abort()

    def _start(self, status: int) -> None:
        if not self._started:
            self._started = True
            self._exchange.start(status, headers=self._headers)

    def _disconnected(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._closed(self)
