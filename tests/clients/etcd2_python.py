"""The Python client `python-etcd` (0.4), for the v2 API, against three members; run by
conductor.py. It is the library below Patroni's `etcd` driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import etcd
from stage import LATE_S, LEASE_S, MEMBERS, Tally, ask, check, equal, finish, until

P = "/etcd2-python"
CALL_S = 5
WRITES = 40


def connect(*numbers: int) -> Any:
    """A client that knows these members, and finds the others."""
    return etcd.Client(host=tuple(MEMBERS[n] for n in numbers), allow_reconnect=True,
                       read_timeout=CALL_S)


def raises(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    """An exception of the library's own, which has etcd's message and cause."""
    try:
        call()
    except kind as error:
        equal((type(error), str(error)), (kind, text))
    else:
        raise AssertionError(f"no {kind.__name__}")


def keys(client: Any) -> None:
    """Set, create, update, swap, append, delete."""
    key = P + "/keys/a"
    first = client.write(key, "1")
    equal((first.action, first.value, first.newKey, first.createdIndex),
          ("set", "1", True, first.modifiedIndex))
    second = client.write(key, "2", prevExist=True)
    equal((second.action, second._prev_node.value, second.createdIndex),
          ("update", "1", first.createdIndex))
    raises(lambda: client.write(key, "3", prevExist=False), etcd.EtcdAlreadyExist,
           f"Key already exists : {key}")
    equal(client.test_and_set(key, "3", "2").action, "compareAndSwap")
    raises(lambda: client.write(key, "4", prevIndex=first.modifiedIndex), etcd.EtcdCompareFailed,
           f"Compare failed : [{first.modifiedIndex} != {second.modifiedIndex + 1}]")
    raises(lambda: client.test_and_set(key, "4", "2"), etcd.EtcdCompareFailed,
           "Compare failed : [2 != 3]")
    found = client.read(key, quorum=True)
    found.value = "5"
    equal((client.update(found).value, key in client, P + "/keys/none" in client),
          ("5", True, False))
    names = [client.write(P + "/queue", str(n), append=True).key for n in range(3)]
    equal(names, sorted(names))
    queue = client.read(P + "/queue", sorted=True)
    equal([(leaf.key, leaf.value) for leaf in queue.leaves],
          [(name, str(n)) for n, name in enumerate(names)])
    equal(client.pop(names[0]).value, "0")
    raises(lambda: client.delete(key, prevValue="4"), etcd.EtcdCompareFailed,
           "Compare failed : [4 != 5]")
    equal(client.delete(key, prevValue="5").action, "compareAndDelete")
    raises(lambda: client.read(key), etcd.EtcdKeyNotFound, f"Key not found : {key}")


def directories(client: Any) -> None:
    """Made, listed, not taken for files, removed."""
    top = P + "/dirs"
    client.write(top + "/empty", None, dir=True)
    client.write(top + "/sub/a", "1")
    client.write(top + "/_hidden", "2")
    equal(sorted(node.key for node in client.read(top).children),
          [top + "/empty", top + "/sub"])
    equal(sorted(node.key for node in client.read(top, recursive=True).leaves),
          [top + "/empty", top + "/sub/a"])
    raises(lambda: client.write(top + "/sub", "x"), etcd.EtcdNotFile, f"Not a file : {top}/sub")
    raises(lambda: client.write(top + "/sub/a/b", "x"), etcd.EtcdNotDir,
           f"Not a directory : {top}/sub/a")
    raises(lambda: client.delete(top + "/sub", dir=True), etcd.EtcdDirNotEmpty,
           f"Directory not empty : {top}/sub")
    raises(lambda: client.delete("/", recursive=True), etcd.EtcdRootReadOnly,
           "Root is read only : /")
    equal(client.delete(top, recursive=True).action, "delete")


def ttls(client: Any) -> None:
    """One is refreshed, one ends by itself, and a directory takes along what is in it."""
    kept, left, inside = P + "/ttl/kept", P + "/ttl/left", P + "/ttl/dir/a"
    begun = time.monotonic()
    client.write(kept, "1", ttl=LEASE_S)
    equal(client.write(left, "1", ttl=LEASE_S).ttl, LEASE_S)
    client.write(P + "/ttl/dir", None, dir=True, ttl=LEASE_S)
    client.write(inside, "1")
    while left in client or inside in client:
        equal(client.refresh(kept, LEASE_S).value, "1")
        assert time.monotonic() - begun < LEASE_S + LATE_S, "the key does not end"
        time.sleep(0.2)
    assert time.monotonic() - begun >= LEASE_S, "the key ended early"
    equal(client.read(kept).value, "1")
    equal(client.write(kept, "2").ttl, None)


def watches(client: Any, other: Any) -> None:
    """One change, from the past and from now; for ever; and none in time."""
    key = P + "/watch/a"
    first = client.write(key, "1").modifiedIndex
    client.write(key, "2")
    last = client.delete(key)
    past = [client.watch(key, index=first + n) for n in range(3)]
    equal([(one.action, one.value, one.modifiedIndex - first) for one in past],
          [("set", "1", 0), ("set", "2", 1), ("delete", None, 2)])
    heard: list[Any] = []
    waiting = threading.Thread(target=lambda: heard.append(
        other.watch(P + "/watch", index=last.modifiedIndex + 1, recursive=True, timeout=20)))
    waiting.start()
    time.sleep(0.3)
    client.refresh(client.write(P + "/elsewhere", "1", ttl=60).key, 60)
    client.write(P + "/watch/b/c", "3")
    waiting.join()
    equal([(one.key, one.value) for one in heard], [(P + "/watch/b/c", "3")])
    events = client.eternal_watch(P + "/watch", index=first, recursive=True)
    equal([next(events).value for _ in range(4)], ["1", "2", None, "3"])
    try:
        client.watch(key, timeout=0.3)
    except etcd.EtcdWatchTimedOut:
        pass
    else:
        raise AssertionError("a watch of what does not change was answered")


def cluster(client: Any) -> None:
    """Members, machines, the leader, statistics, versions."""
    equal({member["name"] for member in client.members.values()}, {"m1", "m2", "m3"})
    urls = {f"http://{host}:{port}" for host, port in MEMBERS}
    equal(set(client.machines), urls)
    equal(client.leader["clientURLs"], [f"http://{MEMBERS[0][0]}:{MEMBERS[0][1]}"])
    equal((client.stats["state"], len(client.leader_stats["followers"])), ("StateLeader", 2))
    assert client.store_stats["setsSuccess"] > 0
    equal(client.cluster_version.count("."), 2)


def locks(one: Any, other: Any) -> None:
    """Two contenders: a release, and a holder that falls silent."""
    first, second = etcd.Lock(one, "etcd2-python"), etcd.Lock(other, "etcd2-python")
    equal((first.acquire(lock_ttl=60), second.acquire(blocking=False, lock_ttl=60)),
          (True, False))
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(second.acquire(lock_ttl=LEASE_S)))
    waiting.start()
    time.sleep(0.3)
    equal(got, [])
    first.release()
    waiting.join()
    equal((got, first.is_acquired, second.is_acquired), ([True], False, True))
    asked = time.monotonic()
    third = etcd.Lock(one, "etcd2-python")
    equal(third.acquire(lock_ttl=60), True)
    assert time.monotonic() - asked >= LEASE_S - 1, "the lock of a silent holder ended early"
    until(lambda: not second.is_acquired)  # its member may learn of it a little later
    third.release()


class Follower(threading.Thread):
    """Follows a directory as `eternal_watch` does, at whichever member answers."""

    def __init__(self, numbers: tuple[int, ...], directory: str, first: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[int, bytes]] = []
        self._client, self._directory, self._next = connect(*numbers), directory, first
        self.start()

    def run(self) -> None:
        while True:
            try:
                event = self._client.watch(
                    self._directory, index=self._next, recursive=True, timeout=2)
            except etcd.EtcdException:
                continue
            self.seen.append((event.modifiedIndex, event.value.encode()))
            self._next = event.modifiedIndex + 1


def reconnect(directory: str) -> None:
    """The member that all talk to, the leader, is killed and started again."""
    tally = Tally()
    client = connect(0, 1, 2)
    first = client.write(directory + "/first", "begin").modifiedIndex
    follower, whole = Follower((0, 1, 2), directory, first), Follower((2,), directory, first)
    until(lambda: bool(follower.seen))
    for number in range(3 * WRITES):
        if number == WRITES:
            ask("kill 0")
        if number == 2 * WRITES:
            ask("start 0")
        value = str(number)
        try:
            client.write(f"{directory}/{number % 10}", value)
            tally.acknowledged.append(value.encode())
        except etcd.EtcdException:
            time.sleep(0.1)
    assert len(tally.acknowledged) > 2 * WRITES, f"{len(tally.acknowledged)} were acknowledged"
    last = client.write(directory + "/last", "end").modifiedIndex
    until(lambda: all(one.seen and one.seen[-1][0] == last for one in (follower, whole)))
    tally.seen = follower.seen
    tally.judge(whole.seen)


def main() -> None:
    """The leader is killed at the end only."""
    one, other = connect(0), connect(1)
    with check("set, create, update, swap, append, delete"):
        keys(one)
    with check("directories, hidden keys, errors"):
        directories(one)
    with check("TTLs: refreshed, ended, of a directory"):
        ttls(one)
    with check("watches: past, present, for ever, timeout"):
        watches(one, other)
    with check("members, machines, leader, statistics"):
        cluster(one)
    with check("lock: two contenders, a release, a silent holder"):
        locks(one, other)
    with check("client and watch move on when their member, the leader, is killed"):
        reconnect(P + "/moves")
    finish()


if __name__ == "__main__":
    main()
