"""raftpb by hand: the protobuf forms of Raft's values, for the log and between members.

By hand because every entry passes here several times, and a generated message costs a copy of
every payload. The generated code is the oracle of the tests. Zero fields are left out; readers
take either form (rpc-fields §7.5).

Decoders raise `WireError` for anything malformed and never anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quorate.raft.types import (
    ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
)

RESPONSES_DEPTH_MAX = 2
"""Responses do not nest in what members send each other."""

_ENTRY_TYPES = {int(t): t for t in EntryType}
_MESSAGE_TYPES = {int(t): t for t in MessageType}


class WireError(ValueError):
    """Bytes that are not what they should be."""


def varint(value: int) -> bytes:
    """An unsigned varint."""
    if value < 0x80:
        return _SMALL[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes((value,)) for value in range(0x80)]


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field; length-delimited values are bytes."""
    at, end = 0, len(data)
    try:
        while at < end:
            tag = data[at]
            at += 1
            if tag >= 0x80:
                tag, at = _long_varint(data, at - 1)
            kind = tag & 7
            if kind == 0:
                value = data[at]
                at += 1
                if value >= 0x80:
                    value, at = _long_varint(data, at - 1)
                yield tag >> 3, value
            elif kind == 2:
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = _long_varint(data, at - 1)
                start, at = at, at + length
                if at > end:
                    raise WireError(f"field {tag >> 3} of {length} bytes is cut short")
                yield tag >> 3, data[start:at]
            else:
                raise WireError(f"unexpected wire type {kind} of field {tag >> 3}")
    except IndexError:
        raise WireError("a number is cut short") from None


def _long_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise WireError("a number is larger than 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a number is longer than ten bytes")


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise WireError("bytes where a number belongs")
    return value


