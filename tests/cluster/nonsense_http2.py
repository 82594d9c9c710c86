"""Malformed HTTP/2 frames, header blocks and gRPC framing."""

from __future__ import annotations

import random

from h2wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITIZED, PRIORITY, PUSH, RST, SETTINGS, WINDOW, block, fields, frame, hello, integer,
    literal, message,
)
from nonsense import INTERESTING, Attempt, mutate

RANGE = b"/etcdserverpb.KV/Range"
WATCH = b"/etcdserverpb.Watch/Watch"
KEEP_ALIVE = b"/etcdserverpb.Lease/LeaseKeepAlive"


def _open(stream_id: int, path: bytes = RANGE, *, last: bool = False) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if last else 0), stream_id,
                 block(fields(path)))


# Frames.


def _some_frame(rng: random.Random, stream_id: int) -> bytes:
    """A frame of any type with any flags, most often of a plausible size."""
    size = rng.choice((0, 1, 4, 5, 6, 7, 8, 9, 12, rng.randint(0, 300)))
    where = rng.choice((0, stream_id, stream_id, stream_id - 2, stream_id + 1, 2, 2**31 - 1,
                        2**32 - 1, rng.getrandbits(32)))
    return frame(rng.choice((*range(10), *range(10), rng.randrange(256))), rng.randrange(256),
                 max(0, where), rng.randbytes(size))


def _known_wrong(rng: random.Random, stream_id: int) -> bytes:
    """Frames that RFC 9113 forbids by name."""
    setting = rng.randrange(8).to_bytes(2, "big") + rng.choice(INTERESTING[:17]).to_bytes(4, "big")
    opened = _open(stream_id)
    part = block(fields(RANGE))
    return rng.choice((
        frame(SETTINGS, 0, 0, setting),
        frame(SETTINGS, ACK, 0, setting),
        frame(SETTINGS, 0, stream_id, setting),
        frame(SETTINGS, 0, 0, setting[:5]),
        frame(WINDOW, 0, 0, bytes(4)),
        frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
        opened + frame(WINDOW, 0, stream_id, b"\x7f\xff\xff\xff") * 2,
        frame(WINDOW, 0, stream_id + 100, b"\0\0\0\1"),
        frame(PUSH, END_HEADERS, stream_id, bytes(4) + part),
        frame(CONTINUATION, END_HEADERS, stream_id, part),
        frame(HEADERS, 0, stream_id, part) + frame(DATA, 0, stream_id, b"x"),
        frame(HEADERS, 0, stream_id, part) + frame(CONTINUATION, END_HEADERS, stream_id + 2),
        frame(HEADERS, 0, stream_id, part) + frame(CONTINUATION, 0, stream_id) * 20,
        frame(HEADERS, END_HEADERS | PADDED, stream_id, b"\xff" + part[:50]),
        frame(HEADERS, END_HEADERS | PRIORITIZED, stream_id, b"abc"),
        frame(HEADERS, END_HEADERS, stream_id + 1, part),
        frame(HEADERS, END_HEADERS, 0, part),
        opened + frame(DATA, PADDED, stream_id, b""),
        opened + frame(DATA, PADDED, stream_id, b"\x09abc"),
        opened + opened,
        frame(DATA, 0, 0, b"abc"),
        frame(DATA, 0, stream_id + 40, b"abc"),
        frame(RST, 0, stream_id + 40, bytes(4)),
        frame(RST, 0, 0, bytes(4)),
        opened + frame(RST, 0, stream_id, bytes(rng.choice((0, 3, 5)))),
        frame(PING, 0, stream_id, bytes(8)),
        frame(PING, 0, 0, bytes(rng.choice((0, 7, 9)))),
        frame(PRIORITY, 0, stream_id, stream_id.to_bytes(4, "big") + b"\0"),
        frame(PRIORITY, 0, 0, bytes(5)),
        frame(PRIORITY, 0, stream_id, bytes(4)),
        frame(GOAWAY, 0, stream_id, bytes(8)),
        frame(GOAWAY, 0, 0, bytes(3)),
        frame(rng.randrange(256), 0, 0, bytes(16385)),
    ))


def _beginning(rng: random.Random) -> bytes:
    """Something else than the beginning of a connection."""
    return rng.choice((
        mutate(rng, PREFACE + frame(SETTINGS, 0, 0)),
        PREFACE + frame(DATA, 0, 1, b"abc"),
        PREFACE + rng.randbytes(rng.randint(1, 100)),
        PREFACE * 2,
        b"PRI" + rng.randbytes(30),
        PREFACE[:rng.randint(1, 24)],
    ))


def frames(rng: random.Random, stream_id: int) -> Attempt:
    """Frames: any, forbidden ones, damaged valid ones, wrong beginnings."""
    match rng.randrange(10):
        case 0 | 1 | 2:
            return Attempt(_some_frame(rng, stream_id))
        case 3 | 4 | 5 | 6:
            return Attempt(_known_wrong(rng, stream_id))
        case 7 | 8:
            valid = _open(stream_id) + frame(DATA, END_STREAM, stream_id, message(b"\n\1k"))
            return Attempt(mutate(rng, valid))
        case _:
            return Attempt(_beginning(rng), fresh=True)


# Header blocks.


