"""What a public discovery service answers: `GET /new?size=3` makes a token and names its URL; below
`/TOKEN` exactly the requests that members make with `--discovery` are passed on to a v2 store.

`GET /TOKEN`, `GET /TOKEN/_config/size`, `GET|PUT /TOKEN/ID`; reads may wait, registrations must be
new. What is passed on is written anew, not copied. Everything else is refused with a sentence.

Not here: the store (store.py), HTTP (net/http1.py), starting (main.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address, ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from quorate.cli.discovery.store import Answer, Store, StoreDown, size_of
from quorate.net.connections import Connections
from quorate.net.http1 import BodySink, Exchange, Http1Protocol, Request

BODY_BYTES_MAX = 4096
VALUE_CHARS_MAX = 2048
"""Of a member: its name and some URLs."""

REGISTRATIONS_MAX = 32
"""With one token: a cluster of 9, and others that are told that it is full."""

CONNECTIONS_MAX = 4096
"""Each may wait for hours."""

NEW_PER_MINUTE, NEW_AT_ONCE = 10, 10
"""Tokens for one address."""

ADDRESSES_MAX = 10_000
"""Whose requests are counted; beyond it, whoever came longest ago is forgotten."""

TEXT = "text/plain; charset=utf-8"
PATH = re.compile(r"/([0-9a-f]{32})(?:/|/(_config/size)|/([0-9a-f]{1,16}))?")
FLAGS = ("recursive", "sorted", "quorum", "wait")
INDEX = re.compile(r"[0-9]{1,19}")


class Refusal(Exception):
    """Answered with this status and the text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Passed(NamedTuple):
    """A request to the store; `path` is below the tokens' directory."""

    method: str
    path: str
    body: bytes | None
    waits: bool
    token: str


def passed(method: str, path: str, query: str, body: bytes) -> Passed:
    """What a request becomes; raises Refusal."""
    match = PATH.fullmatch(path)
    if match is None:
        raise Refusal(404, "there is nothing here; GET /new?size=3 makes a token, and answers with "
                           "the URL that members are given as --discovery")
    token, size, member = match.groups()
    target = f"/{token}" + (f"/{size or member}" if size or member else "")
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)))
    except ValueError:
        raise Refusal(400, "the query or the form cannot be read") from None
    if method == "GET":
        waits = given.get("wait") == "true"
        return Passed("GET", target + _read_query(given), None, waits, token)
    if method != "PUT" or not member:
        raise Refusal(405, f"{method} is not done here; members are registered by "
                           f"PUT /TOKEN/ID?prevExist=false")
    given |= form
    value = given.pop("value", "")
    if given != {"prevExist": "false"} or not 0 < len(value) <= VALUE_CHARS_MAX:
        raise Refusal(400, f"a registration has prevExist=false and a value of at most "
                           f"{VALUE_CHARS_MAX} characters, and nothing else")
    return Passed("PUT", f"{target}?prevExist=false", urlencode({"value": value}).encode(),
                  False, token)


def _read_query(given: dict[str, str]) -> str:
    for name, value in given.items():
        known = name in FLAGS and value in ("true", "false")
        if not known and not (name == "waitIndex" and INDEX.fullmatch(value)):
            raise Refusal(400, f"{name[:20]}={value[:20]} is not done here; reads may have "
                               f"{', '.join(FLAGS)} and waitIndex")
    return "?" + urlencode(given) if given else ""


class RateLimit:
    """So many per minute for each address, and as many at once."""

    def __init__(self, per_minute: float, at_once: int) -> None:
        self._per_s = per_minute / 60
        self._at_once = at_once
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, address: str, now: float) -> bool:
        """Whether there is one left."""
        left, at = self._left.pop(address, (float(self._at_once), now))
        left = min(left + (now - at) * self._per_s, self._at_once)
        self._left[address] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > ADDRESSES_MAX:
            del self._left[next(iter(self._left))]
        return left >= 1


class Front:
    """A `net.http1.Handler`. `url` is what people reach this service by; `forwarded`: a web server
    in front of it says in X-Forwarded-For who asks."""

    def __init__(
        self, store: Store, url: str, loop: asyncio.AbstractEventLoop, *, forwarded: bool = False,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._store = store
        self._url = url.rstrip("/")
        self._loop = loop
        self._forwarded = forwarded
        self._connections_max = connections_max
        self._connections = Connections(loop, BODY_BYTES_MAX)
        self._new = RateLimit(NEW_PER_MINUTE, NEW_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def protocol(self) -> asyncio.Protocol:
        """Of a new connection."""
        if len(self._connections) >= self._connections_max:
            return _Full()
        return Http1Protocol(self, self._connections, self._loop)

    async def stop(self) -> None:
        """End what waits, and close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connections.close()

    def streams_body(self, _request: Request, _exchange: Exchange) -> BodySink | None:
        """Bodies are small."""
        return None

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        work = self._make if request.path == "/new" else self._pass
        task = self._loop.create_task(self._serve(work, request, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def gone() -> None:
            task.cancel()

        exchange.on_disconnected = gone

    async def _serve(
        self, work: Callable[[Request, Exchange], Coroutine[None, None, None]],
        request: Request, exchange: Exchange,
    ) -> None:
        try:
            await work(request, exchange)
        except Refusal as refusal:
            exchange.respond(refusal.status, f"{refusal}\n".encode(), TEXT)
        except StoreDown as down:
            exchange.respond(503, f"the store did not answer: {down}\n".encode(), TEXT)

    async def _make(self, request: Request, exchange: Exchange) -> None:
        if request.method != "GET":
            raise Refusal(405, f"{request.method} is not done here; use GET /new?size=3")
        try:
            size = size_of(dict(parse_qsl(request.query)).get("size", "3"))
        except ValueError as wrong:
            raise Refusal(400, str(wrong)) from None
        host = exchange.peer.rpartition(":")[0]
        if self._forwarded:
            host = request.headers.get("x-forwarded-for", host).rpartition(",")[2].strip()
        if not self._new.take(network_of(host), self._loop.time()):
            raise Refusal(429, f"{NEW_PER_MINUTE} tokens a minute are made for an address; wait a "
                               f"minute")
        token = await self._store.new_token(size)
        exchange.respond(200, f"{self._url}/{token}".encode(), TEXT)

    async def _pass(self, request: Request, exchange: Exchange) -> None:
        asked = passed(request.method, request.path, request.query, request.body)
        if asked.method == "PUT":
            await self._check_room(asked.token)
        answer = await self._store.ask(asked.method, asked.path, asked.body, waits=asked.waits)
        index = f"X-Etcd-Index: {answer.etcd_index}\r\n" if answer.etcd_index else ""
        exchange.respond(answer.status, answer.body, headers=index.encode("latin-1"))

    async def _check_room(self, token: str) -> None:
        """Nothing is registered with a token that was not made here, nor without end."""
        answer: Answer = await self._store.ask("GET", f"/{token}")
        if answer.status == 404:
            raise Refusal(404, "this token was never made, or has expired; GET /new?size=3 makes "
                               "one")
        try:
            count = len(json.loads(answer.body)["node"].get("nodes", ()))
        except (ValueError, KeyError, TypeError):
            raise StoreDown(f"status {answer.status}") from None
        if count >= REGISTRATIONS_MAX:
            raise Refusal(403, f"{count} members have registered with this token, which is all "
                               f"that may; GET /new?size=3 makes another")


class _Full(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        transport.close()


def network_of(host: str) -> str:
    """Whose requests are counted together: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])
