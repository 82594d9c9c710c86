"""Lease rules: when each lease ended against what its client asked and was told.

- Never before TTL after the last renewal that was acknowledged was sent.
- Gone at TTL + one election + 1 s after the last renewal that may have counted arrived, while a
  quorum exists.
- No renewal is acknowledged that was sent after the lease was seen to be gone, and none is
  answered "no such lease" while it must live.
- The remaining time that a client is told is not less than promised; nor, where leaders do not
  change, more than what then remains.
- A lock bound to a lease is believed in by one owner at a time.

All times are seconds of one clock of an observer. Not here: who observes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.check.linearizability import NEVER

GRACE_S = 1.0
"""The second of the promise (DESIGN.md, Leases)."""

ROUNDING_S = 0.5
"""Of whole seconds."""

DOUBT_S = 10.0
"""A renewal of unknown outcome may have counted until this long after it was sent, or read."""


@dataclass(slots=True)
class Renewal:
    """The grant, which is the first, or a renewal. `returned` NEVER: the outcome is unknown; else
    not `acknowledged`: it was answered "no such lease". `taken`: when a member is known to have
    read it, last time; who was paused reads late."""

    sent: float
    returned: float
    acknowledged: bool
    taken: float = 0.0


class Remaining(NamedTuple):
    """For how long a lease was said to live on, in whole seconds, rounded."""

    asked: float
    returned: float
    ttl_s: int


@dataclass(slots=True)
class LeaseHistory:
    """One lease. `revoked_at`: when its client asked for its end. `ended`: the first moment that
    anybody knew it to be gone."""

    client: Hashable
    id: int
    ttl_s: int
    renewals: list[Renewal]
    revoked_at: float | None = None
    ended: float | None = None
    observed_until: float = 0.0
    told: list[Remaining] = field(default_factory=list)


class Hold(NamedTuple):
    """An interval in which an owner believed to hold a lock, rightly by its lease's promise."""

    owner: Hashable
    lock: Hashable
    since: float
    until: float


def judge_leases(
    histories: Iterable[LeaseHistory], *, election_s: float,
    trouble: Sequence[tuple[float, float]] = (), doubt_s: float = DOUBT_S, early_s: float = 0.0,
    remembered: Callable[[int, float], float] = lambda _lease_id, at: at,
    steady_since: float = NEVER,
) -> list[str]:
    """What is wrong, in sentences. `trouble`: intervals in which there may have been no quorum;
    `early_s`: how much fast clocks may shorten a lease; `remembered`: what a quorum of members, of
    whom some were restarted or heard of the lease late, must take a renewal's moment for;
    `steady_since`: from when on one leader led, with all that it had to learn."""
    wrong = []
    for history in histories:
        wrong += [f"lease {history.id:x} of {history.client} with TTL {history.ttl_s} s {text}"
                  for text in (*_too_early(history, early_s),
                               *_too_late(history, election_s, trouble, doubt_s, remembered),
                               *_answers(history, early_s),
                               *_remaining(history, election_s, early_s, remembered,
                                           steady_since))]
    return wrong


def judge_locks(holds: Iterable[Hold]) -> list[str]:
    """Two owners of one lock at a time, in sentences."""
    wrong, locks = [], defaultdict(list)
    for hold in holds:
        locks[hold.lock].append(hold)
    for lock, its in locks.items():
        its.sort(key=lambda hold: hold.since)
        longest = its[0]
        for hold in its[1:]:
            if hold.since < longest.until and hold.owner != longest.owner:
                wrong.append(
                    f"lock {lock!r} was held by {longest.owner} from {longest.since:.3f} to "
                    f"{longest.until:.3f} and by {hold.owner} from {hold.since:.3f}")
            longest = max(longest, hold, key=lambda hold: hold.until)
    return wrong


def _promised_until(history: LeaseHistory, *, sent: float, returned: float = NEVER) -> float:
    """Until when it must live, by acknowledged renewals that were sent, and answered, by then."""
    moments = [r.sent for r in history.renewals
               if r.acknowledged and r.sent <= sent and r.returned <= returned]
    return max(moments) + history.ttl_s if moments else 0.0


def _too_early(history: LeaseHistory, early_s: float) -> Iterable[str]:
    if history.ended is None:
        return
    promised = _promised_until(history, sent=history.ended)
    if history.revoked_at is not None and history.revoked_at <= history.ended:
        return
    if history.ended < promised - early_s:
        yield f"ended at {history.ended:.3f}, before {promised:.3f}"


def _too_late(
    history: LeaseHistory, election_s: float, trouble: Sequence[tuple[float, float]],
    doubt_s: float, remembered: Callable[[int, float], float],
) -> Iterable[str]:
    """Trouble only counts while the end was due; what was answered "no such lease" never does."""
    due = _due(history, remembered, doubt_s)
    limit = due + election_s + GRACE_S
    for began, ended in sorted(trouble):
        if began <= limit and ended > due:
            limit = max(limit, ended + election_s + GRACE_S)
    ended = history.ended if history.ended is not None else NEVER
    if ended > limit and history.observed_until > limit:
        when = f"ended at {ended:.3f}" if ended != NEVER else "did not end"
        yield f"{when}; it had to be gone at {limit:.3f}"


def _due(
    history: LeaseHistory, remembered: Callable[[int, float], float], doubt_s: float = DOUBT_S,
    sent: float = NEVER,
) -> float:
    """Until when it may live, by renewals that were sent by then and may have counted."""
    arrived = max(max(r.sent, r.taken) + doubt_s if r.returned == NEVER else r.returned
                  for r in history.renewals
                  if r.sent <= sent and (r.acknowledged or r.returned == NEVER))
    return remembered(history.id, arrived) + history.ttl_s


def _answers(history: LeaseHistory, early_s: float) -> Iterable[str]:
    for renewal in history.renewals:
        if renewal.returned == NEVER:
            continue
        if renewal.acknowledged:
            if history.ended is not None and renewal.sent > history.ended:
                yield (f"was renewed at {renewal.sent:.3f}, after it was gone at "
                       f"{history.ended:.3f}")
        elif history.revoked_at is None or history.revoked_at > renewal.returned:
            promised = _promised_until(
                history, sent=renewal.sent, returned=renewal.sent)
            if renewal.returned < promised - early_s:
                yield (f"was said to be gone at {renewal.returned:.3f}; it lives until "
                       f"{promised:.3f}")


def _remaining(
    history: LeaseHistory, election_s: float, early_s: float,
    remembered: Callable[[int, float], float], steady_since: float,
) -> Iterable[str]:
    for asked, returned, ttl_s in history.told:
        said = f"was said at {returned:.3f} to live for {ttl_s} s"
        promised = _promised_until(history, sent=asked, returned=asked)
        if returned + ttl_s < promised - ROUNDING_S - early_s:
            yield f"{said}; it lives until {promised:.3f}"
        if ttl_s > history.ttl_s:
            yield said
        if asked < steady_since:
            continue
        slack_s = ROUNDING_S + early_s + election_s
        if (history.revoked_at is None and history.ended is not None
                and history.ended < asked + ttl_s - slack_s):
            yield f"{said}; it ended at {history.ended:.3f}"
        due = _due(history, remembered, sent=returned)
        if asked + ttl_s > due + slack_s:
            yield f"{said}; it was due at {due:.3f}"
