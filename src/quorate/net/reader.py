"""Bytes of an HTTP/2 client into frames, with header blocks made whole.

Invariants: a frame is handed over only when it is complete; a header block as one HEADERS frame,
without padding and priority, whatever it came in.

Not here: what frames mean (http2.py).
"""

from __future__ import annotations

from collections.abc import Callable

from quorate.net.frames import (
    CONTINUATION, END_HEADERS, FRAME, FRAME_BYTES_MAX, HEADERS, PADDED, PREFACE, PRIORITIZED,
    SETTINGS, WINDOW_MAX, Fatal, Wrong, unpadded,
)

HEADER_BLOCK_BYTES_MAX = 16 << 10
CONTINUATIONS_MAX = 8


class FrameReader:
    """`handle` is called for each frame with type, flags, stream and payload; it may raise Fatal,
    as `read` does, and returns whether to go on."""

    def __init__(self, handle: Callable[[int, int, int, bytes], bool]) -> None:
        self._handle = handle
        self._buffer = b""
        self._prefaced = self._settled = False
        self._block: list[bytes] | None = None
        self._block_of = (0, 0)

    @property
    def between_frames(self) -> bool:
        """Whether nothing that has begun is incomplete."""
        return self._settled and not self._buffer and self._block is None

    def read(self, data: bytes) -> None:
        """More bytes."""
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        if not self._prefaced:
            if not PREFACE.startswith(data[:len(PREFACE)]):
                raise Fatal(Wrong.PROTOCOL_ERROR, "the connection does not begin as HTTP/2")
            if end < len(PREFACE):
                self._buffer = data
                return
            self._prefaced, at = True, len(PREFACE)
        going = True
        while going and end - at >= 9:
            size_type, flags, stream_id = FRAME.unpack_from(data, at)
            size = size_type >> 8
            if size > FRAME_BYTES_MAX:
                raise Fatal(Wrong.FRAME_SIZE_ERROR, f"a frame of {size} bytes is larger than "
                                                    f"{FRAME_BYTES_MAX}")
            stop = at + 9 + size
            if stop > end:
                break
            going = self._frame(
                size_type & 0xFF, flags, stream_id & WINDOW_MAX, data[at + 9:stop])
            at = stop
        self._buffer = data[at:]

    def drop(self) -> None:
        """The connection is gone: let go of its bytes, and of who handles its frames."""
        self._buffer, self._block = b"", None
        self._handle = _nobody

    def _frame(self, type_: int, flags: int, stream_id: int, payload: bytes) -> bool:
        if not self._settled:
            if type_ != SETTINGS:
                raise Fatal(Wrong.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self._settled = True
        if self._block is not None:
            return self._continue(self._block, type_, flags, stream_id, payload)
        if type_ == CONTINUATION:
            raise Fatal(Wrong.PROTOCOL_ERROR, "a continuation of no header block")
        if type_ == HEADERS:
            payload = _block(flags, payload)
            if not flags & END_HEADERS:
                self._block, self._block_of = [payload], (flags, stream_id)
                return True
        return self._handle(type_, flags, stream_id, payload)

    def _continue(
        self, block: list[bytes], type_: int, flags: int, stream_id: int, payload: bytes
    ) -> bool:
        begun, of = self._block_of
        if type_ != CONTINUATION or stream_id != of:
            raise Fatal(Wrong.PROTOCOL_ERROR, "a header block was interrupted")
        block.append(payload)
        if len(block) > CONTINUATIONS_MAX or sum(map(len, block)) > HEADER_BLOCK_BYTES_MAX:
            raise Fatal(Wrong.ENHANCE_YOUR_CALM, f"a header block has more than "
                        f"{CONTINUATIONS_MAX} frames or {HEADER_BLOCK_BYTES_MAX} bytes")
        if not flags & END_HEADERS:
            return True
        self._block = None
        return self._handle(HEADERS, begun | END_HEADERS, stream_id, b"".join(block))


def _block(flags: int, payload: bytes) -> bytes:
    """A HEADERS frame's part of the block."""
    block = unpadded(payload) if flags & PADDED else payload
    if not flags & PRIORITIZED:
        return block
    if len(block) < 5:
        raise Fatal(Wrong.FRAME_SIZE_ERROR, "the priority is cut off")
    return block[5:]


def _nobody(_type: int, _flags: int, _stream_id: int, _payload: bytes) -> bool:
    return False
