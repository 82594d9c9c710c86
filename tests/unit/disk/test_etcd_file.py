"""Snapshot files: written in steps, sent in pieces, opened only when they are whole."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from quorate.disk.etcd_file import CHUNK_BYTES, FileRefused, Outgoing, open_database
from quorate.wire.bbolt import Reader

PAIRS = [(n.to_bytes(8, "big"), b"v" * 100) for n in range(3000)]


def sent(directory: Path, pause: Callable[[], None] = lambda: None) -> list[bytes]:
    """All pieces of a file."""
    out = []
    with contextlib.closing(Outgoing(directory)) as outgoing:
        outgoing.write([(b"a", []), (b"key", PAIRS)], pause)
        while pieces := outgoing.read(3):
            out += pieces
    total = sum(len(piece.data) for piece in out[:-1])
    for piece in out[:-1]:
        total -= len(piece.data)
        assert piece.remaining == total
    return [piece.data for piece in out]


def test_a_file_is_sent_with_its_hash(tmp_path: Path) -> None:
    """Pieces of one size, then the hash; nothing is left in the directory."""
    *pieces, last = sent(tmp_path)
    data = b"".join(pieces)

    assert {len(piece) for piece in pieces[:-1]} == {CHUNK_BYTES}
    assert last == sha256(data).digest()
    assert list(Reader(data).pairs(b"key")) == PAIRS
    assert list(tmp_path.iterdir()) == []


def test_the_writer_pauses(tmp_path: Path) -> None:
    """After each 64 KiB, so that others may run; what the pause raises ends it."""
    pauses: list[int] = []
    sent(tmp_path, lambda: pauses.append(1))
    assert len(pauses) == 3000 * 124 // (64 << 10)

    def give_up() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        sent(tmp_path, give_up)


def test_a_file_is_opened_with_and_without_its_hash(tmp_path: Path) -> None:
    """The database is what comes before the hash."""
    pieces = sent(tmp_path)
    path = tmp_path / "file"
    for data, hashed in ((b"".join(pieces), True), (b"".join(pieces[:-1]), False)):
        path.write_bytes(data)
        source, was_hashed = open_database(path)
        assert was_hashed == hashed
        assert list(Reader(source).pairs(b"key")) == PAIRS


def test_files_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    """Missing, short, changed, or in use."""
    path = tmp_path / "file"
    with pytest.raises(FileRefused, match="cannot be read"):
        open_database(path)
    with pytest.raises(FileRefused, match="cannot be read: Is a directory"):
        open_database(tmp_path)
    path.write_bytes(b"short")
    with pytest.raises(FileRefused, match="5 bytes, too few"):
        open_database(path)
    data = bytearray(b"".join(sent(tmp_path)))
    data[50_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileRefused, match="is damaged"):
        open_database(path)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FileRefused, match="in use by a running etcd"):
            open_database(path)
