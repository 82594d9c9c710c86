"""The Python client `etcd3` (0.12) against three members; run by conductor.py.

The library keeps to one address and does not open a broken watch again: what its users write
around it, `Follower`, goes on at another address after the last revision that it has seen.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import etcd3
import grpc
from etcd3.exceptions import (
    ConnectionFailedError, Etcd3Exception, PreconditionFailedError, RevisionCompactedError,
)
from elections import Election
from stage import LATE_S, LEASE_S, MEMBERS, Tally, ask, check, equal, finish, until

P = "/etcd3-python/"
CALL_S = 5


def connect(number: int, timeout_s: float = CALL_S) -> Any:
    """A client of one member."""
    host, port = MEMBERS[number]
    return etcd3.client(host, port, timeout=timeout_s)


def fails(call: Callable[[], Any], code: grpc.StatusCode, text: str) -> None:
    """The library passes on what it has no exception for."""
    try:
        call()
    except grpc.RpcError as error:
        equal((error.code(), error.details()), (code, text))
    else:
        raise AssertionError(f"answered, although {text}")


def raises(call: Callable[[], Any], kind: type[Exception]) -> Exception:
    """An exception of the library's own."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def keys_and_values(client: Any) -> None:
    """Puts, ranges with options, deletes."""
    first = client.put(P + "kv/a", "1").header.revision
    equal(client.put(P + "kv/a", "2", prev_kv=True).prev_kv.value, b"1")
    value, meta = client.get(P + "kv/a", serializable=False)
    equal((value, meta.create_revision, meta.mod_revision, meta.version),
          (b"2", first, first + 1, 2))
    client.put(P + "kv/b", "9")
    client.put(P + "kv/c", "5")
    equal(client.get(P + "kv/none"), (None, None))
    prefix = client.get_prefix(P + "kv/", sort_order="descend", sort_target="key")
    equal([meta.key for _, meta in prefix],
          [(P + f"kv/{name}").encode() for name in "cba"])
    by_value = client.get_prefix(P + "kv/", sort_order="ascend", sort_target="value")
    equal([value for value, _ in by_value], [b"2", b"5", b"9"])
    bare = list(client.get_range(P + "kv/a", P + "kv/c", keys_only=True))
    equal([(value, meta.key[-1:]) for value, meta in bare], [(b"", b"a"), (b"", b"b")])
    equal(client.get_prefix_response(P + "kv/", serializable=True).count, 3)
    equal((client.put_if_not_exists(P + "kv/a", "x"), client.put_if_not_exists(P + "kv/d", "x")),
          (False, True))
    equal((client.replace(P + "kv/d", "y", "z"), client.replace(P + "kv/d", "x", "z")),
          (False, True))
    gone = client.delete(P + "kv/d", prev_kv=True, return_response=True)
    equal((gone.deleted, gone.prev_kvs[0].value), (1, b"z"))
    equal(client.delete(P + "kv/d"), False)
    equal(client.delete_prefix(P + "kv/").deleted, 3)


