"""What every command has: the cluster, the form of output, deadlines, standard input.

Not here: commands.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message as Proto

from quorate.cli.ctl.flags import ERROR, Exit, Words
from quorate.cli.ctl.printer import Printer
from quorate.client.client import Client
from quorate.client.errors import ClientError, OutcomeUnknown, ServerError, Unreachable
from quorate.client.methods import MEMBER_LIST, Method
from quorate.client.watching import Watching
from quorate.wire._generated import rpc_pb2 as rpc

R = TypeVar("R", bound=Proto)
LATE = "context deadline exceeded"
EMPTY_KEY = b"\0"


@dataclass
class Shell:
    """One command's surroundings."""

    client: Client
    printer: Printer
    words: Words
    timeout_s: float
    dial_timeout_s: float

    async def ask(self, method: Method[R], request: Proto) -> R:
        """An answer within --command-timeout; raises Exit."""
        try:
            return await self.tried(method, request)
        except ServerError as refused:
            raise Exit(ERROR, str(refused)) from None
        except ClientError as failure:
            raise Exit(ERROR, sentence(failure)) from None

    async def tried(self, method: Method[R], request: Proto, client: Client | None = None) -> R:
        """An answer within --command-timeout; raises ClientError."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await (client or self.client).call(method, request)
        except TimeoutError:
            raise OutcomeUnknown(LATE) from None

    async def stream(self, method: Method[R], request: Proto) -> AsyncIterator[R]:
        """Answers without a deadline; raises Exit."""
        try:
            async for answer in self.client.stream(method, request):
                yield answer
        except ClientError as failure:
            raise Exit(ERROR, sentence(failure)) from None

    async def watched(self, watching: Watching) -> AsyncIterator[rpc.WatchResponse]:
        """Answers of a watch until it is cancelled; raises Exit."""
        try:
            async for answer in watching.answers():
                yield answer
        except ClientError as failure:
            raise Exit(ERROR, sentence(failure)) from None

    @asynccontextmanager
    async def at(self, endpoint: str) -> AsyncIterator[Client]:
        """A client of that endpoint alone."""
        client = Client([endpoint], dial_timeout_s=self.dial_timeout_s)
        try:
            yield client
        finally:
            client.close()

    async def each_endpoint(self) -> list[str]:
        """The endpoints given, or with --cluster those that the members have published."""
        if not self.words.on("cluster"):
            return self.client.endpoints
        answer = await self.ask(MEMBER_LIST, rpc.MemberListRequest(linearizable=True))
        return [url for member in answer.members for url in member.clientURLs]


def sentence(failure: ClientError) -> str:
    """What a person should read; of a write that is in doubt, that it is."""
    if isinstance(failure, OutcomeUnknown) and str(failure) != LATE:
        return (f"{failure}; whether the request was carried out is not known, so it was not sent "
                f"again: look before you repeat it")
    if isinstance(failure, Unreachable):
        return f"no endpoint can be reached ({failure}); name running members with --endpoints"
    return str(failure)


def read_input() -> bytes:
    """All of standard input."""
    return sys.stdin.buffer.read()


def as_bytes(text: str) -> bytes:
    """An argument as the bytes that it was given as."""
    return text.encode("utf-8", "surrogateescape")


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of keys with that prefix."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes((cut[-1] + 1,)) if cut else EMPTY_KEY
