"""What every answer owes besides its content: a header that fits all that was told before, and a
refusal its reason.

- cluster and member are those that were asked; the term is on that member's disk, and never less
  than it told before, also in an earlier life.
- A revision is never less than what anybody had been told before the request began; what may be
  stale (`is_serializable`, and answers to questions of leases) is never older than what the same
  life of the member told.
- A compaction is not of the future, and not of what was compacted already; what had been compacted
  cannot be read.
- A lease that anybody was told to be gone stays gone; only leases that were asked for are listed.
- COMPACTED, FUTURE_REVISION and KEY_NOT_FOUND have a reason. So has NO_SPACE: an alarm that the
  member has while it is asked, or that could not be raised.

Judged while it runs, in constant time; only missing keys wait for the event log.
Not here: the content (check/revisions.py), when leases end (check/leases.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from google.protobuf.message import Message as Proto

from quorate.check.keyvalue import is_serializable, within
from quorate.check.linearizability import NEVER
from quorate.check.revisions import EventLog
from quorate.check.v2 import LEASE
from quorate.state.errors import Problem
from quorate.wire._generated import rpc_pb2 as rpc, v2_pb2 as v2


class Asked(NamedTuple):
    """A request as it began, with what its answer may not fall short of."""

    request: Proto
    at: float
    member_id: int
    life: int
    revision: int
    term: int
    compacted: int


class Missing(NamedTuple):
    """A request that was refused for want of one of these keys, at a revision in between."""

    asked: Asked
    keys: tuple[bytes, ...]
    newest: int


class Answers:
    """Everything that the clients of one cluster have been told so far."""

    def __init__(self, cluster_id: int) -> None:
        self.revision = 1
        self.compacted = 0
        """The newest revision whose compaction was acknowledged."""
        self.applied = 0
        """The highest index that any member has applied: more than anybody was told."""
        self.leases: set[int] = set()
        """Every lease that anybody asked for."""
        self._cluster_id = cluster_id
        self._terms: dict[int, int] = defaultdict(int)
        self._lives: dict[tuple[int, int], int] = defaultdict(int)
        """The revision that a life of a member has told."""
        self._compacting: list[int] = []
        """Compactions that were not refused for sure."""
        self._gone: dict[int, float] = {}
        self._again: set[int] = set()
        """Leases that may have been granted a second time."""
        self._listed: set[int] = set()
        self._missing: list[Missing] = []
        self._cramped: list[Asked] = []
        """What was refused for want of space, without an alarm."""

    @property
    def compacting(self) -> int:
        """The newest revision to which history may have been compacted."""
        return max(self._compacting, default=0)

    def compacts(self, revision: int) -> None:
        """A member is about to compact by itself."""
        self._compacting.append(revision)

    def ask(self, request: Proto, member_id: int, life: int, now: float) -> Asked:
        """A request begins."""
        if isinstance(request, rpc.LeaseGrantRequest):
            if request.ID in self.leases:
                self._again.add(request.ID)
            self.leases.add(request.ID)
        elif isinstance(request, rpc.CompactionRequest):
            self._compacting.append(request.revision)
        revision = self._lives[member_id, life] if _may_be_stale(request) else self.revision
        return Asked(request, now, member_id, life, revision, self._terms[member_id],
                     self.compacted)

    def answered(self, asked: Asked, response: Proto, now: float, durable: int) -> list[str]:
        """What is wrong with an answer, in sentences. `durable`: the term on the member's disk."""
        header: rpc.ResponseHeader = response.header  # type: ignore[attr-defined]
        wrong = [f"{_name(asked)} was answered at {now:.3f} {text}" for text in (
            *self._header(asked, header, durable), *self._past(asked, response),
            *self._leases(asked, response, now))]
        member = asked.member_id
        self._terms[member] = max(self._terms[member], header.raft_term)
        self._lives[member, asked.life] = max(self._lives[member, asked.life], header.revision)
        self.revision = max(self.revision, header.revision)
        if isinstance(asked.request, rpc.CompactionRequest):
            self.compacted = max(self.compacted, asked.request.revision)
        return wrong

    def refused(
        self, asked: Asked, problem: Problem, newest: int, *, alarmed: bool = False
    ) -> list[str]:
        """The same of what was refused for sure; `newest`: the member's revision then; `alarmed`:
        whether it had an alarm for want of space meanwhile."""
        request = asked.request
        if isinstance(request, rpc.CompactionRequest):
            self._compacting.remove(request.revision)
        match problem:
            case Problem.COMPACTED:
                one_more = isinstance(request, rpc.CompactionRequest)
                explained = any(r < self.compacting + one_more for r in _revisions(request))
            case Problem.FUTURE_REVISION:
                explained = any(r > asked.revision for r in _revisions(request))
            case Problem.KEY_NOT_FOUND:
                keys = tuple(put.key for put in puts(request)
                             if put.ignore_value or put.ignore_lease)
                self._missing.append(Missing(asked, keys, newest))
                explained = bool(keys)
            case Problem.LEASE_NOT_FOUND:
                explained = isinstance(request, rpc.LeaseRevokeRequest) or any(
                    put.lease for put in puts(request))
            case Problem.LEASE_EXISTS:
                lease_id: int = request.ID  # type: ignore[attr-defined]  # of a grant
                explained = lease_id in self._again
                self._again.discard(lease_id)
            case Problem.NO_SPACE:
                explained = takes_space(request)
                if not alarmed:
                    self._cramped.append(asked)
            case Problem.DUPLICATE_KEY:
                explained = isinstance(request, rpc.TxnRequest) and (
                    _changes_twice(request.success) or _changes_twice(request.failure))
            case _ if problem.name.startswith("V2_"):
                explained = isinstance(request, v2.V2Request | v2.V2Get)
            case _:
                explained = True
        return [] if explained else [f"{_name(asked)} was refused with {problem.name}, for no "
                                     f"reason"]

    def judge(self, log: EventLog, steady_since: float = NEVER) -> list[str]:
        """What only the whole log shows, and since when one leader has led: an alarm can be raised
        then."""
        newest = log[-1][0] if log else 1
        wrong = [] if self.revision <= newest else [
            f"revision {self.revision} was told; the newest is {newest}"]
        wrong += [f"lease {lease_id:x} was told of, which nobody asked for"
                  for lease_id in sorted(self._listed - self.leases) if not is_ttl(lease_id)]
        for revision, changes in log:
            wrong += [f"revision {revision} hangs {change.key!r} on lease {change.kv.lease:x}, "
                      f"which nobody asked for" for change in changes
                      if change.kv is not None and change.kv.lease
                      and change.kv.lease not in self.leases and not is_ttl(change.kv.lease)]
        wrong += [f"{_name(asked)} was refused for want of space, without an alarm"
                  for asked in self._cramped if asked.at > steady_since]
        present = _presence(log, {key for missing in self._missing for key in missing.keys})
        return wrong + [
            f"{_name(asked)} was refused for want of a key; it had all of {keys}"
            for asked, keys, upto in self._missing
            if not any(_absent(present[key], asked.revision, upto) for key in keys)]

    def _header(
        self, asked: Asked, header: rpc.ResponseHeader, durable: int
    ) -> Iterator[str]:
        if header.cluster_id != self._cluster_id:
            yield f"by cluster {header.cluster_id:x}"
        if header.member_id != asked.member_id:
            yield f"as member {header.member_id:x}"
        if header.raft_term < asked.term:
            yield f"in term {header.raft_term}, after {asked.term}"
        if header.raft_term > durable:
            yield f"in term {header.raft_term}; its disk has {durable}"
        if isinstance(asked.request, rpc.MemberListRequest):
            if header.revision:
                yield f"at revision {header.revision}; of members there is none"
        elif header.revision < asked.revision:
            yield f"at revision {header.revision}, after {asked.revision}"

    def _past(self, asked: Asked, response: Proto) -> Iterator[str]:
        request = asked.request
        if isinstance(request, rpc.CompactionRequest):
            revision = response.header.revision  # type: ignore[attr-defined]
            if request.revision > revision:
                yield f"at revision {revision}, before the one to compact to"
            if request.revision <= asked.compacted:
                yield f"although {asked.compacted} was compacted before"
        elif not _may_be_stale(request):
            for revision in _revisions(request, response):
                if revision < asked.compacted:
                    yield f"although {asked.compacted} was compacted before"

    def _leases(self, asked: Asked, response: Proto, now: float) -> Iterator[str]:
        gone: tuple[int, ...] = ()
        alive: tuple[int, ...] = ()
        match response:
            case rpc.LeaseRevokeResponse():
                gone = alive = (asked.request.ID,)  # type: ignore[attr-defined]
            case rpc.LeaseKeepAliveResponse() | rpc.LeaseTimeToLiveResponse():
                if response.ID != asked.request.ID:  # type: ignore[attr-defined]
                    yield f"about lease {response.ID:x}"
                none = 0 if isinstance(response, rpc.LeaseKeepAliveResponse) else -1
                if none == response.TTL:
                    gone = (response.ID,)
                else:
                    alive = (response.ID,)
            case rpc.LeaseLeasesResponse():
                alive = tuple(lease.ID for lease in response.leases)
        for lease_id in alive:
            if self._gone.get(lease_id, NEVER) < asked.at and lease_id not in self._again:
                yield f"with lease {lease_id:x}, which was gone at {self._gone[lease_id]:.3f}"
        self._listed.update(alive)
        for lease_id in gone:
            self._gone.setdefault(lease_id, now)


