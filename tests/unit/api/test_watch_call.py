"""Watches over gRPC: what the hub tells, as messages on a stream."""

from __future__ import annotations

import pytest
from echo import Client, Echo, message
from store import Store

from quorate.api.calls import Calls
from quorate.api.grpc import GrpcApi
from quorate.net.grpc import Method
from quorate.wire._generated import rpc_pb2 as rpc

IDS = [1, 0, 200, -5, 2**62, 7, 8, 9]
WATCH = "/etcdserverpb.Watch/Watch"


class Service(Store):
    """A store, and whatever else is asked, which is nothing."""

    def __getattr__(self, _name: str) -> object:
        return lambda *_: None


class Server(Echo):
    """A member's port."""

    def __init__(self) -> None:
        self.store = Service()
        self._api = GrpcApi(self.store, Calls())  # type: ignore[arg-type]
        super().__init__()

    def method(self, path: bytes) -> Method | None:
        """See `Handler`."""
        return self._api.method(path)


def responses(body: bytes) -> list[rpc.WatchResponse]:
    """All messages of a stream."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        found.append(rpc.WatchResponse.FromString(body[5:5 + size]))
        body = body[5 + size:]
    return found


@pytest.mark.parametrize("size", [10, 30_000])
def test_watches_of_one_stream_are_told_the_same_under_their_own_ids(size: int) -> None:
    """Whatever the ids are; in small messages that share a frame, and in large ones for which the
    client makes room bit by bit."""
    server = Server()
    client = Client(server)
    create = [rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"k", watch_id=one))
              for one in IDS]
    stream = client.call(
        WATCH, b"".join(message(one.SerializeToString()) for one in create), end=False)
    client.exchange()
    for _ in range(2):
        server.store.txn(rpc.TxnRequest(success=[rpc.RequestOp(
            request_put=rpc.PutRequest(key=b"k", value=bytes(size)))]), lambda _: None)
        server.store.turn()
        server.transport.writes.clear()
        server.loop.turn()
        client.take(b"".join(server.transport.writes))
    for _ in range(40):  # each time as much as was taken
        client.h2.increment_flow_control_window(60_000)
        client.h2.increment_flow_control_window(60_000, stream)
        client.exchange()
    got = responses(client.bodies[stream])

    assert [r.watch_id for r in got if r.created] == IDS
    assert {one: [(e.kv.mod_revision, len(e.kv.value)) for r in got if r.watch_id == one
                  for e in r.events] for one in IDS} == {
        one: [(2, size), (3, size)] for one in IDS}
    assert all(r.header.revision in (2, 3) for r in got if r.events)
