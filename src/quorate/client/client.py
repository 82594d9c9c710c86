"""A client of a cluster: one request goes to one endpoint after the other until one takes it.

What is sent again: anything for which no connection could be made; a read whose connection broke,
or that a member refused because it is not available. Never a write that was sent: whether it was
done is not known then, and the caller is told so.

Not here: HTTP (connection.py), what can be asked (methods.py).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message as Proto

from quorate.client.connection import Connection, url_of
from quorate.client.errors import ClientError, OutcomeUnknown, ServerError, Unreachable
from quorate.client.methods import Method
from quorate.wire import gateway

UNKNOWN, UNAVAILABLE = 2, 14

R = TypeVar("R", bound=Proto)


class Client:
    """Requests one at a time; streams have connections of their own."""

    def __init__(self, endpoints: Sequence[str], *, dial_timeout_s: float = 2.0) -> None:
        """Raises ClientError for what is no endpoint."""
        for endpoint in endpoints:
            url_of(endpoint)
        self.endpoints = list(endpoints)
        self._dial_timeout_s = dial_timeout_s
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def call(self, method: Method[R], request: Proto) -> R:
        """The answer; raises ServerError, Unreachable, OutcomeUnknown."""
        body = gateway.encode(request)
        failure: ClientError | None = None
        for endpoint in self._in_turn():
            try:
                connection = await self._connected(endpoint)
                status, text = await connection.post(f"/v3/{method.path}", body)
                if status == 200:
                    return gateway.decode(method.answer, _result(text))
                raise _error(status, text)
            except Unreachable as none:
                failure = _first(failure, none)
            except OutcomeUnknown as broken:
                self._connection = None
                if not method.reads:
                    raise
                failure = broken
            except ServerError as refused:
                if not method.reads or refused.code != UNAVAILABLE:
                    raise
                failure = refused
                self.close()
        raise failure or Unreachable("there is no endpoint; name some with --endpoints")

    async def stream(self, method: Method[R], *requests: Proto) -> AsyncIterator[R]:
        """The answers of a stream as they come; raises as `call` does. When its connection breaks
        it is over: only the caller knows where to go on (watching.py)."""
        body = b"\n".join(map(gateway.encode, requests))
        failure: ClientError | None = None
        for endpoint in self._in_turn():
            try:
                connection = await Connection.open(endpoint, self._dial_timeout_s)
            except Unreachable as none:
                failure = _first(failure, none)
                continue
            try:
                async for line in connection.lines(f"/v3/{method.path}", body):
                    if not line.startswith(b'{"result"'):
                        raise _error(0, line)
                    yield gateway.decode(method.answer, _result(line))
                return
            finally:
                connection.close()
        raise failure or Unreachable("there is no endpoint; name some with --endpoints")

    async def _connected(self, endpoint: str) -> Connection:
        connection = self._connection
        if connection is None or not connection.usable or connection.endpoint != endpoint:
            self.close()
            connection = self._connection = await Connection.open(endpoint, self._dial_timeout_s)
        return connection

    def _in_turn(self) -> list[str]:
        """All endpoints, the one that is connected first."""
        if self._connection is None or not self._connection.usable:
            return self.endpoints
        at = self.endpoints.index(self._connection.endpoint)
        return self.endpoints[at:] + self.endpoints[:at]


def _first(before: ClientError | None, failure: Unreachable) -> ClientError:
    """What was wrong with each endpoint, but for an answer, which says more."""
    if before is None:
        return failure
    return Unreachable(f"{before}; {failure}") if isinstance(before, Unreachable) else before


def _result(text: bytes) -> bytes:
    """What is in a line of a stream, or all of an answer."""
    if not text.startswith(b'{"result":'):
        return text
    return json.dumps(json.loads(text)["result"]).encode()


def _error(status: int, text: bytes) -> ServerError:
    """etcd's forms of errors: flat, and of streams."""
    try:
        told = json.loads(text)
        inner = told["error"] if isinstance(told.get("error"), dict) else told
        return ServerError(int(inner.get("grpc_code", inner.get("code", UNKNOWN))),
                           str(inner.get("message") or inner.get("error")))
    except (ValueError, AttributeError, KeyError):
        shown = text[:200].decode("utf-8", "replace").strip()
        return ServerError(UNKNOWN, f"HTTP status {status}: {shown}")
