"""Draws the requests of a simulated client: everything that etcd's key-value requests can say.

Values are nobody else's, so that each write has one cause; compares are with what was seen of a
key, or next to it. Malformed are only transactions that change a key twice.

Not here: who asks, and what is recorded (client.py), requests about leases (holder.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from google.protobuf.message import Message as Proto

from quorate.check.keyvalue import Request
from quorate.sim.answers import Answers
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

KEYS = 6
"""Keys of one client; others read, compare and put them in transactions, too."""

BEHIND = 50
"""How many revisions back reads of the past go."""

NESTING = 2
R, C = rpc.RangeRequest, rpc.Compare
SORT_TARGETS = (R.KEY, R.VERSION, R.CREATE, R.MOD, R.VALUE)
RESULTS = (C.EQUAL, C.EQUAL, C.GREATER, C.LESS, C.NOT_EQUAL)
FIELDS = {C.VERSION: "version", C.CREATE: "create_revision", C.MOD: "mod_revision",
          C.LEASE: "lease"}
TARGETS = (*FIELDS, C.MOD, C.VALUE)
BOUNDS = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
V2_KEYS = ("a", "d", "d/a")
"""Of those that v2 requests are about; the second is a directory to them."""

INTERVALS = ((b"c", b"d"), (b"c", b"c1"), (b"c", b"\0"), (b"x", b"y"), (b"d", b"c"))
"""All, some, all and the locks, none, none."""
V2_INTERVALS = ((b"/", b"0"), (b"quorate/", b"quorate0"))
"""All of v2's, and its markers."""


