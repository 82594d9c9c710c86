"""What the two Python programs share: checks, the conductor's ear, and election messages.

Runs in the clients' own environments: nothing of quorate may be imported here.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MEMBERS = [(host, int(port)) for host, port in
           (address.rsplit(":", 1) for address in os.environ["MEMBERS"].split(","))]
"""The leader's address is the first."""

LEASE_S = 2
"""The shortest that etcd grants at its default election timeout."""

LATE_S = 6.0
"""A lease ends within its TTL, an election and a second; the rest is a busy machine."""


@contextmanager
def check(name: str) -> Iterator[None]:
    """Names what its body shows; the program ends if that fails."""
    try:
        yield
    except BaseException:
        print(f"FAILED {name}", flush=True)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # threads of the libraries must not hold the end up
    print(f"ok {name}", flush=True)


def finish() -> None:
    """All checks have passed."""
    print("all passed", flush=True)
    os._exit(0)


def equal(actual: Any, expected: Any) -> None:
    """Asserts, and shows both."""
    assert actual == expected, f"{actual!r} is not {expected!r}"


def ask(order: str) -> None:
    """Has the conductor do `kill N` or `start N`; returns when it is done."""
    print(f"! {order}", flush=True)
    equal(sys.stdin.readline(), "done\n")


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits for something that other threads bring about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Tally:
    """What a follower has seen and a writer was told, and whether they agree."""

    def __init__(self) -> None:
        self.acknowledged: list[bytes] = []
        self.seen: list[tuple[int, bytes]] = []

    def judge(self, truth: list[tuple[int, bytes]]) -> None:
        """No event lost or told twice; `truth` is what one whole stream told."""
        equal(self.seen, truth)
        told = [value for _, value in truth]
        for value in self.acknowledged:
            equal(told.count(value), 1)


FIELDS = {
    "KeyValue": {"key": 1, "value": 5},
    "LeaderKey": {"name": 1, "key": 2, "rev": 3, "lease": 4},
    "CampaignRequest": {"name": 1, "lease": 2, "value": 3},
    "CampaignResponse": {"leader": 2},
    "ProclaimRequest": {"leader": 1, "value": 2},
    "ProclaimResponse": {},
    "LeaderRequest": {"name": 1},
    "LeaderResponse": {"kv": 2},
    "ResignRequest": {"leader": 1},
    "ResignResponse": {},
}
"""Of v3election, which neither library has messages for; headers are left out."""

MESSAGES = {"leader": "LeaderKey", "kv": "KeyValue"}
NUMBERS = ("rev", "lease")


def _election_classes() -> dict[str, Any]:
    """Message classes, for protobuf 3 as well as its newest."""
    file = descriptor_pb2.FileDescriptorProto(
        name="election.proto", package="v3electionpb", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, numbers in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number in numbers.items():
            if field in MESSAGES:
                message.field.add(
                    name=field, number=number, type=kinds.TYPE_MESSAGE, label=1,
                    type_name=f".v3electionpb.{MESSAGES[field]}")
            else:
                message.field.add(
                    name=field, number=number, label=1,
                    type=kinds.TYPE_INT64 if field in NUMBERS else kinds.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = getattr(message_factory, "GetMessageClass", None) or (
        message_factory.MessageFactory(pool).GetPrototype)
    return {name: make(pool.FindMessageTypeByName(f"v3electionpb.{name}")) for name in FIELDS}


class Election:
    """The v3election service on a library's own channel, blocking or asyncio as that is."""

    CLASSES = _election_classes()

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def _method(self, kind: str, name: str, response: str) -> Any:
        return getattr(self._channel, kind)(
            f"/v3electionpb.Election/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.CLASSES[response].FromString)

    def call(self, method: str, timeout_s: float = 10.0, /, **fields: Any) -> Any:
        """A unary call of `method`."""
        request = self.CLASSES[f"{method}Request"](**fields)
        return self._method("unary_unary", method, f"{method}Response")(request, timeout=timeout_s)

    def observe(self, name: bytes) -> Any:
        """A stream of leaders."""
        request = self.CLASSES["LeaderRequest"](name=name)
        return self._method("unary_stream", "Observe", "LeaderResponse")(request, timeout=20.0)
