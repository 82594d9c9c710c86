"""One port for HTTP/1.1 and HTTP/2 in clear text, told apart by their first bytes.

HTTP/2 begins with `PRI`, which is the beginning of no method of HTTP/1.1. Not here: ALPN (TLS).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.net.connections import Connections
from quorate.net.frames import PREFACE

FIRST_BYTES_SECONDS_MAX = 60.0
"""From the connection to the bytes that tell what it speaks."""

_ENOUGH = 3

Make = Callable[[], asyncio.Protocol]


class PortProtocol(asyncio.Protocol):
    """A connection until it is known what it speaks."""

    def __init__(
        self, http1: Make, http2: Make, connections: Connections,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._http1 = http1
        self._http2 = http2
        self._connections = connections
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._began = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        self._connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._data += data
        if self._transport is None:
            return
        if PREFACE.startswith(self._data[:_ENOUGH]):
            if len(self._data) < _ENOUGH:
                return
            protocol = self._http2()
        else:
            protocol = self._http1()
        transport, self._transport = self._transport, None
        self._connections.remove(self)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._data)

    # See `Connection`.

    def flush(self) -> None:
        """There is nothing to write."""

    def close_if_idle(self) -> None:
        """Nothing was asked yet."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def check_deadline(self, now: float) -> None:
        """Close what says nothing."""
        if now - self._began > FIRST_BYTES_SECONDS_MAX:
            self.abort()
