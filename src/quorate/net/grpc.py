"""gRPC over HTTP/2: messages in, messages and a status out.

A handler gives for each path a `Method`. The message of a unary call is handed over when the
request is complete; those of a stream one by one as they come.

Not here: HTTP/2 (http2.py), what methods do and which errors there are (api/).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from quorate.net.frames import Wrong
from quorate.net.headers import Head
from quorate.net.http2 import Http2Protocol
from quorate.net.stream import Stream

TIMEOUT_S_MAX = 10 * 365 * 86400.0
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
OK, CANCELED, DEADLINE_EXCEEDED = 0, 1, 4
UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL = 12, 8, 13


def literal(name: bytes, value: bytes) -> bytes:
    """A header that no table takes up (RFC 7541 §6.2.2)."""
    return b"\x00" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    out, size = bytearray((127,)), size - 127
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out) + text


_OK_HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_OK_TRAILERS = literal(b"grpc-status", b"0") + literal(b"grpc-message", b"")
_BAD_TYPE = literal(b":status", b"415")
_BAD_METHOD = literal(b":status", b"405")


class Handler(Protocol):
    """What a server does with calls. Must not raise."""

    def method(self, path: bytes) -> Method | None:
        """The method of a path."""
        ...


class Observer(Protocol):
    """Counts the calls of one method."""

    def began(self, client_version: bytes | None) -> None:
        """A call, by a client that may have said which API it speaks."""
        ...

    def received(self, size: int) -> None:
        """A message of that many bytes."""
        ...

    def sent(self, size: int, messages: int = 1) -> None:
        """Messages of that many bytes together."""
        ...

    def ended(self, code: int, took_s: float, peer: str) -> None:
        """A call, with that status."""
        ...


class Nobody:
    """An `Observer` that does not care."""

    def began(self, client_version: bytes | None) -> None:
        """See `Observer`."""

    def received(self, size: int) -> None:
        """See `Observer`."""

    def sent(self, size: int, messages: int = 1) -> None:
        """See `Observer`."""

    def ended(self, code: int, took_s: float, peer: str) -> None:
        """See `Observer`."""


@dataclass(frozen=True, slots=True)
class Method:
    """`begin` is called when the call begins (streams) or is complete (unary, with the message,
    which is not None then)."""

    begin: Callable[[Call, bytes | None], None]
    unary: bool = True
    observer: Observer = Nobody()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a head asks for, told once for all calls that say the same."""

    method: Method
    timeout_s: float | None
    wrong: tuple[int, str] | None
    client_version: bytes | None


