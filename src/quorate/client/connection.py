"""One HTTP/1.1 connection to one endpoint: requests one after the other, answers whole or line by
line.

Not here: which endpoint (client.py), what requests mean (methods.py), TLS (a later issue).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httptools

from quorate.client.errors import ClientError, OutcomeUnknown, Unreachable

READ_BYTES = 256 << 10
DEFAULT_PORT = 2379
JSON = "application/json"


class Connection:
    """See the module's text."""

    def __init__(
        self, endpoint: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.endpoint = endpoint
        self._host = urlsplit(url_of(endpoint)).netloc
        self._reader = reader
        self._writer = writer
        self.usable = True
        """Whether another request may be sent."""

    @classmethod
    async def open(cls, endpoint: str, timeout_s: float) -> Connection:
        """Connect; raises Unreachable."""
        parts = urlsplit(url_of(endpoint))
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    parts.hostname, parts.port or DEFAULT_PORT, limit=READ_BYTES)
        except TimeoutError:
            raise Unreachable(f"{endpoint}: no connection within {timeout_s:g} s") from None
        except OSError as failure:
            why = os.strerror(failure.errno).lower() if failure.errno else str(failure)
            raise Unreachable(f"{endpoint}: {why}") from failure
        return cls(endpoint, reader, writer)

    def close(self) -> None:
        """Close it, whatever is under way."""
        self.usable = False
        self._writer.close()

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; raises OutcomeUnknown."""
        return (await self.request("GET", path, None))[::2]

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body; raises OutcomeUnknown."""
        return (await self.request("POST", path, body))[::2]

    async def request(
        self, method: str, path: str, body: bytes | None, content_type: str = JSON
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by name in lower case, and body; raises OutcomeUnknown."""
        answer = await self._send(method, path, body, content_type)
        parts = [piece async for piece in self._pieces(answer)]
        return answer.status, answer.headers, b"".join(parts)

    async def lines(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        """The lines of an answer that may never end, without empty ones; raises
        OutcomeUnknown."""
        answer = await self._send("POST", path, body, JSON)
        rest = b""
        async for piece in self._pieces(answer):
            *lines, rest = (rest + piece).split(b"\n")
            for line in filter(None, lines):
                yield line
        if rest:
            yield rest

    async def _send(
        self, method: str, path: str, body: bytes | None, content_type: str
    ) -> _Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if body is not None:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        try:
            self._writer.write(f"{head}\r\n".encode() + (body or b""))
            await self._writer.drain()
        except OSError as failure:
            raise self._broken(failure) from failure
        return _Answer()

    async def _pieces(self, answer: _Answer) -> AsyncIterator[bytes]:
        while not answer.complete:
            try:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    raise self._broken("the connection was closed")
                answer.parser.feed_data(data)
            except (OSError, httptools.HttpParserError) as failure:
                raise self._broken(failure) from failure
            parts, answer.parts = answer.parts, []
            for part in parts:
                yield part
        if not answer.keep_alive:
            self.close()

    def _broken(self, why: object) -> OutcomeUnknown:
        self.close()
        return OutcomeUnknown(f"{self.endpoint}: {why}")


class _Answer:
    """One answer as it comes; what `httptools` calls."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.complete = self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


def url_of(endpoint: str) -> str:
    """The endpoint with a scheme; raises ClientError if it is none that can be used."""
    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    parts = urlsplit(url)
    if parts.scheme == "https":
        raise ClientError(f"{endpoint}: TLS is not in this release; use http:// and a network that "
                          f"you trust")
    try:
        usable = parts.scheme == "http" and parts.hostname and (parts.port or DEFAULT_PORT)
    except ValueError:
        usable = False
    if not usable:
        raise ClientError(f"{endpoint!r} is no endpoint; write it like 10.0.0.1:2379")
    return url