def puts(request: Proto) -> Iterator[rpc.PutRequest]:
    """A request's puts, in any branch."""
    if isinstance(request, rpc.PutRequest):
        yield request
    elif isinstance(request, rpc.TxnRequest):
        for op in (*request.success, *request.failure):
            yield from puts(op.request_put if op.HasField("request_put") else op.request_txn)


def takes_space(request: Proto) -> bool:
    """Whether there may be a put in it, or a lease."""
    if isinstance(request, v2.V2Request):
        return request.method != v2.V2Request.DELETE
    return isinstance(request, rpc.LeaseGrantRequest) or any(puts(request))


def is_ttl(lease_id: int) -> bool:
    """Whether it is a lease of v2, which is asked for without its id."""
    return lease_id >> 48 == LEASE >> 48


def _changes_twice(ops: Iterable[rpc.RequestOp]) -> bool:
    """Whether a branch changes a key twice; the branches of one within it exclude each other."""
    put: list[bytes] = []
    deletes = []
    for op in ops:
        if op.HasField("request_put"):
            put.append(op.request_put.key)
        elif op.HasField("request_delete_range"):
            deletes.append(op.request_delete_range)
        elif op.HasField("request_txn"):
            within_it = [*op.request_txn.success, *op.request_txn.failure]
            if _changes_twice(op.request_txn.success) or _changes_twice(op.request_txn.failure):
                return True
            put += {one.request_put.key for one in within_it if one.HasField("request_put")}
            deletes += [one.request_delete_range for one in within_it
                        if one.HasField("request_delete_range")]
    return len(put) > len(set(put)) or any(
        within(key, delete.key, delete.range_end) for key in put for delete in deletes)


