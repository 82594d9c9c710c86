"""Which watches a key matches: the same as looking at all of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from quorate.member.watchindex import BLOCK_INTERVALS, ENDLESS, Interval, WatchIndex

KEYS = st.binary(min_size=1, max_size=3).filter(lambda key: key != b"\0")
INTERVALS = st.tuples(KEYS, st.one_of(st.just(b""), st.just(ENDLESS), KEYS)).filter(
    lambda one: one[1] in (b"", ENDLESS) or one[1] > one[0])


def matches(interval: Interval, key: bytes) -> bool:
    """What etcd's API says."""
    start, end = interval
    return key == start if not end else key >= start and (end == ENDLESS or key < end)


def found(index: WatchIndex[int], key: bytes) -> list[int]:
    """All watches of all groups."""
    return sorted(watch for group in index.matching(key) for watch in group)


@settings(max_examples=200, deadline=None)
@given(st.lists(INTERVALS, max_size=40), st.data())
def test_it_finds_what_a_look_at_all_finds(intervals: list[Interval], data: st.DataObject) -> None:
    """While watches come and go."""
    index: WatchIndex[int] = WatchIndex()
    there = dict(enumerate(intervals))
    for number, interval in there.items():
        index.add(*interval, number)
    for number in data.draw(st.sets(st.integers(0, 40))):
        index.discard(*there.pop(number, (b"x", b"")), number)
    for key in data.draw(st.lists(KEYS, min_size=1, max_size=10)):
        assert found(index, key) == [n for n, one in there.items() if matches(one, key)]


@pytest.mark.parametrize("width", [1, 7, 100_000])
def test_many_intervals(width: int) -> None:
    """More than a block holds: side by side, overlapping, and all over each other."""
    rng = random.Random(width)
    index: WatchIndex[int] = WatchIndex()
    there = {n: (b"%06d" % n, b"%06d" % min(n + width, 999_999))
             for n in rng.sample(range(20 * BLOCK_INTERVALS), 10 * BLOCK_INTERVALS)}
    for number, interval in there.items():
        index.add(*interval, number)
    for _ in range(9 * BLOCK_INTERVALS):
        number = rng.choice(list(there))
        index.discard(*there.pop(number), number)
        if rng.random() < 0.3:
            key = b"%06d" % rng.randrange(20 * BLOCK_INTERVALS)
            assert found(index, key) == sorted(
                n for n, one in there.items() if matches(one, key))
    for number, interval in list(there.items()):
        index.discard(*interval, number)

    assert found(index, b"000001") == []


def test_who_is_not_there_may_be_taken_out() -> None:
    """Twice, or never put in."""
    index: WatchIndex[int] = WatchIndex()
    index.add(b"a", b"c", 1)
    for _ in range(2):
        index.discard(b"a", b"c", 2)
        index.discard(b"b", b"c", 1)
        index.discard(b"a", b"c", 1)

    assert found(index, b"a") == []
