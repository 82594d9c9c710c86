"""The discovery service: what is passed on, what is refused, and how much anybody may ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from quorate.cli.discovery import front
from quorate.cli.discovery.front import Front, Passed, RateLimit, Refusal, network_of, passed
from quorate.cli.discovery.main import main
from quorate.cli.discovery.store import Answer, Store, StoreDown

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(("method", "target", "body", "path"), [
    ("GET", "", b"", ""), ("GET", "/", b"", ""),
    ("GET", "?quorum=false&recursive=false&sorted=false", b"",
     "?quorum=false&recursive=false&sorted=false"),
    ("GET", "/_config/size?quorum=false", b"", "/_config/size?quorum=false"),
    ("GET", "?wait=true&recursive=true&waitIndex=7", b"",
     "?wait=true&recursive=true&waitIndex=7"),
    ("GET", "/ab12?wait=true&recursive=false&waitIndex=7", b"",
     "/ab12?wait=true&recursive=false&waitIndex=7"),
    ("PUT", "/ab12?prevExist=false", b"value=a%3Dhttp%3A%2F%2Fa%3A1", "/ab12?prevExist=false"),
    ("PUT", "/ab12", b"prevExist=false&value=a%3Dhttp%3A%2F%2Fa%3A1", "/ab12?prevExist=false"),
])
def test_what_members_ask_is_passed_on(method: str, target: str, body: bytes, path: str) -> None:
    """Those of etcd 3.4 and of quorate."""
    url = urlsplit(f"/{TOKEN}{target}")
    form = b"value=a%3Dhttp%3A%2F%2Fa%3A1" if body else None

    assert passed(method, url.path, url.query, body) == Passed(
        method, f"/{TOKEN}{path}", form, "wait=true" in target, TOKEN)


@pytest.mark.parametrize(("method", "path", "query", "body", "status"), [
    ("GET", "/", "", b"", 404),
    ("GET", "/v2/keys", "", b"", 404),
    ("GET", f"/{TOKEN[:-1]}", "", b"", 404),
    ("GET", f"/{TOKEN}/_config", "", b"", 404),
    ("GET", f"/{TOKEN}/../{TOKEN}", "", b"", 404),
    ("GET", f"/{TOKEN}/abc%2F", "", b"", 404),
    ("GET", f"/{TOKEN}/0123456789abcdef0", "", b"", 404),
    ("GET", f"/{TOKEN}", "stream=true&wait=true", b"", 400),
    ("GET", f"/{TOKEN}", "waitIndex=x", b"", 400),
    ("GET", f"/{TOKEN}", "recursive", b"", 400),
    ("DELETE", f"/{TOKEN}", "", b"", 405),
    ("DELETE", f"/{TOKEN}/ab", "", b"", 405),
    ("POST", f"/{TOKEN}", "", b"value=a", 405),
    ("PUT", f"/{TOKEN}", "prevExist=false", b"value=a", 405),
    ("PUT", f"/{TOKEN}/_config/size", "prevExist=false", b"value=5", 405),
    ("PUT", f"/{TOKEN}/ab", "", b"value=a", 400),
    ("PUT", f"/{TOKEN}/ab", "prevExist=true", b"value=a", 400),
    ("PUT", f"/{TOKEN}/ab", "prevExist=false", b"value=a&ttl=9", 400),
    ("PUT", f"/{TOKEN}/ab", "prevExist=false", b"dir=true", 400),
    ("PUT", f"/{TOKEN}/ab", "prevExist=false", b"value=" + b"a" * 2049, 400),
    ("PUT", f"/{TOKEN}/ab", "prevExist=false", b"\xff", 400),
])
def test_everything_else_is_refused(
    method: str, path: str, query: str, body: bytes, status: int
) -> None:
    """With a sentence, and nothing reaches the store."""
    with pytest.raises(Refusal) as refusal:
        passed(method, path, query, body)
    assert refusal.value.status == status


def test_tokens_are_made_so_often_for_an_address() -> None:
    """Some at once, then one after the other; others are not affected."""
    limit = RateLimit(per_minute=6, at_once=2)

    assert [limit.take("a", at) for at in (0, 0, 0, 9, 10, 11, 20)] == [
        True, True, False, False, True, False, True]
    assert limit.take("b", 0)


def test_few_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever came longest ago is forgotten."""
    monkeypatch.setattr(front, "ADDRESSES_MAX", 2)
    limit = RateLimit(per_minute=6, at_once=1)

    assert [limit.take(who, 0) for who in ("a", "b", "a", "c", "b", "c")] == [
        True, True, False, True, True, False]


def test_an_ipv6_network_counts_as_one_address() -> None:
    """Everybody has as many addresses there as they want."""
    assert network_of("10.1.2.3") == network_of("[::ffff:10.1.2.3]") == "10.1.2.3"
    assert network_of("[2001:db8::1:2]") == network_of("2001:db8::3")
    assert network_of("[2001:db8:0:1::3]") != network_of("[2001:db8::3]")


