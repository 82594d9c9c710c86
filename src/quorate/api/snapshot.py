"""A snapshot as clients see it: a gRPC stream, or lines of JSON whose status the first one decides.

Not here: what is in it and how fast it is made (member/snapshots.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.api.errors import SHUTDOWN, form
from quorate.api.streams import StreamExchange
from quorate.member.service import Service, SnapshotStream
from quorate.net.grpc import Call
from quorate.state.errors import Refused
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


class SnapshotExchange(StreamExchange):
    """A `service.SnapshotSink` on an exchange of HTTP/1.1."""

    _stream: SnapshotStream | None = None

    def serve(self, service: Service) -> None:
        """Begin."""
        self._stream = stream = service.snapshot(self)
        self.exchange.on_drained = stream.drained

    def send(self, response: rpc.SnapshotResponse) -> None:
        """See `SnapshotSink`."""
        self.send_line(response)

    def end(self, reason: Refused | None) -> None:
        """See `SnapshotSink`."""
        self.finish(reason)

    def shut_down(self) -> None:
        """The member stops: a snapshot that is cut short must not look complete."""
        self._over(SHUTDOWN.code)
        self.close_source()
        self.exchange.abort()

    def close_source(self) -> None:
        """See `StreamExchange`."""
        if self._stream is not None:
            self._stream.close()
