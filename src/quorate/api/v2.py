"""The v2 API on the client port: `/v2/keys`, `/v2/machines`, `/v2/members`, `/v2/stats`.

Forms, headers, codes and texts are those of etcd 3.4 (surface §6). A request that fails for want of
a leader gets no answer (`errors.V2_UNANSWERED`).

Not here: what requests do (state/v2.py), their forms (wire/v2.py), members (v2members.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from google.protobuf.message import Message as Proto

from quorate.api.errors import V2_UNANSWERED, V2Error, v2_form
from quorate.api.v2members import PLAIN, MembersApi, not_allowed
from quorate.member.service import Service, V2Stream
from quorate.net.http1 import Exchange, Request
from quorate.state.errors import Refused
from quorate.wire import v2
from quorate.wire._generated import rpc_pb2 as rpc, v2_pb2

KEYS = "/v2/keys"
METHODS = ("HEAD", "GET", "PUT", "POST", "DELETE")
FORM = b"application/x-www-form-urlencoded"
TOLD_BYTES_MAX = 1 << 20
"""Of answers that are kept, and of what asked for them; a larger one is kept alone."""
READS_KEPT = 512
"""Paths, and requests to read, whose meaning is remembered; net/http1.py limits their length."""


class V2Api:
    """What is under `/v2/`. `headers` are those of every answer."""

    def __init__(self, service: Service, headers: bytes) -> None:
        self._service = service
        self._headers = headers
        self._members = MembersApi(service, headers)
        self._watches: set[_WatchExchange] = set()
        self._told: dict[tuple[str, str], bytes] = {}
        """Answers to local reads at revision `_told_at`, by path and query."""
        self._told_at = self._told_bytes = self._repeated = 0

    def serve(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        path = request.path
        if request.method == "OPTIONS":
            exchange.respond(200, b"", content_type="", headers=self._headers)
        elif (cleaned := _cleaned(path)) != path:
            self._moved(cleaned, request, exchange)
        elif path == KEYS or path.startswith(KEYS + "/"):
            self._keys(request, exchange)
        elif path.startswith("/v2/members"):
            self._members.serve(request, exchange)
        elif path == "/v2/machines":
            self._machines(request, exchange)
        elif path in ("/v2/stats/self", "/v2/stats/leader", "/v2/stats/store"):
            self._stats(path.rpartition("/")[2], request, exchange)
        else:
            exchange.respond(404, b"404 page not found\n", PLAIN, self._headers)

    def end_watches(self) -> None:
        """The member stops."""
        for watch in list(self._watches):
            watch.shut_down()

    # Keys.

    def _keys(self, request: Request, exchange: Exchange) -> None:
        method = request.method
        if method not in METHODS:
            return not_allowed(exchange, METHODS, self._headers)
        if method == "GET" and self._repeat(request, exchange):
            return None
        try:
            asked = _read(request)
        except v2.BadForm as wrong:
            return self._fail(exchange, V2Error(wrong.code, wrong.cause, 0))
        service = self._service

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                self._refuse(exchange, outcome)
            else:
                assert isinstance(outcome, v2_pb2.V2Response)
                body = self._answer(exchange, outcome, silent=asked.silent)
                if method == "GET" and not asked.quorum:
                    self._remember(request, outcome.header.revision, body)

        if asked.wait:
            watch = _WatchExchange(exchange, self._index_headers, self._refuse,
                                   self._watches.discard)
            self._watches.add(watch)
            return watch.serve(service, asked)
        changes_or_quorum = asked.change is not None or asked.quorum
        if changes_or_quorum and (refused := service.refusal(None)) is not None:
            return self._refuse(exchange, refused)
        if asked.change is not None:
            return service.v2_change(asked.change, done)
        return service.v2_get(v2_pb2.V2Get(
            path=asked.path, recursive=asked.recursive, quorum=asked.quorum), done)

    def _repeat(self, request: Request, exchange: Exchange) -> bool:
        """Answer again what was asked since the last change, if it was."""
        header = self._service.header()
        if header.revision != self._told_at:
            return False
        body = self._told.get((request.path, request.query))
        if body is None:
            return False
        self._repeated += 1
        exchange.respond(200, body, headers=self._index_headers(header))
        return True

    def _remember(self, request: Request, revision: int, body: bytes) -> None:
        """Unless it tells how much time is left."""
        if revision != self._told_at or self._told_bytes > TOLD_BYTES_MAX:
            self._told, self._told_at, self._told_bytes = {}, revision, 0
        if b'"expiration":' not in body:
            self._told[request.path, request.query] = body
            self._told_bytes += len(body) + len(request.path) + len(request.query)

    def _answer(
        self, exchange: Exchange, response: v2_pb2.V2Response, *, silent: bool
    ) -> bytes:
        """The body that was sent."""
        new = response.action == "create" or (
            response.action == "set" and not response.HasField("prev_node"))
        body = v2.answer(response, time.time(), silent=silent)
        exchange.respond(
            201 if new else 200, body, headers=self._index_headers(response.header))
        return body

    def _refuse(self, exchange: Exchange, refused: Refused) -> None:
        if refused.problem in V2_UNANSWERED:
            exchange.abort()
        else:
            self._fail(exchange, v2_form(refused, self._service.header().revision))

    def _fail(self, exchange: Exchange, error: V2Error) -> None:
        cluster = b"X-Etcd-Cluster-Id: %x\r\n" % self._service.header().cluster_id
        exchange.respond(error.status, error.body(), headers=b"%b%bX-Etcd-Index: %d\r\n" % (
            self._headers, cluster, error.index))

    def _index_headers(self, header: rpc.ResponseHeader) -> bytes:
        return (b"%bX-Etcd-Cluster-Id: %x\r\nX-Etcd-Index: %d\r\nX-Raft-Index: %d\r\n"
                b"X-Raft-Term: %d\r\n" % (
                    self._headers, header.cluster_id, header.revision,
                    self._service.raft_index(), header.raft_term))

    # Others.

    def _moved(self, path: str, request: Request, exchange: Exchange) -> None:
        """As Go's servers answer paths with empty or dotted segments."""
        target = path + ("?" + request.query if request.query else "")
        body = f'<a href="{target}">Moved Permanently</a>.\n\n'.encode("latin-1")
        exchange.respond(
            301, body if request.method in ("GET", "HEAD") else b"",
            content_type="text/html; charset=utf-8",
            headers=b"%bLocation: %b\r\n" % (self._headers, target.encode("latin-1")))

    def _machines(self, request: Request, exchange: Exchange) -> None:
        """The client URLs of all members."""
        if request.method not in ("GET", "HEAD"):
            return not_allowed(exchange, ("GET", "HEAD"), self._headers)

        def done(outcome: Proto | Refused) -> None:
            assert isinstance(outcome, rpc.MemberListResponse)
            urls = ", ".join(url for member in outcome.members for url in member.clientURLs)
            exchange.respond(200, urls.encode(), PLAIN, self._headers)

        return self._service.member_list(rpc.MemberListRequest(), done)

    def _stats(self, of: str, request: Request, exchange: Exchange) -> None:
        if request.method != "GET":
            return not_allowed(exchange, ("GET",), self._headers)
        service = self._service
        told: Mapping[str, object] | None
        if of == "store":
            counts = service.v2_counts()
            told = counts | {"getsSuccess": counts["getsSuccess"] + self._repeated}
        else:
            told = service.v2_self() if of == "self" else service.v2_leader()
        body = json.dumps(told or {"message": "not current leader"}, separators=(",", ":"))
        return exchange.respond(200 if told else 403, body.encode(), headers=self._headers)


