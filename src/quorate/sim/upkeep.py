"""What simulated members do by themselves, ticked as the runtime ticks it, and what it owes.

- Automatic compaction goes no further than the retention says: to so many revisions before the
  newest that the member has, or to what that was so many seconds ago; only a leader compacts.
- Under a leader who leads on it gets there.
- A member that was beyond its quota whenever it looked takes nothing that needs space (`full`).
- It ends its own alarm only, and not when it was near its quota of late.

Not here: what an alarm forbids (tables.py), that it ends (room.py), refusals for want of space
(answers.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from quorate.member.autocompact import Retention
from quorate.member.core import MemberCore
from quorate.member.quota import CLEAR_S, CLEAR_SHARE, Quota
from quorate.member.upkeep import TICK_S, Upkeep
from quorate.raft.types import InvariantBroken
from quorate.sim.plan import Plan, UpkeepSettings
from quorate.sim.tables import TableBackend
from quorate.wire._generated import rpc_pb2 as rpc

EVERY_S = 2.0
"""How often members whose retention is in revisions look; real ones every five minutes."""

NOWHERE = -1
"""Of a history that was never compacted."""


class Keeper:
    """The upkeep of one life of a member. `compacts` is told of each compaction beforehand."""

    def __init__(
        self, core: MemberCore, backend: TableBackend, settings: UpkeepSettings,
        compacts: Callable[[int], None],
    ) -> None:
        self._core = core
        self._backend = backend
        self._settings = settings
        self._compacts = compacts
        self._known: deque[tuple[float, int]] = deque()
        """When which revision was the newest, from about a period ago on."""
        self._beyond = False
        """Whether the store was all the time beyond the quota between the last two ticks."""
        self._near_at = -CLEAR_S
        """The last tick before which it was near the quota for as long."""
        retention = Retention("periodic", settings.period_s)
        if settings.revisions:
            retention = Retention("revision", settings.revisions, EVERY_S)
        self.upkeep = Upkeep(core, Quota(settings.quota_bytes), retention)

    @property
    def full(self) -> bool:
        """Whether what needs space must be refused: whenever it looked, there was none."""
        return self._beyond and self._backend.low > self._settings.quota_bytes > 0

    def tick(self, now: float) -> None:
        """A second has passed."""
        low, quota = self._backend.lowest(), self._settings.quota_bytes
        self._beyond = 0 < quota < low
        if 0 < CLEAR_SHARE * quota <= low:
            self._near_at = now
        core, period_s = self._core, self._settings.period_s
        queued, revision = core.proposals.queued, core.machine.revision
        self._known.append((now, revision))
        while len(self._known) > 1 and self._known[1][0] <= now - period_s:
            self._known.popleft()
        before = len(queued)
        self.upkeep.tick(now)
        for proposal in islice(queued, before, None):
            if isinstance(proposal.request, rpc.CompactionRequest):
                self._look(proposal.request.revision, now)
            elif isinstance(proposal.request, rpc.AlarmRequest):
                self._look_at_end(proposal.request, now)

    def _look(self, target: int, now: float) -> None:
        """It wants to compact."""
        core, settings = self._core, self._settings
        at, known = self._known[0]
        allowed = core.machine.revision - settings.revisions if settings.revisions else (
            known if at <= now - settings.period_s else 0)
        if target > allowed or not core.is_leader:
            raise InvariantBroken(
                f"member {core.config.member_id} compacts by itself to {target}, allowed is "
                f"{allowed}; it {'leads' if core.is_leader else 'does not lead'}")
        self._compacts(target)

    def _look_at_end(self, request: rpc.AlarmRequest, now: float) -> None:
        """It wants to end an alarm."""
        own, since_s = self._core.config.member_id, now - self._near_at
        if request.memberID != own or since_s < CLEAR_S - TICK_S:
            raise InvariantBroken(
                f"member {own} ends the alarm of {request.memberID}, {since_s:.1f} s after its "
                f"store was near the quota")


def owed_compaction(plan: Plan, steady_s: float, revision: int) -> int:
    """How far history must be compacted when one leader has led for `steady_s`, since before
    `revision` was the newest."""
    settings = plan.upkeep
    if settings is None or not (settings.revisions or settings.period_s):
        return NOWHERE
    wait_s = 2 * settings.period_s if settings.period_s else EVERY_S
    # A retention is looked at ten times a period, and at most at each tick.
    wait_s += 2 * max(TICK_S, settings.period_s / 10) + 2 * TICK_S
    if steady_s < wait_s * (1 + 2 * plan.drift):
        return NOWHERE
    return revision - settings.revisions
