"""A map from bytes to values with its keys in order.

A dict for lookups and a sorted list for scans. The list is brought up to date when a scan needs
it: most keys that are written are never scanned before they are durable.

Not here: durability.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

INSERT_MAX = 64
"""More new keys than this since the last scan are sorted in one go instead of inserted."""


class SortedMap(Generic[V]):
    """Changes during a scan are not allowed."""

    __slots__ = ("_keys", "_new", "data")

    def __init__(self) -> None:
        self.data: dict[bytes, V] = {}
        self._keys: list[bytes] = []
        self._new: list[bytes] = []

    def __len__(self) -> int:
        return len(self.data)

    def put(self, key: bytes, value: V) -> None:
        """Set one key."""
        if key not in self.data:
            self._new.append(key)
        self.data[key] = value

    def remove(self, key: bytes) -> None:
        """Drop one key; absent is fine."""
        if key in self.data:
            del self.data[key]
            keys = self._ordered()
            del keys[bisect_left(keys, key)]

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, V]]:
        """Pairs of [start, end) in order."""
        keys = self._ordered()
        low = bisect_left(keys, start)
        high = len(keys) if end is None else bisect_left(keys, end)
        span = range(high - 1, low - 1, -1) if reverse else range(low, high)
        for position in span:
            yield keys[position], self.data[keys[position]]

    def _ordered(self) -> list[bytes]:
        if self._new:
            if len(self._new) > INSERT_MAX:
                self._keys += self._new
                self._keys.sort()
            else:
                for key in self._new:
                    insort(self._keys, key)
            self._new.clear()
        return self._keys
