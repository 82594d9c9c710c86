"""Malformed bodies: protobuf, JSON, nesting without end, sizes that are too large or not true."""

from __future__ import annotations

import json
import random
from typing import Any

from google.protobuf.json_format import MessageToDict
from h2wire import (
    END_HEADERS, HEADERS, RST, block, fields, frame, integer, request,
)
from nonsense import INTERESTING, KEY_VALUE, METHODS, Attempt, Method, log_uniform, mutate

from quorate.wire._generated import rpc_pb2 as rpc

_CANCEL = (8).to_bytes(4, "big")
_NO_MESSAGE = (b"\x0a\xff\xff\x03k", b"\x08", b"\x0e", b"\x0f\1", b"\x00\1", b"\x08" + b"\xff" * 11,
               b"\x0c", b"\x0b\x08\1")
"""What no message can end with."""


def _call(method: Method, stream_id: int, data: bytes) -> Attempt:
    return Attempt(request(stream_id, b"/" + method.path.encode(), data), must_end=True)


# Protobuf.


def _field(rng: random.Random) -> bytes:
    """A field of any number and wire type."""
    number = rng.choice((*range(1, 12), 15, 16, 2047, 2**29 - 1, 0, 2**29))
    kind = rng.randrange(8)
    body = {0: integer(rng.choice(INTERESTING), 7), 1: rng.randbytes(8), 5: rng.randbytes(4)}.get(
        kind, _varint(rng.choice((0, 1, 3, 40, 2**20, 2**31, 2**63))) + rng.randbytes(3))
    return _varint(number << 3 | kind) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def protobuf(rng: random.Random, stream_id: int) -> Attempt:
    """Messages that are damaged, of another type, or nothing at all."""
    method = rng.choice(METHODS)
    valid = method.valid(rng).SerializeToString()
    if not method.harmless:
        return _call(method, stream_id, valid + rng.choice(_NO_MESSAGE))
    data = rng.choice((
        mutate(rng, valid), mutate(rng, valid), valid + rng.choice(_NO_MESSAGE),
        rng.randbytes(rng.randint(1, 100)), valid * rng.randint(2, 20), KEY_VALUE,
        b"".join(_field(rng) for _ in range(rng.randint(1, 8))), b"\x0a\2\xff\xfe",
        b"\xf8\x07\1" * rng.randint(1, 2000)))
    if rng.random() < 0.9:
        return _call(method, stream_id, data)
    path = rng.choice((b"Watch/Watch", b"Lease/LeaseKeepAlive"))
    opened = request(stream_id, b"/etcdserverpb." + path, mutate(
        rng, rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"k")).SerializeToString()))
    return Attempt(opened + frame(RST, 0, stream_id, _CANCEL))


# JSON.


def _post(path: str, body: bytes) -> bytes:
    return b"POST /v3/%b HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(), len(body), body)


def _wrong_value(rng: random.Random) -> Any:
    return rng.choice((
        None, True, -1, 1.5, 1e308, 10**30, "", "x", "aw=", "a b", "\u0000", "é", [], {}, [[]],
        ["aw=="], {"a": {}}, "-1", "1e3", "9" * 25, "0x1", " 1", "１", "NaN", 2**63, -2**63 - 1,
        "a" * 3001))


_RAW = (b"", b" ", b"{", b"}", b"[]", b"null", b"true", b"1", b'"x"', b"{}{}", b"{} x", b"{'a':1}",
        b'{"key":"aw==",}', b'{"key" "aw=="}', b'{"a":NaN}', b'{"limit":Infinity}',
        b'{"limit":-Infinity}', b'{"limit":01}', b'{"limit":1.}', b'{"limit":"1_0"}',
        b'{"key":"aw==","key":"bg=="}', b'{"\\ud800":1}', b'{"key":"\\ud800"}', b'{"key":"\xff"}',
        b"\xef\xbb\xbf{}", b"{\0}", b'{"key":"a\0"}', b'{"limit":' + b"9" * 5000 + b"}",
        b'{"limit":1e' + b"9" * 400 + b"}", b'{"limit":0.' + b"0" * 5000 + b"1}", b"/**/{}",
        b'{"ID":' + b"9" * 5000 + b"}", b'{"ID":"' + b"9" * 5000 + b'"}', b'{"__proto__":{}}')
_STREAMED = ("watch", "lease/keepalive")


def json_bodies(rng: random.Random, _stream_id: int) -> Attempt:
    """Text that is no JSON, JSON that is no message, values that do not fit."""
    method = rng.choice(METHODS)
    valid = MessageToDict(method.valid(rng), preserving_proto_field_name=True)
    if rng.random() < 0.1:
        raw = rng.choice(_RAW) + rng.choice((b"", b"{", b"x"))
        path = rng.choice(_STREAMED)
        return Attempt(_post(path, raw or b"{"), must_end=path != "watch", fresh=path == "watch")
    if not method.harmless:
        return Attempt(_post(method.gateway, json.dumps(valid).encode()[:-1]), must_end=True)
    match rng.randrange(4):
        case 0:
            body = rng.choice(_RAW)
        case 1:
            body = mutate(rng, json.dumps(valid).encode())
        case 2:
            body = json.dumps(valid, ensure_ascii=False).encode(rng.choice(("utf-16", "utf-8")))
            body = body[:rng.randrange(len(body) + 1)]
        case _:
            names = [field.name for field in method.valid(rng).DESCRIPTOR.fields]
            valid |= {rng.choice((*names, "x")): _wrong_value(rng) for _ in range(2)}
            body = json.dumps(valid).encode()
    return Attempt(_post(method.gateway, body), must_end=True)


# Nesting.

JSON_DEPTH_MAX = 100_000
PROTOBUF_DEPTH_MAX = 2_000


