"""The writing half of a connection: what a loop turn brings leaves as one write, a client that
does not read what it is sent is not read, and one that sends much is read in turn with others.

Not here: what is written (http2.py).
"""

from __future__ import annotations

import asyncio

from quorate.net.connections import Connections, Link

UNREAD_BYTES_MAX = 4 << 20
"""Of replies that the client does not take; beyond it, its requests are not read."""


class Outlet(asyncio.Protocol):
    """Base of a protocol."""

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        self._connections = connections
        self._loop = loop
        self._link: Link | None = None
        self._out: list[bytes] = []
        self._flushing = self._reading_paused = False

    @property
    def over(self) -> bool:
        """Whether to close when all is written."""
        raise NotImplementedError

    def drained(self) -> None:
        """The client has taken what there was."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The client's address, empty once it is gone."""
        return "" if self._link is None else self._link.peer

    def abort(self) -> None:
        """Close now."""
        if self._link is not None:
            self._link.transport.abort()

    def buffered(self) -> int:
        """Bytes the transport still has."""
        return 0 if self._link is None else self._link.buffered()

    def write(self, data: bytes) -> None:
        """At the end of this turn."""
        self._out.append(data)
        self.flush_soon()

    def flush_soon(self) -> None:
        """At the end of this turn, together with all other connections."""
        if not self._flushing:
            self._flushing = True
            self._connections.flush_soon(self)

    def flush(self) -> None:
        """Write what there is."""
        self._flushing = False
        link, out = self._link, self._out
        self._out = []
        if link is None:
            return
        if out:
            link.send(out[0] if len(out) == 1 else b"".join(out))
            if not self._reading_paused and link.buffered() > UNREAD_BYTES_MAX:
                self._reading_paused = True
                link.transport.pause_reading()
        if self.over:
            link.transport.close()

    def read_later(self) -> None:
        """Let others have their turn before more is read."""
        if self._link is None or self._reading_paused or self._link.transport.is_closing():
            return
        self._link.transport.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._link is not None and not self._reading_paused:
            self._link.transport.resume_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._reading_paused and self._link is not None:
            self._reading_paused = False
            self._link.transport.resume_reading()
        self.drained()

    def close_if_idle(self) -> None:
        """See `connections.Connection`."""
        raise NotImplementedError

    def check_deadline(self, now: float) -> None:
        """See `connections.Connection`."""
        raise NotImplementedError
