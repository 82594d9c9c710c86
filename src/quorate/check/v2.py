"""etcd's v2 keys over those of v3 as a model for judges; see keyvalue.py, which it stands beside.

What there is, is worked out anew from all keys for each request: files, directories with a marker,
and directories that are there because something is in them (docs/decisions/006-v2.md).

Not judged: how much is left of a TTL, and TTLs that were not acknowledged: of two refreshes of
unknown outcome nobody can tell which it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quorate.check.keyvalue import Change, Impossible, State
from quorate.wire._generated import kv_pb2, v2_pb2 as v2

Request = v2.V2Request | v2.V2Get

MARKER = b"quorate/v2/dir"
LEASE = 0x7632 << 48
"""The lease of a TTL has the number of the revision that made it, and this."""


def execute(state: State, request: Request) -> tuple[v2.V2Response, list[Change]]:
    """What the request would answer, without header, and change; raises Impossible."""
    if isinstance(request, v2.V2Get):
        tree = _Tree(state)
        node = tree.require(request.path)
        if node.dir:
            tree.list(node, request.path, recursive=request.recursive)
        return v2.V2Response(action="get", node=node), []
    draft = _Draft(state, request)
    response = draft.run()
    return response, [Change(key, kv) for key, kv in draft.changes.items()]


def learn(state: State, request: object) -> None:
    """The newest revision is this request's, which was acknowledged."""
    if isinstance(request, v2.V2Request) and request.HasField("ttl"):
        state.ttls[LEASE | state.revision] = request.ttl


def ends_with(kvs: Mapping[bytes, kv_pb2.KeyValue], lease: int) -> set[bytes]:
    """All keys that are gone when a lease ends: its own, and what is in directories of it."""
    gone = {key for key, kv in kvs.items() if kv.lease == lease}
    for key in list(gone):
        if key.startswith(MARKER + b"/"):
            gone |= set(_under(kvs, key.removeprefix(MARKER)))
    return gone


def blurred(response: v2.V2Response, state: State) -> v2.V2Response:
    """Without what is not judged."""
    copy = v2.V2Response()
    copy.CopyFrom(response)
    for node in (*_nodes(copy.node), *_nodes(copy.prev_node)):
        node.ClearField("left_ms")
        if node.lease not in state.ttls and not (node is copy.node and copy.action != "get"):
            node.ClearField("ttl")
    return copy


def _nodes(node: v2.V2Node) -> Iterator[v2.V2Node]:
    yield node
    for child in node.nodes:
        yield from _nodes(child)


def is_path(key: bytes) -> bool:
    """Whether v2 has a name for a key."""
    return key.startswith(b"/") and not {b"", b".", b".."} & set(key[1:].split(b"/"))


def ancestors(path: bytes) -> list[bytes]:
    """Directories that a path is in, but the root."""
    names = path.split(b"/")
    return [b"/".join(names[:count]) for count in range(2, len(names))]


def _under(kvs: Mapping[bytes, kv_pb2.KeyValue], path: bytes) -> list[bytes]:
    """Keys and markers in and below a directory, seen by v2 or not."""
    return [key for key in kvs if key.removeprefix(MARKER).startswith(path + b"/")]


class _Tree:
    """All keys as v2 sees them."""

    def __init__(self, state: State) -> None:
        self.kvs = kvs = state.kvs
        self._ttls = state.ttls
        keys = sorted(key for key in kvs if is_path(key))
        markers = sorted(key for key in kvs if key.startswith(MARKER + b"/"))
        self.dirs: dict[bytes, kv_pb2.KeyValue] = {}
        """With the key that tells when they were made: the marker, or the first that is inside."""
        for key in (*keys, *markers):
            for above in ancestors(key.removeprefix(MARKER)):
                self.dirs.setdefault(above, kvs[key])
        self.dirs |= {key.removeprefix(MARKER): kvs[key] for key in markers}
        self.files = {key: kvs[key] for key in keys if key not in self.dirs}

    def require(self, path: bytes) -> v2.V2Node:
        for above in ancestors(path):
            if above not in self.dirs:
                raise Impossible(f"{above!r} is no directory")
        node = self.find(path)
        if node is None:
            raise Impossible(f"{path!r} is not there")
        return node

    def find(self, path: bytes) -> v2.V2Node | None:
        if path == b"/":
            return v2.V2Node(dir=True)
        if path in self.files:
            kv = self.files[path]
            return v2.V2Node(key=path, value=kv.value, created_index=kv.create_revision,
                             modified_index=kv.mod_revision, lease=kv.lease,
                             ttl=self._ttls.get(kv.lease))
        if path not in self.dirs:
            return None
        kv = self.dirs[path]
        if kv.key == MARKER + path:
            return v2.V2Node(key=path, dir=True, created_index=kv.create_revision,
                             modified_index=kv.mod_revision, lease=kv.lease,
                             ttl=self._ttls.get(kv.lease))
        return v2.V2Node(key=path, dir=True, created_index=kv.create_revision,
                         modified_index=kv.create_revision)

    def list(self, node: v2.V2Node, path: bytes, *, recursive: bool) -> None:
        """Add what is in a directory."""
        inside = b"/" if path == b"/" else path + b"/"
        for child in sorted({*self.files, *self.dirs}):
            name = child.removeprefix(inside)
            if name == child or b"/" in name or name.startswith(b"_"):
                continue
            found = self.find(child)
            assert found is not None
            if recursive and found.dir:
                self.list(found, child, recursive=True)
            node.nodes.append(found)