class Grammar:
    """`lease` gives a lease to bind a key to, 0 for none."""

    def __init__(
        self, name: str, rng: random.Random, clients: int, lease: Callable[[], int],
        answers: Answers, *, v2: bool = False,
    ) -> None:
        """`v2`: also about keys that v2 requests are about."""
        self._name = name
        self._rng = rng
        self._clients = clients
        self._lease = lease
        self._answers = answers
        self._count = 0
        self._seen: dict[bytes, kv_pb2.KeyValue] = {}
        self._own = [f"{name}/{n}".encode() for n in range(KEYS)]
        self._keys = [f"c{client}/{n}".encode() for client in range(clients)
                      for n in range(KEYS)]
        self._intervals: tuple[tuple[bytes, bytes], ...] = INTERVALS
        if v2:
            self._own += [f"/{name}/{key}".encode() for key in V2_KEYS]
            self._keys += [f"/c{client}/{key}".encode() for client in range(clients)
                           for key in V2_KEYS]
            self._intervals += V2_INTERVALS
        self._to_put: list[bytes] = []
        self._to_delete: list[bytes] = []

    def learn(self, response: Proto) -> None:
        """An answer; later compares are with what it showed."""
        if isinstance(response, rpc.RangeResponse):
            self._seen.update((kv.key, kv) for kv in response.kvs)

    def draw(self) -> Request:
        """Any request."""
        choice = self._rng.random()
        if choice < 0.42:
            return self.put()
        if choice < 0.72:
            return self._range()
        if choice < 0.9:
            return self._txn()
        if choice < 0.98:
            return self._delete(self._rng.choice(self._own))
        return rpc.DeleteRangeRequest(
            key=f"{self._name}/".encode(), range_end=f"{self._name}0".encode(), prev_kv=True)

    def put(self, key: bytes = b"") -> rpc.PutRequest:
        """Of an own key unless told."""
        key = key or self._rng.choice(self._own)
        choice = self._rng.random()
        request = rpc.PutRequest(key=key, prev_kv=self._rng.random() < 0.2)
        request.ignore_value, request.ignore_lease = choice < 0.04, 0.03 <= choice < 0.08
        if not request.ignore_value:
            request.value = self._value()
        if choice < 0.3 and not request.ignore_lease:
            request.lease = self._lease()
        return request

    def _value(self) -> bytes:
        self._count += 1
        return f"{self._name}-{self._count}".encode()

    def _delete(self, key: bytes) -> rpc.DeleteRangeRequest:
        return rpc.DeleteRangeRequest(key=key, prev_kv=self._rng.random() < 0.6)

    # Ranges.

    def _interval(self) -> tuple[bytes, bytes]:
        if self._rng.random() < 0.5:
            client = self._rng.randrange(self._clients)
            return f"c{client}/".encode(), f"c{client}0".encode()
        return self._rng.choice(self._intervals)

    def _range(self) -> rpc.RangeRequest:
        rng = self._rng
        request = rpc.RangeRequest(
            key=rng.choice(self._keys), serializable=rng.random() < 0.2)
        if rng.random() < 0.3:
            request.key, request.range_end = self._interval()
        if rng.random() < 0.5:
            return request
        request.limit = rng.choice((0, 0, 1, 3))
        request.keys_only = rng.random() < 0.2
        request.count_only = rng.random() < 0.1
        if rng.random() < 0.3:
            request.sort_order = rng.choice((R.NONE, R.ASCEND, R.DESCEND))
            request.sort_target = rng.choice(SORT_TARGETS)
        if rng.random() < 0.2:
            field = rng.choice(BOUNDS)
            seen = self._seen.get(rng.choice(self._keys))
            setattr(request, field, self._past() if seen is None else getattr(seen, field[4:]))
        if rng.random() < 0.2:
            request.revision = self._past()
        return request

    def _past(self) -> int:
        """A revision: next to the last compaction, the newest, the one to come, or of late."""
        compacted = self._answers.compacted
        if compacted and self._rng.random() < 0.4:
            return max(1, compacted + self._rng.choice((-1, 0, 0, 1)))
        return max(1, self._answers.revision + self._rng.choice(
            (0, 0, 1, -self._rng.randrange(BEHIND), -self._rng.randrange(BEHIND))))

    # Transactions.

    def _txn(self) -> rpc.TxnRequest:
        rng = self._rng
        self._to_delete = rng.sample(self._own, 2)
        self._to_put = rng.sample([k for k in self._keys if k not in self._to_delete], 4)
        kind = rng.random()
        if kind < 0.2:
            serializable = rng.choice((0.0, 0.5, 1.0))
            return self._of(lambda: self._reads(serializable))
        if kind < 0.3:
            return rpc.TxnRequest(compare=self._compares(), success=[
                rpc.RequestOp(request_delete_range=self._delete(key)) for key in self._to_delete])
        if kind < 0.36:
            return self._doomed()
        return self._of(lambda: self._changes(0))

    def _of(self, branch: Callable[[], list[rpc.RequestOp]]) -> rpc.TxnRequest:
        """Both branches may change the same keys."""
        compares, put, delete = self._compares(), self._to_put, self._to_delete
        self._to_put, self._to_delete = put.copy(), delete.copy()
        success = branch()
        left, self._to_put = self._to_put, put.copy()
        kept, self._to_delete = self._to_delete, delete.copy()
        failure = branch()
        self._to_put = [key for key in self._to_put if key in left]
        self._to_delete = [key for key in self._to_delete if key in kept]
        return rpc.TxnRequest(compare=compares, success=success, failure=failure)

    def _compares(self) -> list[rpc.Compare]:
        return [self._compare() for _ in range(self._rng.choice((0, 1, 1, 1, 2, 3)))]

    def _compare(self) -> rpc.Compare:
        rng = self._rng
        compare = rpc.Compare(
            key=rng.choice(self._to_put or self._keys), target=rng.choice(TARGETS),
            result=rng.choice(RESULTS))
        if rng.random() < 0.25:
            compare.key, compare.range_end = self._interval()
        seen = self._seen.get(compare.key, kv_pb2.KeyValue())
        if compare.target == C.VALUE:
            compare.value = rng.choice((seen.value, seen.value, b"", seen.value + b"-"))
        elif rng.random() < 0.8:
            field = FIELDS[compare.target]
            setattr(compare, field, max(0, getattr(seen, field) + rng.choice((0, 0, 0, -1, 1))))
        return compare

    def _reads(self, serializable: float) -> list[rpc.RequestOp]:
        """Ranges; each with this chance a serializable one."""
        ops = []
        for _ in range(self._rng.choice((1, 2, 2))):
            request = self._range()
            request.serializable = self._rng.random() < serializable
            ops.append(rpc.RequestOp(request_range=request))
        if self._rng.random() < 0.1:
            ops.append(rpc.RequestOp(request_txn=rpc.TxnRequest(
                success=[rpc.RequestOp(request_range=self._range())])))
        return ops

    def _changes(self, depth: int) -> list[rpc.RequestOp]:
        return [self._op(depth) for _ in range(self._rng.choice((0, 1, 2, 2, 3)))]

    def _op(self, depth: int) -> rpc.RequestOp:
        choice = self._rng.random()
        if choice < 0.5 and self._to_put:
            return rpc.RequestOp(request_put=self.put(self._to_put.pop()))
        if choice < 0.65 and self._to_delete:
            return rpc.RequestOp(request_delete_range=self._delete(self._to_delete.pop()))
        if choice < 0.75 and depth < NESTING:
            return rpc.RequestOp(request_txn=self._of(
                lambda: self._changes(depth + 1)))
        return rpc.RequestOp(request_range=self._range())

    def _doomed(self) -> rpc.TxnRequest:
        """Its second write cannot be: the first must not happen either."""
        first, second = self._to_put[:2]
        bad = self._rng.choice((
            # Leases that anybody asked for are odd.
            rpc.RequestOp(request_put=rpc.PutRequest(
                key=second, value=self._value(), lease=2 * self._rng.randrange(1, 1 << 60))),
            rpc.RequestOp(request_put=rpc.PutRequest(key=first, value=self._value())),
            rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(
                key=b"c", range_end=b"d")),
            rpc.RequestOp(request_put=rpc.PutRequest(key=b"x", ignore_value=True)),
            rpc.RequestOp(request_range=rpc.RangeRequest(
                key=second, revision=self._answers.revision + 1000))))
        good = rpc.RequestOp(request_put=rpc.PutRequest(key=first, value=self._value()))
        if self._rng.random() < 0.3:
            bad = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[bad]))
        return rpc.TxnRequest(success=[good, bad])
