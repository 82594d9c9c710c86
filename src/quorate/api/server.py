"""What a member's client port serves over HTTP/1.1: the JSON gateway, v2, version, health,
metrics.

Paths are a table from path to call. Every `/v3` answer, errors included, is JSON: Patroni reads a
text body that begins with digits as a number (patroni-contract §2.3).

Not here: the JSON forms (wire/gateway.py), errors (errors.py), HTTP itself (net/http1.py), streams
(streams.py) and other calls that may take for ever (waiting.py), pages about health (health.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message as Proto

from quorate.api.calls import Calls, MethodCalls, Served, Type
from quorate.api.elections import Elections
from quorate.api.errors import Code, ErrorForm, form
from quorate.api.health import HealthPages
from quorate.api.methods import bound
from quorate.api.metrics import MetricsPage
from quorate.api.queues import Cancel
from quorate.api.snapshot import SnapshotExchange
from quorate.api.streams import StreamExchange
from quorate.api.v2 import V2Api
from quorate.api.waiting import ObserveExchange, WaitingExchange
from quorate.api.watch import WatchExchange
from quorate.member.service import Done, Service
from quorate.net.http1 import BodySink, Exchange, Request
from quorate.state.errors import Problem, Refused
from quorate.wire import gateway
from quorate.wire._generated import election_pb2 as election, rpc_pb2 as rpc
from quorate.wire.prometheus import CONTENT_TYPE

SERVER_VERSION = "3.5.21"
CLUSTER_VERSION = "3.5.0"
"""The release of etcd whose behaviour this server has; digits and dots only (Patroni)."""

CORS = (
    b"Access-Control-Allow-Headers: accept, content-type, authorization\r\n"
    b"Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
    b"Access-Control-Allow-Origin: *\r\n")
HEADERS = b"Grpc-Metadata-Content-Type: application/grpc\r\n" + CORS
NOT_FOUND = ErrorForm(Code.NOT_FOUND, "Not Found")
METHOD = ErrorForm(Code.UNIMPLEMENTED, "Method Not Allowed")


@dataclass(frozen=True, slots=True)
class Call:
    """One method: its request type, what serves it, and its counts."""

    request: type[Proto]
    serve: Callable[[Any, Done], Cancel | None]
    waits: bool
    calls: MethodCalls


class ApiHandler:
    """A `net.http1.Handler` over a `Service`."""

    def __init__(self, service: Service, calls: Calls, *, serves_v2: bool = True) -> None:
        self._service = service
        self._unary = {
            path: Call(unary.request, serve, unary.waits, calls.of(unary.path, waits=unary.waits))
            for unary, serve in bound(service) for path in unary.gateway}
        self._elections = Elections(service)
        both, answers = Type.BIDI_STREAM, Type.SERVER_STREAM
        self._streamed: dict[str, tuple[
            Callable[[Request, Exchange, Served], None], MethodCalls]] = {
            "watch": (self._watch, calls.of("etcdserverpb.Watch/Watch", both)),
            "lease/keepalive": (
                self._keep_alive, calls.of("etcdserverpb.Lease/LeaseKeepAlive", both)),
            "election/observe": (
                self._observe, calls.of("v3electionpb.Election/Observe", answers)),
            "maintenance/snapshot": (
                self._snapshot, calls.of("etcdserverpb.Maintenance/Snapshot", answers))}
        self._streams: set[StreamExchange | WaitingExchange] = set()
        self._v2 = V2Api(service, CORS) if serves_v2 else None
        self._health = HealthPages(service)
        self._metrics = MetricsPage(service.measures, calls.families, self._health.families)
        self._version = json.dumps(
            {"etcdserver": SERVER_VERSION, "etcdcluster": CLUSTER_VERSION},
            separators=(",", ":")).encode()

    def streams_body(self, _request: Request, _exchange: Exchange) -> BodySink | None:
        """Bodies are small: taken whole."""
        return None

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        path = request.path
        if path.startswith("/v3/"):
            self._gateway(path[4:], request, exchange)
        elif path.startswith("/v3beta/"):
            self._gateway(path[8:], request, exchange)
        elif self._v2 is not None and (path.startswith("/v2/") or path == "/v2"):
            self._v2.serve(request, exchange)
        elif path == "/version":
            exchange.respond(200, self._version)
        elif not self.page(request, exchange):
            exchange.respond(404, NOT_FOUND.unary())

    def page(self, request: Request, exchange: Exchange) -> bool:
        """Serve what `--listen-metrics-urls` serve, too; whether it is that."""
        if request.path == "/metrics":
            exchange.respond(200, self._metrics.text(), content_type=CONTENT_TYPE, headers=CORS)
        elif self._health.serves(request.path):
            self._health.respond(request, exchange, CORS)
        else:
            return False
        return True

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        for stream in list(self._streams):
            stream.shut_down()
        if self._v2 is not None:
            self._v2.end_watches()

    # The gateway.

    def _gateway(self, path: str, request: Request, exchange: Exchange) -> None:
        call = self._unary.get(path)
        streamed = self._streamed.get(path)
        if request.method == "OPTIONS":
            exchange.respond(200, b"", headers=HEADERS)
        elif call is None and streamed is None:
            exchange.respond(404, NOT_FOUND.unary(), headers=HEADERS)
        elif request.method != "POST":
            exchange.respond(405, METHOD.unary(), headers=HEADERS + b"Allow: POST\r\n")
        elif call is not None:
            self._call(call, request, exchange)
        elif streamed is not None:
            serve, calls = streamed
            served = Served(calls, len(request.body), exchange.peer)
            if path != "maintenance/snapshot" and (
                    refused := self._service.refusal(None)) is not None:
                _refuse(exchange, served, refused)
            else:
                serve(request, exchange, served)

    def _call(self, call: Call, request: Request, exchange: Exchange) -> None:
        served = Served(call.calls, len(request.body), exchange.peer)
        try:
            message = gateway.decode(call.request, request.body)
        except gateway.GatewayError as wrong:
            return _refuse(exchange, served, Refused(Problem.MALFORMED, str(wrong)))
        if (refused := self._service.refusal(message)) is not None:
            return _refuse(exchange, served, refused)

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return _refuse(exchange, served, outcome)
            body = gateway.encode(outcome)
            served.sent(len(body))
            served.ended(0)
            return exchange.respond(200, body, headers=HEADERS)

        if call.waits:
            waiting = WaitingExchange(exchange, HEADERS, served, self._streams.discard)
            self._streams.add(waiting)
            waiting.serve(call.serve, message, done)
        else:
            call.serve(message, done)
        return None

    def _observe(self, request: Request, exchange: Exchange, served: Served) -> None:
        try:
            message = gateway.decode(election.LeaderRequest, request.body)
        except gateway.GatewayError as wrong:
            return _refuse(exchange, served, Refused(Problem.MALFORMED, str(wrong)))
        stream = ObserveExchange(exchange, HEADERS, served, self._streams.discard)
        self._streams.add(stream)
        return stream.serve(self._elections, message)

    def _keep_alive(self, request: Request, exchange: Exchange, served: Served) -> None:
        """A stream: answers one request object after the other, each in a line of its own. The
        status is decided by the first answer."""
        try:
            messages = gateway.decode_stream(rpc.LeaseKeepAliveRequest, request.body)
        except gateway.GatewayError as wrong:
            return _refuse(exchange, served, Refused(Problem.MALFORMED, str(wrong)))
        pending = iter(messages)
        stream = StreamExchange(exchange, HEADERS, served, self._streams.discard)

        def next_one() -> None:
            message = next(pending, None)
            if message is not None:
                self._service.lease_keep_alive(message, done)
            else:
                stream.finish(None)

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                stream.finish(outcome)
            else:
                stream.send_line(outcome)
                next_one()

        return next_one()

    def _watch(self, request: Request, exchange: Exchange, served: Served) -> None:
        try:
            messages = gateway.decode_stream(rpc.WatchRequest, request.body)
        except gateway.GatewayError as wrong:
            return _refuse(exchange, served, Refused(Problem.MALFORMED, str(wrong)))
        stream = WatchExchange(exchange, HEADERS, served, self._streams.discard)
        self._streams.add(stream)
        return stream.serve(self._service, messages)

    def _snapshot(self, request: Request, exchange: Exchange, served: Served) -> None:
        try:
            gateway.decode(rpc.SnapshotRequest, request.body)
        except gateway.GatewayError as wrong:
            return _refuse(exchange, served, Refused(Problem.MALFORMED, str(wrong)))
        stream = SnapshotExchange(exchange, HEADERS, served, self._streams.discard)
        self._streams.add(stream)
        return stream.serve(self._service)


def _refuse(exchange: Exchange, served: Served, refused: Refused) -> None:
    error = form(refused)
    served.ended(error.code)
    exchange.respond(error.status, error.unary(), headers=HEADERS)
