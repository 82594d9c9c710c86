"""A v2 store as the discovery service sees it: tokens, and requests that are passed on.

A token is the directory `/_etcd/registry/TOKEN`, which ends by itself, with `_config/size` in it.
Not here: which requests are passed on (front.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from quorate.client.connection import Connection, url_of
from quorate.client.errors import OutcomeUnknown, Unreachable

TOKENS = "/v2/keys/_etcd/registry"
TOKEN_BYTES = 16
TOKEN_TTL_S = 7 * 24 * 3600
SIZE_MAX = 9

DIAL_S_MAX = 2.0
ANSWER_S_MAX = 10.0
"""Of what does not wait: longer than a request may take in the store."""

FORM = "application/x-www-form-urlencoded"


class StoreDown(Exception):
    """No endpoint gave an answer; the text says why."""


class Answer(NamedTuple):
    """`etcd_index` is that header, or empty."""

    status: int
    etcd_index: str
    body: bytes


class Store:
    """See the module's text. A connection per request: they are few, and some wait for hours."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        """Raises ClientError for what is no endpoint."""
        self.endpoints = [url_of(endpoint) for endpoint in endpoints]

    async def ask(
        self, method: str, path: str, body: bytes | None = None, *, waits: bool = False
    ) -> Answer:
        """The answer of the first endpoint that gives one, to a path below TOKENS; raises
        StoreDown: whether it was done is not known then."""
        failures = []
        for endpoint in self.endpoints:
            try:
                async with asyncio.timeout(None if waits else ANSWER_S_MAX):
                    return await self._ask(endpoint, method, path, body)
            except Unreachable as failure:
                failures.append(str(failure))
            except (OutcomeUnknown, TimeoutError) as failure:
                failures.append(str(failure) or f"{endpoint}: no answer in {ANSWER_S_MAX:g} s")
                if method != "GET":
                    break
        raise StoreDown("; ".join(failures))

    async def _ask(self, endpoint: str, method: str, path: str, body: bytes | None) -> Answer:
        connection = await Connection.open(endpoint, DIAL_S_MAX)
        try:
            status, headers, told = await connection.request(method, TOKENS + path, body, FORM)
            return Answer(status, headers.get("x-etcd-index", ""), told)
        finally:
            connection.close()

    async def new_token(self, size: int) -> str:
        """A token for a cluster of that size; raises StoreDown."""
        token = secrets.token_hex(TOKEN_BYTES)
        for path, form in (
                (f"/{token}", {"dir": "true", "ttl": str(TOKEN_TTL_S), "prevExist": "false"}),
                (f"/{token}/_config/size", {"value": str(size), "prevExist": "false"})):
            answer = await self.ask("PUT", path, urlencode(form).encode())
            if answer.status != 201:
                shown = answer.body[:200].decode("utf-8", "replace").strip()
                raise StoreDown(f"status {answer.status}, {shown} (stock etcd needs --enable-v2)")
        return token


def size_of(text: str) -> int:
    """Raises ValueError with a sentence."""
    if not text.isdecimal() or len(text) > 2 or not 1 <= int(text) <= SIZE_MAX:
        raise ValueError(f"the size {text[:20]!r} is no number from 1 to {SIZE_MAX}; use 3 or 5")
    return int(text)