def _wrong_fields(rng: random.Random) -> bytes:
    """A block that can be decoded, and is no request."""
    headers = fields(RANGE)
    at = rng.randrange(len(headers) + 1)
    odd = rng.choice((
        (b"", b"empty"), (b"Upper", b"x"), (b"connection", b"close"), (b"te", b"gzip"),
        (b"transfer-encoding", b"chunked"), (b":status", b"200"), (b":odd", b"x"),
        (b"a b", b"x"), (b"a\r\nb", b"x"), (b"x", b"a\r\nb: c"), (b"x", b"\0"),
        (b":path", RANGE), (b"upgrade", b"h2c"), (b"grpc-timeout", rng.randbytes(9)),
        (b"grpc-timeout", b"99999999999S"), (b"grpc-timeout", b""), (b"grpc-timeout", b"0n"),
        (b"grpc-encoding", b"gzip\xff"), (b"content-length", b"-1"), (b"hasleader", b"\xff"),
        (b"token", rng.randbytes(200)), (b"x" * 5000, b"y" * 5000)))
    match rng.randrange(5):
        case 0:
            headers.insert(at, odd)
        case 1:
            headers.append(odd)
        case 2:
            del headers[at % len(headers)]
        case 3:
            name = headers[at % len(headers)][0]
            value = rng.choice((b"", b"GET", rng.randbytes(20), odd[1]))
            headers[at % len(headers)] = (name, value)
        case _:
            rng.shuffle(headers)
    return block(headers)


def _wrong_block(rng: random.Random) -> bytes:
    """Bytes that are no header block, or one that costs more than it should."""
    good = block(fields(RANGE))
    entry = b"\x40" + literal(b"n", b"v" * 3000)[1:]
    return rng.choice((
        mutate(rng, good, times=6),
        rng.randbytes(rng.randint(1, 200)),
        good[:rng.randrange(len(good))],
        b"\xff" + b"\xff" * rng.randint(1, 16000) + b"\x7f",
        b"\x3f" + b"\x80" * rng.randint(1, 16000) + b"\1",
        b"\x00\x7f" + b"\xff" * rng.randint(1, 16000),
        integer(rng.choice(INTERESTING), 7, 0x80),
        integer(rng.choice(INTERESTING), 5, 0x20) + good,
        b"\x20" * rng.randint(1, 2000) + good,
        good + b"\x20",
        b"\x80",
        entry + b"\xbe" * rng.randint(1, 12000) + good,
        b"\x00\x81" + rng.randbytes(1) + b"\x88" + rng.randbytes(8),
        b"\x00" + integer(9000, 7, 0x80) + rng.randbytes(9000) + b"\x00",
        b"",
    ))


def header_blocks(rng: random.Random, stream_id: int) -> Attempt:
    """Header blocks, in one frame or in several."""
    decodable = rng.random() < 0.6
    data = _wrong_fields(rng) if decodable else _wrong_block(rng)
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 1, 3, 12))))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    parts = [part[at:at + 16384] for part in parts for at in range(0, len(part) or 1, 16384)]
    out = b"".join(
        frame(CONTINUATION if n else HEADERS,
              (0 if n else END_STREAM) | (END_HEADERS if n == len(parts) - 1 else 0),
              stream_id, part)
        for n, part in enumerate(parts))
    return Attempt(out, must_end=True)


# gRPC's framing.


def _pieces(rng: random.Random, stream_id: int, data: bytes, *, last: bool) -> bytes:
    """DATA frames that split the data anywhere; some padded, some empty."""
    out, at = [], 0
    while at < len(data):
        size = rng.choice((1, 2, 5, 100, 16000))
        part = data[at:at + size]
        at += size
        end = END_STREAM if last and at >= len(data) else 0
        if rng.random() < 0.2:
            pad = rng.randrange(200)
            out.append(frame(DATA, PADDED | end, stream_id, bytes((pad,)) + part + bytes(pad)))
        else:
            out.append(frame(DATA, end, stream_id, part))
        if rng.random() < 0.05 and not end:
            out.append(frame(DATA, 0, stream_id))
    if last and not data:
        out.append(frame(DATA, END_STREAM, stream_id))
    return b"".join(out)


def grpc_framing(rng: random.Random, stream_id: int) -> Attempt:
    """Prefixes of messages that lie, messages too many or too few, data after the end."""
    good = message(b"\n\1k")
    lie = bytes((rng.choice((0, 0, 0, 1, 2, 255)),)) + (
        rng.choice(INTERESTING[:17]) & 0xFFFFFFFF).to_bytes(4, "big")
    path = rng.choice((RANGE, RANGE, WATCH, KEEP_ALIVE, b"/no/Method", b"/", b"x"))
    if rng.random() < 0.05:
        return Attempt(_open(stream_id, path, last=True) + frame(
            DATA, END_STREAM, stream_id, good), must_end=path not in (WATCH, KEEP_ALIVE))
    data = rng.choice((
        lie, lie + rng.randbytes(rng.randint(0, 50)), good * rng.randint(2, 5),
        good + lie, good[:rng.randrange(len(good))], b"", b"\0" * rng.randint(1, 40),
        good + b"\0", mutate(rng, good), rng.randbytes(rng.randint(1, 2000))))
    opened = _open(stream_id, path)
    if path == WATCH:  # it does not end with what its client sends
        return Attempt(opened + _pieces(rng, stream_id, data, last=True)
                       + frame(RST, 0, stream_id, (8).to_bytes(4, "big")))
    return Attempt(opened + _pieces(rng, stream_id, data, last=True), must_end=True)


__all__ = ["frames", "grpc_framing", "header_blocks", "hello"]
