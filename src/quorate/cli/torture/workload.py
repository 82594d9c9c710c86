"""Recorded clients of a tormented cluster: a thread each, sequential, over the client port.

Writers put, read, compare and swap, and delete, with values that nobody else writes; holders keep
leases and take a lock, or leave them to end; watchers resume at other members. What was asked and
answered is kept for the judges, with times of one monotonic clock.

Not here: faults (nemesis.py), the judgement (verdict.py).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from quorate.check.keyvalue import Request, Response
from quorate.check.leases import Hold, LeaseHistory, Renewal
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call
from quorate.check.watches import Watched
from quorate.cli.torture.wire import Refused, Unknown, Wire
from quorate.wire._generated import rpc_pb2 as rpc

TIMEOUT_S = 3.0
"""A client that hears nothing for this long goes on, at another member."""

KEYS = 8
LOCK = b"lock"
LEASE_TTL_S = (2, 3, 5)
RENEWALS_PER_TTL = 4
PAUSE_S = 0.01
GIVE_UP = 0.1
"""Chance at each renewal that a holder leaves its lease to end."""

WATCHES = (
    rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=True),
    rpc.WatchCreateRequest(key=b"k/", range_end=b"k0"),
    rpc.WatchCreateRequest(key=b"k/3", filters=[rpc.WatchCreateRequest.NODELETE]))
"""What watchers watch, in turn; the first sees the ends of leases."""

PATHS: dict[type, tuple[str, type[Response]]] = {
    rpc.PutRequest: ("/v3/kv/put", rpc.PutResponse),
    rpc.RangeRequest: ("/v3/kv/range", rpc.RangeResponse),
    rpc.DeleteRangeRequest: ("/v3/kv/deleterange", rpc.DeleteRangeResponse),
    rpc.TxnRequest: ("/v3/kv/txn", rpc.TxnResponse),
}


@dataclass
class Actor:
    """One client; `ports` are the members' client ports."""

    name: str
    ports: Sequence[int]
    rng: random.Random
    stop: threading.Event
    calls: list[Call] = field(default_factory=list)
    crashed: str = ""
    last_write: float = 0.0

    def __post_init__(self) -> None:
        self._count = 0
        self._wire = Wire(self.rng.choice(self.ports), TIMEOUT_S)
        self.thread = threading.Thread(target=self._work, name=self.name, daemon=True)

    def _work(self) -> None:
        try:
            while not self.stop.is_set():
                self.act()
        except Exception as failure:  # judged: a client never fails by itself
            self.crashed = f"{type(failure).__name__}: {failure}"

    def act(self) -> None:
        """One step; by each kind of actor."""
        raise NotImplementedError

    def move(self) -> None:
        """Go to another member."""
        self._wire.close()
        self._wire = Wire(self.rng.choice(self.ports), TIMEOUT_S)

    def ask(self, request: Request) -> Response | None:
        """Ask, and record it unless it did not happen for sure."""
        path, kind = PATHS[type(request)]
        invoked = time.monotonic()
        try:
            response = self._wire.call(path, request, kind)
        except Refused:
            self.move()
            self.stop.wait(0.05)
            return None
        except Unknown:
            self.calls.append(Call(self.name, invoked, NEVER, request, None))
            self.move()
            return None
        now = time.monotonic()
        self.calls.append(Call(self.name, invoked, now, request, response))
        if not isinstance(response, rpc.RangeResponse):
            self.last_write = now
        return response

    def value(self) -> bytes:
        """A value that nobody else writes."""
        self._count += 1
        return f"{self.name}-{self._count}".encode()


class Writer(Actor):
    """Puts, ranges, transactions and deletes."""

    def act(self) -> None:
        """One request."""
        choice, key = self.rng.random(), f"k/{self.rng.randrange(KEYS)}".encode()
        if choice < 0.4:
            self.ask(rpc.PutRequest(key=key, value=self.value(), prev_kv=choice < 0.1))
        elif choice < 0.6:
            self.ask(rpc.RangeRequest(key=key, serializable=choice < 0.43))
        elif choice < 0.7:
            self.ask(rpc.RangeRequest(key=b"k/", range_end=b"k0"))
        elif choice < 0.95:
            self._swap(key)
        else:
            self.ask(rpc.DeleteRangeRequest(key=key, prev_kv=True))
        self.stop.wait(PAUSE_S)

    def _swap(self, key: bytes) -> None:
        """Read, then write if nobody did meanwhile."""
        seen = self.ask(rpc.RangeRequest(key=key))
        if isinstance(seen, rpc.RangeResponse):
            revision = seen.kvs[0].mod_revision if seen.kvs else 0
            self.ask(rpc.TxnRequest(
                compare=[rpc.Compare(key=key, target=rpc.Compare.MOD, mod_revision=revision)],
                success=[rpc.RequestOp(request_put=rpc.PutRequest(
                    key=key, value=self.value()))],
                failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key))]))


