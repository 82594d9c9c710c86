"""Servers that speak just enough HTTP, and do what a test tells them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = tuple[int, Any] | None
"""Status and JSON; None closes the connection when the request has been read."""


class Gateway:
    """One server; `asked` is what it was asked, path and JSON."""

    def __init__(self, answer: Callable[[str, Any], Answer]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, Any]] = []
        self.connections = 0
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                size = next(int(line.split(": ")[1]) for line in lines
                            if line.lower().startswith("content-length: "))
                path, body = lines[0].split(" ")[1], json.loads(await reader.readexactly(size))
                self.asked.append((path, body))
                answer = self._answer(path, body)
                if answer is None:
                    return
                status, value = answer
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode()
                             + text)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def gateways(*answers: Callable[[str, Any], Answer]) -> AsyncIterator[list[Gateway]]:
    """A server for each."""
    out, servers = [Gateway(answer) for answer in answers], []
    for gateway in out:
        server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        gateway.endpoint = f"{host}:{port}"
        servers.append(server)
    try:
        yield out
    finally:
        for server in servers:
            server.close()