class Call(Stream):
    """One call."""

    __slots__ = ("_began_at", "_head", "_method", "_observer", "_partial", "_started", "_timer",
                 "messages", "on_drained", "on_end", "on_lost", "on_message", "taken")

    def __init__(
        self, connection: Http2Protocol, stream_id: int, head: Head, plan: _Plan
    ) -> None:
        super().__init__(connection, stream_id)
        self._head = head
        self._method = method = plan.method
        self._observer: Observer | None = method.observer
        """None when it has been told the end."""
        self._began_at = time.perf_counter()
        self._partial = bytearray()
        """Of a message that is not complete: one object, however small the frames."""
        self._started = False
        self._timer: asyncio.TimerHandle | None = None
        self.messages = 0
        self.on_message: Callable[[bytes], None] | None = None
        """Streams: each message of the client."""
        self.on_end: Callable[[], None] | None = None
        """Streams: the client sends no more."""
        self.on_lost: Callable[[], None] | None = None
        """The client does not want the reply any more; not called once it is complete."""
        self.on_drained: Callable[[], None] | None = None
        """The client has taken what it was sent."""

    def metadata(self, name: bytes) -> bytes | None:
        """The first value of this name."""
        return self._head.get(name)

    def start(self, plan: _Plan) -> None:
        """Called once, when the head is there."""
        self._method.observer.began(plan.client_version)
        if plan.wrong is not None:
            return self.fail(*plan.wrong)
        if plan.timeout_s is not None:
            self._timer = self.connection.loop.call_later(plan.timeout_s, self._expired)
        if not self._method.unary:
            self._method.begin(self, None)
        return None

    # The request.

    def received(self, data: bytes) -> None:
        """See `Stream`."""
        size_max = self.connection.message_bytes_max
        if len(data) == int.from_bytes(data[:5], "big") + 5 <= size_max and not self._partial:
            # Nearly always: one message, whole, not compressed.
            self._message(data[5:])
            return self.connection.kept(self, 0)
        if self._partial:
            self._partial += data
            have, size = len(self._partial), int.from_bytes(self._partial[1:5], "big")
            if have < 5 or have - 5 < size <= size_max:
                return self.connection.kept(self, have)
            data, self._partial = bytes(self._partial), bytearray()
        at, end = 0, len(data)
        while end - at >= 5 and not self.finished:
            size = int.from_bytes(data[at + 1:at + 5], "big")
            if data[at]:
                return self.fail(UNIMPLEMENTED, "grpc: compressed messages are not served")
            if size > size_max:
                return self.fail(RESOURCE_EXHAUSTED, f"grpc: received message larger than max "
                                 f"({size} vs. {size_max})")
            if end - at - 5 < size:
                break
            self._message(data[at + 5:at + 5 + size])
            at += 5 + size
        if at < end and not self.finished:
            self._partial += data[at:]
        self.connection.kept(self, len(self._partial))
        return None

    def _message(self, message: bytes) -> None:
        self.messages += 1
        self._method.observer.received(len(message))
        if not self._method.unary:
            if self.on_message is not None:
                self.on_message(message)
        elif self.messages == 1:
            self.taken = message
        else:
            self.fail(INTERNAL, "grpc: more than one message for a unary method")

    def complete(self) -> None:
        """See `Stream`."""
        if self._partial:
            return self.fail(INTERNAL, "grpc: the last message is cut off")
        if self._method.unary:
            if not self.messages:
                return self.fail(INTERNAL, "grpc: a unary method needs a message")
            return self._method.begin(self, self.taken)
        if self.on_end is not None:
            self.on_end()
        return None

    def late(self) -> None:
        """See `Stream`."""
        self.fail(DEADLINE_EXCEEDED, "the message did not come in time")

    def lost(self) -> None:
        """See `Stream`."""
        self._over(CANCELED)
        if self.on_lost is not None:
            self.on_lost()

    def writable(self) -> None:
        """See `Stream`."""
        if self.on_drained is not None:
            self.on_drained()

    # The reply.

    def reply(self, message: bytes) -> None:
        """The one message of a unary call, and success."""
        self._method.observer.sent(len(message))
        self._over(OK)
        self.send_whole(_OK_HEAD, b"\x00" + len(message).to_bytes(4, "big") + message,
                        _OK_TRAILERS)

    def send(self, message: bytes) -> None:
        """One message of a stream."""
        self.open()
        self._method.observer.sent(len(message))
        self.send_data(b"\x00" + len(message).to_bytes(4, "big") + message)

    def send_several(self, messages: list[bytes]) -> None:
        """Messages of a stream, in as few frames as they fit in."""
        self.open()
        self._method.observer.sent(sum(map(len, messages)), len(messages))
        self.send_data(b"".join([
            part for one in messages for part in (b"\0", len(one).to_bytes(4, "big"), one)]))

    def open(self) -> None:
        """Let the client know that the call was taken, before there is a message."""
        if not self._started:
            self._started = True
            self.send_headers(_OK_HEAD)

    def finish(self) -> None:
        """A stream ends well."""
        self._over(OK)
        self.open()
        self.send_headers(_OK_TRAILERS, last=True)

    def fail(self, code: int, text: str) -> None:
        """The call ends with an error."""
        self._over(code)
        status = _status(code, text)
        self.send_headers(status if self._started else _OK_HEAD + status, last=True)

    def _expired(self) -> None:
        lost, self.on_lost = self.on_lost, None
        self.fail(DEADLINE_EXCEEDED, "context deadline exceeded")
        if lost is not None:
            lost()

    def _over(self, code: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._observer is not None:
            self._observer.ended(
                code, time.perf_counter() - self._began_at, self.connection.peer)
            self._observer = None


def _plan(head: Head, method: Method) -> _Plan:
    wrong, seconds, timeout = None, None, head.get(b"grpc-timeout")
    encoding = head.get(b"grpc-encoding")
    if timeout is not None and (seconds := _seconds(timeout)) is None:
        wrong = INTERNAL, f"malformed grpc-timeout: {timeout!r}"
    elif encoding not in (None, b"identity"):
        wrong = UNIMPLEMENTED, (
            f"grpc: Decompressor is not installed for grpc-encoding \"{encoding!r}\"")
    return _Plan(method, seconds, wrong, head.get(b"client-api-version"))


def _status(code: int, text: str) -> bytes:
    return literal(b"grpc-status", b"%d" % code) + literal(
        b"grpc-message", quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode())


def _seconds(timeout: bytes) -> float | None:
    unit = _UNITS.get(timeout[-1:])
    digits = timeout[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return min(int(digits) * unit, TIMEOUT_S_MAX)


class _Rejected(Stream):
    """A request that is no call: answered at once."""

    __slots__ = ()

    def received(self, data: bytes) -> None:
        """It does not matter."""

    def complete(self) -> None:
        """It has been answered."""


def opener(handler: Handler) -> Callable[[Http2Protocol, int, Head], Stream]:
    """What makes the streams of an `Http2Protocol`."""

    def open_(connection: Http2Protocol, stream_id: int, head: Head) -> Stream:
        plan = head.plan
        if isinstance(plan, _Plan):
            call = Call(connection, stream_id, head, plan)
            call.start(plan)
            return call
        content_type = head.get(b"content-type") or b""
        if head.method != b"POST" or not content_type.startswith(b"application/grpc"):
            rejected = _Rejected(connection, stream_id)
            rejected.send_headers(
                _BAD_METHOD if head.method != b"POST" else _BAD_TYPE, last=True)
            return rejected
        method = handler.method(head.path)
        if method is None:
            path = head.path.decode("latin-1")
            service, _, name = path.lstrip("/").rpartition("/")
            rejected = _Rejected(connection, stream_id)
            rejected.send_headers(
                _OK_HEAD + _status(UNIMPLEMENTED, f"unknown method {name} for service {service}"),
                last=True)
            return rejected
        head.plan = _plan(head, method)
        return open_(connection, stream_id, head)

    return open_


__all__ = ["Call", "Handler", "Method", "Observer", "Wrong", "opener"]
