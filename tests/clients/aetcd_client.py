"""The asyncio client `aetcd` (1.0) against three members; run by conductor.py.

The library keeps to one address, and its watcher is of no use after its stream has broken: what
its users write around it, `Follower`, goes on with a new client, after the last revision seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aetcd
import grpc
from aetcd import exceptions
from aetcd.rtypes import EventKind
from elections import Election
from stage import LATE_S, LEASE_S, MEMBERS, Tally, ask, check, equal, finish

P = b"/aetcd/"
CALL_S = 5


async def connect(number: int, timeout_s: float = CALL_S) -> Any:
    """A client of one member."""
    host, port = MEMBERS[number]
    client = aetcd.Client(host, port, timeout=timeout_s)
    await client.connect()
    return client


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits for something that other tasks bring about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def fails(call: Awaitable[Any], kind: type[Exception], text: str) -> None:
    """The library's exception, with the server's words."""
    try:
        await call
    except exceptions.ClientError as error:
        equal((type(error), str(error)), (kind, text))
    else:
        raise AssertionError(f"answered, although {text}")


async def keys_and_values(client: Any) -> None:
    """Puts, ranges with options, deletes."""
    first = (await client.put(P + b"kv/a", b"1")).header.revision
    equal((await client.put(P + b"kv/a", b"2", prev_kv=True)).prev_kv.value, b"1")
    got = await client.get(P + b"kv/a", serializable=False)
    equal((got.value, got.create_revision, got.mod_revision, got.version),
          (b"2", first, first + 1, 2))
    await client.put(P + b"kv/b", b"9")
    await client.put(P + b"kv/c", b"5")
    equal(await client.get(P + b"kv/none"), None)
    prefix = await client.get_prefix(P + b"kv/", sort_order="descend", sort_target="key")
    equal([kv.key[-1:] for kv in prefix.kvs], [b"c", b"b", b"a"])
    by_value = await client.get_prefix(P + b"kv/", sort_order="ascend", sort_target="value")
    equal([kv.value for kv in by_value.kvs], [b"2", b"5", b"9"])
    bare = await client.get_prefix(P + b"kv/", keys_only=True)
    equal((bare.count, bare.more, [kv.value for kv in bare.kvs]), (3, False, [b""] * 3))
    half = await client.get_range(P + b"kv/a", P + b"kv/c", sort_order="descend",
                                  sort_target="version")
    equal([kv.key[-1:] for kv in half.kvs], [b"a", b"b"])
    equal((await client.replace(P + b"kv/c", b"y", b"z"),
           await client.replace(P + b"kv/c", b"5", b"z")), (False, True))
    gone = await client.delete(P + b"kv/c", prev_kv=True)
    equal((gone.deleted, gone.prev_kv.value), (1, b"z"))
    equal(await client.delete(P + b"kv/c"), None)
    both = await client.delete_prefix(P + b"kv/", prev_kv=True)
    equal((both.deleted, [kv.value for kv in both.prev_kvs]), (2, [b"2", b"9"]))


async def transactions(client: Any) -> None:
    """Every target and operator, both branches, nesting."""
    t, key, other = client.transactions, P + b"txn/a", P + b"txn/b"
    await client.put(key, b"m")
    await client.put(key, b"n")
    got = await client.get(key)
    holds = [t.value(key) == b"n", t.value(key) != b"m", t.value(key) > b"m", t.value(key) < b"o",
             t.version(key) == 2, t.version(key) > 1, t.create(key) == got.create_revision,
             t.mod(key) == got.mod_revision, t.mod(key) < got.mod_revision + 1,
             t.version(P + b"txn/none") == 0]
    done, answers = await client.transaction(
        compare=holds, success=[t.put(other, b"1"), t.get(key), t.delete(key)], failure=[])
    equal((done, answers[1][0][0], answers[2].response_delete_range.deleted), (True, b"n", 1))
    equal((await client.get(other)).mod_revision, got.mod_revision + 1)
    done, answers = await client.transaction(
        compare=[t.version(key) > 0], success=[t.put(other, b"2")],
        failure=[t.get(other), t.txn(
            compare=[t.version(other) == 1], success=[t.put(P + b"txn/c", b"3")],
            failure=[t.delete(other)])])
    equal((done, answers[0][0][0], answers[1].response_txn.succeeded), (False, b"1", True))
    equal((await client.get(P + b"txn/c")).value, b"3")
    await fails(client.transaction([], [t.put(key, b"1"), t.put(key, b"2")], []),
                exceptions.InvalidArgumentError,
                "etcdserver: duplicate key given in txn request")


async def watches(client: Any) -> None:
    """From the past and from now, with filters and previous values, until cancelled."""
    key = P + b"watch/a"
    first = (await client.put(key, b"1")).header.revision
    await client.put(key, b"2")
    await client.delete(key)
    await client.put(P + b"watch/b", b"3")
    watch = await client.watch_prefix(P + b"watch/", start_revision=first, prev_kv=True)
    events = aiter(watch)
    past = [await anext(events) for _ in range(4)]
    equal([(e.kind, e.kv.key[-1:], e.kv.value, e.kv.mod_revision - first) for e in past], [
        (EventKind.PUT, b"a", b"1", 0), (EventKind.PUT, b"a", b"2", 1),
        (EventKind.DELETE, b"a", b"", 2), (EventKind.PUT, b"b", b"3", 3)])
    equal([e.prev_kv.value if e.prev_kv else b"" for e in past], [b"", b"1", b"2", b""])
    ends = await client.watch(key, kind=EventKind.DELETE)
    puts = await client.watch(key, kind=EventKind.PUT)
    await client.put(key, b"4")
    await client.delete(key)
    await client.put(key, b"5")
    equal([(await anext(events)).kv.value for _ in range(3)], [b"4", b"", b"5"])
    equal((await anext(aiter(ends))).kind, EventKind.DELETE)
    put_events = aiter(puts)
    equal([(await anext(put_events)).kv.value for _ in range(2)], [b"4", b"5"])
    await watch.cancel()
    once = await client.watch_once(P + b"watch/b", start_revision=first, timeout=5)
    equal(once.kv.value, b"3")
    with contextlib.suppress(exceptions.WatchTimeoutError):
        await client.watch_once(P + b"watch/none", timeout=0.1)
        raise AssertionError("nothing has happened")


async def errors(client: Any) -> None:
    """What this library makes of the server's errors."""
    last = (await client.put(P + b"errors", b"1")).header.revision
    await client.put(P + b"errors", b"2")
    await client.compact(last)
    await client.compact(last + 1, physical=True)
    await fails(client.compact(last), exceptions.ClientError,
                "etcdserver: mvcc: required revision has been compacted")
    await fails(client.compact(last + 999_999), exceptions.ClientError,
                "etcdserver: mvcc: required revision is a future revision")
    watch = await client.watch(P + b"errors", start_revision=last)
    await fails(anext(aiter(watch)), exceptions.RevisionCompactedError,
                f"revision was already compacted below {last + 1}")
    await fails(client.put(P + b"errors", b"3", lease=12345), exceptions.ClientError,
                "etcdserver: requested lease not found")
    await fails(client.put(P + b"errors", b"x" * (7 << 18)), exceptions.InvalidArgumentError,
                "etcdserver: request is too large")
    await fails(client.put(b"", b"x"), exceptions.InvalidArgumentError,
                "etcdserver: key is not provided")
    equal({member.name async for member in client.members()}, {"m1", "m2", "m3"})


