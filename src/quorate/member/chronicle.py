"""What a person should read of a member's life, a line each, and the counts that go with it:
elections, turns that took long, heartbeats that left late.

Not here: what happens then (core.py, raft/), requests (api/calls.py), syncs (appender.py).
"""

from __future__ import annotations

import logging

from quorate.member.core import MemberCore
from quorate.wire.prometheus import Histogram

log = logging.getLogger(__name__)

TURN_S_SLOW = 0.1
"""A turn that takes longer is told (etcd's limit for applying an entry)."""


class Chronicle:
    """Of one member; called by its driver."""

    def __init__(self, core: MemberCore, heartbeat_s: float) -> None:
        self._core = core
        self._heartbeat_s = heartbeat_s
        self._known = core.leadership.known
        self._leaderless_since = core.now
        self.led_since = core.now
        """When the leader of now became known, in monotonic seconds."""
        self._tick_due: float | None = None
        self.slow_turns = 0
        self.late_heartbeats = 0
        self.ticks = 0
        self.lag_s = Histogram()
        """How late the loop came to each tick."""

    @property
    def status(self) -> str:
        """How this member is, in words."""
        lead, term = self._core.leadership.known
        if not lead:
            return f"no leader in term {term}; requests are refused"
        if lead == self._core.config.member_id:
            return f"leads in term {term}"
        return f"follows {self._name(lead)} in term {term}"

    def turned(self, took_s: float) -> None:
        """A turn of the core took so long; look what came of it."""
        if took_s > TURN_S_SLOW:
            self.slow_turns += 1
            log.warning("a turn took %.0f ms; everything on this member waited for it",
                        1000 * took_s, extra={"fields": {"took_s": took_s}})
        if self._core.leadership.known != self._known:
            self._leader_changed()

    def ticked(self, now: float) -> None:
        """A heartbeat interval has passed, or more."""
        self.ticks += 1
        due, self._tick_due = self._tick_due, now + self._heartbeat_s
        if due is None:
            return
        late_s = max(0.0, now - due)
        self.lag_s.observe(late_s)
        if late_s > self._heartbeat_s and self._core.is_leader:
            self.late_heartbeats += 1
            log.warning("heartbeats leave %.0f ms late: this process did not get to run; the "
                        "machine is overloaded, or was stopped", 1000 * late_s,
                        extra={"fields": {"late_s": late_s}})

    def _leader_changed(self) -> None:
        (before, _), (lead, term) = self._known, self._core.leadership.known
        self._known = lead, term
        now = self._core.now
        if not lead:
            if before:
                self._leaderless_since = now
                log.info("there is no leader: %s is lost, in term %d", self._name(before), term,
                         extra={"fields": {"lost": f"{before:x}", "term": term}})
            return
        if before:
            self._leaderless_since = now
        self.led_since = now
        log.info("%s leads in term %d, after %.1f s without a leader", self._name(lead), term,
                 now - self._leaderless_since,
                 extra={"fields": {"leader": f"{lead:x}", "term": term}})

    def _name(self, member_id: int) -> str:
        if member_id == self._core.config.member_id:
            return f"this member ({member_id:x})"
        member = self._core.machine.members.get(member_id)
        return f"{member.name} ({member_id:x})" if member and member.name else f"{member_id:x}"
