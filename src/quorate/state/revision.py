"""Revisions and their byte forms; byte for byte etcd's (surface §11.3).

A revision is (main, sub): the write transaction, and the change within it. As a key of
Bucket.KEY it is 8 bytes, `_`, 8 bytes, and `t` at the end of a deletion's.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_KEY = struct.Struct(">QcQ")
_PAIR = struct.Struct(">QQ")
_LATEST = struct.Struct(">QQQQq")

KEY_SIZE = 17
TOMBSTONE = b"t"


class Latest(NamedTuple):
    """What Bucket.LATEST knows of a live key: enough for the next put without reading it."""

    main: int
    sub: int
    create_revision: int
    version: int
    lease: int


def revision_key(main: int, sub: int, *, tombstone: bool = False) -> bytes:
    """The key of a change in Bucket.KEY."""
    key = _KEY.pack(main, b"_", sub)
    return key + TOMBSTONE if tombstone else key


def parse_revision_key(key: bytes) -> tuple[int, int, bool]:
    """(main, sub, whether it is a deletion)."""
    main, _, sub = _KEY.unpack_from(key)
    return main, sub, len(key) > KEY_SIZE


def encode_latest(latest: tuple[int, int, int, int, int]) -> bytes:
    """The value in Bucket.LATEST, from the fields of a `Latest`."""
    return _LATEST.pack(*latest)


def decode_latest(value: bytes) -> Latest:
    """See `encode_latest`."""
    return Latest._make(_LATEST.unpack(value))


def past_prefix(key: bytes) -> bytes:
    """The key so that (key, revision) sorts by key, then revision: zero bytes are escaped and the
    end is marked by something that sorts before every continuation."""
    return key.replace(b"\0", b"\0\xff") + b"\0\x01"


def past_key(key: bytes, main: int, sub: int) -> bytes:
    """The key in Bucket.PAST."""
    return past_prefix(key) + _PAIR.pack(main, sub)


def parse_past_key(past: bytes) -> tuple[bytes, int, int]:
    """(key, main, sub)."""
    main, sub = _PAIR.unpack_from(past, len(past) - 16)
    return past[:-18].replace(b"\0\xff", b"\0"), main, sub
