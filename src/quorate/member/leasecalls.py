"""Clients' lease calls that only the leader can answer: renewals and remaining times.

Any member takes them. Where they are not answered at once they are kept here, are forwarded to
the leader, and start over when the leader changes: both kinds are idempotent, so asking twice
is safe. A call is answered exactly once, or refused at its deadline.

Not here: what the leader does with a call (core.py, leases.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from quorate.member.effects import Reply
from quorate.state.errors import Problem, Refused


class LeaseAnswer(NamedTuple):
    """`ttl_s` 0: no such lease."""

    ttl_s: int
    remaining_s: int = 0


@dataclass(slots=True, eq=False)
class LeaseCall:
    """One call. `remote` is the member that forwarded it, with that member's sequence."""

    lease_id: int
    time_to_live: bool
    done: Callable[[LeaseAnswer | Refused], None]
    deadline: float
    remote: tuple[int, int] | None = None


class LeaseCalls:
    """Calls that wait for a leader, and calls that were forwarded to one."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self.queued: list[LeaseCall] = []
        """What waits for a turn in which there is a leader."""
        self._forwarded: dict[int, LeaseCall] = {}

    def __len__(self) -> int:
        return len(self.queued) + len(self._forwarded)

    def submit(self, call: LeaseCall) -> Refused | None:
        """Queue it for this turn, or say why not."""
        if len(self) >= self._calls_max:
            return Refused(Problem.TOO_MANY_REQUESTS)
        self.queued.append(call)
        return None

    def take(self) -> list[LeaseCall]:
        """Everything queued."""
        calls, self.queued = self.queued, []
        return calls

    def put_back(self, calls: list[LeaseCall]) -> None:
        """Not answered yet: try again at the next turn. Forwarded ones are their sender's."""
        self.queued += [call for call in calls if call.remote is None]

    def forward(self, call: LeaseCall, sequence: int) -> None:
        """Note that the call goes to the leader; its answer will carry the sequence, which no life
        of this member uses again."""
        self._forwarded[sequence] = call

    def answered(self, sequence: int) -> LeaseCall | None:
        """The call that the leader's answer is for."""
        return self._forwarded.pop(sequence, None)

    def restart(self) -> None:
        """The leader changed or the connection to it broke: ask again."""
        calls = list(self._forwarded.values())
        self._forwarded.clear()
        self.put_back(calls)

    def expired(self, now: float) -> list[Reply]:
        """Refusals of everything whose deadline has passed."""
        late = [call for call in self.queued if call.deadline <= now]
        if late:
            self.queued = [call for call in self.queued if call.deadline > now]
        for sequence, call in list(self._forwarded.items()):
            if call.deadline <= now:
                late.append(self._forwarded.pop(sequence))
        return [(call.done, Refused(Problem.TIMED_OUT)) for call in late]

    def fail(self, problem: Problem) -> list[Reply]:
        """Refuse everything."""
        calls = self.queued + list(self._forwarded.values())
        self.queued = []
        self._forwarded.clear()
        return [(call.done, Refused(problem)) for call in calls]