def transactions(client: Any) -> None:
    """Every target and operator, both branches, nesting."""
    t, key = client.transactions, P + "txn/a"
    client.put(key, "m")
    client.put(key, "n")
    _, meta = client.get(key)
    holds = [t.value(key) == "n", t.value(key) != "m", t.value(key) > "m", t.value(key) < "o",
             t.version(key) == 2, t.version(key) > 1, t.create(key) == meta.create_revision,
             t.mod(key) == meta.mod_revision, t.mod(key) < meta.mod_revision + 1,
             t.version(P + "txn/none") == 0]
    done, answers = client.transaction(
        compare=holds, success=[t.put(P + "txn/b", "1"), t.get(key), t.delete(key)], failure=[])
    equal((done, answers[1][0][0], answers[2].response_delete_range.deleted), (True, b"n", 1))
    _, b = client.get(P + "txn/b")
    equal(b.mod_revision, meta.mod_revision + 1)
    done, answers = client.transaction(
        compare=[t.version(key) > 0], success=[t.put(P + "txn/b", "2")],
        failure=[t.get(P + "txn/b"), t.txn(
            compare=[t.version(P + "txn/b") == 1], success=[t.put(P + "txn/c", "3")],
            failure=[t.delete(P + "txn/b")])])
    equal((done, answers[0][0][0], answers[1].response_txn.succeeded), (False, b"1", True))
    equal(client.get(P + "txn/c")[0], b"3")
    fails(lambda: client.transaction([], [t.put(key, "1"), t.put(key, "2")], []),
          grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")


def watches(client: Any) -> None:
    """From the past and from now, with previous values, until cancelled.

    Filters are not asked for: the library assigns them in a way that protobuf refuses.
    """
    key = P + "watch/a"
    first = client.put(key, "1").header.revision
    client.put(key, "2")
    client.delete(key)
    client.put(P + "watch/b", "3")
    events, cancel = client.watch_prefix(P + "watch/", start_revision=first, prev_kv=True)
    past = [next(events) for _ in range(4)]
    equal([(type(e).__name__, e.key[-1:], e.value, e.mod_revision - first) for e in past], [
        ("PutEvent", b"a", b"1", 0), ("PutEvent", b"a", b"2", 1), ("DeleteEvent", b"a", b"", 2),
        ("PutEvent", b"b", b"3", 3)])
    equal([e.prev_value for e in past], [b"", b"1", b"2", b""])
    client.put(key, "4")
    equal(next(events).value, b"4")
    cancel()
    heard: list[Any] = []
    number = client.add_watch_callback(key, heard.append, progress_notify=True)
    client.transaction([], [client.transactions.delete(key)], [])
    until(lambda: len(heard) == 1)
    equal(type(heard[0].events[0]).__name__, "DeleteEvent")
    client.cancel_watch(number)
    client.put(key, "6")
    equal(client.watch_once(P + "watch/b", start_revision=first).value, b"3")
    equal(len(heard), 1)


def errors(client: Any) -> None:
    """What this library makes of the server's errors."""
    last = client.put(P + "errors", "1").header.revision
    client.put(P + "errors", "2")
    client.compact(last)
    client.compact(last + 1, physical=True)
    out_of_range = grpc.StatusCode.OUT_OF_RANGE
    fails(lambda: client.compact(last), out_of_range,
          "etcdserver: mvcc: required revision has been compacted")
    fails(lambda: client.compact(last + 999_999), out_of_range,
          "etcdserver: mvcc: required revision is a future revision")
    events, _ = client.watch(P + "errors", start_revision=last)
    lost = raises(lambda: next(events), RevisionCompactedError)
    equal(lost.compacted_revision, last + 1)
    fails(lambda: client.put(P + "errors", "3", lease=12345), grpc.StatusCode.NOT_FOUND,
          "etcdserver: requested lease not found")
    fails(lambda: client.put(P + "errors", b"x" * (7 << 18)), grpc.StatusCode.INVALID_ARGUMENT,
          "etcdserver: request is too large")
    fails(lambda: client.put("", "x"), grpc.StatusCode.INVALID_ARGUMENT,
          "etcdserver: key is not provided")
    equal({member.name for member in client.members}, {"m1", "m2", "m3"})


def leases(client: Any) -> None:
    """One is kept alive, one ends by itself."""
    kept, left = client.lease(LEASE_S), client.lease(LEASE_S)
    begun = time.monotonic()
    client.put(P + "lease/kept", "1", lease=kept)
    client.put(P + "lease/left", "1", lease=left)
    equal((kept.granted_ttl, list(kept.keys)), (LEASE_S, [(P + "lease/kept").encode()]))
    assert 0 <= kept.remaining_ttl <= LEASE_S
    while client.get(P + "lease/left")[0] is not None:
        equal(kept.refresh()[0].TTL, LEASE_S)
        assert time.monotonic() - begun < LEASE_S + LATE_S, "the lease does not end"
        time.sleep(0.2)
    assert time.monotonic() - begun >= LEASE_S, "the lease ended early"
    equal((left.refresh()[0].TTL, left.remaining_ttl), (0, -1))
    equal(client.get(P + "lease/kept")[0], b"1")
    kept.revoke()
    equal(client.get(P + "lease/kept")[0], None)
    equal(client.lease(60, lease_id=4242).id, 4242)
    raises(lambda: client.lease(60, lease_id=4242), PreconditionFailedError)
    client.revoke_lease(4242)


def locks(one: Any, other: Any) -> None:
    """Two contenders: a release, and a holder that falls silent."""
    first, second = one.lock("etcd3-python", ttl=60), other.lock("etcd3-python", ttl=LEASE_S)
    equal((first.acquire(timeout=5), second.acquire(timeout=0.3)), (True, False))
    equal((first.is_acquired(), second.is_acquired()), (True, False))
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(second.acquire(timeout=20)))
    waiting.start()
    time.sleep(0.2)
    equal((got, second.release()), ([], False))
    asked = time.monotonic()
    first.release()
    waiting.join()
    equal((got, second.is_acquired(), second.refresh()[0].TTL), ([True], True, LEASE_S))
    third = one.lock("etcd3-python", ttl=60)
    equal(third.acquire(timeout=LEASE_S + LATE_S), True)
    assert time.monotonic() - asked >= LEASE_S, "the lock of a silent holder ended early"
    equal((second.is_acquired(), second.release(), third.release()), (False, False, True))


