"""Sending a snapshot: a POST of its own, so that megabytes never delay heartbeats.

Body: 8-byte length, the SNAP message, the image; chunked, as fast as the receiver takes it. The
transfer has no limit in time as long as it moves.

Not here: receiving (server.py), what an image is (disk/).
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from quorate.peers.handler import LocalMember, PeerHandler
from quorate.peers.server import SNAPSHOT_PATH, identity_headers
from quorate.peers.stream import frame
from quorate.raft.types import Message
from quorate.wire.raft import encode_message

PROGRESS_S_MAX = 30.0
"""A transfer that does not move for this long is given up."""


async def send_snapshot(
    local: LocalMember, urls: tuple[str, ...], message: Message, handler: PeerHandler
) -> None:
    """Send to the first of the member's URLs that answers; raises OSError, TimeoutError,
    ValueError."""
    failure: Exception = ValueError("the member has no URL")
    for url in urls:
        try:
            await _send(local, url, message, handler)
            return
        except (OSError, TimeoutError) as wrong:
            failure = wrong
    raise failure


async def _send(local: LocalMember, url: str, message: Message, handler: PeerHandler) -> None:
    parts = urlsplit(url)
    async with asyncio.timeout(PROGRESS_S_MAX):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        message, image = handler.open_snapshot(message)
        writer.write((
            f"POST {SNAPSHOT_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"{identity_headers(local, message.to)}Transfer-Encoding: chunked\r\n\r\n").encode())
        _chunk(writer, frame(encode_message(message)))
        for piece in image:
            _chunk(writer, piece)
            async with asyncio.timeout(PROGRESS_S_MAX):
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(PROGRESS_S_MAX):
            status = await reader.readline()
        if b" 204 " not in status:
            raise ValueError(f"{url} answered {status.decode('latin-1').strip()!r}")
    finally:
        writer.close()


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
