"""`/v2/members`: list, add, change and remove members, and who leads (surface §6.1).

Not here: whether a change is allowed (member/membership.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from google.protobuf.message import Message as Proto

from quorate.api.errors import form
from quorate.member.service import Service
from quorate.net.http1 import Exchange, Request
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

PLAIN = "text/plain; charset=utf-8"
PREFIX = "/v2/members"
JSON = "application/json"
ALLOWED = ("HEAD", "GET", "POST", "PUT", "DELETE")


class MembersApi:
    """See the module's text. `headers` are those of every answer."""

    def __init__(self, service: Service, headers: bytes) -> None:
        self._service = service
        self._headers = headers

    def serve(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        method, rest = request.method, request.path[len(PREFIX):]
        name = rest.strip("/")
        if rest and not rest.startswith("/"):
            exchange.respond(404, b"404 page not found\n", PLAIN, self._headers)
        elif method in ("GET", "HEAD"):
            if name == "leader":
                self._leader(exchange)
            elif name:
                self._tell(exchange, 404, "Not found")
            else:
                self._list(exchange)
        elif method == "POST":
            self._add(request, exchange)
        elif method not in ("PUT", "DELETE"):
            not_allowed(exchange, ALLOWED, self._headers)
        elif name:
            self._change(name, request, exchange)
        else:
            exchange.respond(405, b"Method Not Allowed\n", PLAIN, self._lines())

    def _list(self, exchange: Exchange) -> None:
        def done(outcome: Proto | Refused) -> None:
            assert isinstance(outcome, rpc.MemberListResponse)
            self._respond(exchange, 200, {"members": [_shown(m) for m in outcome.members]})

        self._service.member_list(rpc.MemberListRequest(), done)

    def _leader(self, exchange: Exchange) -> None:
        def listed(outcome: Proto | Refused, leader: int) -> None:
            assert isinstance(outcome, rpc.MemberListResponse)
            for member in outcome.members:
                if leader == member.ID:
                    return self._respond(exchange, 200, _shown(member))
            return self._tell(exchange, 503, "During election")

        def done(outcome: Proto | Refused) -> None:
            assert isinstance(outcome, rpc.StatusResponse)
            leader = outcome.leader
            self._service.member_list(
                rpc.MemberListRequest(), lambda members: listed(members, leader))

        self._service.status(rpc.StatusRequest(), done)

    def _add(self, request: Request, exchange: Exchange) -> None:
        urls = self._urls(request, exchange)
        if urls is None:
            return

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return self._refuse(exchange, outcome, "")
            assert isinstance(outcome, rpc.MemberAddResponse)
            return self._respond(exchange, 201, _shown(outcome.member))

        self._service.member_add(rpc.MemberAddRequest(peerURLs=urls), done)

    def _change(self, name: str, request: Request, exchange: Exchange) -> None:
        urls = self._urls(request, exchange) if request.method == "PUT" else []
        if urls is None:
            return None
        try:
            member_id = int(name, 16)
            if not 0 <= member_id < 1 << 64:
                raise ValueError
        except ValueError:
            return self._tell(exchange, 404, f"No such member: {name}")

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return self._refuse(exchange, outcome, name, member_id)
            return exchange.respond(204, b"", content_type="", headers=self._lines())

        if request.method == "PUT":
            return self._service.member_update(
                rpc.MemberUpdateRequest(ID=member_id, peerURLs=urls), done)
        return self._service.member_remove(rpc.MemberRemoveRequest(ID=member_id), done)

    def _urls(self, request: Request, exchange: Exchange) -> list[str] | None:
        """The peer URLs of a body; None if it was refused."""
        kind = request.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != JSON:
            self._tell(exchange, 415, f"Bad Content-Type {kind}, accept {JSON}")
            return None
        try:
            value = json.loads(request.body)
            urls = value["peerURLs"]
            if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
                raise TypeError("peerURLs is not a list of URLs")
        except (ValueError, TypeError, KeyError, RecursionError) as wrong:
            self._tell(exchange, 400, f'the body is not {{"peerURLs":["http://…"]}}: {wrong}')
            return None
        return urls

    def _refuse(
        self, exchange: Exchange, refused: Refused, name: str, member_id: int = 0
    ) -> None:
        problem = refused.problem
        if problem is Problem.MEMBER_NOT_FOUND and self._service.is_removed(member_id):
            self._tell(exchange, 410, f"Member permanently removed: {name}")
        elif problem is Problem.MEMBER_NOT_FOUND:
            self._tell(exchange, 404, f"No such member: {name}")
        elif problem is Problem.PEER_URL_EXISTS:
            self._tell(exchange, 409, "membership: peerURL exists")
        elif problem is Problem.MEMBER_EXISTS:
            self._tell(exchange, 409, "membership: ID exists")
        elif problem is Problem.BAD_MEMBER_URLS:
            self._tell(exchange, 400, form(refused).text)
        else:
            self._tell(exchange, 500, form(refused).text)

    def _tell(self, exchange: Exchange, status: int, message: str) -> None:
        exchange.respond(status, json.dumps(
            {"message": message}, separators=(",", ":"), ensure_ascii=False).encode(),
            headers=self._lines())

    def _respond(self, exchange: Exchange, status: int, value: object) -> None:
        body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        exchange.respond(status, body, headers=self._lines())

    def _lines(self) -> bytes:
        return b"%bX-Etcd-Cluster-Id: %x\r\n" % (
            self._headers, self._service.header().cluster_id)


def not_allowed(exchange: Exchange, methods: Sequence[str], headers: bytes) -> None:
    """The answer to any other method."""
    exchange.respond(
        405, b"Method Not Allowed\n", PLAIN,
        b"%bAllow: %b\r\n" % (headers, ",".join(methods).encode()))


def _shown(member: rpc.Member) -> dict[str, object]:
    return {"id": f"{member.ID:x}", "name": member.name, "peerURLs": list(member.peerURLs),
            "clientURLs": list(member.clientURLs)}
