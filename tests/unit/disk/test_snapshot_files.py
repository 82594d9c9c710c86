"""Images: complete and durable under their names, or refused."""

from pathlib import Path

import pytest

from quorate.disk.snapshot_files import ImageDamaged, SnapshotFiles, framed

CHUNKS = [b"one", b"two" * 1000, b"three"]


def _received(directory: Path, data: bytes) -> SnapshotFiles:
    files = SnapshotFiles(directory)
    writer = files.begin(9, 2)
    writer.write(data)
    writer.commit()
    return files


def test_an_image_comes_back_as_it_was(tmp_path: Path) -> None:
    """Frame by frame."""
    files = _received(tmp_path, b"".join(framed(CHUNKS)))

    assert files.has(9, 2)
    assert list(files.read(9, 2)) == CHUNKS


def test_an_image_under_way_does_not_exist(tmp_path: Path) -> None:
    """Only a committed image has its name; an aborted one leaves nothing."""
    files = SnapshotFiles(tmp_path)
    writer = files.begin(9, 2)
    writer.write(b"".join(framed(CHUNKS)))
    assert not files.has(9, 2)
    writer.abort()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 8, 100, 3000, 3020])
def test_an_image_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    """Wherever it ends."""
    files = _received(tmp_path, b"".join(framed(CHUNKS))[:-cut])

    with pytest.raises(ImageDamaged):
        list(files.read(9, 2))


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    """Every frame has a checksum."""
    data = bytearray(b"".join(framed(CHUNKS)))
    data[500] ^= 1
    files = _received(tmp_path, bytes(data))

    with pytest.raises(ImageDamaged, match="damaged"):
        list(files.read(9, 2))
