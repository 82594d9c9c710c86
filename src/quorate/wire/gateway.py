"""The JSON form of etcd's messages, as its gateway speaks it (surface §5).

Out: original field names, 64-bit integers as strings, bytes in base64, enums by name, zero fields
left out. In: original or lowerCamel names, integers as numbers or strings, enums by name or
number, null for absent, unknown fields ignored.

Hot answers have encoders of their own below; everything else goes by tables made from the
descriptors once per message type. Not here: HTTP (api/).
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error, b2a_base64
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message as Proto

from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

DEPTH_MAX = 32
"""Nesting of messages in a request."""

M = TypeVar("M", bound=Proto)
Json = Any
_F = FieldDescriptor
_INT64 = frozenset({_F.TYPE_INT64, _F.TYPE_UINT64})
_INT32 = frozenset({_F.TYPE_INT32, _F.TYPE_UINT32})
_LIMITS = {
    _F.TYPE_INT64: (-(2**63), 2**63 - 1), _F.TYPE_UINT64: (0, 2**64 - 1),
    _F.TYPE_INT32: (-(2**31), 2**31 - 1), _F.TYPE_UINT32: (0, 2**32 - 1),
}


class GatewayError(ValueError):
    """A request that cannot be read; the text says where and why."""


# In.


class _PutIn(msgspec.Struct, forbid_unknown_fields=True):
    key: bytes = b""
    value: bytes = b""
    lease: int | str = 0
    prev_kv: bool = False


class _RangeIn(msgspec.Struct, forbid_unknown_fields=True):
    key: bytes = b""
    range_end: bytes = b""
    serializable: bool = False


_decode_put = msgspec.json.Decoder(_PutIn).decode
_decode_range = msgspec.json.Decoder(_RangeIn).decode


def decode_put(body: bytes) -> rpc.PutRequest:
    """A put; what does not have the commonest form goes the general way."""
    try:
        p = _decode_put(body)
        return rpc.PutRequest(
            key=p.key, value=p.value, lease=int(p.lease), prev_kv=p.prev_kv)
    except (msgspec.DecodeError, ValueError):
        return from_body(rpc.PutRequest, body)


def decode_range(body: bytes) -> rpc.RangeRequest:
    """A range; what does not have the commonest form goes the general way."""
    try:
        r = _decode_range(body)
        return rpc.RangeRequest(
            key=r.key, range_end=r.range_end, serializable=r.serializable)
    except msgspec.DecodeError:
        return from_body(rpc.RangeRequest, body)


_DECODERS: dict[type[Proto], Callable[[bytes], Any]] = {
    rpc.PutRequest: decode_put,
    rpc.RangeRequest: decode_range,
}


def decode(kind: type[M], body: bytes) -> M:
    """One JSON object as a message; raises GatewayError."""
    decoder = _DECODERS.get(kind)
    message: M = from_body(kind, body) if decoder is None else decoder(body)
    return message


def from_body(kind: type[M], body: bytes) -> M:
    """One JSON object as any message; an empty body is the empty message."""
    if not body or body.isspace():
        return kind()
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as malformed:
        raise GatewayError(f"not JSON: {malformed}") from malformed
    return from_json(kind, value)


def decode_stream(kind: type[M], body: bytes) -> list[M]:
    """JSON objects one after the other, as bodies of streaming calls hold them."""
    try:
        text = body.decode()
        decoder, at, values = json.JSONDecoder(), 0, []
        while (at := _skip_space(text, at)) < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(from_json(kind, value))
    except GatewayError:
        raise
    except (ValueError, RecursionError) as malformed:  # also a number of too many digits
        raise GatewayError(f"not JSON: {malformed}") from malformed
    return values


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def from_json(kind: type[M], value: Json) -> M:
    """A decoded JSON object as a message; raises GatewayError."""
    message = kind()
    _fill(message, value, 0)
    return message


_FIELDS: dict[Any, dict[str, FieldDescriptor]] = {}


def _fields(descriptor: Any) -> dict[str, FieldDescriptor]:
    known = _FIELDS.get(descriptor)
    if known is None:
        known = {}
        for field in descriptor.fields:
            known[field.name] = known[field.json_name] = field
        _FIELDS[descriptor] = known
    return known


def _fill(message: Proto, value: Json, depth: int) -> None:
    if not isinstance(value, dict):
        raise GatewayError(f"{message.DESCRIPTOR.name}: an object is needed, not {_kind(value)}")
    if depth > DEPTH_MAX:
        raise GatewayError(f"nested more than {DEPTH_MAX} deep")
    fields = _fields(message.DESCRIPTOR)
    for name, item in value.items():
        field = fields.get(name)
        if field is None or item is None:
            continue
        if field.is_repeated:
            if not isinstance(item, list):
                raise GatewayError(f"{name}: a list is needed, not {_kind(item)}")
            target = getattr(message, field.name)
            for one in item:
                if field.message_type is not None:
                    _fill(target.add(), one, depth + 1)
                else:
                    target.append(_scalar(field, one))
        elif field.message_type is not None:
            nested = getattr(message, field.name)
            nested.SetInParent()
            _fill(nested, item, depth + 1)
        else:
            setattr(message, field.name, _scalar(field, item))


def _scalar(field: FieldDescriptor, value: Json) -> Json:
    kind = field.type
    if kind == _F.TYPE_BYTES:
        return _bytes(field.name, value)
    if kind in _LIMITS:
        return _integer(field, value)
    if kind == _F.TYPE_BOOL:
        if isinstance(value, bool):
            return value
    elif kind == _F.TYPE_STRING:
        if isinstance(value, str):
            return value
    elif kind == _F.TYPE_ENUM:
        return _enum(field, value)
    raise GatewayError(f"{field.name}: {_kind(value)} {value!r} does not fit")


def _bytes(name: str, value: Json) -> bytes:
    if not isinstance(value, str):
        raise GatewayError(f"{name}: base64 is needed, not {_kind(value)}")
    try:
        return b64decode(value, validate=True)
    except (Base64Error, ValueError) as malformed:
        raise GatewayError(f"{name}: illegal base64 data: {malformed}") from malformed


def _integer(field: FieldDescriptor, value: Json) -> int:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise GatewayError(f"{field.name}: {value!r} is no number") from None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    low, high = _LIMITS[field.type]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise GatewayError(f"{field.name}: {value!r} is no number from {low} to {high}")
    return value


def _enum(field: FieldDescriptor, value: Json) -> int:
    values: Any = field.enum_type and field.enum_type.values_by_name
    if isinstance(value, str) and value in values:
        return int(values[value].number)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise GatewayError(f"{field.name}: {value!r} is none of {', '.join(values)}")


def _kind(value: Json) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")


# Out.


def encode(message: Proto) -> bytes:
    """A message as JSON."""
    encoder = _ENCODERS.get(type(message))
    return encoder(message) if encoder is not None else _generic(message)


def _generic(message: Proto) -> bytes:
    return msgspec.json.encode(to_json(message))


def to_json(message: Proto) -> dict[str, Json]:
    """A message as JSON values."""
    out: dict[str, Json] = {}
    for field, value in message.ListFields():
        convert = _converter(field)
        if field.is_repeated:
            out[field.name] = [convert(item) for item in value]
        else:
            out[field.name] = convert(value)
    return out


_CONVERTERS: dict[FieldDescriptor, Callable[[Any], Json]] = {}


def _converter(field: FieldDescriptor) -> Callable[[Any], Json]:
    known = _CONVERTERS.get(field)
    if known is None:
        if field.message_type is not None:
            known = to_json
        elif field.type == _F.TYPE_BYTES:
            known = _base64
        elif field.type in _INT64:
            known = str
        elif field.enum_type is not None:
            names = {v.number: v.name for v in field.enum_type.values}
            known = lambda number: names.get(number, number)  # noqa: E731
        else:
            known = lambda value: value  # noqa: E731
        _CONVERTERS[field] = known
    return known


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode()


_HEADER_FIELDS = (b"cluster_id", b"member_id", b"revision", b"raft_term")
_FULL_HEADER = b'"header":{%b}' % b",".join(b'"%b":"%%d"' % name for name in _HEADER_FIELDS)


def header_json(header: rpc.ResponseHeader) -> bytes:
    """`"header":{…}`; zero fields left out."""
    values = (header.cluster_id, header.member_id, header.revision, header.raft_term)
    if all(values):
        return _FULL_HEADER % values
    return b'"header":{%b}' % b",".join(
        [b'"%b":"%d"' % field for field in zip(_HEADER_FIELDS, values, strict=True) if field[1]])


def _kv_json(kv: kv_pb2.KeyValue) -> bytes:
    out = b'{"key":"%b"' % b2a_base64(kv.key, newline=False)
    if kv.create_revision:
        out += b',"create_revision":"%d"' % kv.create_revision
    if kv.mod_revision:
        out += b',"mod_revision":"%d"' % kv.mod_revision
    if kv.version:
        out += b',"version":"%d"' % kv.version
    if kv.value:
        out += b',"value":"%b"' % b2a_base64(kv.value, newline=False)
    if kv.lease:
        out += b',"lease":"%d"' % kv.lease
    return out + b"}"


def _range_json(response: rpc.RangeResponse) -> bytes:
    out = [header_json(response.header)]
    kvs = response.kvs
    if kvs:
        out.append(b'"kvs":[%b]' % b",".join([_kv_json(kv) for kv in kvs]))
    if response.more:
        out.append(b'"more":true')
    if response.count:
        out.append(b'"count":"%d"' % response.count)
    return b"{%b}" % b",".join(out)


def _put_json(response: rpc.PutResponse) -> bytes:
    if response.HasField("prev_kv"):
        return b'{%b,"prev_kv":%b}' % (header_json(response.header), _kv_json(response.prev_kv))
    return b"{%b}" % header_json(response.header)


def _keep_alive_json(response: rpc.LeaseKeepAliveResponse) -> bytes:
    lease = b',"ID":"%d"' % response.ID if response.ID else b""
    ttl = b',"TTL":"%d"' % response.TTL if response.TTL else b""
    return b"{%b%b%b}" % (header_json(response.header), lease, ttl)


_ENCODERS: dict[type[Proto], Callable[[Any], bytes]] = {
    rpc.RangeResponse: _range_json,
    rpc.PutResponse: _put_json,
    rpc.LeaseKeepAliveResponse: _keep_alive_json,
}
