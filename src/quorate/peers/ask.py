"""One question to another member's peer port: a POST on a connection of its own.

For what operators do once in a while; what members tell each other all the time has its streams.
Not here: what is asked (member/membership.py), the answering side (server.py).
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

from quorate.peers.handler import LocalMember
from quorate.peers.server import identity_headers

log = logging.getLogger(__name__)

ANSWER_S_MAX = 10.0
"""Longer than a request may take at the other end."""

ANSWER_BYTES_MAX = 1 << 20
"""A list of members."""


async def post(
    local: LocalMember, urls: tuple[str, ...], to: int, path: str, body: bytes
) -> tuple[int, bytes]:
    """Status and body from the first URL that can be connected to; (0, b"") if none can, or if
    the answer does not come: then nobody knows what came of it."""
    for url in urls:
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except (OSError, TimeoutError, ValueError) as failure:
            log.warning("member %x cannot be asked at %s: %s", to, url, failure)
            continue
        try:
            writer.write((
                f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{identity_headers(local, to)}"
                f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
            async with asyncio.timeout(ANSWER_S_MAX):
                return await _answer(reader)
        except (OSError, TimeoutError, ValueError, EOFError) as failure:
            log.warning("member %x did not answer at %s: %s", to, url, failure)
            return 0, b""
        finally:
            writer.close()
    return 0, b""


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Raises ValueError, EOFError for what is no answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and 0 <= int(value) <= ANSWER_BYTES_MAX:
            return status, await reader.readexactly(int(value))
    raise ValueError(f"an answer without a length, or one above {ANSWER_BYTES_MAX}")
