"""Changes of the v2 API: set, create, update, compare and swap, delete, and what ends with a lease.

Each is one command and at most one revision. Rules and causes of errors: etcd-surface.md §6, and
stock etcd 3.4 where that is silent. A TTL becomes a lease whose id is `LEASE` and the revision; it
ends with the next change of what hangs on it.

Invariants: what is refused changes nothing; a file is never in a file that v2 made.
Not here: reading (v2tree.py), watches (member/v2watches.py), forms and JSON (wire/v2.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.state.errors import Problem, Refused
from quorate.state.lease import TTL_S_MAX, LeaseTable
from quorate.state.mvcc import Store, Write
from quorate.state.v2tree import MARKER, ROOT, Tree, ancestors, inside, parent
from quorate.wire._generated import v2_pb2 as v2

LEASE = 0x7632 << 48
"""Ids of leases that are TTLs begin with "v2"."""

IN_ORDER_DIGITS = 20

COUNTED = ("gets", "sets", "delete", "update", "create", "compareAndSwap", "compareAndDelete")
"""Names of operations in `/v2/stats/store`."""


@dataclass(slots=True)
class Change:
    """What one request did. A lease may be granted and revoked by the same request's end."""

    response: v2.V2Response
    write: Write
    granted: list[int] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)


class V2:
    """Changes the store and the leases."""

    def __init__(self, store: Store, leases: LeaseTable) -> None:
        self._store = store
        self._leases = leases
        self.tree = Tree(store, leases)
        self.counts = {f"{name}{end}": 0 for name in COUNTED for end in ("Success", "Fail")} | {
            "expireCount": 0}
        """What was done here since the start."""

    def get(self, path: bytes, *, recursive: bool) -> v2.V2Response:
        """See `Tree.get`."""
        try:
            response = self.tree.get(path, recursive=recursive)
        except Refused:
            self.counts["getsFail"] += 1
            raise
        self.counts["getsSuccess"] += 1
        return response

    def change(self, request: v2.V2Request) -> Change:
        """Carry out a request; raises Refused before anything is changed."""
        change = Change(v2.V2Response(refresh=request.refresh), Write.begin(self._store))
        name, step = self._step(request)
        try:
            step(request, change)
        except Refused:
            self.counts[f"{name}Fail"] += 1
            raise
        self.counts[f"{name}Success"] += 1
        return change

    def _step(
        self, request: v2.V2Request
    ) -> tuple[str, Callable[[v2.V2Request, Change], None]]:
        """What is asked, as the store is asked in etcd."""
        compares = request.prev_index or request.prev_value
        if request.method == v2.V2Request.DELETE:
            return ("compareAndDelete" if compares else "delete"), self._delete
        if request.method == v2.V2Request.CREATE_IN_ORDER or (
                request.HasField("prev_exist") and not request.prev_exist):
            return "create", self._create
        if compares:
            return "compareAndSwap", self._compare_and_swap
        if request.HasField("prev_exist"):
            return "update", self._update
        return "sets", self._set

    def ended(self, keys: list[bytes], write: Write) -> list[int]:
        """These keys are deleted because their lease has ended; if one is a marker, so is what is
        in the directory. Leases of v2 that nothing hangs on any more, which are ended, too."""
        change = Change(v2.V2Response(), write)
        self.counts["expireCount"] += len(keys)
        for key in keys:
            if key.startswith(MARKER + b"/"):
                self._clear(key.removeprefix(MARKER), change)
        return change.revoked

    # Requests.

    def _set(self, request: v2.V2Request, change: Change) -> None:
        path, value = request.path, request.value
        _require_below_root(path)
        self._require_room(path)
        before = self.tree.require(path) if request.refresh else self.tree.find(path)
        if request.refresh and before is not None:
            value = before.value
        if before is not None and before.dir:
            raise Refused(Problem.V2_NOT_A_FILE, _text(path))
        change.response.action = "set"
        self._put(request, path, value, change)
        if before is not None:
            change.response.prev_node.CopyFrom(before)
            if request.dir:
                self._remove(path, change)

    def _create(self, request: v2.V2Request, change: Change) -> None:
        path = request.path
        if request.method == v2.V2Request.CREATE_IN_ORDER:
            path = inside(path) + str(self._store.revision + 1).zfill(IN_ORDER_DIGITS).encode()
        _require_below_root(path)
        self._require_room(path)
        if self.tree.find(path) is not None:
            raise Refused(Problem.V2_KEY_EXISTS, _text(path))
        change.response.action = "create"
        self._put(request, path, request.value, change)

    def _update(self, request: v2.V2Request, change: Change) -> None:
        path = request.path
        _require_below_root(path)
        before = self.tree.require(path)
        if before.dir and request.value:
            raise Refused(Problem.V2_NOT_A_FILE, _text(path))
        change.response.action = "update"
        self._replace(request, before, change)

    def _compare_and_swap(self, request: v2.V2Request, change: Change) -> None:
        path = request.path
        _require_below_root(path)
        before = self.tree.require(path)
        _require_file(before, path)
        _compare(request, before)
        change.response.action = "compareAndSwap"
        self._replace(request, before, change)

    def _delete(self, request: v2.V2Request, change: Change) -> None:
        path = request.path
        compares = bool(request.prev_index or request.prev_value)
        if not compares:
            _require_below_root(path)
        before = self.tree.require(path)
        if compares:
            _require_file(before, path)
            _compare(request, before)
        elif before.dir and not (request.dir or request.recursive):
            raise Refused(Problem.V2_NOT_A_FILE, _text(path))
        elif before.dir and not request.recursive and not self.tree.is_empty(path):
            raise Refused(Problem.V2_DIRECTORY_NOT_EMPTY, _text(path))
        self._remove(MARKER + path, change)
        self._remove(path, change)
        if before.dir:
            self._clear(path, change)
        response = change.response
        response.action = "compareAndDelete" if compares else "delete"
        response.prev_node.CopyFrom(before)
        response.node.CopyFrom(v2.V2Node(
            key=path, dir=before.dir, created_index=before.created_index,
            modified_index=change.write.revision))

    # Steps.

    def _require_room(self, path: bytes) -> None:
        """Nothing above may be a file."""
        if self.tree.is_dir(parent(path)):
            return  # and so is what that is in
        for above in ancestors(path):
            if not self.tree.is_dir(above) and self._store.latest(above) is not None:
                raise Refused(Problem.V2_NOT_A_DIRECTORY, _text(above))

    def _put(
        self, request: v2.V2Request, path: bytes, value: bytes, change: Change
    ) -> None:
        """The file or the directory, with the directories above."""
        if not self.tree.is_dir(parent(path)):
            for above in ancestors(path):
                if not self.tree.is_dir(above):
                    self._write(MARKER + above, b"", 0, change)
        lease = self._lease(request, change)
        self._write(MARKER + path if request.dir else path, b"" if request.dir else value, lease,
                    change)
        self._tell(path, directory=request.dir, change=change)

    def _replace(self, request: v2.V2Request, before: v2.V2Node, change: Change) -> None:
        """Another value and TTL."""
        path, lease = request.path, self._lease(request, change)
        if before.dir:
            self._write(MARKER + path, b"", lease, change)
        else:
            self._write(path, before.value if request.refresh else request.value, lease, change)
        self._tell(path, directory=before.dir, change=change)
        change.response.prev_node.CopyFrom(before)

    def _lease(self, request: v2.V2Request, change: Change) -> int:
        """A new one for the TTL that is asked for; 0 if none is."""
        if not request.HasField("ttl"):
            return 0
        lease_id = LEASE | (self._store.revision + 1)
        while self._leases.get(lease_id) is not None:  # a client has chosen it
            lease_id += 1
        self._leases.grant(lease_id, min(request.ttl, TTL_S_MAX))
        change.granted.append(lease_id)
        return lease_id

    def _write(self, key: bytes, value: bytes, lease: int, change: Change) -> None:
        old = self._store.latest(key)
        counts = self._store.counts
        counts.puts += 1
        counts.put_bytes += len(key) + len(value)
        change.write.put(key, value, lease, old)
        self._leases.move(key, old, lease)
        self._end(0 if old is None else old.lease, change)

    def _remove(self, key: bytes, change: Change) -> None:
        """Delete a key if it is there."""
        old = self._store.latest(key)
        if old is None:
            return
        self._store.counts.deletes += 1
        change.write.delete(key)
        self._leases.move(key, old, 0)
        self._end(old.lease, change)

    def _clear(self, path: bytes, change: Change) -> None:
        """Delete all that is in a directory."""
        for key in [key for key, _ in self.tree.under(path)]:
            self._remove(key, change)

    def _end(self, lease_id: int, change: Change) -> None:
        """End a lease of v2 on which nothing hangs any more."""
        if lease_id >> 48 == LEASE >> 48 and self._leases.get(lease_id) is not None and (
                not self._leases.has_keys(lease_id)):
            self._leases.revoke(lease_id)
            change.revoked.append(lease_id)

    def _tell(self, path: bytes, *, directory: bool, change: Change) -> None:
        """What was just written."""
        kv = change.write.events[-1].kv
        if directory:
            node = self.tree.directory(path, kv.create_revision, kv.mod_revision, kv.lease)
        else:
            node = self.tree.file(kv)
        change.response.node.CopyFrom(node)


def _require_below_root(path: bytes) -> None:
    if path == ROOT:
        raise Refused(Problem.V2_ROOT_READ_ONLY, "/")


def _require_file(node: v2.V2Node, path: bytes) -> None:
    if node.dir:
        raise Refused(Problem.V2_NOT_A_FILE, _text(path.rstrip(b"/")))


def _compare(request: v2.V2Request, node: v2.V2Node) -> None:
    """Raises Refused with what is other than it should be."""
    wrong = []
    if request.prev_value and request.prev_value != node.value:
        wrong.append(f"[{_text(request.prev_value)} != {_text(node.value)}]")
    if request.prev_index and request.prev_index != node.modified_index:
        wrong.append(f"[{request.prev_index} != {node.modified_index}]")
    if wrong:
        raise Refused(Problem.V2_COMPARE_FAILED, " ".join(wrong))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
