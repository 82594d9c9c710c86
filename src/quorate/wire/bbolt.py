"""bbolt files, written from sorted pairs in one pass, and read: docs/formats/etcd-snapshot.md.

A file is a row of pages. Each begins with its number, its kind, how many elements it has and how
many more pages it runs over. A bucket is a B+-tree of branch and leaf pages; the buckets' names
and roots are in such a tree themselves, whose root the two meta pages name.

Invariants: keys ascend strictly within a bucket; the writer keeps one page of each level in memory,
whatever the size of the file; the reader believes nothing that it was not able to check.
Not here: what etcd keeps in which bucket (state/etcd_buckets.py), files (disk/).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

PAGE_BYTES = 4096
MAGIC, VERSION = 0xED0CDAED, 2
BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16
IS_BUCKET = 1
"""Flag of a leaf element whose value is the head of a bucket, or all of a small one."""

DEPTH_MAX = 32
"""Of a tree: bbolt's own have fewer than ten levels; more means that pages name each other."""

PAGE_BYTES_OF_OTHERS = tuple(1 << bits for bits in range(9, 17))
"""Where the second meta page may begin when the first is damaged: the page size is the system's."""

_PAGE = struct.Struct("<QHHI")
_LEAF = struct.Struct("<IIII")
_BRANCH = struct.Struct("<IIQ")
_META = struct.Struct("<IIIIQQQQQ")
_ROOT = struct.Struct("<QQ")
_SUM = struct.Struct("<Q")
_HEAD_PAGES = 3

Pair = tuple[bytes, bytes]


class Damaged(ValueError):
    """No bbolt file, or not all of one; the text says where."""


