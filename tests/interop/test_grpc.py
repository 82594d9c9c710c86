"""gRPC to stock etcd and to quorate: the same calls get the same status, text and answer.

The corpus is that of test_stock_etcd.py, sent as protobuf by the stock Python runtime. Streams
are compared response by response.
"""

from __future__ import annotations

import importlib
import queue
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message as Proto
from harness import Cluster, running_cluster

from quorate.api.methods import UNARY
from quorate.wire._generated import rpc_pb2 as rpc

if shutil.which("etcd") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
stock = importlib.import_module("test_stock_etcd")

BY_GATEWAY = {path: unary for unary in UNARY for path in unary.gateway}
TEXTS = ("malformed", "error unmarshalling", "trying to send message larger")
"""Beginnings of texts that come from libraries, not from etcd."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """One member of each, both empty."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with running_cluster(ours, 1) as quorate, running_cluster(
            theirs, 1, program=["etcd"], extra=("--log-level=error",)) as etcd:
        yield quorate, etcd


@pytest.fixture
def channels(both: tuple[Cluster, Cluster]) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    """A channel to each."""
    one, other = (grpc.insecure_channel(
        f"127.0.0.1:{cluster.members[0].client_port}",
        options=[("grpc.max_send_message_length", 8 << 20)]) for cluster in both)
    yield one, other
    one.close()
    other.close()


def call(channel: grpc.Channel, path: str, request: Proto) -> tuple[Any, ...]:
    """Status, text and answer of one unary call."""
    method = path.rpartition("/")[2]
    answer = getattr(rpc, {
        "Nothing": "RangeResponse",
        "Compact": "CompactionResponse", "HashKV": "HashKVResponse",
    }.get(method, f"{method}Response"))
    try:
        response = channel.unary_unary(
            f"/{path}", request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString)(request, timeout=10)
    except grpc.RpcError as error:
        return error.code().value[0], error.details()
    return 0, stock.comparable(MessageToDict(response, preserving_proto_field_name=True))


def test_the_same_calls_get_the_same_answers(
    channels: tuple[grpc.Channel, grpc.Channel]
) -> None:
    """Every answer of the corpus, in one history, is stock etcd's."""
    wrong = []
    for number, (path, body) in enumerate(stock.CORPUS):
        unary = BY_GATEWAY.get(path)
        if unary is None:
            continue  # a stream
        request = ParseDict(body, unary.request())
        ours, theirs = (call(channel, unary.path, request) for channel in channels)
        if path == stock.HEADLESS:
            ours[1].pop("header", None)
        if ours != theirs:
            wrong.append(f"{number} {unary.path} {str(body)[:200]}\n  ours   {ours}\n"
                         f"  theirs {theirs}")
    assert not wrong, "\n".join(wrong)


WATCHES = (
    {"create_request": {"key": "YQ=="}},
    {"create_request": {"key": "YQ==", "watch_id": "7", "prev_kv": True}},
    {"create_request": {"key": "YQ==", "watch_id": "7"}},
    {"create_request": {"key": "Yg==", "range_end": "YQ=="}},
    {"create_request": {"key": "YQ==", "start_revision": "1"}},
    {"create_request": {"key": "AA==", "range_end": "AA==", "filters": ["NOPUT"]}},
    {"cancel_request": {"watch_id": "0"}}, {"cancel_request": {"watch_id": "99"}},
    {"progress_request": {}},
)


class Watch:
    """A stream on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.requests: queue.Queue[rpc.WatchRequest | None] = queue.Queue()
        self.responses = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=rpc.WatchResponse.FromString)(
                iter(self.requests.get, None), timeout=10)

    def ask(self, request: dict[str, Any]) -> None:
        """Send one."""
        self.requests.put(ParseDict(request, rpc.WatchRequest()))

    def get(self, count: int) -> list[Any]:
        """The next responses, in an order that does not depend on which watch is served first."""
        found = [stock.comparable(MessageToDict(
            next(self.responses), preserving_proto_field_name=True)) for _ in range(count)]
        return sorted(found, key=str)


def test_watches_say_the_same(channels: tuple[grpc.Channel, grpc.Channel]) -> None:
    """Ids, refusals, events, cancellation, progress; the end of requests does not end it."""
    told = []
    for channel in channels:
        put = channel.unary_unary(
            "/etcdserverpb.KV/Put", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=rpc.PutResponse.FromString)
        delete = channel.unary_unary(
            "/etcdserverpb.KV/DeleteRange", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=rpc.DeleteRangeResponse.FromString)
        delete(rpc.DeleteRangeRequest(key=b"a"))
        watch = Watch(channel)
        answers = []
        for request, count in zip(WATCHES, (1, 1, 1, 1, 2, 1, 1, 0, 1), strict=True):
            watch.ask(request)
            answers.append(watch.get(count))
        put(rpc.PutRequest(key=b"a", value=b"1"))
        answers.append(watch.get(1))
        watch.requests.put(None)
        delete(rpc.DeleteRangeRequest(key=b"a"))
        answers.append(watch.get(2))
        told.append(answers)
        watch.responses.cancel()

    assert told[0] == told[1]


def test_keep_alives_say_the_same(channels: tuple[grpc.Channel, grpc.Channel]) -> None:
    """In their order; the stream ends with the requests."""
    told = []
    for channel in channels:
        channel.unary_unary(
            "/etcdserverpb.Lease/LeaseGrant", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=rpc.LeaseGrantResponse.FromString)(
                rpc.LeaseGrantRequest(ID=77, TTL=60))
        renew = channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=rpc.LeaseKeepAliveResponse.FromString)
        told.append([(r.ID, r.TTL) for r in renew(
            iter([rpc.LeaseKeepAliveRequest(ID=i) for i in (77, 404, 77)]), timeout=10)])

    assert told[0] == told[1] == [(77, 60), (404, 0), (77, 60)]


def test_what_is_not_there_is_unimplemented(
    channels: tuple[grpc.Channel, grpc.Channel]
) -> None:
    """In Go's words."""
    assert call(channels[0], "etcdserverpb.KV/Nothing", rpc.RangeRequest()) == call(
        channels[1], "etcdserverpb.KV/Nothing", rpc.RangeRequest())
