"""Who called what, and how it ended: the counts of gRPC's usual metrics, and slow requests in the
log.

A call over the JSON gateway counts as the gRPC call that it stands for, as in etcd, where it is
one. Not here: what is counted elsewhere in a member (member/measures.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from enum import Enum

from quorate.api.errors import Code
from quorate.wire.prometheus import Family, Histogram, Kind, Labels, Sample, counter

log = logging.getLogger(__name__)

HANDLING_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Edges of `grpc_server_handling_seconds`: those of the Go library by default."""

CLIENT_VERSIONS_MAX = 16
"""Versions of clients that are told apart; a client may claim anything."""

SLOW_LINES_MAX = 10
"""Slow requests told in a second; of the others their number."""


class Type(Enum):
    """Of a method."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI_STREAM = "bidi_stream"


class SlowLog:
    """One line for each request that took long, up to so many a second."""

    def __init__(self, slow_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.slow_s = slow_s or float("inf")
        self._clock = clock
        self._second = self._lines = self._left_out = 0

    def tell(self, method: str, code: int, took_s: float, peer: str) -> None:
        """A request took that long."""
        second = int(self._clock())
        if second != self._second:
            if self._left_out:
                log.warning("%d more slow requests were not told", self._left_out,
                            extra={"fields": {"count": self._left_out}})
            self._second, self._lines, self._left_out = second, 0, 0
        if self._lines >= SLOW_LINES_MAX:
            self._left_out += 1
            return
        self._lines += 1
        log.warning("slow request: %s of %s took %.0f ms (%s)", method, peer or "a client that "
                    "is gone", 1000 * took_s, _code(code), extra={"fields": {
                        "method": method, "client": peer, "took_s": took_s, "code": _code(code)}})


class MethodCalls:
    """The `net.grpc.Observer` of one method."""

    def __init__(
        self, owner: Calls, path: str, type_: Type, *, timed: bool, waits: bool
    ) -> None:
        """`timed`: keep a histogram of durations. `waits`: it may take for ever, so nothing is
        slow."""
        self._path = path
        self._owner = owner
        self._slow_s = owner.slow.slow_s if type_ is Type.UNARY and not waits else float("inf")
        service, _, method = path.partition("/")
        self.labels = {"grpc_method": method, "grpc_service": service, "grpc_type": type_.value}
        self.started = self.messages_received = self.messages_sent = 0
        self.handled = dict.fromkeys(_CODES, 0)
        self._clients = owner.clients[type_ is Type.UNARY]
        self.took_s = Histogram(HANDLING_S) if timed else None

    def began(self, client_version: bytes | None) -> None:
        """See `Observer`."""
        self.started += 1
        if client_version not in self._clients:
            client_version = self._owner.new_client(client_version)
        self._clients[client_version] += 1

    def received(self, size: int) -> None:
        """See `Observer`."""
        self.messages_received += 1
        self._owner.received_bytes += size

    def sent(self, size: int, messages: int = 1) -> None:
        """See `Observer`."""
        self.messages_sent += messages
        self._owner.sent_bytes += size

    def ended(self, code: int, took_s: float, peer: str) -> None:
        """See `Observer`."""
        self.handled[code] += 1
        if self.took_s is not None:
            self.took_s.observe(took_s)
        if took_s > self._slow_s:
            self._owner.slow.tell(self._path, code, took_s, peer)


class Calls:
    """Of one member."""

    def __init__(self, *, extensive: bool = False, slow_s: float = 0.0) -> None:
        """`extensive`: durations, too. `slow_s`: requests that take longer are told; 0: none."""
        self.slow = SlowLog(slow_s)
        self._extensive = extensive
        self._methods: dict[str, MethodCalls] = {}
        self.clients: dict[bool, dict[bytes | None, int]] = {True: {None: 0}, False: {None: 0}}
        """Calls that began, unary and not, by what the client says that it speaks."""
        self.received_bytes = 0
        self.sent_bytes = 0

    def of(self, path: str, type_: Type = Type.UNARY, *, waits: bool = False) -> MethodCalls:
        """The counts of a method."""
        if path not in self._methods:
            self._methods[path] = MethodCalls(
                self, path, type_, timed=self._extensive, waits=waits)
        return self._methods[path]

    def new_client(self, version: bytes | None) -> bytes | None:
        """A client says for the first time that it speaks that; what it counts as."""
        if len(self.clients[True]) > CLIENT_VERSIONS_MAX:
            return None
        for counts in self.clients.values():
            counts[version] = 0
        return version

    def families(self) -> Iterator[Family]:
        """As metrics."""
        methods = [self._methods[path] for path in sorted(self._methods)]

        def each(name: str, help_: str, value: Callable[[MethodCalls], float]) -> Family:
            return Family(name, Kind.COUNTER, help_, tuple(
                Sample(value(one), one.labels) for one in methods))

        yield each("grpc_server_started_total", "Calls that began.", lambda one: one.started)
        yield each("grpc_server_msg_received_total", "Messages received from clients.",
                   lambda one: one.messages_received)
        yield each("grpc_server_msg_sent_total", "Messages sent to clients.",
                   lambda one: one.messages_sent)
        yield Family("grpc_server_handled_total", Kind.COUNTER, "Calls that ended.", tuple(
            Sample(one.handled[code], {"grpc_code": name, **one.labels})
            for one in methods for code, name in _CODES.items()))
        yield Family("grpc_server_handling_seconds", Kind.HISTOGRAM,
                     "Calls that ended, from their head to their status.", tuple(
                         Sample(one.took_s, one.labels) for one in methods
                         if one.took_s is not None))
        yield counter("etcd_network_client_grpc_received_bytes_total",
                      "Bytes of messages from clients.", self.received_bytes)
        yield counter("etcd_network_client_grpc_sent_bytes_total",
                      "Bytes of messages to clients.", self.sent_bytes)
        yield Family("etcd_server_client_requests_total", Kind.COUNTER,
                     "Calls that began, by what the client says of itself.", tuple(
                         Sample(count, _client(unary, version))
                         for unary, counts in self.clients.items()
                         for version, count in counts.items() if count))


class Served:
    """One call over the gateway, on its way through an `Observer`."""

    __slots__ = ("_calls", "_over", "_peer", "_started")

    def __init__(self, calls: MethodCalls, size: int, peer: str) -> None:
        self._calls = calls
        self._peer = peer
        self._over = False
        self._started = time.perf_counter()
        calls.began(None)
        calls.received(size)

    def sent(self, size: int) -> None:
        """A message, or an answer."""
        self._calls.sent(size)

    def ended(self, code: int) -> None:
        """Once; what comes later is not counted."""
        if not self._over:
            self._over = True
            self._calls.ended(code, time.perf_counter() - self._started, self._peer)


def _client(unary: bool, version: bytes | None) -> Labels:
    return {"client_api_version": "unknown" if version is None else version.decode("latin-1"),
            "type": "unary" if unary else "stream"}


def _code(code: int) -> str:
    return _CODES.get(code, str(code))


_CODES = {0: "OK"} | {
    code.value: "".join(part.capitalize() for part in code.name.split("_")) for code in Code}
