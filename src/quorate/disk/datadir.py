"""The data directory: layout, lock, whose it is, and what must not be touched.

Layout: `<data>/member/{format,lock,wal,db,snap}`; the log may be elsewhere. Only the owner may
read it. A directory that is not ours, or another member's, is refused with a sentence and left
exactly as it is.

Not here: what the files hold (wal.py, lmdb_backend.py), the order in which they are read
(recover.py).
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

FORMAT_VERSION = 1


class DataDirError(Exception):
    """A sentence for the person who started the member."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose directory it is."""

    cluster_id: int
    member_id: int
    name: str
    joined: bool = False
    """It joined a running cluster: its id does not follow from the initial-* settings."""


class DataDir:
    """One directory, locked while this object lives."""

    def __init__(self, path: str, wal_dir: str = "") -> None:
        self.path = Path(path)
        self.member = self.path / "member"
        self.wal = Path(wal_dir) if wal_dir else self.member / "wal"
        self.db = self.member / "db"
        self.snap = self.member / "snap"
        self._lock: int | None = None

    def inspect(self) -> Identity | None:
        """Who lives here, None if nobody does; raises DataDirError. Changes nothing."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            self._expect_writable()
            return None
        except NotADirectoryError:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} is a file. Name a directory.") from None
        except PermissionError:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} cannot be read by this user. Run as its owner, "
                f"or give it to this user: chown -R $USER {self.path}.") from None
        if not names:
            self._expect_writable()
            return None
        if "member" not in names:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} is not empty and holds nothing of quorate's "
                f"(it has {', '.join(sorted(names)[:3])}). Name an empty or a new directory.")
        return self._identity()

    def _expect_writable(self) -> None:
        parent = self.path.absolute().parent
        while not parent.exists():
            parent = parent.parent
        target = self.path if self.path.exists() else parent
        if not os.access(target, os.W_OK | os.X_OK):
            raise DataDirError(
                f"--data-dir {str(self.path)!r}: {target} cannot be written by this user. Create "
                f"it as root and give it to this user, or name another directory.")

    def _identity(self) -> Identity | None:
        if (self.member / "snap" / "db").exists() or (
                self.member.exists() and any(self.member.glob("wal/*-*.wal"))
                and not (self.member / "format").exists()):
            raise DataDirError(
                f"--data-dir {str(self.path)!r} is a data directory of etcd. Name another "
                f"directory; quorate does not write into etcd's.")
        try:
            text = (self.member / "format").read_text()
        except FileNotFoundError:
            return None  # a start that was interrupted before it was complete
        except PermissionError:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} cannot be read by this user. Run as its "
                f"owner.") from None
        try:
            value = json.loads(text)
            version = int(value["version"])
            identity = Identity(int(value["cluster_id"], 16), int(value["member_id"], 16),
                                str(value["name"]), value.get("joined") is True)
        except (ValueError, KeyError, TypeError):
            raise DataDirError(
                f"{self.member / 'format'} is damaged. Restore it from a copy, or start this "
                f"member anew with an empty directory.") from None
        if version != FORMAT_VERSION:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} has format version {version}, this program knows "
                f"{FORMAT_VERSION}. Start it with the version of quorate that wrote it.")
        return identity

    def expect(self, found: Identity, wanted: Identity) -> None:
        """Raises DataDirError if the directory is another member's or cluster's."""
        if found.cluster_id != wanted.cluster_id:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} belongs to cluster {found.cluster_id:x} "
                f"(member {found.name!r}), but --initial-cluster and --initial-cluster-token "
                f"describe cluster {wanted.cluster_id:x}. Name this member's own directory, or "
                f"an empty one.")
        if found.member_id != wanted.member_id:
            raise DataDirError(
                f"--data-dir {str(self.path)!r} belongs to member {found.name!r} "
                f"({found.member_id:x}), not to --name {wanted.name!r} ({wanted.member_id:x}). "
                f"Name the directory of {wanted.name!r}.")

    def lock(self) -> None:
        """Create the directory and take the lock, unless it is held; raises DataDirError."""
        if self._lock is not None:
            return
        for directory in (self.path, self.member, self.snap, self.db):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.member / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            self._lock = None
            raise DataDirError(
                f"--data-dir {str(self.path)!r} is in use by another quorate "
                f"(pid {holder or 'unknown'}). Stop it first.") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def claim(self, identity: Identity) -> None:
        """The last step of a first start: from now on a member lives here."""
        text = json.dumps({
            "version": FORMAT_VERSION, "cluster_id": f"{identity.cluster_id:x}",
            "member_id": f"{identity.member_id:x}", "name": identity.name,
            "joined": identity.joined})
        _replace(self.member / "format", text + "\n")
        _sync(self.path)
        Note(self).drop()

    def clear_unfinished(self) -> None:
        """Remove what an interrupted first start left behind."""
        for directory in (self.wal, self.db, self.snap):
            if directory.exists():
                for file in directory.iterdir():
                    file.unlink()

    def unlock(self) -> None:
        """Give the lock up."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Note:
    """That this directory's member may have registered itself somewhere (bootstrap/discovery.py);
    kept until its cluster begins."""

    def __init__(self, directory: DataDir) -> None:
        self._directory = directory
        self._path = directory.member / "registered"

    def has(self, text: str) -> bool:
        """Whether an earlier start wrote that."""
        try:
            return self._path.read_text() == text
        except OSError:
            return False

    def write(self, text: str) -> None:
        """Lock the directory and keep that; raises DataDirError."""
        self._directory.lock()
        if not self.has(text):
            _replace(self._path, text)
            _sync(self._directory.path)

    def drop(self) -> None:
        """Forget it."""
        self._path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