async def leases(client: Any) -> None:
    """One is kept alive, one ends by itself."""
    kept, left = await client.lease(LEASE_S), await client.lease(LEASE_S)
    begun = time.monotonic()
    await client.put(P + b"lease/kept", b"1", lease=kept)
    await client.put(P + b"lease/left", b"1", lease=left)
    equal((await kept.granted_ttl(), list(await kept.keys())), (LEASE_S, [P + b"lease/kept"]))
    assert 0 <= await kept.remaining_ttl() <= LEASE_S
    while await client.get(P + b"lease/left") is not None:
        equal((await kept.refresh()).TTL, LEASE_S)
        assert time.monotonic() - begun < LEASE_S + LATE_S, "the lease does not end"
        await asyncio.sleep(0.2)
    assert time.monotonic() - begun >= LEASE_S, "the lease ended early"
    equal(((await left.refresh()).TTL, await left.remaining_ttl()), (0, -1))
    equal((await client.get(P + b"lease/kept")).value, b"1")
    await kept.revoke()
    equal(await client.get(P + b"lease/kept"), None)
    equal((await client.lease(60, lease_id=4343)).id, 4343)
    with contextlib.suppress(exceptions.DuplicateLeaseError):
        await client.lease(60, lease_id=4343)
        raise AssertionError("granted twice")
    await client.revoke_lease(4343)


async def locks(one: Any, other: Any) -> None:
    """Two contenders: a release, and a holder that falls silent."""
    first, second = one.lock(P + b"lock", ttl=60), other.lock(P + b"lock", ttl=LEASE_S)
    equal((await first.acquire(timeout=5), await second.acquire(timeout=0.3)), (True, False))
    equal((await first.is_acquired(), await second.is_acquired()), (True, False))
    waiting = asyncio.create_task(second.acquire(timeout=20))
    await asyncio.sleep(0.2)
    equal((waiting.done(), await second.release()), (False, False))
    asked = time.monotonic()
    await first.release()
    equal((await waiting, await second.is_acquired()), (True, True))
    equal((await second.refresh()).TTL, LEASE_S)
    third = one.lock(P + b"lock", ttl=60)
    equal(await third.acquire(timeout=LEASE_S + LATE_S), True)
    assert time.monotonic() - asked >= LEASE_S, "the lock of a silent holder ended early"
    equal((await second.is_acquired(), await second.release(), await third.release()),
          (False, False, True))


