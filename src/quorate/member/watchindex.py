"""Which watches a key matches, without looking at all of them.

Watches of the same interval share one group. Intervals with an end are kept sorted by their start,
in small blocks that know their largest end: a block that ends before the key, or begins after it,
costs one comparison. So a key is found among n intervals with about n / BLOCK_INTERVALS
comparisons and a look at the blocks it may be in.

Invariants: blocks are not empty, sorted, and so are their intervals; `most` is the largest end of
a block. Not here: what is done with a match (watchhub.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import Generic, TypeVar

W = TypeVar("W")
Interval = tuple[bytes, bytes]
ENDLESS = b"\0"
"""As range_end: everything from the key on."""

BLOCK_INTERVALS = 128
"""At most, of a block; then it is split."""


@dataclass(slots=True)
class _Block:
    intervals: list[Interval]
    most: bytes


class WatchIndex(Generic[W]):
    """Watches of any kind, by key and range_end as etcd has them."""

    def __init__(self) -> None:
        self._groups: dict[Interval, dict[W, None]] = {}
        self._blocks: list[_Block] = []
        self._endless: list[bytes] = []
        """Starts of intervals without an end, sorted."""

    def add(self, key: bytes, range_end: bytes, watch: W) -> None:
        """One more watch."""
        interval = (key, range_end)
        group = self._groups.get(interval)
        if group is not None:
            group[watch] = None
            return
        self._groups[interval] = {watch: None}
        if range_end == ENDLESS:
            insort(self._endless, key)
        elif range_end:
            self._insert(interval)

    def discard(self, key: bytes, range_end: bytes, watch: W) -> None:
        """One watch less, if it is there."""
        interval = (key, range_end)
        group = self._groups.get(interval)
        if group is None:
            return
        group.pop(watch, None)
        if group:
            return
        del self._groups[interval]
        if range_end == ENDLESS:
            del self._endless[bisect_left(self._endless, key)]
        elif range_end:
            self._remove(interval)

    def matching(self, key: bytes) -> list[dict[W, None]]:
        """The groups of watches that a key is of interest to."""
        groups = self._groups
        exact = groups.get((key, b""))
        found = [] if exact is None else [exact]
        for start in self._endless:
            if start > key:
                break
            found.append(groups[start, ENDLESS])
        for block in self._blocks:
            if block.most > key:
                for interval in block.intervals:
                    if interval[0] > key:
                        return found  # and so are all that follow
                    if interval[1] > key:
                        found.append(groups[interval])
        return found

    def _insert(self, interval: Interval) -> None:
        blocks = self._blocks
        if not blocks:
            blocks.append(_Block([interval], interval[1]))
            return
        number = self._block(interval)
        block = blocks[number]
        insort(block.intervals, interval)
        block.most = max(block.most, interval[1])
        if len(block.intervals) > BLOCK_INTERVALS:
            half = BLOCK_INTERVALS // 2
            blocks[number:number + 1] = [
                _Block(part, max(end for _, end in part))
                for part in (block.intervals[:half], block.intervals[half:])]

    def _remove(self, interval: Interval) -> None:
        number = self._block(interval)
        block = self._blocks[number]
        del block.intervals[bisect_left(block.intervals, interval)]
        if not block.intervals:
            del self._blocks[number]
        elif block.most == interval[1]:
            block.most = max(end for _, end in block.intervals)

    def _block(self, interval: Interval) -> int:
        """The block that an interval is in, or would be."""
        return max(0, bisect_right(
            self._blocks, interval, key=lambda block: block.intervals[0]) - 1)
