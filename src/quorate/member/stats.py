"""`/v2/stats/self` and `/v2/stats/leader`: a member and its followers in the numbers of etcd 3.4.

Times of the wall clock are worked out from monotonic ones when somebody asks. Not here: metrics
(measures.py), `/v2/stats/store` (state/v2.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from quorate.member.runtime import Runtime
from quorate.peers.counts import PeerCounts
from quorate.raft.types import Role

STATES = {Role.LEADER: "StateLeader", Role.CANDIDATE: "StateCandidate",
          Role.PRE_CANDIDATE: "StatePreCandidate"}


class Stats:
    """Of one running member, called `name`."""

    def __init__(self, runtime: Runtime, name: str, wall: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._core = runtime.core
        self._name = name
        self._wall = wall
        self._started = self._core.now

    def own(self) -> dict[str, object]:
        """This member: who it is, since when it runs, and since when it knows its leader."""
        node, counts = self._core.node, self._runtime.peer_counts().values()
        lead, led_s = node.lead, self._core.now - self._runtime.chronicle.led_since
        leader: dict[str, object] = {
            "leader": f"{lead:x}", "uptime": f"{led_s:.9f}s", "startTime": self._ago(led_s)}
        if not lead:
            leader = {"leader": "", "uptime": "0s", "startTime": "0001-01-01T00:00:00Z"}
        return {
            "name": self._name, "id": f"{node.id:x}",
            "state": STATES.get(node.role, "StateFollower"),
            "startTime": self._ago(self._core.now - self._started), "leaderInfo": leader,
            "recvAppendRequestCnt": sum(count.received_messages for count in counts),
            "sendAppendRequestCnt": sum(count.sent_messages for count in counts)}

    def leader(self) -> dict[str, object] | None:
        """Its followers, with round trips in milliseconds; None if it does not lead."""
        if not self._core.is_leader:
            return None
        own, counts = self._core.config.member_id, self._runtime.peer_counts()
        return {"leader": f"{own:x}", "followers": {
            f"{member.id:x}": _follower(counts.get(member.id, PeerCounts()))
            for member in self._core.machine.members.all() if member.id != own}}

    def _ago(self, seconds: float) -> str:
        at = datetime.fromtimestamp(self._wall() - seconds, UTC)
        return at.isoformat().replace("+00:00", "Z")


def _follower(counts: PeerCounts) -> dict[str, object]:
    trip = counts.round_trips
    return {
        "latency": {
            "current": trip.last_ms, "average": trip.average_ms,
            "standardDeviation": trip.deviation_ms, "minimum": trip.least_ms,
            "maximum": trip.most_ms},
        "counts": {"fail": counts.send_failures, "success": counts.sent_messages}}
