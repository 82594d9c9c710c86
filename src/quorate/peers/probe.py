"""How long a question to a member and its answer take: on a connection of its own, so that what
waits in a stream is not part of it. Not here: when (transport.py), the answering side (server.py).
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

PROBE_S = 5.0
"""Between two probes of one member, and the most that one may take (etcd: 4 to 5 s)."""


async def round_trip_s(url: str) -> float:
    """Without the time to connect; raises OSError, TimeoutError, ValueError."""
    parts = urlsplit(url)
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(PROBE_S):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            asked = clock()
            writer.write(f"GET /raft/probing HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                         f"Connection: close\r\n\r\n".encode())
            answer = await reader.readline()
            took_s = clock() - asked
            if b" 200 " not in answer:
                raise ValueError(f"{url} answered {answer.decode('latin-1').strip()!r}")
            return took_s
        finally:
            writer.close()
