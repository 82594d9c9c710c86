"""What the connections of a server have in common: the socket, deadlines, an orderly end.

Replies of one loop turn on one connection leave as one write, straight to the socket while it
takes everything.

Not here: protocols (http1.py, http2.py).
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Protocol

READ_BYTES_MUCH = 128 << 10
"""Of one read. A client that sends so much at once has more ready, and the loop would read it up to
32 times before it looks at anybody else; it is read again in the next turn instead."""

MESSAGE_BYTES_MAX = (2 << 20) + (512 << 10)
"""Of a request: etcd's largest (1.5 MiB), its overhead (512 KiB), and some; what is larger than a
request may be is refused by the API in words."""

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Connection(Protocol):
    """One connection, as its server sees it."""

    def flush(self) -> None:
        """Write what is ready."""
        ...

    def close_if_idle(self) -> None:
        """The server drains: close unless a reply is owed."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def check_deadline(self, now: float) -> None:
        """Called every second or so, with the loop's time."""
        ...


class Connections:
    """All connections of one server."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, message_bytes_max: int = MESSAGE_BYTES_MAX
    ) -> None:
        self._loop = loop
        self.message_bytes_max = message_bytes_max
        """Of a gRPC message."""
        self.body_bytes_max = message_bytes_max * 8 // 5
        """Of a request over HTTP/1.1, where base64 takes a third more, and of what a client may
        send of one stream in advance: a message always fits."""
        self._open: set[Connection] = set()
        self._ready: list[Connection] = []
        self.draining = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """A connection was made."""
        self._open.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self._check)

    def flush_soon(self, connection: Connection) -> None:
        """Flush it at the end of this turn, together with all others."""
        if not self._ready:
            self._loop.call_soon(self.flush)
        self._ready.append(connection)

    def flush(self) -> None:
        """Flush what waits for the end of the turn."""
        ready, self._ready = self._ready, []
        for connection in ready:
            connection.flush()

    def remove(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)

    def drain(self) -> None:
        """Close idle connections; the others when they have sent their replies."""
        self.draining = True
        for connection in list(self._open):
            connection.close_if_idle()

    def close(self) -> None:
        """Close all at once."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._open):
            connection.abort()

    def _check(self) -> None:
        now = self._loop.time()
        for connection in list(self._open):
            connection.check_deadline(now)
        self._timer = self._loop.call_later(1.0, self._check) if self._open else None


def _shown(address: object) -> str:
    if not isinstance(address, tuple):  # a Unix socket's client has no name
        return str(address or "a local socket")
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Link:
    """A transport and its socket."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.peer = _shown(transport.get_extra_info("peername"))
        self._socket: socket.socket | None = None
        self._descriptor = -1
        raw = transport.get_extra_info("socket")
        plain = transport.get_extra_info("sslcontext") is None
        if raw is not None and raw.family != socket.AF_UNIX and plain:
            # uvloop's stand-in makes a socket object for every call; this one is kept, and lets
            # go of the descriptor, which is the transport's, when the connection is lost.
            self._socket = socket.socket(raw.family, raw.type, raw.proto, raw.fileno())
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._descriptor = self._socket.fileno()

    def lost(self) -> None:
        """The transport has closed the descriptor."""
        if self._socket is not None:
            self._socket.detach()
            self._socket = None

    def quick_ack(self) -> None:
        """Acknowledge what has come of a request whose rest is still to come: a client that sends
        head and body in two writes waits for that, and the kernel would take 40 ms
        (patroni-contract §0.5). A complete request is acknowledged by its reply."""
        if self._socket is not None and _QUICKACK is not None:
            with suppress(OSError):  # when the connection is breaking the transport says so
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    @property
    def direct(self) -> bool:
        """Whether what is sent now goes to the socket itself."""
        return self._socket is not None and not self.transport.get_write_buffer_size()

    def buffered(self) -> int:
        """Bytes the transport still has."""
        return self.transport.get_write_buffer_size()

    def send(self, data: bytes) -> None:
        """Straight to the socket while it takes everything, else through the transport."""
        if not self.direct:
            self.transport.write(data)
            return
        try:
            sent = os.write(self._descriptor, data)
        except OSError:  # full, or broken: the transport will find out
            sent = 0
        if sent < len(data):
            self.transport.write(data[sent:])
