"""HTTP/2 frames (RFC 9113 §4, §6): their numbers, and how they are written.

Not here: reading them (http2.py).
"""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES_MAX = 16 << 10
"""Largest frame taken, and the smallest that every client must take."""

WINDOW_MAX = 2**31 - 1

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
FRAME = struct.Struct(">IBI")
SETTING = struct.Struct(">HI")
INITIAL_WINDOW, MAX_FRAME = 4, 5


class Wrong(IntEnum):
    """HTTP/2 error codes."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Fatal(Exception):
    """The connection ends, with this code and text."""

    def __init__(self, code: Wrong, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(type_: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return FRAME.pack(len(payload) << 8 | type_, flags, stream_id) + payload


def goaway(last_id: int, code: Wrong, text: str) -> bytes:
    """The last words on a connection."""
    return frame(GOAWAY, 0, 0, last_id.to_bytes(4, "big") + code.to_bytes(4, "big")
                 + text.encode())


def unpadded(payload: bytes) -> bytes:
    """What a padded frame carries; raises Fatal."""
    if not payload or payload[0] >= len(payload):
        raise Fatal(Wrong.PROTOCOL_ERROR, "the padding is larger than its frame")
    return payload[1:len(payload) - payload[0]]
