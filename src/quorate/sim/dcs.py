"""Patroni's client of the store in the model: which member is asked, how long, and what then.

After Patroni 4.1 (dcs/etcd.py, AbstractEtcdClientWithFailover; contract §2.6): a node stays with
one member until a request to it fails; the retry timeout is split over the members; when all have
failed it sleeps and begins again while there is time left. A member whose term is lower than one
that was seen counts as failed.

Not here: what is asked (drivers.py), the HA loop (patroni.py), links (access.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.message import Message as Proto

from quorate.sim.access import Access, Lost
from quorate.sim.clock import Clock
from quorate.sim.plan import HaSettings
from quorate.sim.process import Pause, Steps
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

REQUEST_S_MIN = 1.0
"""Patroni never waits for a member for less; it rather asks fewer of them."""

JITTER_S = 0.8
DELAY_S = (0.1, 1.0)
"""First and longest sleep between rounds over all members, without the jitter."""

UNAVAILABLE = frozenset((
    Problem.NO_LEADER, Problem.TOO_MANY_REQUESTS, Problem.LEADER_CHANGED, Problem.STOPPED,
    Problem.TIMED_OUT, Problem.TIMED_OUT_LEADER_LOST, Problem.UNHEALTHY,
    Problem.NOT_SUPPORTED_FOR_LEARNER))
"""What clients see as code 14: Patroni asks the next member."""


class DcsError(Exception):
    """The store cannot be reached or did not do it: what Patroni demotes a primary for."""


class RequestFailed(Exception):
    """A request that is not repeated failed; most callers take it for "no"."""

    def __init__(self, problem: Problem | None) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class Retry:
    """How much longer to try. `until` is when to give up."""

    until: float
    delay_s: float = DELAY_S[0]


def split(members: int, seconds: float) -> tuple[int, float, int]:
    """How many members to ask, how long to wait for each, and how often to ask each."""
    most = 4 - min(members, 3)
    while members > 0:
        each_s, tries = seconds / members, 1
        if each_s >= REQUEST_S_MIN:
            while tries < most and each_s / (tries + 1) >= REQUEST_S_MIN:
                tries += 1
            return members, each_s / tries, tries
        members, most = members - 1, 1
    return 0, seconds, 1


@dataclass(slots=True)
class StoreClient:
    """One Patroni's. `switched` is called whenever it turns to another member."""

    clock: Clock
    rng: random.Random
    access: Access
    settings: HaSettings
    base: int = 0
    switched: Callable[[], None] = lambda: None
    term: int = 0
    _pooled: set[int] = field(default_factory=set)
    """Members that a connection is open to."""
    _reload: bool = False

    def retry(self) -> Retry:
        """To be used for all requests of one operation."""
        return Retry(self.clock.now + self.settings.retry_timeout_s)

    def order(self) -> list[int]:
        """All members, the one that was asked last first."""
        ids = self.access.ids
        if self.base not in ids:
            self.base = self.rng.choice(ids)
        return [self.base, *(i for i in ids if i != self.base)]

    def ask(self, request: Proto, retry: Retry | None) -> Steps[Proto]:
        """Ask until somebody answers; raises RequestFailed, DcsError."""
        if self._reload and not (yield from self._load_members()):
            raise DcsError("no member answers")
        members = self.order()
        count, each_s, tries = split(len(members), self.settings.retry_timeout_s)
        members = members[:count]
        while True:
            answer = yield from self._round(members, request, each_s, tries, retry)
            if answer is not None:
                return answer
            assert retry is not None
            yield from self._load_members()
            sleep_s = retry.delay_s + self.rng.randrange(int(100 * JITTER_S) + 1) / 100
            members = self.order()
            count, each_s, tries = split(
                len(members), retry.until - sleep_s - self.clock.now)
            if not count:
                self._reload = not self.settings.proxies
                self.switched()
                raise DcsError("no member answers")
            yield Pause(sleep_s)
            retry.delay_s = min(2 * retry.delay_s, DELAY_S[1])
            members = members[:count]

    def _round(
        self, members: list[int], request: Proto, each_s: float, tries: int, retry: Retry | None
    ) -> Steps[Proto | None]:
        """Ask one after the other; None if all failed."""
        for position, member_id in enumerate(members):
            for _ in range(tries):
                answer = yield from self._one(member_id, request, each_s)
                if answer is not None:
                    break
            if isinstance(answer, Proto):
                if position and retry is not None:
                    self._turn_to(member_id)
                return answer
            if isinstance(answer, Refused):
                raise RequestFailed(answer.problem)
            self._pooled.clear()
            if retry is None:
                self._turn_to(members[(position + 1) % len(members)])
                raise RequestFailed(None)
        return None

    def _one(self, member_id: int, request: Proto, each_s: float) -> Steps[Proto | Refused | None]:
        """One request to one member; None if another should be asked."""
        timeout_s = each_s
        if member_id not in self._pooled and self.access.cut and not self.settings.proxies:
            timeout_s = max(1.0, each_s / 2)  # nothing answers the handshake
        answer = yield from self.access.ask(member_id, request, timeout_s)
        if isinstance(answer, Lost):
            return None
        self._pooled.add(member_id)
        if isinstance(answer, Refused):
            if answer.problem not in UNAVAILABLE:
                return answer
            if self.settings.hangs:
                yield Pause(timeout_s)  # stock etcd would not have answered yet
            return None
        term: int = answer.header.raft_term  # type: ignore[attr-defined]  # all answers have it
        if term < self.term:
            return None
        self.term = term
        return answer

    def _turn_to(self, member_id: int) -> None:
        if member_id != self.base or len(self.access.ids) == 1:
            self.base = member_id
            self.switched()

    def _load_members(self) -> Steps[bool]:
        """Ask all for the list of members, as is done when all have failed."""
        self._reload = False
        if self.settings.proxies:
            return True
        _, each_s, tries = split(len(self.access.ids), self.settings.retry_timeout_s)
        for member_id in self.order():
            for _ in range(tries):
                if (yield from self._one(member_id, rpc.MemberListRequest(), each_s)) is not None:
                    return True
        self._reload = True
        return False

