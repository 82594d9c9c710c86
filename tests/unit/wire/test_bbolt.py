"""bbolt files: what is written is read, what is damaged is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from quorate.wire.bbolt import IS_BUCKET, PAGE_BYTES, Damaged, Reader, Writer, _Tree, checksum

Buckets = dict[bytes, dict[bytes, bytes]]
KEYS = st.one_of(st.binary(max_size=40), st.integers(0, 3000).map(lambda n: b"k" * n))
VALUES = st.one_of(st.binary(max_size=100), st.integers(0, 20_000).map(lambda n: b"v" * n))
FILES = st.dictionaries(st.binary(min_size=1, max_size=12),
                        st.dictionaries(KEYS, VALUES, max_size=60), max_size=5)


def written(buckets: Buckets) -> bytes:
    """A whole file."""
    writer = Writer()
    pages = [page for name in sorted(buckets)
             for page in writer.bucket(name, sorted(buckets[name].items()))]
    pages += writer.finish()
    return writer.head() + b"".join(pages)


def read(data: bytes) -> Buckets:
    """All of a file."""
    reader = Reader(data)
    return {name: dict(reader.pairs(name)) for name in reader.names}


def many(count: int) -> Buckets:
    """Enough for several levels."""
    return {b"key": {n.to_bytes(8, "big"): b"v" * (n % 200) for n in range(count)}}


@settings(max_examples=150, deadline=None)
@given(FILES)
def test_what_is_written_is_read(buckets: Buckets) -> None:
    """Keys and values of any size, empty ones and empty buckets included."""
    data = written(buckets)

    assert read(data) == buckets
    assert len(data) % PAGE_BYTES == 0


def test_large_buckets_have_branches_of_branches() -> None:
    """Forty thousand pairs come back in order."""
    buckets = many(40_000)
    data = written(buckets)

    assert list(Reader(data).pairs(b"key")) == list(buckets[b"key"].items())


def test_the_writer_keeps_little() -> None:
    """A page leaves as soon as it is full."""
    writer = Writer()
    taken = 0

    def pairs() -> object:
        nonlocal taken
        for n in range(100_000):
            taken = n
            yield n.to_bytes(8, "big"), b"v" * 100

    pages = writer.bucket(b"key", pairs())  # type: ignore[arg-type]  # a generator of pairs
    next(pages)
    assert taken < 40
    assert sum(len(page) for page in pages) > 100_000 * 100


def test_what_is_not_in_order_is_refused() -> None:
    """Keys and buckets."""
    writer = Writer()
    with pytest.raises(ValueError, match="comes after"):
        list(writer.bucket(b"b", [(b"2", b""), (b"1", b"")]))
    list(writer.bucket(b"c", []))
    with pytest.raises(ValueError, match="comes after"):
        list(writer.bucket(b"a", []))


def test_the_checksum_is_fnv_1a() -> None:
    """Vectors of the function's authors."""
    assert checksum(b"") == 0xCBF29CE484222325
    assert checksum(b"a") == 0xAF63DC4C8601EC8C
    assert checksum(b"foobar") == 0x85944171F73967E8


def test_one_meta_page_is_enough() -> None:
    """Either may be damaged, as after a crash while it was written."""
    buckets = many(300)
    data = written(buckets)
    for page in (0, 1):
        damaged = bytearray(data)
        damaged[page * PAGE_BYTES + 40] ^= 1
        assert read(bytes(damaged)) == buckets


def test_an_inline_bucket_is_read() -> None:
    """bbolt keeps small buckets in the place of their root."""
    leaf = written({b"x": {b"k": b"value"}})[3 * PAGE_BYTES:4 * PAGE_BYTES].rstrip(b"\0")
    writer = Writer()
    tree = _Tree(writer)
    pages = [*tree.add(b"inline", bytes(16) + leaf, IS_BUCKET), *tree.finish()]
    writer._root = tree.root

    assert read(writer.head() + b"".join(pages)) == {b"inline": {b"k": b"value"}}


@pytest.mark.parametrize("data", [
    b"", b"x", bytes(100_000), b"quorate" * 10_000, written(many(300))[:-PAGE_BYTES],
    written(many(300))[:PAGE_BYTES]])
def test_what_is_no_whole_file_is_refused(data: bytes) -> None:
    """Cut short, or something else."""
    with pytest.raises(Damaged):
        read(data)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_harmless(data: st.DataObject) -> None:
    """Whatever bytes are changed: an answer or Damaged, and soon."""
    file = bytearray(written({**many(400), b"a": {b"x": b"y"}}))
    for _ in range(data.draw(st.integers(1, 6))):
        page = data.draw(st.integers(0, len(file) // PAGE_BYTES - 1))
        at = page * PAGE_BYTES + data.draw(st.integers(0, 200))
        file[at] = data.draw(st.integers(0, 255))
    try:
        read(bytes(file))
    except Damaged as wrong:
        assert str(wrong)