class _Draft:
    """The effects of one change."""

    def __init__(self, state: State, request: v2.V2Request) -> None:
        self._request = request
        self._tree = _Tree(state)
        self._revision = state.revision + 1
        self._compares = bool(request.prev_index or request.prev_value)
        self.changes: dict[bytes, kv_pb2.KeyValue | None] = {}

    def run(self) -> v2.V2Response:
        request, path = self._request, self._request.path
        if request.method == v2.V2Request.DELETE:
            return self._delete()
        if request.method == v2.V2Request.CREATE_IN_ORDER:
            directory = b"" if path == b"/" else path
            return self._create(directory + b"/%020d" % self._revision)
        if request.HasField("prev_exist") and not request.prev_exist:
            return self._create(path)
        if self._compares:
            before = self._tree.require(path)
            self._compare(before)
            return self._replace("compareAndSwap", before)
        if request.HasField("prev_exist"):
            before = self._tree.require(path)
            if before.dir and request.value:
                raise Impossible(f"{path!r} is a directory")
            return self._replace("update", before)
        return self._set()

    def _set(self) -> v2.V2Response:
        request, path = self._request, self._request.path
        before = self._tree.require(path) if request.refresh else self._tree.find(path)
        if before is not None and before.dir:
            raise Impossible(f"{path!r} is a directory")
        value = before.value if request.refresh and before is not None else request.value
        response = self._make("set", path, value)
        if before is not None:
            response.prev_node.CopyFrom(before)
            if request.dir:
                self.changes[path] = None
        return response

    def _create(self, path: bytes) -> v2.V2Response:
        if self._tree.find(path) is not None:
            raise Impossible(f"{path!r} is there")
        return self._make("create", path, self._request.value)

    def _make(self, action: str, path: bytes, value: bytes) -> v2.V2Response:
        """A file or a directory, with the directories that it is in."""
        if path == b"/":
            raise Impossible("the root cannot be written")
        for above in ancestors(path):
            if above in self._tree.files:
                raise Impossible(f"{above!r} is a file")
            if above not in self._tree.dirs:
                self._put(MARKER + above, b"", 0)
        return self._tell(action, path, value, directory=self._request.dir)

    def _replace(self, action: str, before: v2.V2Node) -> v2.V2Response:
        request = self._request
        if request.path == b"/":
            raise Impossible("the root cannot be written")
        value = before.value if request.refresh else request.value
        response = self._tell(action, request.path, value, directory=before.dir)
        response.prev_node.CopyFrom(before)
        return response

    def _delete(self) -> v2.V2Response:
        request, path = self._request, self._request.path
        before = self._tree.require(path)
        if path == b"/":
            raise Impossible("the root cannot be deleted")
        if self._compares:
            self._compare(before)
        elif before.dir and not request.recursive:
            listed = v2.V2Node()
            self._tree.list(listed, path, recursive=False)
            hidden = any(one.startswith(path + b"/_")
                         for one in (*self._tree.files, *self._tree.dirs))
            if not request.dir or listed.nodes or hidden:
                raise Impossible(f"{path!r} is a directory, or not empty")
        gone = {path, MARKER + path, *(_under(self._tree.kvs, path) if before.dir else ())}
        self.changes |= {key: None for key in gone if key in self._tree.kvs}
        return v2.V2Response(
            action="compareAndDelete" if self._compares else "delete", prev_node=before,
            node=v2.V2Node(key=path, dir=before.dir, created_index=before.created_index,
                           modified_index=self._revision))

    def _compare(self, before: v2.V2Node) -> None:
        request = self._request
        if before.dir:
            raise Impossible(f"{request.path!r} is a directory")
        if request.prev_value and request.prev_value != before.value:
            raise Impossible(f"its value is {before.value!r}")
        if request.prev_index and request.prev_index != before.modified_index:
            raise Impossible(f"its index is {before.modified_index}")

    def _tell(self, action: str, path: bytes, value: bytes, *, directory: bool) -> v2.V2Response:
        """Write it, and the answer."""
        timed = self._request.HasField("ttl")
        lease = LEASE | self._revision if timed else 0
        kv = self._put(MARKER + path if directory else path, b"" if directory else value, lease)
        node = v2.V2Node(key=path, dir=directory, created_index=kv.create_revision,
                         modified_index=self._revision, lease=lease)
        if not directory:
            node.value = value
        if timed:
            node.ttl = self._request.ttl
        return v2.V2Response(action=action, node=node, refresh=self._request.refresh)

    def _put(self, key: bytes, value: bytes, lease: int) -> kv_pb2.KeyValue:
        before = self._tree.kvs.get(key)
        kv = kv_pb2.KeyValue(
            key=key, value=value, lease=lease, mod_revision=self._revision,
            create_revision=before.create_revision if before else self._revision,
            version=before.version + 1 if before else 1)
        self.changes[key] = kv
        return kv
