"""A plain client of one member's JSON gateway that knows what it does not know.

Not here: what is asked (workload.py).
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from typing import TypeVar

import msgspec
from google.protobuf.message import Message as Proto

from quorate.wire import gateway
from quorate.wire._generated import rpc_pb2 as rpc

R = TypeVar("R", bound=Proto)

REFUSED_FOR_SURE = (3, 5, 6, 9, 11)
"""gRPC codes that say that nothing happened: invalid, not found, exists, precondition, range."""

STREAM_SILENCE_S = 1.0
"""A watch that says nothing for this long is asked whether it still is there, by a new one."""


class Unknown(Exception):
    """Nobody knows whether it happened."""


class Refused(Exception):
    """It did not happen."""


class Wire:
    """One connection, opened again after every trouble."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self.port = port
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def call(self, path: str, request: Proto, kind: type[R]) -> R:
        """Raises Unknown, Refused."""
        try:
            connection = self._connection or self._connect()
        except OSError as failure:
            raise Refused(str(failure)) from failure
        try:
            connection.request("POST", path, gateway.encode(request))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as failure:
            self.close()
            raise Unknown(str(failure)) from failure
        if answer.status == 200:
            return _decode(kind, body)
        self.close()
        raise _error(body)

    def watch(
        self, create: rpc.WatchCreateRequest, stop: threading.Event
    ) -> Iterator[rpc.WatchResponse]:
        """Responses until the stream ends, is silent for too long, or `stop` is set."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=STREAM_SILENCE_S)
            with contextlib.closing(connection):
                connection.request("POST", "/v3/watch", gateway.encode(
                    rpc.WatchRequest(create_request=create)))
                answer = connection.getresponse()
                while not stop.is_set() and (line := answer.readline()):
                    yield _decode(rpc.WatchResponse, line)

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=self._timeout_s)
        connection.connect()
        self._connection = connection
        return connection

    def close(self) -> None:
        """Begin with a new connection next time."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _decode(kind: type[R], body: bytes) -> R:
    """An answer, or one of a stream, which is inside "result"."""
    value = msgspec.json.decode(body)
    return gateway.from_json(kind, value.get("result", value))


def _error(body: bytes) -> Exception:
    try:
        error = msgspec.json.decode(body)
        code, text = error.get("code"), str(error.get("error"))
    except (msgspec.DecodeError, AttributeError):
        return Unknown(f"an answer that is no JSON: {body[:100]!r}")
    return Refused(text) if code in REFUSED_FOR_SURE else Unknown(text)