def elections(one: Any, other: Any) -> None:
    """The v3election service: campaign, proclaim, leader, observe, resign."""
    here, there, name = Election(one.channel), Election(other.channel), b"etcd3-python"
    mine, theirs = one.lease(60), other.lease(60)
    fails(lambda: here.call("Leader", name=name), grpc.StatusCode.UNKNOWN, "election: no leader")
    leader = here.call("Campaign", name=name, lease=mine.id, value=b"one").leader
    equal((leader.name, leader.lease), (name, mine.id))
    equal(leader.key, name + f"/{mine.id:x}".encode())
    later: list[Any] = []
    waiting = threading.Thread(target=lambda: later.append(
        there.call("Campaign", 20.0, name=name, lease=theirs.id, value=b"two").leader))
    waiting.start()
    here.call("Proclaim", leader=leader, value=b"uno")
    observed = there.observe(name)
    equal(next(observed).kv.value, b"uno")
    equal(later, [])
    here.call("Resign", leader=leader)
    waiting.join()
    equal([(new.name, new.lease) for new in later], [(name, theirs.id)])
    equal(next(observed).kv.value, b"two")
    observed.cancel()
    equal(here.call("Leader", name=name).kv.value, b"two")
    theirs.revoke()
    fails(lambda: here.call("Leader", name=name), grpc.StatusCode.UNKNOWN, "election: no leader")
    mine.revoke()


class Follower(threading.Thread):
    """Follows a prefix for ever, at one of `numbers` after another."""

    def __init__(self, numbers: list[int], prefix: str, first: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[int, bytes]] = []
        self.breaks = 0
        self._numbers, self._prefix, self._next = itertools.cycle(numbers), prefix, first
        self.start()

    def run(self) -> None:
        """A new client for each stream: the library's own thread spins on a broken channel."""
        while True:
            client = connect(next(self._numbers), 2)
            try:
                responses, _ = client.watch_prefix_response(
                    self._prefix, start_revision=self._next)
                for response in responses:
                    self.seen += [(e.mod_revision, e.value) for e in response.events]
                    if response.events:
                        self._next = response.events[-1].mod_revision + 1
            except (Etcd3Exception, grpc.RpcError):
                self.breaks += 1
            client.close()
            time.sleep(0.1)


def write(tally: Tally, prefix: str, stop: threading.Event) -> None:
    """Numbered values, until stopped; those without an answer may or may not be there."""
    client = connect(2, 1)
    for number in itertools.count():
        value = str(number).encode()
        try:
            client.put(f"{prefix}{number % 10}", value)
            tally.acknowledged.append(value)
        except (ConnectionFailedError, Etcd3Exception, grpc.RpcError):
            pass
        if stop.wait(0.01):
            return


def reconnect(client: Any, prefix: str, victim: int, numbers: list[int]) -> None:
    """The member that the watch is at is killed and started again while others write."""
    tally, stop = Tally(), threading.Event()
    first = client.put(prefix + "first", "begin").header.revision
    follower = Follower(numbers, prefix, first)
    writer = threading.Thread(target=write, args=(tally, prefix, stop))
    writer.start()
    until(lambda: len(follower.seen) > 20)
    ask(f"kill {victim}")
    until(lambda: follower.breaks > 0)
    before = len(tally.acknowledged)
    until(lambda: len(tally.acknowledged) > before + 20)
    ask(f"start {victim}")
    before = len(follower.seen)
    until(lambda: len(follower.seen) > before + 20)
    stop.set()
    writer.join()
    last = client.put(prefix + "last", "end").header.revision
    until(lambda: follower.seen[-1][0] == last)
    whole = Follower([2], prefix, first)
    until(lambda: bool(whole.seen) and whole.seen[-1][0] == last)
    tally.seen = follower.seen
    tally.judge(whole.seen)


def main() -> None:
    """The writer and the judge are at the third member, which is never killed."""
    one, other = connect(1), connect(2)
    with check("puts, ranges with options, deletes"):
        keys_and_values(one)
    with check("transactions: compares, branches, nesting"):
        transactions(one)
    with check("watches: past, present, previous values, once, cancel"):
        watches(one)
    with check("errors: compacted, future, lease, size, key"):
        errors(one)
    with check("leases: kept alive, ended, revoked"):
        leases(one)
    with check("lock: two contenders, a release, a silent holder"):
        locks(one, other)
    with check("election service: campaign, proclaim, observe, resign"):
        elections(one, other)
    with check("watch moves on when its member, the leader, is killed"):
        reconnect(other, P + "moves/", 0, [0, 1])
    with check("watch goes on at its own member, killed and restarted"):
        reconnect(other, P + "stays/", 1, [1])
    finish()


if __name__ == "__main__":
    main()
