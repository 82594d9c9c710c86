"""A watch through members that fail: nothing is told twice, nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateways import Answer, gateways

from quorate.client import watching
from quorate.client.client import Client
from quorate.client.errors import ClientError, ServerError, Unreachable
from quorate.client.watching import Watching
from quorate.wire._generated import rpc_pb2 as rpc

CREATED = b'{"result":{"header":{"revision":"4"},"created":true}}\n'
CANCELED = b'{"result":{"canceled":true}}\n'
NO_LEADER = b'{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}\n'


def event(revision: int) -> bytes:
    """A line with one."""
    return (b'{"result":{"header":{"revision":"%d"},"events":[{"kv":{"key":"YQ==",'
            b'"mod_revision":"%d"}}]}}\n' % (revision + 3, revision))


def told(*streams: bytes | None) -> tuple[Callable[[str, Any], Answer], list[int]]:
    """What a member answers, None to break the connection, and where it was asked to start."""
    left: Iterator[bytes | None] = iter(streams)
    starts: list[int] = []

    def answer(_path: str, body: Any) -> Answer:
        starts.append(int(body["create_request"].get("start_revision", 0)))
        lines = next(left)
        return None if lines is None else (200, lines)

    return answer, starts


def watched(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, Any], Answer]
) -> tuple[list[int], list[str]]:
    """Revisions of the events of a watch until it is cancelled, and how often it was lost."""
    monkeypatch.setattr(watching, "RETRY_S", 0.0)
    revisions: list[int] = []
    lost: list[str] = []

    async def run() -> None:
        async with gateways(answer) as [one]:
            it = Watching(Client([one.endpoint]), rpc.WatchCreateRequest(key=b"a"),
                          lambda failure, _: lost.append(str(failure)))
            async for response in it.answers():
                revisions.extend(event.kv.mod_revision for event in response.events)

    asyncio.run(run())
    return revisions, lost


def test_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last event, whatever the header says, or behind the creation."""
    answer, starts = told(CREATED, CREATED + event(7), None, CREATED + event(9) + CANCELED)

    revisions, lost = watched(monkeypatch, answer)

    assert (revisions, starts, len(lost)) == ([7, 9], [0, 5, 8, 8], 3)


def test_without_a_leader_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a broken connection."""
    answer, starts = told(CREATED + event(7) + NO_LEADER, CREATED + CANCELED)

    assert watched(monkeypatch, answer) == ([7], ["etcdserver: no leader"])
    assert starts == [0, 8]


@pytest.mark.parametrize(("first", "error"), [
    (NO_LEADER, ServerError), (b'{"error":{"grpc_code":3,"message":"no"}}', ServerError)])
def test_what_cannot_begin(
    monkeypatch: pytest.MonkeyPatch, first: bytes, error: type[ClientError]
) -> None:
    """Is told at once."""
    with pytest.raises(error):
        watched(monkeypatch, told(first)[0])


def test_nobody_is_there() -> None:
    """Nor is it tried for ever then."""
    async def run() -> None:
        async for _ in Watching(Client(["127.0.0.1:1"]), rpc.WatchCreateRequest()).answers():
            raise AssertionError

    with pytest.raises(Unreachable):
        asyncio.run(run())
