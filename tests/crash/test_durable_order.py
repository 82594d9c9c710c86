"""The log loses power at every file operation, and keeps what it has promised."""

import random

import pytest

from quorate.disk.files import Crashed, SimFiles
from quorate.disk.wal import SnapshotMark, Wal, WalDamaged, WalMetadata
from quorate.raft.types import ConfState, Entry, HardState

METADATA = WalMetadata(0xC1, 0xA1)
MARK = SnapshotMark(1, 1, ConfState((1, 2, 3)))
SEGMENT_BYTES = 512
STEPS = 60


def _create(files: SimFiles) -> Wal:
    return Wal.create(files, "wal", METADATA, MARK, HardState(1, 0, 1), SEGMENT_BYTES)


def _work(files: SimFiles, synced: list[Entry], marks: list[int]) -> None:
    """Appends in batches, with marks and releases, noting what a sync has returned for."""
    wal = _create(files)
    index = 1
    for batch in range(8):
        entries = [Entry(1, index + n, b"%d" % (index + n) * 10) for n in range(1, 4)]
        index += 3
        wal.append(HardState(1, 1, index - 3), entries)
        wal.sync()
        synced.extend(entries)
        if batch % 3 == 2:
            wal.mark_snapshot(index - 2, 1, MARK.conf_state)
            wal.sync()
            marks.append(index - 2)
            wal.release(index - 1)
    wal.close()


@pytest.mark.parametrize("seed", range(4))
def test_what_was_synced_survives_a_crash_at_any_operation(seed: int) -> None:
    """Create, append, roll, mark and release: every synced entry after the mark is there."""
    crashed = 0
    for step in range(1, STEPS):
        files, synced, marks = SimFiles(), list[Entry](), [1]
        files.crash_at = step
        try:
            _work(files, synced, marks)
        except Crashed:
            crashed += 1
        files.crash(random.Random(1000 * seed + step))
        if not [name for name in files.list("wal") if name.endswith(".wal")]:
            assert synced == []
            continue
        _, contents = Wal.open(files, "wal", SEGMENT_BYTES)
        found = {entry.index: entry for entry in contents.entries}
        assert contents.snapshot.index >= marks[-1]
        missing = [e for e in synced if e.index > contents.snapshot.index
                   and found.get(e.index) != e]
        assert missing == [], f"crash at operation {step}"

    assert crashed > 30


def _log(entries: int) -> SimFiles:
    files = SimFiles()
    wal = _create(files)
    for index in range(2, entries + 2):
        wal.append(HardState(1, 1, index - 1), [Entry(1, index, b"payload")])
        wal.sync()
    wal.note_synced()
    wal.close()
    return files


def _segment(files: SimFiles) -> str:
    return "wal/" + [n for n in files.list("wal") if n.endswith(".wal")][-1]


def _read(files: SimFiles) -> list[int] | str:
    try:
        return [e.index for e in Wal.open(files, "wal", SEGMENT_BYTES)[1].entries]
    except WalDamaged as damaged:
        return str(damaged)


def test_a_flipped_bit_anywhere_is_never_passed_over() -> None:
    """Every byte of the log: found and refused with advice, or without effect."""
    length = len(_log(4).read(_segment(_log(4))).rstrip(b"\0"))
    for offset in range(length):
        files = _log(4)
        path = _segment(files)
        files.open(path).write_at(offset, bytes((files.read(path)[offset] ^ 0x10,)))
        got = _read(files)
        if isinstance(got, str):
            assert "nothing was changed" in got or "empty data directory" in got
        else:
            assert got == [2, 3, 4, 5], f"offset {offset}"


def test_a_tail_of_zeroes_at_any_offset() -> None:
    """A tail that is gone leaves a prefix of the log, or a refusal; never other entries."""
    whole = _log(4)
    length = len(whole.read(_segment(whole)).rstrip(b"\0"))
    for offset in range(36, length):
        files = _log(4)
        files.open(_segment(files)).write_at(offset, bytes(length - offset))
        got = _read(files)
        assert isinstance(got, str) or got == [2, 3, 4, 5][:len(got)]


def test_a_torn_write_that_no_sync_returned_for_is_cut() -> None:
    """It is cut, said so, and what was synced before stays."""
    files = _log(2)
    wal, _ = Wal.open(files, "wal", SEGMENT_BYTES)
    before = len(files.read(_segment(files)).rstrip(b"\0"))
    wal.append(None, [Entry(1, 4, b"never synced")])
    path = _segment(files)
    end = len(files.read(path).rstrip(b"\0"))
    files.open(path).write_at(end - 4, b"\xff\xff\xff\xff")

    _, contents = Wal.open(files, "wal", SEGMENT_BYTES)

    assert before < end
    assert [entry.index for entry in contents.entries] == [2, 3]
    assert contents.repaired is not None


def test_a_failed_sync_is_final() -> None:
    """The second attempt does not succeed either: nobody knows what is on the disk."""
    files = SimFiles()
    wal = _create(files)
    wal.append(None, [Entry(1, 2, b"x")])
    files.fail_syncs = True
    with pytest.raises(Exception, match="sync failed"):
        wal.sync()
    files.fail_syncs = False

    with pytest.raises(Exception, match="failed to sync before"):
        wal.sync()


def test_a_commit_index_never_is_ahead_of_a_torn_tail() -> None:
    """Entries that arrive committed may be torn off behind their hard state."""
    for cut in range(1, 60):
        files = SimFiles()
        wal = _create(files)
        wal.append(HardState(2, 1, 3), [Entry(2, 2, b"two"), Entry(2, 3, b"three")])
        path, _, written = wal.extent
        for offset in range(max(0, written - cut), written):
            wal._file.write_at(offset, b"\0")  # type: ignore[union-attr]
        _, contents = Wal.open(files, "wal", SEGMENT_BYTES)
        assert contents.hard_state.commit <= 1 + len(contents.entries), (path, cut)