class Source(Protocol):
    """Bytes of a file: `bytes`, or a map of it."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> bytes: ...


def checksum(data: bytes) -> int:
    """64-bit FNV-1a, which guards meta pages."""
    out = 0xCBF29CE484222325
    for byte in data:
        out = (out ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return out


# Writing.


@dataclass(slots=True)
class _Level:
    """The page of a level that is being filled: element heads without positions, and bodies."""

    elements: list[tuple[int, int, int]] = field(default_factory=list)
    """Leaf: flags, length of key, length of value; branch: child, length of key, 0."""
    bodies: list[bytes] = field(default_factory=list)
    size: int = _PAGE.size
    first: bytes = b""


class Writer:
    """The pages of a file, in order from the fourth on; `head` gives the first three at the end."""

    def __init__(self) -> None:
        self._next = _HEAD_PAGES
        self._roots: list[tuple[bytes, int]] = []
        self._root = 0

    def bucket(self, name: bytes, pairs: Iterable[Pair]) -> Iterator[bytes]:
        """The pages of one bucket; names and keys must ascend, else ValueError. To be exhausted
        before the next call."""
        if self._roots and name <= self._roots[-1][0]:
            raise ValueError(f"bucket {name!r} comes after {self._roots[-1][0]!r}")
        tree = _Tree(self)
        for key, value in pairs:
            yield from tree.add(key, value, 0)
        yield from tree.finish()
        self._roots.append((name, tree.root))

    def finish(self) -> Iterator[bytes]:
        """The last pages, when all buckets are written."""
        tree = _Tree(self)
        for name, root in self._roots:
            yield from tree.add(name, _ROOT.pack(root, 0), IS_BUCKET)
        yield from tree.finish()
        self._root = tree.root

    def head(self) -> bytes:
        """The first pages: two metas, the later of which counts, and a free list without pages."""
        out = bytearray()
        for number, transaction in ((0, 2), (1, 3)):
            meta = _META.pack(MAGIC, VERSION, PAGE_BYTES, 0, self._root, 0, 2, self._next,
                              transaction)
            page = _PAGE.pack(number, META, 0, 0) + meta + _SUM.pack(checksum(meta))
            out += page.ljust(PAGE_BYTES, b"\0")
        return bytes(out + _PAGE.pack(2, FREELIST, 0, 0).ljust(PAGE_BYTES, b"\0"))

    def claim(self, pages: int) -> int:
        """The number of the next page, after which that many are taken."""
        number = self._next
        self._next += pages
        return number


class _Tree:
    """One B+-tree, filled from the left: a page that is full moves its first key one level up."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._levels = [_Level()]
        self._last: bytes | None = None
        self.root = 0

    def add(self, key: bytes, value: bytes, flags: int) -> Iterator[bytes]:
        """One element of a leaf; the pages that became full."""
        if self._last is not None and key <= self._last:
            raise ValueError(f"key {key!r} comes after {self._last!r}")
        self._last = key
        leaf, size = self._levels[0], _LEAF.size + len(key) + len(value)
        if leaf.elements and leaf.size + size > PAGE_BYTES:
            yield from self._close(0)
        if not leaf.elements:
            leaf.first = key
        leaf.elements.append((flags, len(key), len(value)))
        leaf.bodies += (key, value)
        leaf.size += size

    def finish(self) -> Iterator[bytes]:
        """What is left; then `root` is known."""
        height = 0
        while height < len(self._levels) - 1:
            yield from self._close(height)
            height += 1
        self.root, page = self._page(height)
        yield page

    def _close(self, height: int) -> Iterator[bytes]:
        """Write the page of a level and tell the level above."""
        first = self._levels[height].first
        number, page = self._page(height)
        yield page
        if height + 1 == len(self._levels):
            self._levels.append(_Level())
        above, size = self._levels[height + 1], _BRANCH.size + len(first)
        # Two at least, however large the keys are: else there would be no end of levels.
        if len(above.elements) >= 2 and above.size + size > PAGE_BYTES:
            yield from self._close(height + 1)
        if not above.elements:
            above.first = first
        above.elements.append((number, len(first), 0))
        above.bodies.append(first)
        above.size += size

    def _page(self, height: int) -> tuple[int, bytes]:
        level = self._levels[height]
        pages = -(-level.size // PAGE_BYTES)
        number = self._writer.claim(pages)
        count = len(level.elements)
        out = [_PAGE.pack(number, BRANCH if height else LEAF, count, pages - 1)]
        element = _BRANCH.size if height else _LEAF.size
        position = count * element
        for what, key_size, value_size in level.elements:
            out.append(_BRANCH.pack(position, key_size, what) if height
                       else _LEAF.pack(what, position, key_size, value_size))
            position += key_size + value_size - element
        out += level.bodies
        level.elements, level.bodies, level.size = [], [], _PAGE.size
        return number, b"".join(out).ljust(pages * PAGE_BYTES, b"\0")


# Reading.


class Reader:
    """A file, as its newest valid meta page has it; raises Damaged."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.page_bytes, self._pages, root = _newest_meta(source)
        if self._pages * self.page_bytes > len(source):
            raise Damaged(f"{self._pages} pages of {self.page_bytes} bytes are in use, but the "
                          f"file has {len(source)} bytes: it is cut short")
        self._buckets: dict[bytes, bytes] = {}
        for name, value, flags in self._walk(root, DEPTH_MAX):
            if not flags & IS_BUCKET or len(value) < _ROOT.size:
                raise Damaged(f"{name!r} is no bucket")
            self._buckets[name] = value

    @property
    def names(self) -> list[bytes]:
        """The buckets, ascending."""
        return list(self._buckets)

    def pairs(self, name: bytes) -> Iterator[Pair]:
        """A bucket in order of its keys, empty if there is none; raises Damaged, also in the
        middle."""
        head = self._buckets.get(name)
        if head is None:
            return
        root, _ = _ROOT.unpack_from(head)
        found = self._walk(root, DEPTH_MAX) if root else _elements(
            head[_ROOT.size:], f"bucket {name!r}")
        last: bytes | None = None
        for key, value, flags in found:
            if flags & IS_BUCKET:
                raise Damaged(f"bucket {name!r} has the bucket {key!r} in it, which etcd never has")
            if last is not None and key <= last:
                raise Damaged(f"bucket {name!r}: the key {key!r} comes after {last!r}")
            last = key
            yield key, value

    def _walk(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes, int]]:
        page = self._page(number)
        _, kind, count, _ = _PAGE.unpack_from(page)
        where = f"page {number}"
        if kind == LEAF:
            if not count and depth < DEPTH_MAX:
                raise Damaged(f"{where} is empty")
            yield from _elements(page, where)
        elif kind != BRANCH or not count:
            raise Damaged(f"{where} is no page of a tree (kind {kind}, {count} elements)")
        elif depth == 0:
            raise Damaged(f"{where} is more than {DEPTH_MAX} levels deep")
        else:
            for at in range(_PAGE.size, _PAGE.size + count * _BRANCH.size, _BRANCH.size):
                if at + _BRANCH.size > len(page):
                    raise Damaged(f"{where} has more elements than room")
                yield from self._walk(_BRANCH.unpack_from(page, at)[2], depth - 1)

    def _page(self, number: int) -> bytes:
        if not 2 <= number < self._pages:
            raise Damaged(f"page {number} is named, but there are {self._pages}")
        size = self.page_bytes
        head = self._source[number * size:number * size + _PAGE.size]
        own, _, _, more = _PAGE.unpack(head)
        if own != number:
            raise Damaged(f"page {number} calls itself {own}")
        if number + more >= self._pages:
            raise Damaged(f"page {number} runs over {more} more, beyond the end of the file")
        return self._source[number * size:(number + more + 1) * size]


def _elements(page: bytes, where: str) -> Iterator[tuple[bytes, bytes, int]]:
    """Those of a leaf: key, value, flags."""
    if len(page) < _PAGE.size:
        raise Damaged(f"{where} is cut short")
    _, kind, count, _ = _PAGE.unpack_from(page)
    if kind != LEAF or _PAGE.size + count * _LEAF.size > len(page):
        raise Damaged(f"{where} is no leaf (kind {kind}, {count} elements)")
    for at in range(_PAGE.size, _PAGE.size + count * _LEAF.size, _LEAF.size):
        flags, position, key_size, value_size = _LEAF.unpack_from(page, at)
        start, middle = at + position, at + position + key_size
        if middle + value_size > len(page):
            raise Damaged(f"{where} has an element that ends behind it")
        yield page[start:middle], page[middle:middle + value_size], flags


def _newest_meta(source: Source) -> tuple[int, int, int]:
    """(bytes of a page, pages in use, root page) of the newest meta page that is whole."""
    best: tuple[int, tuple[int, int, int]] | None = None
    for offset in (0, *PAGE_BYTES_OF_OTHERS):
        data = source[offset + _PAGE.size:offset + _PAGE.size + _META.size + _SUM.size]
        if len(data) < _META.size + _SUM.size:
            continue
        magic, version, size, _, root, _, _, pages, transaction = _META.unpack_from(data)
        if magic != MAGIC or _SUM.unpack_from(data, _META.size)[0] != checksum(data[:_META.size]):
            continue
        if version != VERSION:
            raise Damaged(f"it has version {version} of bbolt's format, known is {VERSION}")
        if size in PAGE_BYTES_OF_OTHERS and offset in (0, size) and (
                best is None or transaction > best[0]):
            best = transaction, (size, pages, root)
    if best is None:
        raise Damaged("it has no meta page of bbolt's that is whole")
    return best[1]
