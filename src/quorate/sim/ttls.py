"""What the TTLs of one client's v2 writes promise, for the judge of leases.

The lease of a TTL lives until its key is written again, by this client as far as it knows. Where an
earlier write to the same place may yet take place, or others write there, too, its end may come at
any time; but no later than that of others.

Not here: the rules (check/leases.py).
"""

from __future__ import annotations

from collections import Counter

from quorate.check.leases import LeaseHistory, Renewal
from quorate.wire._generated import v2_pb2 as v2


class Ttls:
    """Of the client called `name`."""

    def __init__(self, name: str) -> None:
        self.histories: list[LeaseHistory] = []
        self._name = name
        self._lives: dict[bytes, LeaseHistory] = {}
        """By path, until it is written again."""
        self._open: Counter[bytes] = Counter()
        """Paths of writes that may yet take place."""

    def asked(self, request: v2.V2Request, now: float) -> None:
        """A write is sent: what it replaces may end."""
        self._open[request.path] += 1
        for path in [path for path in self._lives if _overlap(path, request.path)]:
            self._lives.pop(path).revoked_at = now

    def settled(self, request: v2.V2Request) -> None:
        """It was answered, or refused for sure."""
        self._open[request.path] -= 1
        self._open = +self._open

    def answered(
        self, request: v2.V2Request, node: v2.V2Node, sent: float, now: float, *, alone: bool = True
    ) -> None:
        """It was done, and what is there now is `node`. `alone`: nobody else writes there."""
        self.settled(request)
        if not request.HasField("ttl"):
            return
        history = LeaseHistory(self._name, node.lease, request.ttl, [Renewal(sent, now, True)])
        self.histories.append(history)
        if alone and not any(_overlap(path, node.key) for path in self._open):
            self._lives[node.key] = history
        else:
            history.revoked_at = sent


def _overlap(one: bytes, other: bytes) -> bool:
    """Whether they are the same, or one is in the other."""
    return (one + b"/").startswith(other + b"/") or (other + b"/").startswith(one + b"/")
