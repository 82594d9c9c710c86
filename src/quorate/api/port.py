"""The client port: whatever a connection speaks, the same service.

Not here: the protocols (net/), what is served (server.py, grpc.py).
"""

from __future__ import annotations

import asyncio

from quorate.api.calls import Calls
from quorate.api.grpc import GrpcApi
from quorate.api.server import ApiHandler
from quorate.member.service import Service
from quorate.net.connections import Connections
from quorate.net.grpc import opener
from quorate.net.http1 import BodySink, Exchange, Http1Protocol, Request
from quorate.net.http2 import Http2Protocol
from quorate.net.port import PortProtocol


class ClientPort:
    """Makes the protocol of each connection."""

    def __init__(
        self, service: Service, *, extensive_metrics: bool = False, slow_request_s: float = 0.0,
        serves_v2: bool = True,
    ) -> None:
        """See `calls.Calls`."""
        calls = Calls(extensive=extensive_metrics, slow_s=slow_request_s)
        self._gateway = ApiHandler(service, calls, serves_v2=serves_v2)
        self._grpc = GrpcApi(service, calls)
        self._opener = opener(self._grpc)

    def protocol(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Protocol:
        """Of a new connection."""
        return PortProtocol(
            lambda: Http1Protocol(self._gateway, connections, loop),
            lambda: Http2Protocol(self._opener, connections, loop), connections, loop)

    def metrics_protocol(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Protocol:
        """Of a new connection to a port that serves metrics and health only."""
        return Http1Protocol(_Pages(self._gateway), connections, loop)

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        self._gateway.end_streams()
        self._grpc.end_streams()


class _Pages:
    """A `net.http1.Handler` of `--listen-metrics-urls`."""

    def __init__(self, gateway: ApiHandler) -> None:
        self._gateway = gateway

    def streams_body(self, _request: Request, _exchange: Exchange) -> BodySink | None:
        """There are no bodies to speak of."""
        return None

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        if not self._gateway.page(request, exchange):
            exchange.respond(404, b"404 page not found\n", content_type="text/plain; charset=utf-8")
