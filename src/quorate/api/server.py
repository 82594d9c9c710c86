"""What a member's client port serves over HTTP/1.1: the JSON gateway, version and health.

Paths are a table from path to call. Every `/v3` answer, errors included, is JSON: Patroni reads a
text body that begins with digits as a number (patroni-contract §2.3).

Not here: the JSON forms (wire/gateway.py), errors (errors.py), HTTP itself (net/http1.py), watches
(watch.py), other calls that may take for ever (waiting.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from google.protobuf.message import Message as Proto

from quorate.api.elections import Elections
from quorate.api.errors import Code, ErrorForm, form
from quorate.api.methods import bound
from quorate.api.queues import Cancel
from quorate.api.snapshot import SnapshotExchange
from quorate.api.waiting import ObserveExchange, WaitingExchange
from quorate.api.watch import WatchExchange
from quorate.member.service import Done, Health, Service
from quorate.net.http1 import BodySink, Exchange, Request
from quorate.state.errors import Problem, Refused
from quorate.wire import gateway
from quorate.wire._generated import election_pb2 as election, rpc_pb2 as rpc

SERVER_VERSION = "3.5.21"
CLUSTER_VERSION = "3.5.0"
"""The release of etcd whose behaviour this server has; digits and dots only (Patroni)."""

HEADERS = (
    b"Grpc-Metadata-Content-Type: application/grpc\r\n"
    b"Access-Control-Allow-Headers: accept, content-type, authorization\r\n"
    b"Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
    b"Access-Control-Allow-Origin: *\r\n")
NOT_FOUND = ErrorForm(Code.NOT_FOUND, "Not Found")
METHOD = ErrorForm(Code.UNIMPLEMENTED, "Method Not Allowed")


@dataclass(frozen=True, slots=True)
class Call:
    """One method: its request type and what serves it."""

    request: type[Proto]
    serve: Callable[[Any, Done], Cancel | None]
    waits: bool


class ApiHandler:
    """A `net.http1.Handler` over a `Service`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unary = {
            path: Call(unary.request, serve, unary.waits)
            for unary, serve in bound(service) for path in unary.gateway}
        self._elections = Elections(service)
        self._streamed: dict[str, Callable[[Request, Exchange], None]] = {
            "watch": self._watch, "lease/keepalive": self._keep_alive,
            "election/observe": self._observe, "maintenance/snapshot": self._snapshot}
        self._streams: set[
            WatchExchange | ObserveExchange | WaitingExchange | SnapshotExchange] = set()
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
        elif path == "/version":
            exchange.respond(200, self._version)
        elif path == "/health":
            self._health(request, exchange)
        else:
            exchange.respond(404, NOT_FOUND.unary())

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        for stream in list(self._streams):
            stream.shut_down()

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
        elif (refused := self._service.refusal(None)) is not None and streamed != self._snapshot:
            _refuse(exchange, refused)
        elif streamed is not None:
            streamed(request, exchange)

    def _call(self, call: Call, request: Request, exchange: Exchange) -> None:
        try:
            message = gateway.decode(call.request, request.body)
        except gateway.GatewayError as wrong:
            _refuse(exchange, Refused(Problem.MALFORMED, str(wrong)))
            return
        if (refused := self._service.refusal(message)) is not None:
            _refuse(exchange, refused)
            return

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                _refuse(exchange, outcome)
            else:
                exchange.respond(200, gateway.encode(outcome), headers=HEADERS)

        if call.waits:
            waiting = WaitingExchange(exchange, HEADERS, self._streams.discard)
            self._streams.add(waiting)
            waiting.serve(call.serve, message, done)
        else:
            call.serve(message, done)

    def _observe(self, request: Request, exchange: Exchange) -> None:
        try:
            message = gateway.decode(election.LeaderRequest, request.body)
        except gateway.GatewayError as wrong:
            _refuse(exchange, Refused(Problem.MALFORMED, str(wrong)))
            return
        stream = ObserveExchange(exchange, HEADERS, self._streams.discard)
        self._streams.add(stream)
        stream.serve(self._elections, message)

    def _keep_alive(self, request: Request, exchange: Exchange) -> None:
        """A stream: answers one request object after the other, each in a line of its own. The
        status is decided by the first answer."""
        try:
            messages = gateway.decode_stream(rpc.LeaseKeepAliveRequest, request.body)
        except gateway.GatewayError as wrong:
            _refuse(exchange, Refused(Problem.MALFORMED, str(wrong)))
            return
        pending = iter(messages)
        started = False

        def next_one() -> None:
            message = next(pending, None)
            if message is not None:
                self._service.lease_keep_alive(message, done)
            elif started:
                exchange.end()
            else:
                exchange.respond(200, b"", headers=HEADERS)

        def done(outcome: Proto | Refused) -> None:
            nonlocal started
            error = form(outcome) if isinstance(outcome, Refused) else None
            if not started:
                started = True
                exchange.start(error.status if error else 200, headers=HEADERS)
            if error is not None:
                exchange.write(error.streaming())
                exchange.end()
            elif not isinstance(outcome, Refused):
                exchange.write(b'{"result":%b}\n' % gateway.encode(outcome))
                next_one()

        next_one()

    def _watch(self, request: Request, exchange: Exchange) -> None:
        try:
            messages = gateway.decode_stream(rpc.WatchRequest, request.body)
        except gateway.GatewayError as wrong:
            _refuse(exchange, Refused(Problem.MALFORMED, str(wrong)))
            return
        stream = WatchExchange(exchange, HEADERS, self._streams.discard)
        self._streams.add(stream)
        stream.serve(self._service, messages)

    def _snapshot(self, request: Request, exchange: Exchange) -> None:
        try:
            gateway.decode(rpc.SnapshotRequest, request.body)
        except gateway.GatewayError as wrong:
            _refuse(exchange, Refused(Problem.MALFORMED, str(wrong)))
            return
        stream = SnapshotExchange(exchange, HEADERS, self._streams.discard)
        self._streams.add(stream)
        stream.serve(self._service)

    # Health.

    def _health(self, request: Request, exchange: Exchange) -> None:
        def done(health: Health) -> None:
            body = json.dumps(
                {"health": "true" if health.healthy else "false", "reason": health.reason},
                separators=(",", ":")).encode()
            exchange.respond(200 if health.healthy else 503, body)

        query = parse_qs(request.query)
        self._service.health(
            done, serializable=query.get("serializable", [""])[-1] == "true",
            exclude=query.get("exclude", []))


def _refuse(exchange: Exchange, refused: Refused) -> None:
    error = form(refused)
    exchange.respond(error.status, error.unary(), headers=HEADERS)
