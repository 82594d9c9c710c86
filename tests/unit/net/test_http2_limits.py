"""HTTP/2: what a client must not do, and whatever bytes come."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
import weakref
from collections.abc import Iterator

import pytest
from echo import BLOCK, Echo, message
from hypothesis import given, settings, strategies as st

from quorate.net.connections import READ_BYTES_MUCH
from quorate.net.frames import (
    CONTINUATION, DATA, END_HEADERS, FRAME_BYTES_MAX, HEADERS, PING, PREFACE, PRIORITY, RST,
    SETTINGS, WINDOW, Wrong, frame,
)
from quorate.net.http2 import REQUEST_SECONDS_MAX
from quorate.net.reader import CONTINUATIONS_MAX


@pytest.fixture
def server() -> Echo:
    """A server with one connection."""
    return Echo()


def raw(server: Echo, *frames: bytes) -> bytes:
    """These frames after a proper beginning."""
    return server.send(PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames))


def goaway_code(written: bytes) -> int | None:
    """The code of the last frame if that is a GOAWAY."""
    at, last = 0, None
    while at < len(written):
        size = int.from_bytes(written[at:at + 3], "big")
        last = (written[at + 3], written[at + 9:at + 9 + size])
        at += 9 + size
    if last is None or last[0] != 7:
        return None
    return int.from_bytes(last[1][4:8], "big")


PINGS = [frame(PING, 0, 0, bytes(8))] * 5
FLOODS = {
    "resets": ([f for n in range(1, 4001, 2) for f in (
        frame(HEADERS, END_HEADERS, n, BLOCK),
        frame(RST, 0, n, bytes(4)))], Wrong.ENHANCE_YOUR_CALM),
    "pings": (PINGS, Wrong.ENHANCE_YOUR_CALM),
    "settings": ([frame(SETTINGS, 0, 0)] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "priorities": ([frame(PRIORITY, 0, 1, bytes(5))] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "small window updates": (
        [frame(WINDOW, 0, 0, (1).to_bytes(4, "big"))] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "empty data": ([frame(HEADERS, END_HEADERS, 1, BLOCK)] + [frame(DATA, 0, 1)] * 10_001,
                   Wrong.ENHANCE_YOUR_CALM),
    "continuations": ([frame(HEADERS, 0, 1, BLOCK)]
                      + [frame(CONTINUATION, 0, 1)] * (CONTINUATIONS_MAX + 1),
                      Wrong.ENHANCE_YOUR_CALM),
    "header bomb": ([frame(HEADERS, END_HEADERS, 1, b"\x40\x01x\x7f\x81\x1e" + b"a" * 4000
                           + b"\xbe" * 8000)], Wrong.COMPRESSION_ERROR),
    "unknown frames": ([frame(99, 0, 0)] * 10_001, Wrong.ENHANCE_YOUR_CALM),
    "large frame": ([b"\xff\xff\xff\0\0\0\0\0\1"], Wrong.FRAME_SIZE_ERROR),
    "data beyond the window": ([frame(HEADERS, END_HEADERS, 1, BLOCK)] + [
        frame(DATA, 0, 1, message(bytes(1 << 21))[:FRAME_BYTES_MAX])]
        + [frame(DATA, 0, 1, bytes(FRAME_BYTES_MAX))] * 300, None),
    "even stream": ([frame(HEADERS, END_HEADERS, 2, BLOCK)], Wrong.PROTOCOL_ERROR),
    "interrupted block": ([frame(HEADERS, 0, 1, BLOCK), frame(PING, 0, 0, bytes(8))],
                          Wrong.PROTOCOL_ERROR),
    "window overflow": ([frame(WINDOW, 0, 0, (2**31 - 1).to_bytes(4, "big"))],
                        Wrong.FLOW_CONTROL_ERROR),
    "idle data": ([frame(DATA, 0, 7, b"x")], Wrong.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_with_a_word(server: Echo, name: str) -> None:
    """Which limit was exceeded; and nothing is kept."""
    frames, code = FLOODS[name]
    written = raw(server, *frames)

    if code is not None:
        assert goaway_code(written) == code
        assert server.transport.closed
    server.protocol.connection_lost(None)


def test_a_message_in_tiny_frames_takes_no_more_memory_than_another(server: Echo) -> None:
    """Not an object a frame."""
    raw(server, frame(HEADERS, END_HEADERS, 1, BLOCK))
    piece = b"".join(frame(DATA, 0, 1, b"ab") for _ in range(5_000))
    server.send(frame(DATA, 0, 1, message(bytes(1 << 20))[:5]))
    tracemalloc.start()
    for _ in range(40):
        server.protocol.data_received(piece)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 4 * 400_000


def test_a_size_that_is_too_large_is_refused_however_it_comes(server: Echo) -> None:
    """Before the message does."""
    raw(server, frame(HEADERS, END_HEADERS, 1, BLOCK))
    written = [server.send(frame(DATA, 0, 1, bytes((byte,)))) for byte in b"\0\x7f\0\0\0"]

    assert b"larger than max" in written[-1]


@pytest.mark.parametrize("tail", [
    b"", frame(HEADERS, END_HEADERS, 1, BLOCK), frame(HEADERS, 0, 1, BLOCK), b"\0\0\1"])
def test_a_lost_connection_is_forgotten_at_once(tail: bytes) -> None:
    """What it had read does not wait for the garbage collector, which comes late."""
    server = Echo()
    gc.collect()
    gc.disable()
    try:
        raw(server, tail)
        server.protocol.connection_lost(None)
        protocol = weakref.ref(server.protocol)
        del server.protocol
        server.loop.turn()

        assert protocol() is None
    finally:
        gc.enable()


def test_a_client_that_sends_much_waits_for_the_others(server: Echo) -> None:
    """It is read again in the next turn."""
    raw(server, frame(HEADERS, END_HEADERS, 1, BLOCK))
    data = frame(DATA, 0, 1, message(bytes(1 << 20))[:FRAME_BYTES_MAX]) + frame(
        DATA, 0, 1, bytes(FRAME_BYTES_MAX)) * 8
    assert len(data) > READ_BYTES_MUCH
    server.protocol.data_received(data)
    assert server.transport.paused
    server.loop.turn()

    assert not server.transport.paused


def test_slow_clients_are_cut_off(server: Echo) -> None:
    """Half a preface, half a frame, half a message."""
    for data in (PREFACE[:10], PREFACE + frame(SETTINGS, 0, 0) + b"\0\0",
                 PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, BLOCK)):
        other = Echo()
        other.send(data)
        other.protocol.check_deadline(REQUEST_SECONDS_MAX + 1)
        assert other.transport.closed
    raw(server, frame(HEADERS, END_HEADERS, 1, BLOCK), frame(DATA, 0, 1, message(b"xy")[:-1]))
    server.transport.writes.clear()
    server.protocol.check_deadline(REQUEST_SECONDS_MAX + 1)
    server.loop.turn()

    assert not server.transport.closed
    assert b"grpc-status\x014" in b"".join(server.transport.writes)


def _chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return
        yield data[at:at + size]
        at += size


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(1, 50), min_size=1))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(data: bytes, proper: bool, sizes: list[int]) -> None:
    """Whatever comes, in whatever pieces."""
    server = Echo()
    for chunk in _chunks((PREFACE + frame(SETTINGS, 0, 0) if proper else b"") + data, sizes):
        server.send(chunk)


_FRAMES = st.builds(
    frame, st.integers(0, 10), st.sampled_from((0, 1, 4, 5, 8, 0x20, 0x2d, 0xff)),
    st.integers(0, 6), st.one_of(
        st.binary(max_size=40), st.just(BLOCK), st.just(message(b"x")),
        st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big"))))


@given(st.lists(_FRAMES, max_size=30))
@settings(max_examples=500, deadline=None)
def test_no_frames_raise(frames: list[bytes]) -> None:
    """Well-formed frames in any order; in the end the connection can be lost."""
    server = Echo()
    raw(server, *frames)
    server.protocol.check_deadline(1e9)
    server.protocol.connection_lost(None)
