"""What a member's client port serves over gRPC: etcd's v3 API and the health service.

Not here: gRPC itself (net/grpc.py), errors (errors.py), the JSON gateway (server.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError, Message as Proto

from quorate.api.errors import SHUTDOWN, Code, form
from quorate.api.methods import UNARY
from quorate.api.snapshot import SnapshotCall
from quorate.member.service import Done, Service, WatchStream
from quorate.net.grpc import Call, Method
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

RENEWALS_MAX = 10_000
"""Renewals of one stream that wait; a client with more waits for answers itself."""

_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""grpc.health.v1.HealthCheckResponse."""


class GrpcApi:
    """A `net.grpc.Handler` over a `Service`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._streams: dict[Call, Callable[[], None]] = {}
        """Streams that end only when somebody ends them, and how."""
        self._methods = {
            f"/{unary.path}".encode(): Method(
                self._unary(unary.request, getattr(service, unary.call)))
            for unary in UNARY}
        self._methods |= {
            b"/etcdserverpb.Watch/Watch": Method(self._watch, unary=False),
            b"/etcdserverpb.Lease/LeaseKeepAlive": Method(self._keep_alive, unary=False),
            b"/etcdserverpb.Maintenance/Snapshot": Method(self._snapshot),
            b"/grpc.health.v1.Health/Check": Method(self._health),
        }

    def method(self, path: bytes) -> Method | None:
        """See `net.grpc.Handler`."""
        return self._methods.get(path)

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        for call, close in list(self._streams.items()):
            close()
            call.fail(SHUTDOWN.code, SHUTDOWN.text)
        self._streams.clear()

    def _unary(
        self, request_type: type[Proto], serve: Callable[[Any, Done], None]
    ) -> Callable[[Call, bytes | None], None]:
        parse = request_type.FromString
        service = self._service

        def begin(call: Call, message: bytes | None) -> None:
            try:
                request = parse(message or b"")
            except DecodeError as wrong:
                return call.fail(Code.INTERNAL, f"grpc: error unmarshalling request: {wrong}")
            if (refused := service.refusal(request)) is not None:
                return _refuse(call, refused)
            if call.metadata(b"hasleader") == b"true" and not service.has_leader():
                return _refuse(call, Refused(Problem.NO_LEADER))

            def done(outcome: Proto | Refused) -> None:
                if isinstance(outcome, Refused):
                    _refuse(call, outcome)
                else:
                    call.reply(outcome.SerializeToString())

            return serve(request, done)

        return begin

    def _watch(self, call: Call, _message: bytes | None) -> None:
        if (refused := self._service.refusal(None)) is not None:
            return _refuse(call, refused)
        call.open()
        watch = _Watch(call, self._ended)
        watch.stream = self._service.watch(watch)
        self._streams[call] = watch.stream.close
        call.on_lost = lambda: self._lost(call)
        call.on_drained = watch.stream.drained
        call.on_message = watch.take
        return None

    def _lost(self, call: Call) -> None:
        close = self._streams.pop(call, None)
        if close is not None:
            close()

    def _ended(self, call: Call) -> None:
        self._streams.pop(call, None)

    def _keep_alive(self, call: Call, _message: bytes | None) -> None:
        if (refused := self._service.refusal(None)) is not None:
            return _refuse(call, refused)
        call.open()
        renewals = _Renewals(call, self._service, self._ended)
        self._streams[call] = renewals.close
        call.on_lost = lambda: self._lost(call)
        call.on_message = renewals.take
        call.on_end = renewals.end
        return None

    def _snapshot(self, call: Call, message: bytes | None) -> None:
        try:
            rpc.SnapshotRequest.FromString(message or b"")
        except DecodeError as wrong:
            return call.fail(Code.INTERNAL, f"grpc: error unmarshalling request: {wrong}")
        if call.metadata(b"hasleader") == b"true" and not self._service.has_leader():
            return _refuse(call, Refused(Problem.NO_LEADER))
        call.on_lost = lambda: self._lost(call)
        stream = SnapshotCall(call, self._ended).serve(self._service)
        if not call.finished:
            self._streams[call] = stream.close
        return None

    def _health(self, call: Call, _message: bytes | None) -> None:
        self._service.health(
            lambda health: call.reply(_SERVING if health.healthy else _NOT_SERVING),
            serializable=True)


class _Watch:
    """A `service.WatchSink` on a call."""

    stream: WatchStream

    def __init__(self, call: Call, ended: Callable[[Call], None]) -> None:
        self._call = call
        self._ended = ended

    def take(self, message: bytes) -> None:
        """One request of the client."""
        try:
            request = rpc.WatchRequest.FromString(message)
        except DecodeError as wrong:
            self.stream.close()
            self._ended(self._call)
            return self._call.fail(
                Code.INTERNAL, f"grpc: error unmarshalling request: {wrong}")
        return self.stream.request(request)

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        self._call.send(response.SerializeToString())

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return self._call.buffered()

    def end(self, reason: Refused | None) -> None:
        """See `WatchSink`."""
        self._ended(self._call)
        if reason is None:
            self._call.finish()
        else:
            _refuse(self._call, reason)


class _Renewals:
    """A stream of keep-alives: answered one after the other, in their order."""

    def __init__(self, call: Call, service: Service, ended: Callable[[Call], None]) -> None:
        self._call = call
        self._service = service
        self._over = ended
        self._waiting: deque[rpc.LeaseKeepAliveRequest] = deque()
        self._busy = self._last = self._closed = False

    def take(self, message: bytes) -> None:
        """One renewal."""
        try:
            request = rpc.LeaseKeepAliveRequest.FromString(message)
        except DecodeError as wrong:
            return self._fail(Code.INTERNAL, f"grpc: error unmarshalling request: {wrong}")
        if len(self._waiting) >= RENEWALS_MAX:
            return self._fail(
                Code.RESOURCE_EXHAUSTED, f"more than {RENEWALS_MAX} renewals wait on this stream")
        self._waiting.append(request)
        return self._next()

    def end(self) -> None:
        """The client sends no more."""
        self._last = True
        self._next()

    def close(self) -> None:
        """The client is gone."""
        self._closed = True
        self._waiting.clear()

    def _next(self) -> None:
        while not self._busy and self._waiting and not self._closed:
            self._busy = True
            self._service.lease_keep_alive(self._waiting.popleft(), self._done)
        if self._last and not self._busy and not self._closed:
            self._closed = True
            self._over(self._call)
            self._call.finish()

    def _done(self, outcome: Proto | Refused) -> None:
        self._busy = False
        if self._closed:
            return
        if isinstance(outcome, Refused):
            error = form(outcome)
            return self._fail(error.code, error.text)
        self._call.send(outcome.SerializeToString())
        return self._next()

    def _fail(self, code: Code, text: str) -> None:
        self.close()
        self._over(self._call)
        self._call.fail(code, text)


def _refuse(call: Call, refused: Refused) -> None:
    error = form(refused)
    call.fail(error.code, error.text)
