"""The model of v2 that the judge of revisions believes in."""

from __future__ import annotations

import pytest

from quorate.check import v2
from quorate.check.keyvalue import Change, Impossible, State
from quorate.check.revisions import Call, judge_revisions
from quorate.wire._generated import kv_pb2
from quorate.wire._generated.v2_pb2 import V2Get, V2Node, V2Request, V2Response

R = V2Request


def play(*requests: V2Request) -> State:
    """The state after these."""
    state = State()
    for request in requests:
        _, changes = v2.execute(state, request)
        state.advance(changes)
        v2.learn(state, request)
    return state


def told(state: State, request: V2Request | V2Get) -> V2Response:
    """What the answer is."""
    return v2.execute(state, request)[0]


def listed(state: State, path: bytes, *, recursive: bool = True) -> list[bytes]:
    """Paths below one, directories with a slash at the end."""
    def below(node: V2Node) -> list[bytes]:
        return [line for child in node.nodes
                for line in (child.key + b"/" * child.dir, *below(child))]

    return below(told(state, V2Get(path=path, recursive=recursive)).node)


def test_a_file_has_its_directories() -> None:
    """Made by the same revision, and they stay when it is gone."""
    state = play(R(path=b"/a/b/c", value=b"1"))
    assert set(state.kvs) == {b"/a/b/c", v2.MARKER + b"/a", v2.MARKER + b"/a/b"}
    assert listed(state, b"/") == [b"/a/", b"/a/b/", b"/a/b/c"]
    state = play(R(path=b"/a/b/c", value=b"1"), R(method=R.DELETE, path=b"/a/b/c"))
    assert listed(state, b"/") == [b"/a/", b"/a/b/"]


def test_keys_of_v3_are_files_and_make_directories() -> None:
    """Those that v2 can name."""
    state = State()
    state.advance([Change(key, kv_pb2.KeyValue(key=key, create_revision=2, mod_revision=2))
                   for key in (b"/x/y", b"/x//z", b"/x/_h", b"w")])
    assert listed(state, b"/") == [b"/x/", b"/x/y"]
    assert told(state, V2Get(path=b"/x")).node.created_index == 2


def test_who_is_a_file_and_a_parent_is_a_directory() -> None:
    """It cannot be set."""
    state = State()
    state.advance([Change(key, kv_pb2.KeyValue(key=key)) for key in (b"/x", b"/x/y")])
    assert listed(state, b"/", recursive=False) == [b"/x/"]
    with pytest.raises(Impossible):
        v2.execute(state, R(path=b"/x", value=b"1"))


def test_a_swap_compares() -> None:
    """Value and index; with neither being what is asked for nothing happens."""
    state = play(R(path=b"/a", value=b"1"))
    swapped = told(state, R(path=b"/a", value=b"2", prev_value=b"1", prev_index=2))
    assert (swapped.action, swapped.node.modified_index, swapped.prev_node.value) == (
        "compareAndSwap", 3, b"1")
    for wrong in (R(prev_value=b"2"), R(prev_index=3), R(prev_value=b"1", prev_index=3)):
        wrong.path = b"/a"
        with pytest.raises(Impossible):
            v2.execute(state, wrong)


@pytest.mark.parametrize("request_", [
    R(path=b"/"), R(path=b"/d"), R(path=b"/f/x"), R(path=b"/f", prev_exist=False),
    R(path=b"/none", prev_exist=True), R(path=b"/none", refresh=True, prev_exist=True),
    R(path=b"/d", prev_exist=True, value=b"1"), R(method=R.DELETE, path=b"/"),
    R(method=R.DELETE, path=b"/none"), R(method=R.DELETE, path=b"/d"),
    R(method=R.DELETE, path=b"/d", dir=True), R(method=R.DELETE, path=b"/h", dir=True),
    R(method=R.DELETE, path=b"/d", prev_value=b"1"), V2Get(path=b"/none"), V2Get(path=b"/f/x"),
], ids=str)
def test_what_cannot_be(request_: V2Request | V2Get) -> None:
    """With a file, a directory with a file, and one with a hidden file."""
    state = play(R(path=b"/f", value=b"1"), R(path=b"/d/x", value=b"1"), R(path=b"/h/_x"))
    with pytest.raises(Impossible):
        v2.execute(state, request_)


def test_a_ttl_is_a_lease_of_its_own() -> None:
    """With which a directory takes along all that is in it."""
    state = play(R(path=b"/d", dir=True, ttl=5), R(path=b"/d/x", value=b"1"),
                 R(path=b"/d/y", value=b"1", ttl=7), R(path=b"/e", value=b"1"))
    lease = v2.LEASE | 2
    assert told(state, V2Get(path=b"/d")).node.ttl == 5
    assert v2.ends_with(state.kvs, lease) == {v2.MARKER + b"/d", b"/d/x", b"/d/y"}
    assert v2.ends_with(state.kvs, v2.LEASE | 4) == {b"/d/y"}


def test_keys_in_order_have_the_index() -> None:
    """In twenty digits."""
    made = told(play(R(path=b"/q/a")), R(method=R.CREATE_IN_ORDER, path=b"/q", value=b"1"))
    assert made.node.key == b"/q/00000000000000000003"


def test_a_refresh_keeps_the_value() -> None:
    """And says that it is one."""
    state = play(R(path=b"/a", value=b"1"))
    answer = told(state, R(path=b"/a", refresh=True, prev_exist=True, ttl=9))
    assert (answer.refresh, answer.node.value, answer.node.ttl) == (True, b"1", 9)


def _history(response: V2Response, *events: Change) -> list[str]:
    request = R(path=b"/a", value=b"1", ttl=9)
    response.header.revision = 2
    return judge_revisions([Call("c", 0.0, 1.0, request, response)], [(2, list(events))])


def test_the_judge_of_revisions_knows_v2() -> None:
    """What is left of a TTL may be anything; all else must be right."""
    kv = kv_pb2.KeyValue(key=b"/a", value=b"1", create_revision=2, mod_revision=2, version=1,
                         lease=v2.LEASE | 2)
    right = V2Response(action="set", node=V2Node(
        key=b"/a", value=b"1", created_index=2, modified_index=2, lease=v2.LEASE | 2, ttl=9,
        left_ms=8999))
    assert _history(right, Change(b"/a", kv)) == []
    right.node.ttl = 8
    assert len(_history(right, Change(b"/a", kv))) == 2  # not at its revision, and unexplained
