"""Messages and calls of v3election, which neither Python library for v3 has.

Runs in the clients' own environments: nothing of quorate may be imported here.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
"""Headers are left out."""

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
