"""What a member does by itself: the space quota with its alarm, and automatic compaction.

Runs on the core as clients do, through the log; what it proposes is the member's own, and so is not
refused in an overload. Not here: when (quota.py, autocompact.py decide), clean-up (state/).
"""

from __future__ import annotations

import logging

from google.protobuf.message import Message as Proto

from quorate.member.autocompact import AutoCompactor, Retention
from quorate.member.core import MemberCore
from quorate.member.quota import Quota
from quorate.member.service import Done
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire.prometheus import Histogram, exponential

log = logging.getLogger(__name__)

TICK_S = 1.0
"""How often a driver calls `Upkeep.tick`."""

PROPOSE_S = 1.0
"""Between two proposals about the alarm."""

_NOSPACE = rpc.AlarmType.NOSPACE
_ACTIVATE = rpc.AlarmRequest.AlarmAction.ACTIVATE
_DEACTIVATE = rpc.AlarmRequest.AlarmAction.DEACTIVATE


class Upkeep:
    """Of one member; the driver calls `tick` every TICK_S, and wakes the core after it."""

    def __init__(self, core: MemberCore, quota: Quota, retention: Retention) -> None:
        self._core = core
        self.quota = quota
        self._retention = retention
        self._compactor = AutoCompactor(retention)
        self._asked_at = core.now
        self._proposed_at = -PROPOSE_S
        self._proposing = False
        self._refused: list[Done] = []
        self.defrag_s = Histogram(exponential(0.1, 2, 13))
        """Durations of defragmentations, which have nothing to do."""

    def admits(self, request: Proto) -> bool:
        """Whether there is room for a request; if not, answer it by `refuse`."""
        core, quota = self._core, self.quota
        if quota.stale(core.now):
            quota.measured(core.now, core.backend.size().in_use)
        return not quota.exceeds(request)

    def refuse(self, done: Done) -> None:
        """Tells a client that there is no room, once it can see the alarm (or that cannot be
        raised), as etcd does."""
        if not self._core.machine.alarms.has(self._core.config.member_id, _NOSPACE):
            self._alarm(self._core.now, _ACTIVATE)
        if self._proposing:
            self._refused.append(done)
        else:
            done(Refused(Problem.NO_SPACE))

    def tick(self, now: float) -> None:
        """Time has passed."""
        core = self._core
        if self.quota.stale(now):
            self.quota.measured(now, core.backend.size().in_use)
        if core.machine.alarms.has(core.config.member_id, _NOSPACE) and self.quota.clears(now):
            self._alarm(now, _DEACTIVATE)
        if self._retention.amount and now - self._asked_at >= self._retention.interval_s:
            self._asked_at = now
            target = self._compactor.ask(
                now, core.machine.revision, core.machine.compact_revision,
                leads=core.leads_with_authority)
            if target is not None:
                log.info("automatic compaction to revision %d", target)
                core.propose(rpc.CompactionRequest(revision=target), _ignore, own=True)

    def _alarm(self, now: float, action: rpc.AlarmRequest.AlarmAction) -> None:
        if self._proposing or now - self._proposed_at < PROPOSE_S:
            return
        self._proposed_at, self._proposing = now, True
        log.warning("the store has %s its space quota of %d bytes",
                    "reached" if action == _ACTIVATE else "room again below",
                    self.quota.limit_bytes)
        self._core.propose(rpc.AlarmRequest(
            action=action, memberID=self._core.config.member_id, alarm=_NOSPACE),
            self._proposed, own=True)

    def _proposed(self, _outcome: object) -> None:
        self._proposing = False
        refused, self._refused = self._refused, []
        for done in refused:
            done(Refused(Problem.NO_SPACE))


def _ignore(_outcome: object) -> None:
    """The state tells."""
