"""Requests that begin and never go on, many at once: the member must end them by itself."""

from __future__ import annotations

import random
import select
import socket
import time

from doors_in import Tally
from h2wire import END_HEADERS, HEADERS, PREFACE, block, connect, fields, frame, hello
from procfs import memory_bytes

PATIENCE_S = 40.0
"""The member's limit for a request, that for first bytes is not reached here, and some."""


def _beginnings(rng: random.Random) -> bytes:
    """A part of a request, of either protocol."""
    head = frame(HEADERS, END_HEADERS, 1, block(fields(b"/etcdserverpb.KV/Range")))
    post = b"POST /v3/kv/put HTTP/1.1\r\nHost: m\r\nContent-Length: 999\r\n\r\n"
    return rng.choice((
        post[:rng.randint(4, len(post))], post + b"{" * rng.randint(1, 900),
        b"POST /v3/kv/put HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        PREFACE[:rng.randint(4, 23)], hello()[:-3], hello() + head[:20],
        hello() + frame(HEADERS, 0, 1, block(fields(b"/x"))),
        hello() + head + frame(0, 0, 1, b"x" * 100)[:50]))


def leave_unfinished(port: int, pid: int, seed: int, count: int) -> tuple[Tally, int, str | None]:
    """(what became of them, the most memory meanwhile, what went wrong)."""
    rng = random.Random(f"{seed}/unfinished")
    tally, most = Tally(sent=count), memory_bytes(pid)
    open_: dict[int, socket.socket] = {}
    for _ in range(count):
        sock = connect(port, 20.0)
        sock.sendall(_beginnings(rng))
        sock.setblocking(False)
        open_[sock.fileno()] = sock
    poll = select.poll()
    for number in open_:
        poll.register(number, select.POLLIN)
    deadline = time.monotonic() + PATIENCE_S
    while open_ and time.monotonic() < deadline:
        most = max(most, memory_bytes(pid))
        for number, _ in poll.poll(200):
            try:
                data = open_[number].recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                poll.unregister(number)
                open_.pop(number).close()
                tally.closed += 1
    left = len(open_)
    for sock in open_.values():
        sock.close()
    return tally, most, f"{left} are still open after {PATIENCE_S} s" if left else None


