"""Streams of clients that want a leader: ended when there has been none for too long.

Rule 10 of surface §4.4, for gRPC streams with the metadata `hasleader: true`. How long too long is,
is the member's business (`Service.lost_leader`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quorate.member.service import Service
from quorate.net.grpc import Call

CHECK_S = 0.1
"""How often is looked while there are such streams: a heartbeat."""


class Leaderless:
    """Such streams of one member. `end` gets each call that has to end."""

    def __init__(self, service: Service, end: Callable[[Call], None]) -> None:
        self._service = service
        self._end = end
        self._calls: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """A stream that wants a leader."""
        self._calls[call] = None
        if self._timer is None:
            self._again(call.connection.loop)

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(CHECK_S, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        lost = self._service.lost_leader()
        ended = [call for call in self._calls if call.finished or lost]
        for call in ended:
            del self._calls[call]
            if not call.finished:
                self._end(call)
        if self._calls:
            self._again(loop)
