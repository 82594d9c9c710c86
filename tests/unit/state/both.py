"""A machine that is asked in both languages, v2 and v3."""

from __future__ import annotations

from quorate.disk.memory_backend import MemoryBackend
from quorate.state.errors import Refused
from quorate.state.machine import Applied, Machine
from quorate.wire import v2 as forms
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc, v2_pb2 as v2


class BothStore:
    """A machine that is asked in both languages."""

    def __init__(self) -> None:
        self.machine = Machine(MemoryBackend())

    def v2(self, method: str, path: str, form: str = "") -> v2.V2Response:
        """A change; raises Refused."""
        return self._result(self.ask(method, path, form))  # type: ignore[return-value]

    def ask(self, method: str, path: str, form: str = "") -> Applied:
        """The same, with all that it did."""
        asked = forms.read(method, path.encode(), forms.parse_form(form.encode()))
        return self.machine.apply(1, internal.InternalRaftRequest(v2_request=asked.change))

    def put(self, key: str, value: str = "v", lease: int = 0) -> None:
        """A put of v3."""
        self._result(self.machine.apply(1, internal.InternalRaftRequest(
            put=rpc.PutRequest(key=key.encode(), value=value.encode(), lease=lease))))

    def delete(self, key: str) -> None:
        """A deletion of v3."""
        self._result(self.machine.apply(1, internal.InternalRaftRequest(
            delete_range=rpc.DeleteRangeRequest(key=key.encode()))))

    def grant(self, lease: int, ttl: int = 60) -> None:
        """A lease of v3."""
        self._result(self.machine.apply(1, internal.InternalRaftRequest(
            lease_grant=rpc.LeaseGrantRequest(ID=lease, TTL=ttl))))

    def expire(self, *leases: int) -> Applied:
        """Leases run out."""
        return self.machine.apply(1, internal.InternalRaftRequest(
            lease_expire=internal.LeaseExpireRequest(ids=leases, term=1)))

    def tree(self, path: str = "/") -> list[str]:
        """Everything that v2 lists below a path, directories with a slash at the end."""
        out: list[str] = []

        def add(node: v2.V2Node) -> None:
            for child in node.nodes:
                out.append(child.key.decode() + ("/" if child.dir else ""))
                add(child)

        add(self.machine.v2.get(path.encode(), recursive=True).node)
        return out

    def keys(self) -> list[str]:
        """All keys of v3."""
        found = self.machine.range(rpc.RangeRequest(key=b"\0", range_end=b"\0"))
        return [kv.key.decode() for kv in found.kvs]

    @staticmethod
    def _result(applied: Applied) -> object:
        if isinstance(applied.result, Refused):
            raise applied.result
        return applied.result