class _WatchExchange:
    """A `V2Sink` on an exchange: a line per event."""

    def __init__(
        self, exchange: Exchange, headers: Callable[[rpc.ResponseHeader], bytes],
        refuse: Callable[[Exchange, Refused], None], closed: Callable[[_WatchExchange], None],
    ) -> None:
        self._exchange = exchange
        self._headers = headers
        self._refuse = refuse
        self._closed = closed
        self._started = self._over = self._stream = False
        self._watch: V2Stream | None = None

    def serve(self, service: Service, asked: v2.Asked) -> None:
        """Begin. The head leaves at once, unless what is wanted is not there any more."""
        self._stream = asked.stream
        self._exchange.on_disconnected = self._end
        self._watch = service.v2_watch(
            asked.path, self, since=asked.wait_index, recursive=asked.recursive,
            stream=asked.stream)
        if not self._over:
            self._exchange.on_drained = self._watch.drained
            self._started = True
            self._exchange.start(200, headers=self._headers(service.header()))

    def send(self, event: v2_pb2.V2Response) -> None:
        """See `V2Sink`."""
        self._exchange.write(v2.answer(event, time.time()))
        if not self._stream:
            self._end()
            self._exchange.end()

    def fail(self, reason: Refused) -> None:
        """See `V2Sink`."""
        self._end()
        if self._started:
            self._exchange.end()
        else:
            self._refuse(self._exchange, reason)

    def backlog_bytes(self) -> int:
        """See `V2Sink`."""
        return self._exchange.buffered()

    def shut_down(self) -> None:
        """The member stops."""
        self._end()
        self._exchange.end()

    def _end(self) -> None:
        self._over = True
        self._closed(self)
        if self._watch is not None:
            self._watch.close()


def _read(request: Request) -> v2.Asked:
    method = request.method
    if method == "GET":
        return _read_get(request.path, request.query)
    body = b""
    if method in ("PUT", "POST") and request.body:
        kind = request.header(b"content-type").partition(b";")[0]
        if kind.strip().lower() == FORM:
            body = request.body
    return _asked(method, request.path, body, request.query)


@lru_cache(READS_KEPT)
def _read_get(path: str, query: str) -> v2.Asked:
    """Most clients ask the same again and again."""
    return _asked("GET", path, b"", query)


def _asked(method: str, path: str, body: bytes, query: str) -> v2.Asked:
    return v2.read(method, _key(path), v2.parse_form(body, query.encode("latin-1")))


@lru_cache(READS_KEPT)
def _key(path: str) -> bytes:
    return v2.clean(v2.unescape(path[len(KEYS):].encode("latin-1"), plus=False))


@lru_cache(READS_KEPT)
def _cleaned(path: str) -> str:
    """With a slash at the end if it had one."""
    encoded = path.encode("latin-1")
    cleaned = v2.clean(encoded)
    if encoded.endswith(b"/") and cleaned != b"/":
        cleaned += b"/"
    return cleaned.decode("latin-1")
