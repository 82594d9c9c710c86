"""One suite for both backends."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.disk.lmdb_backend import LmdbBackend
from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfState
from quorate.state.backend import AppliedPoint, Bucket

Backend = LmdbBackend | MemoryBackend
POINT = AppliedPoint(7, 2, ConfState((1, 2, 3)))


@pytest.fixture(params=["lmdb", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    """A function that makes empty backends of one kind."""
    if request.param == "memory":
        return MemoryBackend
    return lambda: LmdbBackend(tempfile.mkdtemp(dir=tmp_path))  # which a member makes first, too


def commit(backend: Backend) -> None:
    """Make everything durable."""
    batch = backend.freeze()
    if batch is not None:
        backend.write(batch)  # type: ignore[arg-type]
        backend.thaw(batch)  # type: ignore[arg-type]


def test_reads_see_the_overlay_at_once(make: Callable[[], Backend]) -> None:
    """Written, frozen and durable look the same."""
    backend = make()
    backend.put(Bucket.KEY, b"a", b"1")
    assert backend.get(Bucket.KEY, b"a") == b"1"
    commit(backend)
    assert backend.get(Bucket.KEY, b"a") == b"1"
    backend.delete(Bucket.KEY, b"a")

    assert backend.get(Bucket.KEY, b"a") is None
    assert list(backend.scan(Bucket.KEY, b"", None)) == []


def test_buckets_are_apart(make: Callable[[], Backend]) -> None:
    """The same key in two buckets is two keys."""
    backend = make()
    backend.put(Bucket.KEY, b"a", b"1")
    backend.put(Bucket.META, b"a", b"2")

    assert (backend.get(Bucket.KEY, b"a"), backend.get(Bucket.META, b"a")) == (b"1", b"2")


def test_the_applied_point_is_durable_with_its_effects(make: Callable[[], Backend]) -> None:
    """Never one without the other."""
    backend = make()
    backend.put(Bucket.KEY, b"a", b"1")
    backend.advance(POINT)
    assert backend.durable.index == 0
    commit(backend)

    assert backend.durable == POINT


def test_an_image_replaces_everything(make: Callable[[], Backend]) -> None:
    """What was dumped is loaded, what was there is gone."""
    source, target = make(), make()
    long = b"k" * 600
    source.put(Bucket.KEY, long, b"long")
    source.put(Bucket.LEASE, b"\0" * 8, b"x")
    source.advance(POINT)
    commit(source)
    target.put(Bucket.KEY, b"old", b"old")
    point, chunks = source.dump()

    target.load(point, chunks)

    assert list(target.scan(Bucket.KEY, b"", None)) == [(long, b"long")]
    assert target.get(Bucket.LEASE, b"\0" * 8) == b"x"
    assert target.applied == target.durable == POINT


def test_an_image_that_is_cut_short_changes_nothing(make: Callable[[], Backend]) -> None:
    """The old state stays."""
    backend = make()
    backend.put(Bucket.KEY, b"a", b"1")
    backend.advance(POINT)
    commit(backend)

    with pytest.raises(ValueError, match="cut short"):
        backend.load(POINT, iter([b"\0\0\0\0\x09\0\0\0\x09abc"]))

    if isinstance(backend, LmdbBackend):
        assert backend.get(Bucket.KEY, b"a") == b"1"


def _keys(rng: random.Random) -> list[bytes]:
    """Short and long ones, many with the same first 400 bytes."""
    sizes = (1, 2, 3, 399, 400, 401, 450, 600)
    keys = [bytes(rng.choice(b"ab") for _ in range(rng.choice(sizes))) for _ in range(120)]
    return [b"a" * 395 + key[:200] if rng.random() < 0.5 else key for key in keys]


@pytest.mark.parametrize("seed", range(3))
def test_like_a_sorted_dictionary(make: Callable[[], Backend], seed: int) -> None:
    """Random writes, commits half done, and scans both ways against a model."""
    rng = random.Random(seed)
    backend, model = make(), dict[bytes, bytes]()
    keys = _keys(rng)
    frozen = None
    for step in range(1200):
        key = rng.choice(keys)
        if rng.random() < 0.6:
            model[key] = value = str(step).encode()
            backend.put(Bucket.KEY, key, value)
        else:
            model.pop(key, None)
            backend.delete(Bucket.KEY, key)
        if frozen is None and rng.random() < 0.05:
            frozen = backend.freeze()
            if frozen is not None:
                backend.write(frozen)  # type: ignore[arg-type]
        elif frozen is not None and rng.random() < 0.1:
            backend.thaw(frozen)  # type: ignore[arg-type]
            frozen = None
        if step % 20 == 0:
            low, high = sorted((rng.choice(keys), rng.choice(keys)))
            for end in (high, None):
                want = sorted(p for p in model.items() if low <= p[0] and (
                    end is None or p[0] < end))
                assert list(backend.scan(Bucket.KEY, low, end)) == want
                assert list(backend.scan(Bucket.KEY, low, end, reverse=True)) == want[::-1]
            assert backend.get(Bucket.KEY, key) == model.get(key)
