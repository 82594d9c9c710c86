"""Snapshot images as files: received, made durable, loaded, removed.

An image is a row of frames: length (4 bytes, big-endian), CRC-32 (4), that many bytes of records;
a frame of length 0 ends it and carries the number of frames. The same bytes travel between members
and lie in `<term>-<index>.img`, so what is damaged on the way or on the disk is found before
anything is replaced (docs/formats/snapshot.md).

Invariant: a file with the final name is complete and durable.
Not here: what the records are (lmdb_backend.py), sending (peers/).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

_FRAME = struct.Struct(">II")


class ImageDamaged(Exception):
    """An image that is cut short or changed; the text says where."""


def framed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks of records as frames, with the end mark."""
    count = 0
    for chunk in chunks:
        count += 1
        yield _FRAME.pack(len(chunk), crc32(chunk)) + chunk
    yield _FRAME.pack(0, count)


class ImageWriter:
    """An image that is being received."""

    def __init__(self, directory: Path, name: str) -> None:
        self._target = directory / name
        self._temporary = directory / f"{name}.tmp"
        self._file = self._temporary.open("wb")

    def write(self, data: bytes) -> None:
        """A piece, of any size."""
        self._file.write(data)

    def commit(self) -> None:
        """The image is complete: make it durable under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.rename(self._target)
        fd = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    def abort(self) -> None:
        """Forget it."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


class SnapshotFiles:
    """All images of one member."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def begin(self, index: int, term: int) -> ImageWriter:
        """Receive an image."""
        return ImageWriter(self._directory, _name(index, term))

    def has(self, index: int, term: int) -> bool:
        """Whether a complete image is there."""
        return (self._directory / _name(index, term)).exists()

    def read(self, index: int, term: int) -> Iterator[bytes]:
        """The chunks of an image; raises ImageDamaged, also in the middle."""
        path = self._directory / _name(index, term)
        with path.open("rb") as file:
            count = 0
            while True:
                head = file.read(_FRAME.size)
                if len(head) < _FRAME.size:
                    raise ImageDamaged(f"{path}: ends at offset {file.tell()} without end mark")
                length, check = _FRAME.unpack(head)
                if length == 0:
                    if check != count:
                        raise ImageDamaged(f"{path}: {count} frames, {check} were written")
                    return
                chunk = file.read(length)
                if len(chunk) < length or crc32(chunk) != check:
                    raise ImageDamaged(f"{path}: damaged before offset {file.tell()}")
                count += 1
                yield chunk

    def clear(self) -> None:
        """Remove all images; they are loaded, or of no use."""
        for path in self._directory.iterdir():
            path.unlink()


def _name(index: int, term: int) -> str:
    return f"{term:016x}-{index:016x}.img"