def _data(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("a number where bytes belong")
    return value


def encode_entry(entry: Entry) -> bytes:
    """raftpb.Entry."""
    term, index, data, kind = entry
    if data and not kind:
        return b"\x10%b\x18%b\x22%b%b" % (varint(term), varint(index), varint(len(data)), data)
    out = b"\x08" + varint(kind) if kind else b""
    out += b"\x10" + varint(term) + b"\x18" + varint(index)
    return out + b"\x22" + varint(len(data)) + data if data else out


def decode_entry(data: bytes) -> Entry:
    """See `encode_entry`."""
    term = index = kind = 0
    payload = b""
    for number, value in fields(data):
        if number == 4:
            payload = _data(value)
        elif number == 2:
            term = _number(value)
        elif number == 3:
            index = _number(value)
        elif number == 1:
            kind = _number(value)
    if kind not in _ENTRY_TYPES:
        raise WireError(f"unknown entry type {kind}")
    return Entry(term, index, payload, _ENTRY_TYPES[kind])


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Entries, each after its length."""
    out: list[bytes] = []
    for entry in entries:
        data = encode_entry(entry)
        out += (varint(len(data)), data)
    return b"".join(out)


def decode_entries(data: bytes) -> list[Entry]:
    """See `encode_entries`."""
    out: list[Entry] = []
    at = 0
    try:
        while at < len(data):
            length, at = _long_varint(data, at)
            out.append(decode_entry(data[at:at + length]))
            at += length
    except IndexError:
        raise WireError("a length is cut short") from None
    if at != len(data):
        raise WireError("an entry is cut short")
    return out


def encode_hard_state(state: HardState) -> bytes:
    """raftpb.HardState."""
    return (b"\x08" + varint(state.term) + b"\x10" + varint(state.vote)
            + b"\x18" + varint(state.commit))


def decode_hard_state(data: bytes) -> HardState:
    """See `encode_hard_state`."""
    found = dict(fields(data))
    return HardState(*(_number(found.get(n, 0)) for n in (1, 2, 3)))


def encode_conf_state(state: ConfState) -> bytes:
    """raftpb.ConfState."""
    out = b""
    for tag, ids in ((b"\x08", state.voters), (b"\x10", state.learners),
                     (b"\x18", state.voters_outgoing), (b"\x20", state.learners_next)):
        for node_id in ids:
            out += tag + varint(node_id)
    return out + b"\x28\x01" if state.auto_leave else out


def decode_conf_state(data: bytes) -> ConfState:
    """See `encode_conf_state`; packed lists are taken, too."""
    lists: dict[int, list[int]] = {1: [], 2: [], 3: [], 4: []}
    auto_leave = False
    for number, value in fields(data):
        if number == 5:
            auto_leave = bool(_number(value))
        elif number in lists:
            if isinstance(value, bytes):
                lists[number] += _packed(value)
            else:
                lists[number].append(value)
    return ConfState(tuple(lists[1]), tuple(lists[2]), tuple(lists[3]), tuple(lists[4]),
                     auto_leave)


def _packed(data: bytes) -> list[int]:
    out: list[int] = []
    at = 0
    try:
        while at < len(data):
            value, at = _long_varint(data, at)
            out.append(value)
    except IndexError:
        raise WireError("a packed number is cut short") from None
    return out


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """raftpb.Snapshot."""
    metadata = _sized(b"\x0a", encode_conf_state(snapshot.conf_state))
    metadata += b"\x10" + varint(snapshot.index) + b"\x18" + varint(snapshot.term)
    data = _sized(b"\x0a", snapshot.data) if snapshot.data else b""
    return data + _sized(b"\x12", metadata)


def decode_snapshot(data: bytes) -> Snapshot:
    """See `encode_snapshot`."""
    found = dict(fields(data))
    metadata = dict(fields(_data(found.get(2, b""))))
    return Snapshot(
        _number(metadata.get(2, 0)), _number(metadata.get(3, 0)),
        decode_conf_state(_data(metadata.get(1, b""))), _data(found.get(1, b"")))


def encode_message(message: Message) -> bytes:
    """raftpb.Message."""
    m = message
    out = [b"\x08", varint(m.type), b"\x10", varint(m.to), b"\x18", varint(m.from_),
           b"\x20", varint(m.term)]
    if m.log_term:
        out += (b"\x28", varint(m.log_term))
    if m.index:
        out += (b"\x30", varint(m.index))
    for entry in m.entries:
        data = encode_entry(entry)
        out += (b"\x3a", varint(len(data)), data)
    if m.commit:
        out += (b"\x40", varint(m.commit))
    if m.snapshot is not None:
        out.append(_sized(b"\x4a", encode_snapshot(m.snapshot)))
    if m.reject:
        out.append(b"\x50\x01")
    if m.reject_hint:
        out += (b"\x58", varint(m.reject_hint))
    if m.context:
        out.append(_sized(b"\x62", m.context))
    if m.vote:
        out += (b"\x68", varint(m.vote))
    for response in m.responses:
        out.append(_sized(b"\x72", encode_message(response)))
    return b"".join(out)


def decode_message(data: bytes, depth: int = 0) -> Message:
    """See `encode_message`."""
    numbers = dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 10, 11, 13), 0)
    entries: list[Entry] = []
    responses: list[Message] = []
    snapshot: Snapshot | None = None
    context = b""
    for number, value in fields(data):
        if number in numbers:
            numbers[number] = _number(value)
        elif number == 7:
            entries.append(decode_entry(_data(value)))
        elif number == 9:
            snapshot = decode_snapshot(_data(value))
        elif number == 12:
            context = _data(value)
        elif number == 14:
            if depth >= RESPONSES_DEPTH_MAX:
                raise WireError("responses are nested too deeply")
            responses.append(decode_message(_data(value), depth + 1))
    kind = _MESSAGE_TYPES.get(numbers[1])
    if kind is None:
        raise WireError(f"unknown message type {numbers[1]}")
    return Message(
        kind, numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], tuple(entries),
        numbers[8], numbers[13], snapshot, bool(numbers[10]), numbers[11], context,
        tuple(responses))
