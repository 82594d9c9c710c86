"""The JSON mapping against protobuf's own, and against wrong input (surface §5)."""

import json
from base64 import b64encode

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message as Proto
from hypothesis import given, strategies as st

from quorate.wire import gateway
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

I64 = st.integers(-(2**63), 2**63 - 1)
KV = st.builds(
    kv_pb2.KeyValue, key=st.binary(min_size=1, max_size=9), create_revision=I64,
    mod_revision=I64, version=I64, value=st.binary(max_size=9), lease=I64)
HEADER = st.builds(rpc.ResponseHeader, cluster_id=st.integers(0, 2**64 - 1), revision=I64)
RESPONSES = st.one_of(
    st.builds(rpc.RangeResponse, header=HEADER, kvs=st.lists(KV, max_size=3), more=st.booleans(),
              count=I64),
    st.builds(rpc.PutResponse, header=HEADER, prev_kv=st.none() | KV),
    st.builds(rpc.LeaseKeepAliveResponse, header=HEADER, ID=I64, TTL=I64),
    st.builds(rpc.WatchResponse, header=HEADER, watch_id=I64, created=st.booleans(),
              events=st.lists(st.builds(kv_pb2.Event, kv=KV, type=st.sampled_from([0, 1])),
                              max_size=2)))
REQUESTS = st.one_of(
    st.builds(rpc.PutRequest, key=st.binary(max_size=9), value=st.binary(max_size=9), lease=I64,
              prev_kv=st.booleans()),
    st.builds(rpc.RangeRequest, key=st.binary(max_size=9), range_end=st.binary(max_size=9),
              limit=I64, sort_order=st.sampled_from([0, 1, 2]), serializable=st.booleans()))


@given(RESPONSES)
def test_answers_are_what_protobuf_would_write(message: Proto) -> None:
    """Hot encoders and the general one."""
    want = json_format.MessageToDict(message, preserving_proto_field_name=True)

    assert json.loads(gateway.encode(message)) == want


@given(REQUESTS, st.booleans())
def test_requests_are_what_protobuf_would_read(message: Proto, original: bool) -> None:
    """With original and lowerCamel names."""
    text = json_format.MessageToJson(message, preserving_proto_field_name=original)

    assert gateway.decode(type(message), text.encode()) == message


@pytest.mark.parametrize(("body", "want"), [
    (b"", rpc.LeaseGrantRequest()),
    (b'{"TTL":30}', rpc.LeaseGrantRequest(TTL=30)),
    (b'{"TTL":"30","ID":null,"unknown":{"a":[1]}}', rpc.LeaseGrantRequest(TTL=30)),
    (b'{"TTL":30.0}', rpc.LeaseGrantRequest(TTL=30)),
])
def test_what_patroni_sends(body: bytes, want: Proto) -> None:
    """Numbers or strings, null, unknown fields."""
    assert gateway.decode(rpc.LeaseGrantRequest, body) == want


def test_a_transaction_with_enum_names() -> None:
    """Targets by name, results left out, nesting."""
    body = json.dumps({
        "compare": [{"target": "CREATE", "create_revision": "0",
                     "key": b64encode(b"k").decode()}],
        "failure": [{"request_txn": {"success": [
            {"request_put": {"key": b64encode(b"k").decode()}}]}}]}).encode()

    request = gateway.decode(rpc.TxnRequest, body)

    assert request.compare[0].target == rpc.Compare.CREATE
    assert request.failure[0].request_txn.success[0].request_put.key == b"k"


@pytest.mark.parametrize("body", [
    b"{", b"[]", b'"x"', b'{"key":5}', b'{"key":"*"}', b'{"key":"YQ"}', b'{"lease":"x"}',
    b'{"lease":1.5}', b'{"lease":99999999999999999999}', b'{"prev_kv":"yes"}', b"\xff",
    b'{"key":' + b"[" * 5000,
])
def test_what_cannot_be_read_is_said_to_be_so(body: bytes) -> None:
    """A GatewayError and nothing else."""
    with pytest.raises(gateway.GatewayError):
        gateway.decode(rpc.PutRequest, body)


def test_nesting_has_a_limit() -> None:
    """Deeper than any client goes."""
    body: object = {}
    for _ in range(40):
        body = {"success": [{"request_txn": body}]}

    with pytest.raises(gateway.GatewayError, match="deep"):
        gateway.decode(rpc.TxnRequest, json.dumps(body).encode())


def test_a_stream_body_holds_several_objects() -> None:
    """One after the other, with or without space between."""
    found = gateway.decode_stream(rpc.LeaseKeepAliveRequest, b'{"ID":"1"}{"ID":2}\n {"ID":3}')

    assert [request.ID for request in found] == [1, 2, 3]


@pytest.mark.parametrize("body", [b'{"ID":' + b"9" * 5000 + b"}", b'{"ID":NaN}', b"[" * 100_000])
def test_a_stream_body_that_cannot_be_read(body: bytes) -> None:
    """Numbers of too many digits, too: Python refuses to convert them in an error of its own."""
    with pytest.raises(gateway.GatewayError):
        gateway.decode_stream(rpc.LeaseKeepAliveRequest, body)