def _revisions(request: Proto, response: Proto | None = None) -> Iterator[int]:
    """Revisions that a request asks for; with its response only those that were answered."""
    if isinstance(request, (rpc.RangeRequest, rpc.CompactionRequest)):
        if request.revision > 0:
            yield request.revision
    elif isinstance(request, rpc.TxnRequest):
        ops: Iterable[rpc.RequestOp] = (*request.success, *request.failure)
        parts: Iterable[rpc.ResponseOp | None] = repeat(None)
        if isinstance(response, rpc.TxnResponse):
            ops = request.success if response.succeeded else request.failure
            parts = response.responses
        for op, part in zip(ops, parts, strict=False):
            if op.HasField("request_range"):
                yield from _revisions(op.request_range)
            elif op.HasField("request_txn"):
                yield from _revisions(op.request_txn, part.response_txn if part else None)


def _may_be_stale(request: Proto) -> bool:
    if isinstance(request, rpc.MemberListRequest):
        return not request.linearizable
    return isinstance(request, rpc.LeaseKeepAliveRequest) or is_serializable(
        request)  # type: ignore[arg-type]  # of other requests it is False


def _presence(log: EventLog, keys: set[bytes]) -> dict[bytes, list[tuple[int, bool]]]:
    """When each of these keys came and went."""
    present: dict[bytes, list[tuple[int, bool]]] = {key: [(1, False)] for key in keys}
    if keys:
        for revision, changes in log:
            for key, kv in changes:
                if key in keys:
                    present[key].append((revision, kv is not None))
    return present


def _absent(moments: list[tuple[int, bool]], low: int, high: int) -> bool:
    """Whether the key was not there at some revision of these."""
    first = bisect_right(moments, low, key=lambda moment: moment[0]) - 1
    return any(not there for revision, there in moments[first:] if revision <= high)


def _name(asked: Asked) -> str:
    text = " ".join(str(asked.request).split())
    return (f"{type(asked.request).__name__} {{{text}}} of {asked.at:.3f} at member "
            f"{asked.member_id}")
