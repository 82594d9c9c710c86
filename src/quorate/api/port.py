"""The client port: whatever a connection speaks, the same service.

Not here: the protocols (net/), what is served (server.py, grpc.py).
"""

from __future__ import annotations

import asyncio

from quorate.api.grpc import GrpcApi
from quorate.api.server import ApiHandler
from quorate.member.service import Service
from quorate.net.connections import Connections
from quorate.net.grpc import opener
from quorate.net.http1 import Http1Protocol
from quorate.net.http2 import Http2Protocol
from quorate.net.port import PortProtocol


class ClientPort:
    """Makes the protocol of each connection."""

    def __init__(self, service: Service) -> None:
        self._gateway = ApiHandler(service)
        self._grpc = GrpcApi(service)
        self._opener = opener(self._grpc)

    def protocol(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Protocol:
        """Of a new connection."""
        return PortProtocol(
            lambda: Http1Protocol(self._gateway, connections, loop),
            lambda: Http2Protocol(self._opener, connections, loop), connections, loop)

    def end_streams(self) -> None:
        """The member stops: end what would never end by itself."""
        self._gateway.end_streams()
        self._grpc.end_streams()
