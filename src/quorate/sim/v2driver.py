"""Patroni's driver for v2 in the model: reads the whole tree every loop, and writes leader and
member keys with a TTL of their own (Patroni 4.1, dcs/etcd.py; contract §1).

Not here: what drivers owe the HA loop, and the one for v3 (drivers.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from quorate.sim.access import Stream
from quorate.sim.dcs import DcsError, RequestFailed, Retry
from quorate.sim.drivers import (
    LEADER, MEMBERS, PREFIX, REPLICA_PATIENCE_S, SYNC, Driver, View, view,
)
from quorate.sim.process import Pause, Signal, Steps
from quorate.state.errors import Problem
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc, v2_pb2 as v2


@dataclass(slots=True)
class Etcd(Driver):
    """The driver for v2. What it waits for comes by a watch of v3."""

    def get_cluster(self) -> Steps[View]:
        """The whole tree, from whichever member."""
        try:
            answer = yield from self._v2(
                v2.V2Get(path=PREFIX[:-1], recursive=True), self.client.retry())
        except RequestFailed as failure:
            if failure.problem is Problem.V2_KEY_NOT_FOUND:
                return View()
            raise DcsError(str(failure)) from failure
        return view({node.key: kv_pb2.KeyValue(
            key=node.key, value=node.value, lease=node.lease, mod_revision=node.modified_index)
            for node in _files(answer.node)})

    def touch_member(self, known: View) -> Steps[bool]:
        """PUT with a TTL, every loop, once."""
        try:
            yield from self._v2(self._timed(MEMBERS + self.name.encode(), b"{}"), None)
        except (RequestFailed, DcsError):
            return False
        return True

    def update_leader(self, known: View) -> Steps[bool]:
        """Compare and swap with a TTL; if there is no key, create it."""
        swap = self._timed(LEADER, self.name.encode())
        swap.prev_value = self.name.encode()
        try:
            yield from self._v2(swap, self.client.retry())
        except RequestFailed as failure:
            if failure.problem is not Problem.V2_KEY_NOT_FOUND:
                return False
            return (yield from self.acquire())
        return True

    def acquire(self) -> Steps[bool]:
        """PUT if it is not there."""
        create = self._timed(LEADER, self.name.encode())
        create.prev_exist = False
        try:
            yield from self._v2(create, self.client.retry())
        except RequestFailed:
            return False
        return True

    def write(self, key: bytes, value: object) -> Steps[bool]:
        """See Driver."""
        try:
            yield from self._v2(v2.V2Request(path=key, value=json.dumps(value).encode()), None)
        except (RequestFailed, DcsError):
            return False
        return True

    def write_sync(self, sync: tuple[str, ...], version: int) -> Steps[int]:
        """See Driver."""
        swap = v2.V2Request(path=SYNC, value=json.dumps(sync).encode(), prev_index=version)
        try:
            answer = yield from self._v2(swap, self.client.retry())
        except (RequestFailed, DcsError):
            return 0
        return answer.node.modified_index

    def _v2(self, request: Proto, retry: Retry | None) -> Steps[v2.V2Response]:
        answer = yield from self.ask(request, retry)
        assert isinstance(answer, v2.V2Response)
        return answer

    def _timed(self, key: bytes, value: bytes) -> v2.V2Request:
        return v2.V2Request(path=key, value=value, ttl=self.client.settings.ttl_s)

    def watch(self, known: View, seconds: float, *, follows: bool) -> Steps[bool]:
        """Replicas watch the leader key, one request a loop; who leads just waits."""
        if not follows or seconds < 1.0:
            woken = yield Pause(seconds, self.woken)
            self.woken.clear()
            return woken is not None
        changed = Signal()
        stream = Stream(lambda response: changed.set() if response.events else None)
        self.client.access.watch(self.client.base, rpc.WatchCreateRequest(key=LEADER), stream)
        woken = yield Pause(seconds + REPLICA_PATIENCE_S, changed)
        self.client.access.close(stream)
        return woken is not None


def _files(node: v2.V2Node) -> Iterator[v2.V2Node]:
    """All that are in and below it."""
    for child in node.nodes:
        if child.dir:
            yield from _files(child)
        else:
            yield child