async def no_leader(election: Election, name: bytes) -> None:
    """Nobody campaigns."""
    try:
        await election.call("Leader", name=name)
    except grpc.aio.AioRpcError as error:
        equal((error.code(), error.details()),
              (grpc.StatusCode.UNKNOWN, "election: no leader"))
    else:
        raise AssertionError("somebody leads")


async def elections(one: Any, other: Any) -> None:
    """The v3election service; a leader's lease ends, a leader resigns."""
    here, there, name = Election(one.channel), Election(other.channel), b"aetcd"
    mine, theirs = await one.lease(60), await other.lease(60)
    await no_leader(here, name)
    leader = (await here.call("Campaign", name=name, lease=mine.id, value=b"one")).leader
    equal((leader.name, leader.lease), (name, mine.id))
    waiting = asyncio.create_task(
        _campaign(there, name=name, lease=theirs.id, value=b"two"))
    await here.call("Proclaim", leader=leader, value=b"uno")
    observed = there.observe(name)
    equal((await observed.read()).kv.value, b"uno")
    equal(waiting.done(), False)
    await mine.revoke()
    new = await waiting
    equal((new.name, new.lease), (name, theirs.id))
    equal((await observed.read()).kv.value, b"two")
    observed.cancel()
    equal((await here.call("Leader", name=name)).kv.value, b"two")
    await there.call("Resign", leader=new)
    await no_leader(here, name)
    await theirs.revoke()


async def _campaign(election: Election, **fields: Any) -> Any:
    return (await election.call("Campaign", 20.0, **fields)).leader


class Follower:
    """Follows a prefix for ever, at one of `numbers` after another."""

    def __init__(self, numbers: list[int], prefix: bytes, first: int) -> None:
        self.seen: list[tuple[int, bytes]] = []
        self.breaks = 0
        self._numbers, self._prefix, self._next = itertools.cycle(numbers), prefix, first
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            client = await connect(next(self._numbers), 2)
            try:
                # Events come one by one here: those of this prefix have a revision each.
                watch = await client.watch_prefix(self._prefix, start_revision=self._next)
                async for event in watch:
                    self.seen.append((event.kv.mod_revision, event.kv.value))
                    self._next = event.kv.mod_revision + 1
            except (exceptions.ClientError, grpc.aio.AioRpcError):
                self.breaks += 1
            with contextlib.suppress(RuntimeError):  # its watcher awaits itself after a break
                await client.close()
            await asyncio.sleep(0.1)


async def write(tally: Tally, prefix: bytes, stop: asyncio.Event) -> None:
    """Numbered values, until stopped; those without an answer may or may not be there."""
    client = await connect(2, 1)
    for number in itertools.count():
        value = str(number).encode()
        with contextlib.suppress(exceptions.ClientError):
            await client.put(prefix + str(number % 10).encode(), value)
            tally.acknowledged.append(value)
        if stop.is_set():
            return
        await asyncio.sleep(0.01)


async def reconnect(client: Any, prefix: bytes, victim: int, numbers: list[int]) -> None:
    """The member that the watch is at is killed and started again while others write."""
    tally, stop = Tally(), asyncio.Event()
    first = (await client.put(prefix + b"first", b"begin")).header.revision
    follower = Follower(numbers, prefix, first)
    writer = asyncio.create_task(write(tally, prefix, stop))
    await until(lambda: len(follower.seen) > 20)
    await asyncio.to_thread(ask, f"kill {victim}")
    await until(lambda: follower.breaks > 0)
    before = len(tally.acknowledged)
    await until(lambda: len(tally.acknowledged) > before + 20)
    await asyncio.to_thread(ask, f"start {victim}")
    before = len(follower.seen)
    await until(lambda: len(follower.seen) > before + 20)
    stop.set()
    await writer
    last = (await client.put(prefix + b"last", b"end")).header.revision
    await until(lambda: follower.seen[-1][0] == last)
    whole = Follower([2], prefix, first)
    await until(lambda: bool(whole.seen) and whole.seen[-1][0] == last)
    follower.task.cancel()
    whole.task.cancel()
    tally.seen = follower.seen
    tally.judge(whole.seen)


async def main() -> None:
    """The writer and the judge are at the third member, which is never killed."""
    one, other = await connect(1), await connect(2)
    with check("puts, ranges with options, deletes"):
        await keys_and_values(one)
    with check("transactions: compares, branches, nesting"):
        await transactions(one)
    with check("watches: past, present, filters, previous values, once, cancel"):
        await watches(one)
    with check("errors: compacted, future, lease, size, key"):
        await errors(one)
    with check("leases: kept alive, ended, revoked"):
        await leases(one)
    with check("lock: two contenders, a release, a silent holder"):
        await locks(one, other)
    with check("election service: campaign, proclaim, observe, a lost lease, resign"):
        await elections(one, other)
    with check("watch moves on when its member, the leader, is killed"):
        await reconnect(other, P + b"moves/", 0, [0, 1])
    with check("watch goes on at its own member, killed and restarted"):
        await reconnect(other, P + b"stays/", 1, [1])
    finish()


if __name__ == "__main__":
    asyncio.run(main())
