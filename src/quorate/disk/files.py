"""What the log and snapshots need of a file system, and a simulated one that forgets.

`RealFiles` is the operating system. `SimFiles` keeps what was synced apart from what was not:
`crash` drops un-synced bytes and un-synced directory changes, may keep a random part of the last
write (a torn record), and faults can be planted.

Not here: formats (wal.py), LMDB, which has a file layer of its own.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class File(Protocol):
    """An open file; positions are explicit."""

    def write_at(self, offset: int, data: bytes) -> None: ...

    def sync(self) -> None:
        """All bytes written so far survive a power cut (fdatasync)."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """Directories and files by path."""

    def create(self, path: str, size: int) -> File:
        """A new file of `size` zero bytes, not synced."""
        ...

    def open(self, path: str) -> File: ...

    def read(self, path: str) -> bytes: ...

    def list(self, directory: str) -> list[str]:
        """Names of files, ascending; empty if there is no such directory."""
        ...

    def rename(self, source: str, target: str) -> None: ...

    def remove(self, path: str) -> None: ...

    def make_directory(self, path: str) -> None:
        """With parents; existing is fine. Readable by the owner only."""
        ...

    def sync_directory(self, path: str) -> None:
        """Creations, renames and removals in it survive a power cut."""
        ...


class _RealFile:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class RealFiles:
    """The operating system's."""

    def create(self, path: str, size: int) -> File:
        """Real zeroes, not a hole: a later fdatasync must not have to change metadata."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = _RealFile(fd)
        zeroes = bytes(min(size, 1 << 20))
        for offset in range(0, size, len(zeroes) or 1):
            file.write_at(offset, zeroes[:size - offset])
        return file

    def open(self, path: str) -> File:
        """An existing file."""
        return _RealFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def read(self, path: str) -> bytes:
        """The whole file."""
        return Path(path).read_bytes()

    def list(self, directory: str) -> list[str]:
        """See `Files`."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def rename(self, source: str, target: str) -> None:
        """See `Files`."""
        os.replace(source, target)

    def remove(self, path: str) -> None:
        """See `Files`."""
        os.unlink(path)

    def make_directory(self, path: str) -> None:
        """See `Files`."""
        os.makedirs(path, mode=0o700, exist_ok=True)

    def sync_directory(self, path: str) -> None:
        """See `Files`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@dataclass(slots=True)
class _Inode:
    """A simulated file: what reads see, what is safe, and writes in between."""

    live: bytearray
    safe: bytearray
    pending: list[tuple[int, bytes]] = field(default_factory=list)


class _SimFile:
    __slots__ = ("_files", "_inode")

    def __init__(self, files: SimFiles, inode: _Inode) -> None:
        self._files = files
        self._inode = inode

    def write_at(self, offset: int, data: bytes) -> None:
        self._files.step("write")
        if self._files.full:
            raise OSError(28, "No space left on device")
        live = self._inode.live
        if len(live) < offset + len(data):
            live.extend(bytes(offset + len(data) - len(live)))
        live[offset:offset + len(data)] = data
        self._inode.pending.append((offset, bytes(data)))

    def sync(self) -> None:
        self._files.step("sync")
        self._inode.safe = bytearray(self._inode.live)
        self._inode.pending.clear()

    def close(self) -> None:
        pass


class Crashed(Exception):
    """The simulated machine lost power at this step."""


class SimFiles:
    """Files in memory. `crash_at` counts file operations down to a `Crashed`."""

    def __init__(self) -> None:
        self._live: dict[str, _Inode] = {}
        self._safe: dict[str, _Inode] = {}
        self.steps = 0
        self.crash_at: int | None = None
        self.fail_syncs = False
        self.full = False

    def step(self, kind: str) -> None:
        """One operation is about to happen."""
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            raise Crashed(f"{kind} (operation {self.steps})")
        if kind == "sync" and self.fail_syncs:
            raise OSError(5, "Input/output error")

    def create(self, path: str, size: int) -> File:
        """See `Files`."""
        self.step("create")
        if self.full:
            raise OSError(28, "No space left on device")
        if path in self._live:
            raise FileExistsError(path)
        self._live[path] = _Inode(bytearray(size), bytearray())
        return _SimFile(self, self._live[path])

    def open(self, path: str) -> File:
        """See `Files`."""
        return _SimFile(self, self._live[path])

    def read(self, path: str) -> bytes:
        """See `Files`."""
        return bytes(self._live[path].live)

    def list(self, directory: str) -> list[str]:
        """See `Files`."""
        start = directory + "/"
        return sorted(p[len(start):] for p in self._live if p.startswith(start))

    def rename(self, source: str, target: str) -> None:
        """See `Files`."""
        self.step("rename")
        self._live[target] = self._live.pop(source)

    def remove(self, path: str) -> None:
        """See `Files`."""
        self.step("remove")
        del self._live[path]

    def make_directory(self, path: str) -> None:
        """Directories always are there."""

    def sync_directory(self, path: str) -> None:
        """See `Files`."""
        self.step("sync directory")
        start = path + "/"
        self._safe = {p: i for p, i in self._safe.items() if not p.startswith(start)}
        self._safe.update({p: i for p, i in self._live.items() if p.startswith(start)})

    def flip(self, path: str, offset: int, bit: int) -> None:
        """Rot: one bit of what is on the disk changes."""
        inode = self._live[path]
        inode.live[offset] ^= 1 << bit
        if offset < len(inode.safe):
            inode.safe[offset] ^= 1 << bit

    def crash(self, rng: random.Random) -> None:
        """Lose power: what was not synced is gone, except for what `rng` lets through: any
        prefix of the un-synced writes, the last of them torn."""
        self.crash_at = None
        for inode in self._safe.values():
            kept = rng.randrange(len(inode.pending) + 1) if inode.pending else 0
            for position, (offset, data) in enumerate(inode.pending[:kept]):
                last = position == kept - 1
                data = data[:rng.randrange(len(data) + 1)] if last and data else data
                if len(inode.safe) < offset + len(data):
                    inode.safe.extend(bytes(offset + len(data) - len(inode.safe)))
                inode.safe[offset:offset + len(data)] = data
            inode.live = bytearray(inode.safe)
            inode.pending.clear()
        self._live = dict(self._safe)
