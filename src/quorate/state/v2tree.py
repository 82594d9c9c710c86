"""The keys as a tree of v2: what a path is, and what is in a directory.

A file is the key of the same bytes. A directory is there when something is in it, or when it has a
marker, a key of its own outside the tree (docs/decisions/006-v2.md). Who is both is a directory.

Not here: changes (v2.py), watches (member/v2watches.py), JSON (wire/v2.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate.state.backend import Bucket
from quorate.state.errors import Problem, Refused
from quorate.state.lease import LeaseTable
from quorate.state.mvcc import Store
from quorate.state.revision import Latest
from quorate.wire._generated import kv_pb2, v2_pb2 as v2

ROOT = b"/"
MARKER = b"quorate/v2/dir"
"""Before the path of a directory."""
DIRS_KEPT = 10_000
"""Paths of which is remembered whether they are directories: as many as a busy client may name
between two keys that come or go."""


def is_path(key: bytes) -> bool:
    """Whether v2 has a name for the key."""
    return key[:1] == b"/" and not {b"", b".", b".."} & set(key[1:].split(b"/"))


def inside(path: bytes) -> bytes:
    """What the keys in a directory begin with."""
    return path if path == ROOT else path + b"/"


def after(prefix: bytes) -> bytes:
    """The first key after all that begin with a prefix, which ends in a slash."""
    return prefix[:-1] + b"0"


def ancestors(path: bytes) -> Iterator[bytes]:
    """The directories above a path, but not the root, from the top."""
    at = path.find(b"/", 1)
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def parent(path: bytes) -> bytes:
    """The directory that a path other than the root is in."""
    return path[:path.rindex(b"/")] or ROOT


def is_hidden(path: bytes) -> bool:
    """Whether listings leave it out."""
    return path[path.rindex(b"/") + 1:][:1] == b"_"


class Tree:
    """Reads the store as a tree."""

    def __init__(self, store: Store, leases: LeaseTable) -> None:
        self._store = store
        self._leases = leases
        self._dirs: dict[bytes, bool] = {}
        """Whether paths are directories, in the store of `_shape`."""
        self._shape = 0

    def marker(self, path: bytes) -> Latest | None:
        """What is known of a directory's marker."""
        return self._store.latest(MARKER + path)

    def is_dir(self, path: bytes) -> bool:
        """Whether it is a directory."""
        if self._shape != self._store.shape or len(self._dirs) > DIRS_KEPT:
            self._shape = self._store.shape
            self._dirs = {ROOT: True}
        found = self._dirs.get(path)
        if found is None:
            found = self.marker(path) is not None or self._first(path) is not None
            self._dirs[path] = found
        return found

    def require(self, path: bytes) -> v2.V2Node:
        """The file or directory, without what is in it; raises Refused."""
        for above in ancestors(path):
            if not self.is_dir(above):
                problem = (Problem.V2_KEY_NOT_FOUND if self._store.latest(above) is None
                           else Problem.V2_NOT_A_DIRECTORY)
                raise Refused(problem, above.decode(errors="replace"))
        node = self.find(path)
        if node is None:
            raise Refused(Problem.V2_KEY_NOT_FOUND, path.decode(errors="replace"))
        return node

    def find(self, path: bytes) -> v2.V2Node | None:
        """The same, without looking at what is above."""
        if not self.is_dir(path):
            kv = self._store.live(path)
            return None if kv is None else self.file(kv)
        if path == ROOT:
            return v2.V2Node(dir=True)
        if (marker := self.marker(path)) is not None:
            return self.directory(path, marker.create_revision, marker.main, marker.lease)
        first = self._first(path)
        assert first is not None
        return self.directory(path, first.create_revision, first.create_revision, 0)

    def file(self, kv: kv_pb2.KeyValue) -> v2.V2Node:
        """Of a key and its value."""
        return v2.V2Node(
            key=kv.key, value=kv.value, created_index=kv.create_revision,
            modified_index=kv.mod_revision, lease=kv.lease, ttl=self._leases.ttl_s(kv.lease))

    def directory(self, path: bytes, created: int, modified: int, lease: int) -> v2.V2Node:
        """Without what is in it."""
        return v2.V2Node(key=path, dir=True, created_index=created, modified_index=modified,
                         lease=lease, ttl=self._leases.ttl_s(lease))

    def get(self, path: bytes, *, recursive: bool) -> v2.V2Response:
        """The answer to a read; raises Refused."""
        node = self.require(path)
        if node.dir:
            self._fill(node, path, recursive=recursive)
        return v2.V2Response(action="get", node=node)

    def is_empty(self, path: bytes) -> bool:
        """Whether nothing is in a directory."""
        return next(self._children(path), None) is None

    def under(self, path: bytes) -> Iterator[tuple[bytes, Latest]]:
        """Keys and markers in and below a directory, in this order."""
        for prefix in (inside(path), MARKER + inside(path)):
            yield from self._store.live_keys(prefix, after(prefix))

    def _fill(self, node: v2.V2Node, path: bytes, *, recursive: bool) -> None:
        for child in sorted(set(self._children(path))):
            if is_hidden(child):
                continue
            found = self.find(child)
            if found is not None:
                if recursive and found.dir:
                    self._fill(found, child, recursive=True)
                node.nodes.append(found)

    def _first(self, path: bytes) -> Latest | None:
        """Of what v2 can see in and below a directory, the first."""
        for prefix in (inside(path), MARKER + inside(path)):
            for key, latest in self._store.live_keys(prefix, after(prefix)):
                if is_path(key.removeprefix(MARKER)):
                    return latest
        return None

    def _children(self, path: bytes) -> Iterator[bytes]:
        """Paths of what is in a directory, some twice. Of a directory below, one key is looked
        at, unless v2 cannot see it."""
        prefix = inside(path)
        for start in (prefix, MARKER + prefix):
            at, end = start, after(start)
            while at:
                scan, at = self._store.backend.scan(Bucket.LATEST, at, end), b""
                for key, _ in scan:
                    name, deeper, _ = key[len(start):].partition(b"/")
                    child = prefix + name
                    if is_path(child) and (
                            is_path(key.removeprefix(MARKER)) or self._first(child) is not None):
                        yield child
                    if deeper:
                        at = start + name + b"0"
                        break
