"""What a member knows of leaders: since when there is none, and which term to report.

Invariants:
- The reported raft term never falls, also over a restart (Patroni ≥ 4.0.6 refuses a member whose
  term falls, patroni-contract §2.4): it is a term that is on this member's disk and in which a
  leader was known. At start it is the term on disk.
- Without a leader for one election timeout the member gives up on requests (§2.6: fail fast).

Not here: elections (raft/), what giving up means (core.py).
"""

from __future__ import annotations

CAMPAIGNS_MAX = 4
CAMPAIGN_PAUSE_S = 0.1
"""Early campaigns after a lost leader; what then has no winner waits for the election timeout."""

STREAMS_WAIT_ELECTIONS = 3
"""Election timeouts without a leader after which streams that want one end (surface §4.4)."""


class Leadership:
    """Updated by the core after each Ready."""

    def __init__(self, election_timeout_s: float, durable_term: int, now: float) -> None:
        self._election_timeout_s = election_timeout_s
        self._reported_term = durable_term
        self._lead = 0
        self._term = durable_term
        self._leaderless_since: float | None = now
        self._campaigns_at: list[float] = []
        self.durable_term = durable_term
        self.changes = 0

    @property
    def known(self) -> tuple[int, int]:
        """Leader, 0 if there is none, and term."""
        return self._lead, self._term

    @property
    def reported_term(self) -> int:
        """The raft term for clients."""
        if self._lead and self._reported_term < self._term <= self.durable_term:
            self._reported_term = self._term
        return self._reported_term

    def observe(self, lead: int, term: int, now: float) -> bool:
        """Note leader and term; True if either changed."""
        if (lead, term) == (self._lead, self._term):
            return False
        if lead:
            self._leaderless_since = None
            self._campaigns_at = []
            self.changes += 1
        elif self._lead:
            self._leaderless_since = now
        self._lead, self._term = lead, term
        return True

    def given_up(self, now: float) -> bool:
        """Whether there has been no leader for too long to let clients wait."""
        since = self._leaderless_since
        return since is not None and now - since >= self._election_timeout_s

    def lost(self, now: float) -> bool:
        """Whether there has been no leader for too long even for streams."""
        since = self._leaderless_since
        return (since is not None
                and now - since >= STREAMS_WAIT_ELECTIONS * self._election_timeout_s)

    def campaign_soon(self, now: float, jitter_s: float) -> None:
        """Ask for votes after `jitter_s` unless a leader shows up first. The other members may
        not have noticed the loss by then, so ask a few times; each member with its own pace."""
        self._campaigns_at = [
            now + jitter_s + attempt * (CAMPAIGN_PAUSE_S + jitter_s)
            for attempt in reversed(range(CAMPAIGNS_MAX))]

    def campaign_due(self, now: float) -> bool:
        """Whether such a moment has come; true once for each."""
        if not self._campaigns_at or now < self._campaigns_at[-1]:
            return False
        self._campaigns_at.pop()
        return True

    @property
    def campaign_at(self) -> float | None:
        """When the driver should call `MemberCore.wake`."""
        return self._campaigns_at[-1] if self._campaigns_at else None
