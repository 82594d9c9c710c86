"""The disk of a simulated member: log, state and images, what they promised, and how they fail.

Recovery takes the same steps as disk/recover.py, over simulated files. Not here: when things fail
(faults.py), what a member does about it (member.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from quorate.disk.files import SimFiles
from quorate.disk.wal import (
    HEADER, RECORD, RecordType, SnapshotMark, Wal, WalContents, WalDamaged, WalMetadata,
)
from quorate.disk.wal_reader import read_log
from quorate.raft.types import ConfState, HardState, InvariantBroken, Snapshot
from quorate.sim.tables import TableBackend
from quorate.state.backend import AppliedPoint
from quorate.state.machine import Machine
from quorate.state.members import Member

WAL_DIR = "wal"

SLOW_ELECTIONS = 2.0
"""A sync of a slow disk takes up to this many election timeouts more."""

Image = tuple[AppliedPoint, list[bytes]]


@dataclass(slots=True)
class Promised:
    """What must be found after a restart: hard state, and the terms of entries."""

    hard_state: HardState
    terms: dict[int, int]


class SimDisk:
    """See the module's text."""

    def __init__(self, rng: random.Random, segment_bytes: int) -> None:
        self._rng = rng
        self._segment_bytes = segment_bytes
        self.files = SimFiles()
        self.backend = TableBackend()
        self.images: dict[tuple[int, int], Image] = {}
        self.slow = self.hung = self.rotten = False
        self._contents: WalContents | None = None

    def begin(self, metadata: WalMetadata, founders: tuple[Member, ...]) -> None:
        """As a member with `founders` begins, or one that waits to be told by a leader."""
        mark, hard_state = SnapshotMark(), HardState()
        if founders:
            point = AppliedPoint(1, 1, ConfState(voters=tuple(sorted(m.id for m in founders))))
            machine = Machine(self.backend)
            for member in founders:
                machine.members.add(member)
            self.backend.advance(point)
            self.backend.commit()
            mark, hard_state = SnapshotMark(*point), HardState(1, 0, 1)
        Wal.create(self.files, WAL_DIR, metadata, mark, hard_state, self._segment_bytes).close()

    def open(self) -> WalContents:
        """Read everything; raises WalDamaged, OSError."""
        self.wal, contents = Wal.open(self.files, WAL_DIR, self._segment_bytes)
        mark = contents.snapshot
        if mark.index > self.backend.durable.index:
            image = self.images.get((mark.index, mark.term))
            if image is None:
                raise WalDamaged(f"the log begins at {mark.index}, the state ends at "
                                 f"{self.backend.durable.index}, and there is no image")
            self.backend.load(AppliedPoint(mark.index, mark.term, mark.conf_state),
                              iter(image[1]))
        self.images.clear()
        self._contents = contents
        return contents

    def check_kept(self, promised: Promised) -> None:
        """Whether what was just read has everything that was promised; raises InvariantBroken."""
        contents = self._contents
        assert contents is not None
        if self.rotten:
            raise InvariantBroken("damage in what was safe went unnoticed")
        state = contents.hard_state
        if (state.term, state.vote) != (promised.hard_state.term, promised.hard_state.vote) and (
                state.term <= promised.hard_state.term):
            raise InvariantBroken(f"{promised.hard_state} was on disk, now there is {state}")
        found = {entry.index: entry.term for entry in contents.entries}
        for index, term in promised.terms.items():
            if found.get(index, 0) > term:
                break  # an append under way, which nobody was told of, has superseded the rest
            if index > contents.snapshot.index and found.get(index, 0) < term:
                raise InvariantBroken(f"entry {index} of term {term} was on disk, now there is "
                                      f"{found.get(index)} of {sorted(found)[:1]}…")

    def release(self, index: int) -> None:
        """Let go of the log below an index; what is left is read, as a start would."""
        self.wal.release(index)
        try:
            read_log(self.files, WAL_DIR)
        except WalDamaged as damage:
            raise InvariantBroken(f"too much was let go of: {damage}") from damage

    def sync_s(self, longest_s: float, election_s: float) -> float:
        """How long the next sync takes."""
        more_s = SLOW_ELECTIONS * election_s if self.slow else 0.0
        return (longest_s + more_s) * self._rng.random()

    def install(self, snapshot: Snapshot) -> None:
        """Load a received image; its mark is in the log."""
        point, chunks = self.images.pop((snapshot.index, snapshot.term))
        self.backend.load(point, iter(chunks))

    def power_cut(self, *, torn: bool) -> None:
        """Lose what was not synced; with `torn`, a bit of what is left of it flips."""
        extent = self.wal.extent
        self.files.crash(self._rng)
        if torn:  # the loss may have cut the file short
            self._flip(extent.path, extent.synced, extent.written)

    def rot(self) -> bool:
        """Flip a bit, while the member is down, where damage can be told from a torn write;
        whether there was any."""
        names = [n for n in self.files.list(WAL_DIR) if n.endswith(".wal")]
        name = self._rng.choice(names)
        data = self.files.read(f"{WAL_DIR}/{name}")
        end = _marked(data) if name == names[-1] else len(data.rstrip(b"\0"))
        self.rotten = self._flip(f"{WAL_DIR}/{name}", 0, end) or self.rotten
        return self.rotten

    def _flip(self, path: str, low: int, high: int) -> bool:
        if path.split("/")[-1] not in self.files.list(WAL_DIR):
            return False
        high = min(high, len(self.files.read(path)))
        if high <= low:
            return False
        self.files.flip(path, self._rng.randrange(low, high), self._rng.randrange(8))
        return True


def _marked(segment: bytes) -> int:
    """Up to where the last mark that is still there says that everything was synced."""
    offset, marked = HEADER.size, 0
    while offset + RECORD.size <= len(segment):
        length, _, kind = RECORD.unpack_from(segment, offset)
        if kind not in list(RecordType):
            break
        offset += RECORD.size
        if kind == RecordType.SYNCED:
            marked = int.from_bytes(segment[offset:offset + 8], "little")
        offset += length
    return marked
