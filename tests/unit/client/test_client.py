"""Which endpoint is asked, what is sent again, and what the caller is told."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest
from gateways import Answer, gateways

from quorate.client.client import Client
from quorate.client.errors import ClientError, OutcomeUnknown, ServerError, Unreachable
from quorate.client.methods import PUT, RANGE, WATCH
from quorate.wire._generated import rpc_pb2 as rpc

NOBODY = "127.0.0.1:1"
GET = rpc.RangeRequest(key=b"k")
SET = rpc.PutRequest(key=b"k", value=b"v")


def fine(_path: str, _body: Any) -> Answer:
    """One key, at revision 7."""
    return 200, {"header": {"revision": "7"}, "count": "1"}


def broken(_path: str, _body: Any) -> Answer:
    """Reads the request, and is gone."""
    return None


def leaderless(_path: str, _body: Any) -> Answer:
    """Refuses everything."""
    return 503, {"error": "etcdserver: no leader", "message": "etcdserver: no leader", "code": 14}


def full(_path: str, _body: Any) -> Answer:
    """Refuses for good."""
    return 429, {"error": "mvcc: no space", "code": 8}


def test_an_endpoint_that_cannot_be_reached_is_passed_over() -> None:
    """For reads and writes alike: nothing was sent."""
    async def run() -> None:
        async with gateways(fine) as [one]:
            client = Client([NOBODY, one.endpoint])
            assert (await client.call(RANGE, GET)).header.revision == 7
            assert (await client.call(PUT, SET)).header.revision == 7
            client.close()
            assert [path for path, _ in one.asked] == ["/v3/kv/range", "/v3/kv/put"]
            assert one.connections == 1  # which is kept

    asyncio.run(run())


def test_a_write_whose_outcome_is_unknown_is_not_sent_again() -> None:
    """The caller is told; a read goes to the next endpoint."""
    async def run() -> None:
        async with gateways(broken, fine) as [bad, good]:
            client = Client([bad.endpoint, good.endpoint])
            with pytest.raises(OutcomeUnknown, match="closed"):
                await client.call(PUT, SET)
            assert (len(bad.asked), len(good.asked)) == (1, 0)
            assert (await client.call(RANGE, GET)).count == 1
            client.close()
            assert (len(bad.asked), len(good.asked)) == (2, 1)

    asyncio.run(run())


def test_a_read_that_a_member_cannot_serve_now_is_asked_elsewhere() -> None:
    """A write is not, and other refusals are final."""
    async def run() -> None:
        async with gateways(leaderless, full, fine) as [none, refuses, good]:
            client = Client([none.endpoint, good.endpoint])
            assert (await client.call(RANGE, GET)).count == 1
            client.close()
            for first, method, request, code in (
                    (none, PUT, SET, 14), (refuses, RANGE, GET, 8)):
                with closing(Client([first.endpoint, good.endpoint])) as client:
                    with pytest.raises(ServerError) as refused:
                        await client.call(method, request)
                    assert refused.value.code == code

    asyncio.run(run())


def test_nobody_is_there() -> None:
    """Every endpoint is named; an answer of one says more than silence of others."""
    async def run() -> None:
        with pytest.raises(Unreachable, match=r"127.0.0.1:1: .*; 127.0.0.1:2: "):
            await Client([NOBODY, "127.0.0.1:2"]).call(RANGE, GET)
        async with gateways(leaderless) as [one]:
            with (closing(Client([one.endpoint, NOBODY])) as client,
                  pytest.raises(ServerError, match="no leader")):
                await client.call(RANGE, GET)

    asyncio.run(run())


@pytest.mark.parametrize("endpoint", ["https://a:1", "http://", "a:b", "ftp://a:1", ""])
def test_what_is_no_endpoint(endpoint: str) -> None:
    """Is refused before anything is tried."""
    with pytest.raises(ClientError):
        Client([endpoint])


def test_a_stream() -> None:
    """Line by line, however many there are in a piece; an error ends it."""
    def lines(_path: str, _body: Any) -> Answer:
        return 200, (b'{"result":{"created":true}}\n{"result":{"watch_id":"3"}}\n\n'
                     b'{"error":{"grpc_code":14,"http_code":503,"message":"gone"}}\n')

    async def run() -> None:
        async with gateways(lines) as [one]:
            client, got = Client([NOBODY, one.endpoint]), []
            with pytest.raises(ServerError, match="gone"):
                async for answer in client.stream(WATCH, rpc.WatchRequest()):
                    got.append((answer.created, answer.watch_id))
            assert got == [(True, 0), (False, 3)]

    asyncio.run(run())


def test_what_is_no_answer() -> None:
    """Is shown as it is."""
    def page(_path: str, _body: Any) -> Answer:
        return 404, b"404 page not found\n"

    async def run() -> None:
        async with gateways(page) as [one]:
            with (closing(Client([one.endpoint])) as client,
                  pytest.raises(ServerError, match="HTTP status 404: 404 page not found")):
                await client.call(RANGE, GET)

    asyncio.run(run())