class Holder(Actor):
    """Keeps a lease with a key on it, tries for the lock, and gives up now and then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.histories: list[LeaseHistory] = []
        self.holds: list[Hold] = []
        self._since: float | None = None

    def act(self) -> None:
        """The life of one lease."""
        ttl_s, sent = self.rng.choice(LEASE_TTL_S), time.monotonic()
        try:
            granted = self._wire.call(
                "/v3/lease/grant", rpc.LeaseGrantRequest(TTL=ttl_s), rpc.LeaseGrantResponse)
        except (Refused, Unknown):
            self.move()
            self.stop.wait(0.1)
            return
        history = LeaseHistory(self.name, granted.ID, granted.TTL,
                               [Renewal(sent, time.monotonic(), True)])
        self.histories.append(history)
        self.ask(rpc.PutRequest(key=lease_key(granted.ID), value=self.value(), lease=granted.ID))
        alive = True
        while alive and not self.stop.is_set() and self.rng.random() > GIVE_UP:
            self._try_lock(history)
            self.stop.wait(history.ttl_s / RENEWALS_PER_TTL * self.rng.random())
            alive = self._renew(history)
        self._let_go(history)

    def _renew(self, history: LeaseHistory) -> bool:
        sent = time.monotonic()
        try:
            answer = self._wire.call("/v3/lease/keepalive",
                                     rpc.LeaseKeepAliveRequest(ID=history.id),
                                     rpc.LeaseKeepAliveResponse)
        except (Refused, Unknown):
            history.renewals.append(Renewal(sent, NEVER, False))
            self.move()
            return True
        history.renewals.append(Renewal(sent, time.monotonic(), answer.TTL > 0))
        return answer.TTL > 0

    def _try_lock(self, history: LeaseHistory) -> None:
        if self._since is not None:
            return
        won = self.ask(rpc.TxnRequest(
            compare=[rpc.Compare(key=LOCK, target=rpc.Compare.CREATE, create_revision=0)],
            success=[rpc.RequestOp(request_put=rpc.PutRequest(
                key=LOCK, value=self.value(), lease=history.id))]))
        if isinstance(won, rpc.TxnResponse) and won.succeeded:
            self._since = time.monotonic()

    def _let_go(self, history: LeaseHistory) -> None:
        """It believed to hold the lock until now, or until its lease's promise ended."""
        if self._since is not None:
            sent = max(r.sent for r in history.renewals if r.acknowledged)
            until = min(time.monotonic(), sent + history.ttl_s)
            if until > self._since:
                self.holds.append(
                    Hold(f"{self.name} {history.id:x}", LOCK, self._since, until))
        self._since = None


class Watching(Actor):
    """Watches a range and resumes elsewhere whenever its stream ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sessions: list[Watched] = []
        self.arrived: dict[bytes, float] = {}
        """When the deletion of a key of a lease was first heard of."""
        self.next_revision = 2
        self.create = WATCHES[int(self.name[-1]) % len(WATCHES)]

    def act(self) -> None:
        """One stream."""
        request = rpc.WatchCreateRequest()
        request.CopyFrom(self.create)
        request.start_revision = self.next_revision
        responses: list[rpc.WatchResponse] = []
        self.sessions.append(Watched(self.name, request, responses))
        wire = Wire(self.rng.choice(self.ports), TIMEOUT_S)
        for response in wire.watch(request, self.stop):
            responses.append(response)
            for event in response.events:
                self.next_revision = event.kv.mod_revision + 1
                if event.type and event.kv.key.startswith(b"lease/"):
                    self.arrived.setdefault(event.kv.key, time.monotonic())
        self.stop.wait(0.05)


def lease_key(lease_id: int) -> bytes:
    """The key that shows when a lease is gone."""
    return f"lease/{lease_id:x}".encode()

