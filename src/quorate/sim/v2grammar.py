"""Draws the v2 requests of a simulated client.

Keys are below a directory of each client, which others read, compare, change and delete, too; those
with a TTL are below another, which is its client's alone. Values are nobody else's.

Not here: who asks, and what is recorded (client.py), what TTLs promise (ttls.py), v3 (grammar.py).
"""

from __future__ import annotations

import random

from quorate.sim.ttls import Ttls
from quorate.wire._generated import v2_pb2 as v2

NAMES = (b"a", b"b", b"d/a", b"d/b", b"d/e/a", b"_h")
TIMED = (b"a", b"b", b"d")
"""The last one is a directory."""

R = v2.V2Request


class V2Grammar:
    """Of the client called `name`, one of `clients`."""

    def __init__(self, name: str, rng: random.Random, clients: int, ttl_factor: int) -> None:
        self.ttls = Ttls(name)
        self._name = name
        self._rng = rng
        self._clients = clients
        self._ttl_factor = ttl_factor
        self._count = 0
        self._seen: dict[bytes, v2.V2Node] = {}

    def draw(self) -> v2.V2Request | v2.V2Get:
        """Any request."""
        choice = self._rng.random()
        if choice < 0.3:
            return self._get()
        if choice < 0.6:
            return self._timed()
        return self._change(self._path())

    def asked(self, request: v2.V2Request | v2.V2Get, now: float) -> None:
        """It is sent."""
        if isinstance(request, v2.V2Request):
            self.ttls.asked(request, now)

    def refused(self, request: v2.V2Request | v2.V2Get) -> None:
        """For sure."""
        if isinstance(request, v2.V2Request):
            self.ttls.settled(request)

    def answered(self, request: v2.V2Request | v2.V2Get, response: v2.V2Response,
                 sent: float, now: float) -> None:
        """Later compares are with what was answered."""
        node = response.node
        self._seen |= {one.key: one for one in (node, *node.nodes)}
        if isinstance(request, v2.V2Request):
            own = node.key.startswith(f"/{self._name}-ttl/".encode())
            self.ttls.answered(request, node, sent, now, alone=own)

    def _path(self) -> bytes:
        client = self._rng.randrange(self._clients)
        return f"/c{client}/".encode() + self._rng.choice(NAMES)

    def _value(self) -> bytes:
        self._count += 1
        return f"{self._name}-v2-{self._count}".encode()

    def _get(self) -> v2.V2Get:
        rng, path = self._rng, self._path()
        if rng.random() < 0.5:
            path = path.rpartition(b"/")[0]
        if rng.random() < 0.1:
            path = b"/"
        return v2.V2Get(path=path, recursive=rng.random() < 0.5, quorum=rng.random() < 0.7)

    def _change(self, path: bytes) -> v2.V2Request:
        rng, choice = self._rng, self._rng.random()
        if choice < 0.08:
            return R(method=R.CREATE_IN_ORDER, path=path.rpartition(b"/")[0],
                     value=self._value())
        if choice < 0.14:
            return R(path=path.rpartition(b"/")[0], dir=True, prev_exist=rng.choice((True, False)))
        if choice < 0.3:
            return self._delete(path)
        request = R(path=path, value=self._value())
        if choice < 0.5:
            request.prev_exist = rng.random() < 0.5
        elif choice < 0.8:
            self._compare(request)
        if rng.random() < 0.1:
            request.ttl = self._ttl_s()
        return request

    def _delete(self, path: bytes) -> v2.V2Request:
        rng = self._rng
        request = R(method=R.DELETE, path=path)
        if rng.random() < 0.5:
            self._compare(request)
        elif rng.random() < 0.6:
            request.path = path.rpartition(b"/")[0]
            request.recursive = rng.random() < 0.5
            request.dir = True
        return request

    def _compare(self, request: v2.V2Request) -> None:
        """With what was seen, or next to it."""
        rng = self._rng
        seen = self._seen.get(request.path, v2.V2Node(value=b"none", modified_index=1))
        if rng.random() < 0.5:
            request.prev_value = seen.value + rng.choice((b"", b"", b"", b"-"))
        else:
            request.prev_index = max(1, seen.modified_index + rng.choice((0, 0, 0, 1)))

    # TTLs.

    def _ttl_s(self) -> int:
        return self._ttl_factor * self._rng.randrange(2, 10)

    def _timed(self) -> v2.V2Request:
        """Begin, refresh, or end one: of a file, of a directory, or of what is in it."""
        rng, name = self._rng, self._rng.choice(TIMED)
        path = f"/{self._name}-ttl/".encode() + name
        choice = rng.random()
        if name == TIMED[-1]:
            if choice < 0.4:
                return R(path=path + b"/x", value=self._value())
            if choice < 0.5:
                return R(method=R.DELETE, path=path, recursive=True)
            request = R(path=path, dir=True, ttl=self._ttl_s())
            if choice < 0.75:
                request.prev_exist = True
            return request
        if choice < 0.1:
            return R(method=R.DELETE, path=path)
        if choice < 0.2:
            return R(path=path, value=self._value())
        if choice < 0.6:
            request = R(path=path, ttl=self._ttl_s(), refresh=True)
            if choice < 0.5:
                request.prev_exist = True
            return request
        return R(path=path, value=self._value(), ttl=self._ttl_s())
