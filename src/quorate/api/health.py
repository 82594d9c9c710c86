"""/health, /livez and /readyz: whether a member, or the cluster through it, is fit (surface §8.1).

Answers and texts are etcd's. Not here: what healthy means (member/serving.py), gRPC's health
service (grpc.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

from google.protobuf.message import Message as Proto

from quorate.api.errors import form
from quorate.member.service import Health, Service
from quorate.net.http1 import Exchange, Request
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire.prometheus import Family, Kind, Sample, counter

Verdict = Callable[[str], None]
"""Receives what is wrong, or nothing."""

CHECKS = {
    "/livez": ("serializable_read",),
    "/readyz": ("data_corruption", "serializable_read", "linearizable_read", "non_learner"),
}
_NO_SNIFF = b"X-Content-Type-Options: nosniff\r\n"


class HealthPages:
    """Of one member."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._checks: dict[str, Callable[[Verdict], None]] = {
            "data_corruption": self._data_corruption,
            "serializable_read": lambda verdict: self._read(verdict, serializable=True),
            "linearizable_read": lambda verdict: self._read(verdict, serializable=False),
            "non_learner": self._non_learner,
        }
        self._healthy: Counter[bool] = Counter()
        self._last: dict[tuple[str, str], bool] = {}
        self._done: Counter[tuple[str, str, str]] = Counter()

    def serves(self, path: str) -> bool:
        """Whether it is one of these pages."""
        root, _, name = path[1:].partition("/")
        return path == "/health" or path in CHECKS or name in CHECKS.get(f"/{root}", ())

    def respond(self, request: Request, exchange: Exchange, headers: bytes) -> None:
        """Serve one of them."""
        if request.method not in ("GET", "HEAD"):
            exchange.respond(405, b"Method Not Allowed\n", content_type="text/plain; charset=utf-8",
                             headers=headers + _NO_SNIFF + b"Allow: GET\r\n")
        elif request.path == "/health":
            self._health(request, exchange)
        else:
            _Round(self, request, exchange, headers + _NO_SNIFF).go_on()

    def check(self, kind: str, name: str, verdict: Verdict) -> None:
        """Run one check of a kind (livez, readyz)."""

        def decided(wrong: str) -> None:
            self._last[kind, name] = not wrong
            self._done[kind, name, "error" if wrong else "success"] += 1
            verdict(wrong)

        self._checks[name](decided)

    def families(self) -> Iterator[Family]:
        """As metrics."""
        yield counter("etcd_server_health_success", "Answers of /health that said yes.",
                      self._healthy[True])
        yield counter("etcd_server_health_failures", "Answers of /health that said no.",
                      self._healthy[False])
        yield Family("etcd_server_healthcheck", Kind.GAUGE, "The last outcome of each check.",
                     tuple(Sample(ok, {"name": name, "type": kind})
                           for (kind, name), ok in sorted(self._last.items())))
        yield Family("etcd_server_healthchecks_total", Kind.COUNTER, "Outcomes of each check.",
                     tuple(Sample(count, {"name": name, "status": status, "type": kind})
                           for (kind, name, status), count in sorted(self._done.items())))

    def _health(self, request: Request, exchange: Exchange) -> None:
        def done(health: Health) -> None:
            self._healthy[health.healthy] += 1
            body = json.dumps(
                {"health": "true" if health.healthy else "false", "reason": health.reason},
                separators=(",", ":")).encode()
            exchange.respond(200 if health.healthy else 503, body)

        query = parse_qs(request.query)
        self._service.health(
            done, serializable=query.get("serializable", [""])[-1] == "true",
            exclude=query.get("exclude", []))

    # The checks.

    def _data_corruption(self, verdict: Verdict) -> None:
        def done(health: Health) -> None:
            verdict("" if health.healthy else "alarm activated: CORRUPT")

        self._service.health(done, serializable=True, exclude=("NOSPACE",))

    def _read(self, verdict: Verdict, *, serializable: bool) -> None:
        def done(outcome: Proto | Refused) -> None:
            verdict(form(outcome).text if isinstance(outcome, Refused) else "")

        self._service.range(rpc.RangeRequest(
            key=b"\0", keys_only=True, limit=1, serializable=serializable), done)

    def _non_learner(self, verdict: Verdict) -> None:
        def done(outcome: Proto | Refused) -> None:
            learner = isinstance(outcome, Refused) or bool(
                outcome.isLearner)  # type: ignore[attr-defined]  # a StatusResponse
            verdict("this member is a learner" if learner else "")

        self._service.status(rpc.StatusRequest(), done)


class _Round:
    """The checks of one request, one after the other."""

    def __init__(
        self, pages: HealthPages, request: Request, exchange: Exchange, headers: bytes
    ) -> None:
        root, _, name = request.path[1:].partition("/")
        query = parse_qs(request.query, keep_blank_values=True)
        self._pages = pages
        self._kind = root
        self._names = [name] if name else [
            one for one in CHECKS[f"/{root}"] if one not in query.get("exclude", ())]
        self._verbose = "verbose" in query
        self._exchange = exchange
        self._headers = headers
        self._lines: list[str] = []
        self._failed = False

    def go_on(self) -> None:
        """Run the next check, or answer."""
        if not self._names:
            return self._answer()
        name = self._names.pop(0)

        def verdict(wrong: str) -> None:
            self._failed = self._failed or bool(wrong)
            self._lines.append(f"[-]{name} failed: {wrong}\n" if wrong else f"[+]{name} ok\n")
            self.go_on()

        return self._pages.check(self._kind, name, verdict)

    def _answer(self) -> None:
        told = "".join(self._lines)
        body = f"{told}\n" if self._failed else f"{told if self._verbose else ''}ok\n"
        self._exchange.respond(503 if self._failed else 200, body.encode(),
                               content_type="text/plain; charset=utf-8", headers=self._headers)
