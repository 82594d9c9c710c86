"""Snapshots of etcd's as files: written without a name, sent piece by piece, mapped to be read.

A snapshot is a bbolt file and the SHA-256 of it (surface §11.4). It is written into a file that
has no name, so that a crash leaves nothing behind, and sent from there: a client may take its time
without holding up the database.

Not here: pages (wire/bbolt.py), buckets (state/etcd_buckets.py), when and to whom (member/).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

from quorate.wire.bbolt import PAGE_BYTES, Writer

CHUNK_BYTES = 32 << 10
"""Of a message (etcd's size)."""

STEP_BYTES = 64 << 10
"""Pages between two pauses of the writer: about a millisecond of work."""

HASH_BYTES = 32
SECTOR_BYTES = 512
"""etcd tells the two forms by this: a database is whole sectors, a snapshot 32 bytes more."""

Pair = tuple[bytes, bytes]


class Piece(NamedTuple):
    """One message: bytes, and how many of the file come after it; the hash comes after all."""

    data: bytes
    remaining: int


class Outgoing:
    """A snapshot on its way. Its methods may run in another thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)
        self._hash = sha256()
        self._size = self._sent = 0

    def write(
        self, buckets: Iterable[tuple[bytes, Iterable[Pair]]], pause: Callable[[], None]
    ) -> None:
        """The whole file, with a `pause` after each step; raises OSError, and what it raises."""
        writer = Writer()
        self._file.seek(len(writer.head()))
        for name, pairs in buckets:
            self._pages(writer.bucket(name, pairs), pause)
        self._pages(writer.finish(), pause)
        self._size = self._file.tell()
        self._file.seek(0)
        self._file.write(writer.head())
        self._file.seek(0)

    def _pages(self, pages: Iterable[bytes], pause: Callable[[], None]) -> None:
        step = 0
        for page in pages:
            self._file.write(page)
            step += len(page)
            if step >= STEP_BYTES:
                step = 0
                pause()

    def read(self, count: int) -> list[Piece]:
        """The next pieces, no more than `count`; none if all were read. The last is the hash."""
        out: list[Piece] = []
        while len(out) < count and self._sent <= self._size:
            data = self._file.read(CHUNK_BYTES)
            if data:
                self._hash.update(data)
                self._sent += len(data)
                out.append(Piece(data, self._size - self._sent))
            else:
                out.append(Piece(self._hash.digest(), 0))
                self._sent = self._size + 1
        return out

    def close(self) -> None:
        """The file is gone."""
        self._file.close()


class FileRefused(Exception):
    """A sentence for the person who named the file."""


def open_database(path: Path) -> tuple[mmap.mmap | bytes, bool]:
    """(the database in a file, whether its hash was there and right); raises FileRefused."""
    try:
        with path.open("rb") as file:
            _expect_unused(path, file.fileno())
            size = os.fstat(file.fileno()).st_size
            hashed = size % SECTOR_BYTES == HASH_BYTES
            length = size - HASH_BYTES if hashed else size
            if length < 2 * PAGE_BYTES // 8:
                raise FileRefused(f"{str(path)!r} has {size} bytes, too few for a database. Copy "
                                  f"it again, or take a new snapshot.")
            if hashed:
                _check_hash(path, file, length)
            mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
            return mapped, hashed
    except OSError as failure:
        raise FileRefused(f"{str(path)!r} cannot be read: {failure.strerror}. Check the path and "
                          f"its permissions.") from failure


def _expect_unused(path: Path, descriptor: int) -> None:
    """A running etcd holds a lock on its database."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileRefused(f"{str(path)!r} is in use by a running etcd. Stop it first, or take a "
                          f"snapshot: etcdctl snapshot save FILE.") from None


def _check_hash(path: Path, file: IO[bytes], length: int) -> None:
    digest = sha256()
    left = length
    while left:
        data = file.read(min(left, 1 << 20))
        if not data:
            raise FileRefused(f"{str(path)!r} became shorter while it was read.")
        digest.update(data)
        left -= len(data)
    found, wanted = digest.hexdigest(), file.read(HASH_BYTES).hex()
    if found != wanted:
        raise FileRefused(
            f"{str(path)!r} is damaged: its SHA-256 is {found[:16]}…, the snapshot says "
            f"{wanted[:16]}…. Copy it again, or take a new snapshot.")