def nested_json(rng: random.Random, _stream_id: int) -> Attempt:
    """Lists, objects and transactions inside each other."""
    depth = log_uniform(rng, JSON_DEPTH_MAX)
    begin, end = rng.choice((
        (b"[", b"]"), (b'{"a":', b"}"), (b'{"key":[', b"]}"),
        (b'{"success":[{"request_txn":', b"}]}"), (b'{"failure":[{"requestTxn":', b"}]}"),
        (b'{"create_request":', b"}"), (b'[{"":', b"}]")))
    depth = min(depth, 3_000_000 // (len(begin) + len(end)))
    inner = rng.choice((b"{}", b"1", b'{"success":[]}', b""))
    closing = rng.choice((depth, depth, depth - 1, 0))
    path = rng.choice(("kv/txn", "kv/txn", "kv/put", "kv/range", "lease/keepalive"))
    return Attempt(_post(path, begin * depth + inner + end * closing), must_end=True)


def _txn_inside(depth: int, tags: tuple[int, int]) -> bytes:
    """A transaction in a transaction."""
    parts: list[bytes] = []
    size = 0
    for _ in range(depth):
        for tag in reversed(tags):
            head = bytes((tag,)) + _varint(size)
            parts.append(head)
            size += len(head)
    return b"".join(reversed(parts))


def nested_protobuf(rng: random.Random, stream_id: int) -> Attempt:
    """Transactions and groups inside each other."""
    depth = log_uniform(rng, PROTOBUF_DEPTH_MAX)
    data = rng.choice((
        _txn_inside(depth, (rng.choice((0x12, 0x1A)), 0x22)),
        b"\x0b" * (depth * 20) + b"\x0c" * (depth * 20), b"\x0b" * (depth * 20),
        b"\xfb\x07" * depth + b"\xfc\x07" * depth))
    txn = next(method for method in METHODS if method.gateway == "kv/txn")
    return _call(rng.choice((txn, METHODS[0])), stream_id, data)


# Sizes.

LARGE_SHARE = 0.01
"""So many really are megabytes; the others only say so, or are large in number."""


def sizes_http2(rng: random.Random, stream_id: int) -> Attempt:
    """Messages and frames larger than allowed, or than they are; too many operations."""
    if rng.random() < LARGE_SHARE:
        size = rng.choice((1_500_000, 1_600_000, 2_600_000, 4_200_000))
        data = rpc.PutRequest(key=b"large", value=bytes(size)).SerializeToString()
        # What would be taken is spoilt: puts that succeed stay in memory with the log.
        return _call(METHODS[1], stream_id, data + (b"\x0a\xff" if size < 1_572_864 else b""))
    claimed = rng.choice((2_621_441, 2**24, 2**31 - 1, 2**32 - 1))
    opened = frame(HEADERS, END_HEADERS, stream_id, block(fields(b"/etcdserverpb.KV/Range")))
    many = rng.choice((129, 500, 3000))
    match rng.randrange(5):
        case 0:
            data = b"\0" + claimed.to_bytes(4, "big") + bytes(rng.randrange(100))
            return Attempt(opened + frame(0, 0, stream_id, data), must_end=True)
        case 1:
            data = rpc.TxnRequest(success=[rpc.RequestOp()] * many).SerializeToString()
            return _call(METHODS[2], stream_id, data)
        case 2:
            op = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
            data = rpc.TxnRequest(failure=[op] * many).SerializeToString()
            return _call(METHODS[2], stream_id, data)
        case 3:
            headers = [*fields(b"/" + b"p" * rng.choice((9000, 17000))), (b"x", b"y" * 9000)]
            data = block(headers)
            return Attempt(frame(HEADERS, END_HEADERS, stream_id, data[:16384]), must_end=True)
        case _:
            key = bytes(rng.choice((40_000, 100_000)))
            return _call(METHODS[0], stream_id, rpc.RangeRequest(
                key=key, range_end=b"\0", limit=-1).SerializeToString())


def sizes_http1(rng: random.Random, _stream_id: int) -> Attempt:
    """The same over HTTP/1.1: bodies, heads and trailers."""
    start = b"POST /v3/kv/put HTTP/1.1\r\nHost: m\r\n"
    if rng.random() < LARGE_SHARE:
        return Attempt(rng.choice((
            _post("kv/put", b'{"key":"aw==","value":"' + b"A" * 2_400_000 + b'"}'),
            _post("kv/put", b'{"key":"' + b"A" * 5_000_000),
            start + b"Transfer-Encoding: chunked\r\n\r\n"
            + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 80,
            start + b"Transfer-Encoding: chunked\r\n\r\n" + b"2\r\n  \r\n" * 300_000 + b"0\r\n\r\n",
            start + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: xxxxxxxx\r\n" * 300_000,
            start + b"X: " + b"y" * 3_000_000)))
    match rng.randrange(4):
        case 0:
            claimed = rng.choice((4_194_305, 2**31, 2**32, 2**63))
            return Attempt(start + b"Content-Length: %d\r\n\r\n{}" % claimed, cut=True)
        case 1:
            body = b'{"key":"' + b"A" * rng.choice((50_000, 100_001)) + b'"}'
            return Attempt(_post("kv/range", body), must_end=True)
        case 2:
            operations = ",".join(['{"request_range":{"key":"aw=="}}'] * rng.choice((129, 2000)))
            return Attempt(_post("kv/txn", b'{"success":[%b]}' % operations.encode()),
                           must_end=True)
        case _:
            many = b"".join(b"H%d: x\r\n" % n for n in range(rng.choice((100, 5000))))
            return Attempt(start + many + b"Content-Length: 2\r\n\r\n{}")
