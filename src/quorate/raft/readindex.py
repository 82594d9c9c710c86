"""Numbered confirmations of linearizable reads (Raft thesis, section 6.4).

The leader numbers read requests with a counter of its own and sends the number with heartbeats; a
quorum that has answered number n has confirmed every request up to n. Client contexts are never
compared: a retry under an old context must not be confirmed by an answer to the first attempt
(etcd issue 20418, lesson L10).

Not here: heartbeats (leader.py), who asked (member/reads.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from quorate.raft.types import Message


@dataclass(slots=True)
class _Request:
    number: int
    message: Message
    index: int


@dataclass(slots=True)
class ReadIndex:
    """Requests of one leader in one term, in order."""

    _requests: deque[_Request] = field(default_factory=deque)
    _acked: dict[int, int] = field(default_factory=dict)
    _number: int = 0

    def add(self, message: Message, commit: int) -> bytes:
        """Number a request that may read up to `commit` once confirmed; its heartbeat context."""
        self._number += 1
        self._requests.append(_Request(self._number, message, commit))
        return self.context()

    def context(self) -> bytes:
        """The context for heartbeats: the newest number, empty if nothing waits."""
        return self._requests[-1].number.to_bytes(8, "little") if self._requests else b""

    def acknowledge(self, member_id: int, context: bytes) -> dict[int, bool]:
        """Note an answer; who has confirmed at least that number."""
        number = int.from_bytes(context, "little")
        self._acked[member_id] = max(self._acked.get(member_id, 0), number)
        return {i: True for i, acked in self._acked.items() if acked >= number}

    def confirm(self, context: bytes) -> list[tuple[Message, int]]:
        """Requests up to that number, with their read index."""
        number = int.from_bytes(context, "little")
        done = []
        while self._requests and self._requests[0].number <= number:
            request = self._requests.popleft()
            done.append((request.message, request.index))
        return done
