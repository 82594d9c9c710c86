"""The v2 API over the keys of v3: what stock etcd cannot tell, because it has two keyspaces.

What v2 does by itself is compared with stock etcd in tests/interop/test_v2.py.
"""

from __future__ import annotations

import pytest
from both import BothStore

from quorate.state.errors import Problem, Refused
from quorate.state.v2 import LEASE
from quorate.state.v2tree import MARKER
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc


@pytest.fixture
def store() -> BothStore:
    """An empty one."""
    return BothStore()


def refused(store: BothStore, method: str, path: str, form: str = "") -> tuple[Problem, str]:
    """What is wrong with a request."""
    with pytest.raises(Refused) as wrong:
        store.v2(method, path, form)
    return wrong.value.problem, wrong.value.detail


def test_a_file_is_the_key_of_the_same_bytes(store: BothStore) -> None:
    """Both ways, with the same revisions."""
    node = store.v2("PUT", "/a/b", "value=1").node
    kv = store.machine.range(rpc.RangeRequest(key=b"/a/b")).kvs[0]
    assert (kv.value, kv.create_revision, kv.mod_revision) == (
        b"1", node.created_index, node.modified_index)

    store.put("/a/c", "2")
    assert store.machine.v2.get(b"/a/c", recursive=False).node.value == b"2"
    assert store.v2("PUT", "/a/c", "value=3&prevValue=2").action == "compareAndSwap"


def test_a_request_is_one_revision_and_nothing_if_refused(store: BothStore) -> None:
    """With the directories that it makes."""
    revision = store.machine.revision
    store.v2("PUT", "/a/b/c", "value=1&ttl=5")
    assert store.machine.revision == revision + 1

    keys = store.keys()
    assert refused(store, "PUT", "/a/b/c", "value=1&prevExist=false&ttl=5") == (
        Problem.V2_KEY_EXISTS, "/a/b/c")
    assert refused(store, "PUT", "/a/b/c/d/e", "value=1") == (
        Problem.V2_NOT_A_DIRECTORY, "/a/b/c")
    assert (store.keys(), store.machine.revision) == (keys, revision + 1)
    assert len(store.machine.leases.ids()) == 1


def test_readers_of_a_prefix_do_not_see_markers(store: BothStore) -> None:
    """Which are in a place of their own."""
    store.v2("PUT", "/a/dir", "dir=true")
    found = store.machine.range(rpc.RangeRequest(key=b"/a", range_end=b"/b"))

    assert not found.kvs
    assert store.tree() == ["/a/", "/a/dir/"]
    assert store.keys() == [f"{MARKER.decode()}/a", f"{MARKER.decode()}/a/dir"]


def test_directories_of_v3_are_there_while_something_is_in_them(store: BothStore) -> None:
    """Those that v2 has made stay, as in etcd; also in one of v3, which they then keep."""
    store.put("/a/b/c")
    assert store.tree() == ["/a/", "/a/b/", "/a/b/c"]
    store.delete("/a/b/c")
    assert store.tree() == []

    store.put("/a/b/c")
    store.v2("PUT", "/a/b/d/e", "value=1")
    store.delete("/a/b/c")
    store.v2("DELETE", "/a/b/d/e")
    assert store.tree() == ["/a/", "/a/b/", "/a/b/d/"]


def test_what_is_a_file_and_a_parent_is_a_directory(store: BothStore) -> None:
    """To v2; a recursive deletion takes both."""
    store.put("/a", "file")
    store.put("/a/b", "child")

    assert store.tree() == ["/a/", "/a/b"]
    assert refused(store, "PUT", "/a", "value=1") == (Problem.V2_NOT_A_FILE, "/a")
    store.v2("PUT", "/a/c", "value=1")
    store.v2("DELETE", "/a", "recursive=true")
    assert store.keys() == []


