"""Malformed HTTP/1.1: request lines, headers, bodies in chunks."""

from __future__ import annotations

import random

from nonsense import INTERESTING, Attempt, mutate

_TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)


def _head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((line, b"Host: m", *headers, b"", b""))


_VERSION = _head(b"GET /version HTTP/1.1")
_PUT = b'{"key":"aw==","value":"dg=="}'
_POST = _head(b"POST /v3/kv/put HTTP/1.1", b"Content-Length: %d" % len(_PUT)) + _PUT


def request_lines(rng: random.Random, _stream_id: int) -> Attempt:
    """Request lines, and first bytes of other protocols."""
    target = rng.choice((
        b"/version", b"", b"*", b"http://m/version", b"/%zz", b"/v3/" + rng.randbytes(20),
        b"/" + b"a" * rng.choice((10, 5000, 70000)), b"/version?" + b"a=b&" * 200, b"//", b"/\xff",
        b"/../../etc/passwd", b"/v3/kv/range/", b"m:443"))
    method = rng.choice((b"GET", b"POST", b"", b"get", b"PRI", b"PR", b"CONNECT", b"OPTIONS",
                         b"TRACE", b"HEAD", b"DELETE", b"G\0T", b"X" * 100, rng.randbytes(4)))
    version = rng.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9",
                          b"HTTP/1.", b"http/1.1", b"", b"HTTP/1.1 ", b"HTTP/11111111.1"))
    space = rng.choice((b" ", b" ", b" ", b"  ", b"\t", b""))
    line = space.join((method, target, version))
    match rng.randrange(8):
        case 0:
            return Attempt(mutate(rng, _VERSION))
        case 1:
            return Attempt(rng.choice((
                _TLS_HELLO, rng.randbytes(rng.randint(1, 300)), b"\r\n" * rng.randint(1, 50),
                b"\0", b"SSH-2.0-x\r\n", b"GET /version\r\n\r\n", b"\n\n" + _VERSION)))
        case 2:
            return Attempt(line + rng.choice((b"\n\n", b"\r\r", b"\r\n\n", b"\r\n\r\n")))
        case _:
            return Attempt(_head(line))


def headers(rng: random.Random, _stream_id: int) -> Attempt:
    """Header lines, and lengths of bodies that contradict."""
    odd = rng.choice((
        b"Content-Length: -1", b"Content-Length: 1e3", b"Content-Length: 0x10",
        b"Content-Length: %d" % rng.choice(INTERESTING), b"Content-Length:",
        b"Content-Length: 3, 3",
        b"Content-Length: 3\r\nContent-Length: 4", b"Content-Length: 99999999999999999999999",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: xchunked",
        b": novalue", b"NoColon", b" folded: x", b"A : b", b"A\0: b", b"A: b\0c", b"A: \xff\xfe",
        b"A: " + b"b" * rng.choice((100, 9000, 70000)), b"A: b\r\n" * 3000 + b"B: c",
        b"Expect: 100-continue", b"Expect: nonsense", b"Upgrade: h2c\r\nConnection: Upgrade",
        b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: close, keep-alive",
        b"Host: other", b"A: b\rC: d", b"A: b\nC: d", b"A:\r\n b\r\n\tc", rng.randbytes(30)))
    match rng.randrange(4):
        case 0:
            return Attempt(mutate(rng, _POST))
        case 1:
            return Attempt(_head(b"GET /version HTTP/1.1", odd))
        case 2:
            return Attempt(_head(b"POST /v3/kv/put HTTP/1.1", odd) + _PUT)
        case _:
            return Attempt(_head(b"POST /v3/kv/range HTTP/1.1", odd, b"X: y", odd) + b"{}")


def _chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def chunking(rng: random.Random, _stream_id: int) -> Attempt:
    """Sizes of chunks, their ends, extensions and trailers."""
    size = rng.choice((b"", b"-1", b"0x5", b"G", b"5 ", b" 5", b"fffffffffffffffff", b"5;" * 200,
                       b"ffffffff", b"7fffffffffffffff", b"00000005", b"\0", rng.randbytes(3)))
    good = _chunk(_PUT[:9]) + _chunk(_PUT[9:])
    body = rng.choice((
        size + b"\r\n" + _PUT + b"\r\n0\r\n\r\n",
        good + size + b"\r\n",
        good.replace(b"\r\n", b"\n") + b"0\n\n",
        _chunk(_PUT)[:-2] + b"xx0\r\n\r\n",
        _chunk(_PUT, b";" + b"e" * rng.choice((1, 100, 20000))) + b"0\r\n\r\n",
        good + b"0\r\nTrailer: x\r\nContent-Length: 5\r\n\r\n",
        good + b"0\r\n" + b"T: x\r\n" * rng.choice((1, 100, 3000)) + b"\r\n",
        good + b"0\r\nnocolon\r\n\r\n",
        b"".join(_chunk(b"%c" % byte) for byte in _PUT) + b"0\r\n\r\n",
        mutate(rng, good + b"0\r\n\r\n"),
        b"0\r\n\r\n0\r\n\r\n",
    ))
    return Attempt(_head(b"POST /v3/kv/put HTTP/1.1", b"Transfer-Encoding: chunked") + body)
