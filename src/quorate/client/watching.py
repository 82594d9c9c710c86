"""A watch that outlives its connections: when one breaks, it goes on where it was, at whichever
endpoint takes it.

Not here: one stream (client.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from quorate.client.client import UNAVAILABLE, Client
from quorate.client.errors import ClientError, OutcomeUnknown, ServerError, Unreachable
from quorate.client.methods import WATCH
from quorate.wire._generated import rpc_pb2 as rpc

RETRY_S = 0.5
"""Before everybody is asked again, when nobody took it."""

AHEAD_MAX = 16
"""Answers read before the first of them is taken."""


class Watching:
    """One watch. `create` is its first request; `lost` is told each time a connection broke, with
    what was wrong and the revision from which the watch goes on."""

    def __init__(
        self, client: Client, create: rpc.WatchCreateRequest,
        lost: Callable[[ClientError, int], None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._create = create
        self._lost = lost
        self._next_revision = create.start_revision
        self._created = False
        self._answers: asyncio.Queue[rpc.WatchResponse | ClientError] = asyncio.Queue(AHEAD_MAX)
        self._reading: asyncio.Task[None] | None = None

    async def answers(self) -> AsyncIterator[rpc.WatchResponse]:
        """All of them; the last is a cancellation. Raises ClientError if the watch could not begin,
        and ServerError if it was refused."""
        self._reading = self._reading or asyncio.create_task(self._read(progress=False))
        try:
            while True:
                answer = await self._answers.get()
                if isinstance(answer, ClientError):
                    raise answer
                yield answer
                if answer.canceled:
                    return
        finally:
            self._reading.cancel()

    async def ask_progress(self) -> None:
        """Have an answer without events when all before it has been told. The gateway takes every
        request of a stream at once, so the watch goes on in another."""
        if self._reading is not None and self._created:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
            self._reading = asyncio.create_task(self._read(progress=True))

    async def _read(self, *, progress: bool) -> None:
        while True:
            try:
                await self._stream(progress)
                return
            except (Unreachable, OutcomeUnknown) as broken:
                failure: ClientError = broken
            except ClientError as refused:
                if not isinstance(refused, ServerError) or refused.code != UNAVAILABLE:
                    return await self._answers.put(refused)
                failure = refused
            if not self._created:
                return await self._answers.put(failure)
            self._lost(failure, self._next_revision)
            await asyncio.sleep(RETRY_S)

    async def _stream(self, progress: bool) -> None:
        """Answers of one stream until the watch is over; raises ClientError when it breaks."""
        create = rpc.WatchCreateRequest()
        create.CopyFrom(self._create)
        create.start_revision = self._next_revision
        requests = [rpc.WatchRequest(create_request=create)]
        if progress:
            requests.append(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
        async for answer in self._client.stream(WATCH, *requests):
            if answer.created and not answer.canceled:
                again, self._created = self._created, True
                self._next_revision = self._next_revision or answer.header.revision + 1
                if not again:
                    await self._answers.put(answer)
                continue
            await self._answers.put(answer)
            if answer.canceled:
                return
            self._next_revision = 1 + (
                answer.events[-1].kv.mod_revision if answer.events else answer.header.revision)
        raise OutcomeUnknown("the member ended the watch")