class FakeStore(Store):
    """Answers as it is told to."""

    def __init__(self, answer: Callable[[str, str], Answer]) -> None:
        super().__init__(["127.0.0.1:1"])
        self._answer = answer
        self.asked: list[str] = []
        self.cancelled = asyncio.Event()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, *, waits: bool = False
    ) -> Answer:
        """See Store."""
        self.asked.append(f"{method} {path}")
        if waits:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return self._answer(method, path)


def directory(count: int) -> Answer:
    """With so many members."""
    return Answer(200, "7", json.dumps({"node": {"nodes": [{}] * count}}).encode())


def served(
    store: FakeStore, *requests: str, forwarded: bool = False, connections_max: int = 9
) -> list[tuple[int, str]]:
    """Status and body of the answer to each request line with its body."""
    async def run() -> list[tuple[int, str]]:
        loop = asyncio.get_running_loop()
        service = Front(store, "https://discovery.example/", loop, forwarded=forwarded,
                        connections_max=connections_max)
        server = await loop.create_server(service.protocol, "127.0.0.1", 0)
        out = []
        for request in requests:
            line, _, body = request.partition("\n")
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(f"{line} HTTP/1.1\r\nX-Forwarded-For: 10.0.0.9, 10.0.0.{len(out)}\r\n"
                         f"Connection: close\r\nContent-Length: {len(body)}\r\n"
                         f"\r\n{body}".encode())
            if "wait" in line:
                while not store.asked:
                    await asyncio.sleep(0)
                writer.close()
                await asyncio.wait_for(store.cancelled.wait(), 10)
                continue
            head, _, text = (await reader.read()).decode().partition("\r\n\r\n")
            out.append((int(head.split()[1]) if head else 0, text))
            writer.close()
        server.close()
        await service.stop()
        return out

    return asyncio.run(run())


def test_a_token_is_a_directory_that_ends_and_a_size() -> None:
    """The answer is the URL for --discovery, under the address that people know."""
    store = FakeStore(lambda *_: Answer(201, "7", b""))
    (status, url), = served(store, "GET /new?size=5")

    assert status == 200
    token = url.removeprefix("https://discovery.example/")
    assert store.asked == [f"PUT /{token}", f"PUT /{token}/_config/size"]


@pytest.mark.parametrize("size", ["0", "10", "x", "-1", "%C2%B2"])
def test_sizes_are_from_1_to_9(size: str) -> None:
    """The store is not asked."""
    store = FakeStore(lambda *_: Answer(201, "7", b""))
    (status, text), = served(store, f"GET /new?size={size}")

    assert status == 400
    assert "is no number from 1 to 9" in text
    assert store.asked == []


def test_too_many_tokens_are_refused() -> None:
    """For this address."""
    store = FakeStore(lambda *_: Answer(201, "7", b""))
    answers = served(store, *["GET /new"] * (front.NEW_AT_ONCE + 1))

    assert [status for status, _ in answers] == [200] * front.NEW_AT_ONCE + [429]


def test_behind_a_web_server_its_clients_are_counted() -> None:
    """By what the server has added to the header; what came before it anybody can write."""
    store = FakeStore(lambda *_: Answer(201, "7", b""))
    answers = served(store, *["GET /new"] * (front.NEW_AT_ONCE + 1), forwarded=True)

    assert [status for status, _ in answers] == [200] * (front.NEW_AT_ONCE + 1)


def test_connections_end_somewhere() -> None:
    """One too many is closed."""
    assert served(FakeStore(lambda *_: directory(0)), f"GET /{TOKEN}", connections_max=0) == [
        (0, "")]


def test_registrations_end_somewhere() -> None:
    """And a token that was not made here takes none."""
    put = f"PUT /{TOKEN}/ab?prevExist=false\nvalue=a"

    assert served(FakeStore(lambda *_: directory(31)), put)[0][0] == 200
    assert served(FakeStore(lambda *_: directory(32)), put)[0][0] == 403
    unknown = FakeStore(lambda *_: Answer(404, "7", b"{}"))
    assert "was never made, or has expired" in served(unknown, put)[0][1]
    assert unknown.asked == [f"GET /{TOKEN}"]


def test_a_store_that_does_not_answer_is_told() -> None:
    """With the status for which clients come back."""
    def down(*_: str) -> Answer:
        raise StoreDown("127.0.0.1:1: connection refused")

    assert served(FakeStore(down), f"GET /{TOKEN}", "GET /new") == [
        (503, "the store did not answer: 127.0.0.1:1: connection refused\n")] * 2


def test_who_goes_away_does_not_wait_on() -> None:
    """Nothing is left of its request."""
    served(FakeStore(lambda *_: directory(0)), f"GET /{TOKEN}?wait=true&recursive=true")


def test_new_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence."""
    assert main(["new", "--endpoints=127.0.0.1:1"]) == 1
    assert "no token was made: http://127.0.0.1:1: connection refused" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["new", "--size=10"])
    assert "is no number from 1 to 9" in capsys.readouterr().err
