"""Encoding of replicated commands, and the ids that make each unique.

An entry's payload is etcd's InternalRaftRequest. The request inside is encoded once; the
envelope around it (a header with the id, and the field number) is written by hand, because
building and copying the envelope message costs more than the put it carries.

Not here: what the commands do (state/machine.py).
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.message import Message as Proto

from quorate.wire._generated import raft_internal_pb2 as internal

_FIELDS = {
    field.message_type.full_name: field.number
    for field in internal.InternalRaftRequest.DESCRIPTOR.fields
    if field.message_type is not None
}
_BYTE = [bytes((value,)) for value in range(0x80)]
_HEADER_TAG = b"\xa2\x06"  # field 100, length-delimited


def varint(value: int) -> bytes:
    """A protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_TAGS = {name: varint(number << 3 | 2) for name, number in _FIELDS.items()}


def encode_request(request: Proto, request_id: int) -> bytes:
    """The payload of an entry that carries `request`; raises KeyError for what is no command."""
    tag = _TAGS[request.DESCRIPTOR.full_name]
    body = request.SerializeToString()
    size = len(body)
    header = b"\x08" + _id_varint(request_id)
    return b"".join((
        _HEADER_TAG, _BYTE[len(header)], header, tag,
        _BYTE[size] if size < 0x80 else varint(size), body))


_ID_LOW_BITS = 14


@lru_cache(maxsize=4)
def _id_end(high: int) -> bytes:
    """The end of an id's varint, which changes once in 16384 ids."""
    return varint(high)


def _id_varint(request_id: int) -> bytes:
    """The varint of an id, which is always a large number."""
    low = request_id & (1 << _ID_LOW_BITS) - 1
    return bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) + _id_end(request_id >> _ID_LOW_BITS)


class RequestIds:
    """Ids unique over all members and restarts: etcd's pkg/idutil layout.

    16 bits of the member id, 40 bits of start time in ms, 8 bits to begin the count with.
    """

    def __init__(self, member_id: int, start_ms: int) -> None:
        self._prefix = (member_id & 0xFFFF) << 48
        self._suffix = (start_ms & (1 << 40) - 1) << 8

    def next(self) -> int:
        """A new id, never 0."""
        self._suffix += 1
        return self._prefix | self._suffix & (1 << 48) - 1
