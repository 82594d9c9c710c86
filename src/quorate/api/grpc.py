"""What a member's client port serves over gRPC: etcd's v3 API, health and reflection.

Not here: gRPC itself (net/grpc.py), errors (errors.py), the JSON gateway (server.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError, Message as Proto

from quorate.api import reflection
from quorate.api.calls import Calls, Type
from quorate.api.elections import Elections
from quorate.api.errors import SHUTDOWN, Code, ErrorForm, form
from quorate.api.leaderless import Leaderless
from quorate.api.methods import Unary, bound
from quorate.api.queues import Cancel
from quorate.api.snapshot import SnapshotCall
from quorate.member.service import Done, Service, WatchSink, WatchStream
from quorate.net.grpc import Call, Method
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import (
    election_pb2 as election, health_pb2 as health, reflection_pb2, rpc_pb2 as rpc,
)

RENEWALS_MAX = 10_000
"""Renewals of one stream that wait; a client with more waits for answers itself."""


class GrpcApi:
    """A `net.grpc.Handler` over a `Service`."""

    def __init__(self, service: Service, calls: Calls) -> None:
        self._service = service
        self._calls = calls
        self._elections = Elections(service)
        self._leaderless = Leaderless(
            service, lambda call: self._end(call, form(Refused(Problem.NO_LEADER))))
        self._streams: dict[Call, Callable[[], None]] = {}
        """Calls that end only when somebody ends them, and how."""
        self._methods = {
            f"/{unary.path}".encode(): Method(
                self._unary(unary, serve), observer=calls.of(unary.path, waits=unary.waits))
            for unary, serve in bound(service)}
        self._add("grpc.health.v1.Health/Check", Type.UNARY, self._health)
        streams = {
            "etcdserverpb.Maintenance/Snapshot": self._stream(self._snapshot, of_learner=True),
            "v3electionpb.Election/Observe": self._stream(self._observe),
            "grpc.health.v1.Health/Watch": self._stream(self._health_watch),
        }
        for path, begin in streams.items():
            self._add(path, Type.SERVER_STREAM, begin)
        both_ways = {
            "etcdserverpb.Watch/Watch": self._watch,
            "etcdserverpb.Lease/LeaseKeepAlive": self._keep_alive,
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": self._reflect,
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": self._reflect,
        }
        for path, begin in both_ways.items():
            self._add(path, Type.BIDI_STREAM, self._stream(begin))

    def _add(
        self, path: str, type_: Type, begin: Callable[[Call, bytes | None], None]
    ) -> None:
        self._methods[f"/{path}".encode()] = Method(
            begin, unary=type_ is not Type.BIDI_STREAM, observer=self._calls.of(path, type_))

    def method(self, path: bytes) -> Method | None:
        """See `net.grpc.Handler`."""
        return self._methods.get(path)

    @property
    def paths(self) -> list[bytes]:
        """Of all methods."""
        return list(self._methods)

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        for call in list(self._streams):
            self._end(call, SHUTDOWN)

    def _unary(
        self, unary: Unary, serve: Callable[[Any, Done], Cancel | None]
    ) -> Callable[[Call, bytes | None], None]:
        parse = unary.request.FromString
        service = self._service

        def begin(call: Call, message: bytes | None) -> None:
            try:
                request = parse(message or b"")
            except DecodeError as wrong:
                return _unreadable(call, wrong)
            if (refused := service.refusal(request)) is not None:
                return _refuse(call, refused)
            if call.metadata(b"hasleader") == b"true" and not service.has_leader():
                return _refuse(call, Refused(Problem.NO_LEADER))

            def done(outcome: Proto | Refused) -> None:
                if isinstance(outcome, Refused):
                    _refuse(call, outcome)
                else:
                    call.reply(outcome.SerializeToString())

            if unary.waits:
                return self._wait(call, request, serve, done)
            serve(request, done)
            return None

        return begin

    def _wait(
        self, call: Call, request: Proto, serve: Callable[[Any, Done], Cancel | None], done: Done
    ) -> None:
        """Serve what may take for ever."""
        over = False

        def decided(outcome: Proto | Refused) -> None:
            nonlocal over
            over = True
            self._ended(call)
            done(outcome)

        cancel = serve(request, decided)
        if cancel is not None and not over:
            self._keep(call, cancel)

    def _keep(self, call: Call, close: Callable[[], None]) -> None:
        """It is served until it is closed."""
        self._streams[call] = close
        call.on_lost = lambda: self._lost(call)

    def _lost(self, call: Call) -> None:
        close = self._streams.pop(call, None)
        if close is not None:
            close()

    def _ended(self, call: Call) -> None:
        self._streams.pop(call, None)

    def _end(self, call: Call, error: ErrorForm) -> None:
        self._lost(call)
        call.fail(error.code, error.text)

    def _stream(
        self, begin: Callable[[Call, bytes | None], None], *, of_learner: bool = False
    ) -> Callable[[Call, bytes | None], None]:
        """A stream: it ends without a leader, if the client says so, and a learner refuses it
        unless it is one `of_learner`."""

        def checked(call: Call, message: bytes | None) -> None:
            if not of_learner and (refused := self._service.refusal(None)) is not None:
                return _refuse(call, refused)
            if call.metadata(b"hasleader") == b"true":
                if not self._service.has_leader():
                    return _refuse(call, Refused(Problem.NO_LEADER))
                self._leaderless.add(call)
            return begin(call, message)

        return checked

    def _watch(self, call: Call, _message: bytes | None) -> None:
        call.open()
        watch = _Watch(call, self._ended)
        watch.stream = self._service.watch(watch)
        self._keep(call, watch.stream.close)
        call.on_drained = watch.stream.drained
        call.on_message = watch.take

    def _keep_alive(self, call: Call, _message: bytes | None) -> None:
        call.open()
        renewals = _Renewals(call, self._service, self._ended)
        self._keep(call, renewals.close)
        call.on_message = renewals.take
        call.on_end = renewals.end

    def _snapshot(self, call: Call, message: bytes | None) -> None:
        try:
            rpc.SnapshotRequest.FromString(message or b"")
        except DecodeError as wrong:
            return _unreadable(call, wrong)
        call.on_lost = lambda: self._lost(call)
        stream = SnapshotCall(call, self._ended).serve(self._service)
        if not call.finished:
            self._streams[call] = stream.close
        return None

    def _observe(self, call: Call, message: bytes | None) -> None:
        try:
            request = election.LeaderRequest.FromString(message or b"")
        except DecodeError as wrong:
            return _unreadable(call, wrong)
        call.open()
        leaders = _Leaders(call, self._ended)
        observer = self._elections.observe(request, leaders)
        if not leaders.over:
            self._keep(call, observer.close)
            call.on_drained = observer.drained
        return None

    def _health(self, call: Call, message: bytes | None) -> None:
        try:
            request = health.HealthCheckRequest.FromString(message or b"")
        except DecodeError as wrong:
            return _unreadable(call, wrong)
        if request.service:  # only the whole server has a state, as in etcd
            return call.fail(Code.NOT_FOUND, "unknown service")
        return self._service.health(
            lambda state: call.reply(_status(_SERVING if state.healthy else _NOT_SERVING)),
            serializable=True)

    def _health_watch(self, call: Call, message: bytes | None) -> None:
        try:
            request = health.HealthCheckRequest.FromString(message or b"")
        except DecodeError as wrong:
            return _unreadable(call, wrong)
        call.send(_status(_UNKNOWN if request.service else _SERVING))

        def stop() -> None:
            if not call.finished and not request.service:
                call.send(_status(_NOT_SERVING))

        return self._keep(call, stop)

    def _reflect(self, call: Call, _message: bytes | None) -> None:
        call.open()

        def take(message: bytes) -> None:
            try:
                request = reflection_pb2.ServerReflectionRequest.FromString(message)
            except DecodeError as wrong:
                return _unreadable(call, wrong)
            return call.send(reflection.answer(request).SerializeToString())

        call.on_message = take
        call.on_end = call.finish


_SERVING = health.HealthCheckResponse.SERVING
_NOT_SERVING = health.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health.HealthCheckResponse.SERVICE_UNKNOWN


def _status(status: health.HealthCheckResponse.ServingStatus) -> bytes:
    return health.HealthCheckResponse(status=status).SerializeToString()


class _Leaders:
    """An `elections.LeaderSink` on a call."""

    def __init__(self, call: Call, ended: Callable[[Call], None]) -> None:
        self._call = call
        self._ended = ended
        self.over = False

    def send(self, response: election.LeaderResponse) -> None:
        """See `LeaderSink`."""
        self._call.send(response.SerializeToString())

    def backlog_bytes(self) -> int:
        """See `LeaderSink`."""
        return self._call.buffered()

    def fail(self, reason: Refused) -> None:
        """See `LeaderSink`."""
        self.over = True
        self._ended(self._call)
        _refuse(self._call, reason)


class _Watch(WatchSink):
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
            return _unreadable(self._call, wrong)
        return self.stream.request(request)

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        self._call.send(response.SerializeToString())

    def send_all(self, response: rpc.WatchResponse, watch_ids: list[int]) -> None:
        """See `WatchSink`. The id comes last, so that what comes before it is the same bytes."""
        if len(watch_ids) == 1:
            return super().send_all(response, watch_ids)
        response.watch_id = 0
        same = response.SerializeToString()
        return self._call.send_several([same + _watch_id(one) for one in watch_ids])

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


@lru_cache(maxsize=10_000)
def _watch_id(watch_id: int) -> bytes:
    """The field of a response."""
    return rpc.WatchResponse(watch_id=watch_id).SerializeToString()


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


def _unreadable(call: Call, wrong: DecodeError) -> None:
    call.fail(Code.INTERNAL, f"grpc: error unmarshalling request: {wrong}")
