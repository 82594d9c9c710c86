"""From a data directory to a consistent starting point, and the first start of one.

Order of a first start: backend with members and first point → log → format file. The format file
says that the rest is complete; without it everything is begun again.

Order of a restart: log (torn tail cut) → backend → if the log's snapshot mark is ahead of the
backend, the image that it stands for is loaded now → left-over images removed.

Not here: what is replayed (member/build.py, raft).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quorate.disk.datadir import DataDir, Identity
from quorate.disk.files import RealFiles
from quorate.disk.lmdb_backend import LmdbBackend
from quorate.disk.snapshot_files import SnapshotFiles
from quorate.disk.wal import SnapshotMark, Wal, WalContents, WalDamaged, WalMetadata
from quorate.disk.wal_reader import ADVICE
from quorate.raft.types import ConfState, HardState
from quorate.state.backend import AppliedPoint, Bucket

FIRST_INDEX = 1
FIRST_TERM = 1
"""The point at which a cluster begins: its members are known, nothing else is."""


@dataclass(slots=True)
class Recovered:
    """Everything a member starts from."""

    wal: Wal
    contents: WalContents
    backend: LmdbBackend
    images: SnapshotFiles


def first_start(
    directory: DataDir, identity: Identity, members: Iterable[tuple[int, bytes]],
    fill: Callable[[LmdbBackend], None] = lambda _backend: None,
) -> None:
    """Make an empty, locked directory a member's. `members`: id and member JSON of each founder;
    without any the member joins, and begins before all entries, so that it is sent the state.
    `fill` puts in what the cluster begins with, the same at each founder."""
    directory.clear_unfinished()
    backend = LmdbBackend(str(directory.db))
    fill(backend)
    ids = []
    for member_id, described in members:
        ids.append(member_id)
        backend.put(Bucket.MEMBER, member_id.to_bytes(8, "big"), described)
    point, hard_state = AppliedPoint(0, 0, ConfState()), HardState()
    if ids:
        point = AppliedPoint(FIRST_INDEX, FIRST_TERM, ConfState(voters=tuple(sorted(ids))))
        hard_state = HardState(FIRST_TERM, 0, FIRST_INDEX)
        backend.advance(point)
    batch = backend.freeze()
    if batch is not None:
        backend.write(batch)
        backend.thaw(batch)
    backend.close()
    Wal.create(
        RealFiles(), str(directory.wal), WalMetadata(identity.cluster_id, identity.member_id),
        SnapshotMark(*point), hard_state).close()
    directory.claim(identity)


def recover(directory: DataDir) -> Recovered:
    """Open a member's directory; raises WalDamaged, ImageDamaged."""
    wal, contents = Wal.open(RealFiles(), str(directory.wal))
    backend = LmdbBackend(str(directory.db))
    images = SnapshotFiles(directory.snap)
    mark = contents.snapshot
    if mark.index > backend.durable.index:
        if not images.has(mark.index, mark.term):
            raise WalDamaged(
                f"{directory.path}: the log continues from a snapshot at {mark.index}, the state "
                f"goes to {backend.durable.index} and the image is missing; {ADVICE}")
        backend.load(AppliedPoint(mark.index, mark.term, mark.conf_state),
                     images.read(mark.index, mark.term))
    images.clear()
    return Recovered(wal, contents, backend, images)