def test_what_v2_cannot_name_it_does_not_see(store: BothStore) -> None:
    """But a recursive deletion takes it along, or the directory would not be gone."""
    names = ("x", "a/b", "/a//b", "/a/", "/a/../b", "/a/./b", "/")
    for name in names:
        store.put(name)
    assert store.tree() == []

    store.put("/a/b")
    assert store.tree() == ["/a/", "/a/b"]
    store.v2("DELETE", "/a", "recursive=true")
    assert sorted(store.keys()) == sorted(("x", "a/b", "/"))


def test_a_ttl_is_a_lease_of_its_own(store: BothStore) -> None:
    """That ends with the next change of the key, and says what it is."""
    first = store.ask("PUT", "/a", "value=1&ttl=7")
    (lease,) = first.granted
    assert lease == LEASE | first.revision
    assert store.machine.leases.ttl_s(lease) == 7

    second = store.ask("PUT", "/a", "value=2&ttl=8&prevValue=1")
    assert second.revoked == (lease,)
    third = store.ask("PUT", "/a", "value=3")
    assert third.revoked == second.granted
    assert store.machine.leases.ids() == []


def test_a_lease_of_v2_on_which_something_else_hangs_stays(store: BothStore) -> None:
    """As one of v3 does, whatever v2 does to its keys."""
    (lease,) = store.ask("PUT", "/a", "value=1&ttl=7").granted
    store.put("/b", lease=lease)
    store.grant(5)
    store.put("/c", lease=5)

    assert store.ask("PUT", "/a", "value=2").revoked == ()
    assert store.ask("PUT", "/c", "value=2").revoked == ()
    assert store.machine.leases.ids() == [5, lease]
    assert store.machine.leases.keys(5) == []


def test_an_id_that_a_client_has_chosen_is_not_taken(store: BothStore) -> None:
    """The next one is."""
    taken = LEASE | (store.machine.revision + 1)
    store.grant(taken)

    assert store.ask("PUT", "/a", "value=1&ttl=7").granted == (taken + 1,)


def test_a_directory_that_ends_takes_everything_along(store: BothStore) -> None:
    """In one revision, with the leases of what is in it, once each."""
    (directory,) = store.ask("PUT", "/d", "dir=true&ttl=5").granted
    (inside,) = store.ask("PUT", "/d/e/f", "value=1&ttl=50").granted
    store.put("/d/g", lease=directory)
    store.put("/d/h", lease=inside)
    revision = store.machine.revision

    ended = store.expire(directory, inside)

    assert ended.revoked == (directory, inside)
    assert store.machine.revision == revision + 1
    assert (store.keys(), store.machine.leases.ids()) == ([], [])


def test_in_order_keys_are_named_by_the_index(store: BothStore) -> None:
    """Twenty digits."""
    node = store.v2("POST", "/q", "value=1").node

    assert node.key == b"/q/%020d" % node.modified_index


def test_a_full_store_takes_deletions_only(store: BothStore) -> None:
    """As with v3."""
    store.v2("PUT", "/a", "value=1")
    store.machine.apply(1, internal.InternalRaftRequest(alarm=rpc.AlarmRequest(
        action=rpc.AlarmRequest.AlarmAction.ACTIVATE, memberID=1, alarm=rpc.AlarmType.NOSPACE)))

    assert refused(store, "PUT", "/a", "value=2")[0] is Problem.NO_SPACE
    assert store.v2("DELETE", "/a").action == "delete"


def test_operations_are_counted_by_how_they_end(store: BothStore) -> None:
    """For `/v2/stats/store`."""
    store.v2("PUT", "/a", "value=1")
    refused(store, "PUT", "/a", "value=1&prevExist=false")
    store.expire(*store.ask("PUT", "/b", "value=1&ttl=1").granted)
    counts = store.machine.v2.counts

    assert {name: count for name, count in counts.items() if count} == {
        "setsSuccess": 2, "createFail": 1, "expireCount": 1}


def test_what_is_a_directory_is_not_remembered_too_long() -> None:
    """A key of v3 makes one, and its deletion ends it."""
    store = BothStore()
    for _ in range(2):
        with pytest.raises(Refused):
            store.machine.v2.get(b"/x", recursive=False)
        store.put("/x/y")
        assert store.machine.v2.get(b"/x", recursive=False).node.dir
        store.delete("/x/y")
