"""The log on real files: what is written is read again, whatever its size."""

from pathlib import Path

import pytest

from quorate.disk.files import RealFiles
from quorate.disk.wal import RECORD_BYTES_MAX, SnapshotMark, Wal, WalMetadata
from quorate.raft.types import Entry, HardState

METADATA = WalMetadata(9, 1)


def reopened(directory: Path, *batches: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """What a member finds that was killed after these appends were synced."""
    wal = Wal.create(RealFiles(), str(directory), METADATA, SnapshotMark(), HardState(1, 0, 0))
    for batch in batches:
        wal.append(HardState(1, 0, batch[0].index - 1), batch)
        wal.sync()
    wal.close()
    again, contents = Wal.open(RealFiles(), str(directory))
    again.close()
    assert contents.repaired is None
    return contents.entries


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_batch_beyond_the_largest_record_is_all_there(tmp_path: Path, size: int) -> None:
    """A member that had no leader for a second proposes all it was asked meanwhile at once."""
    batch = tuple(Entry(1, n, bytes(size)) for n in range(1, RECORD_BYTES_MAX // (1 << 20) + 9))
    after = (Entry(1, len(batch) + 1, b"after it"),)

    assert reopened(tmp_path / "wal", batch, after) == batch + after
