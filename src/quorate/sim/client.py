"""Simulated clients: sequential, over the member's own service façade, recording every call.

Each asks whatever the grammar draws, keeps leases alive or leaves them to end, takes locks, and
asks what there is. What was refused for sure leaves no record; what was refused with a doubt, or
never answered, is recorded as unknown.

Not here: what is asked (grammar.py, holder.py, questions.py), the judgement (answers.py at once,
judge.py at the end), watches (watcher.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from google.protobuf.message import Message as Proto

from quorate.check import v2
from quorate.check.keyvalue import Request, Response
from quorate.check.leases import LeaseHistory
from quorate.check.linearizability import NEVER
from quorate.check.revisions import Call
from quorate.sim.answers import Answers, Asked, takes_space
from quorate.sim.clock import Clock
from quorate.sim.grammar import Grammar
from quorate.sim.holder import Handle, Holder
from quorate.sim.member import SimMember
from quorate.sim.plan import Plan
from quorate.sim.questions import Questions
from quorate.sim.requests import serve
from quorate.sim.v2grammar import V2Grammar
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc
from quorate.wire._generated.v2_pb2 import V2Response

ANSWER_S_MAX = 10.0
"""A client that hears nothing for this long goes on; its member may have crashed."""

QUESTIONS = 0.04
"""Share of requests that are neither about keys nor about a lease."""

CLEAN_UP = 0.1
"""Chance at each request that a client who was refused for want of space makes room."""

DOUBTFUL = (Problem.TIMED_OUT, Problem.TIMED_OUT_LEADER_LOST, Problem.STOPPED)
"""Refusals after which the request may still take place."""

LEGITIMATE = (
    Problem.NO_LEADER, Problem.TOO_MANY_REQUESTS, Problem.LEASE_NOT_FOUND, Problem.KEY_NOT_FOUND,
    Problem.COMPACTED, Problem.FUTURE_REVISION, Problem.DUPLICATE_KEY, Problem.LEASE_EXISTS,
    *DOUBTFUL, *(problem for problem in Problem if problem.name.startswith("V2_")))
"""Anything else is wrong; of these, what is sure must be explained (answers.py)."""


class Client:
    """One sequential client. `pick` gives a member to talk to, None if all are down."""

    def __init__(
        self, name: str, clock: Clock, rng: random.Random, pick: Callable[[], SimMember | None],
        plan: Plan, answers: Answers, pause_s: float, *, only_puts: bool = False,
        answer_s: float = ANSWER_S_MAX,
    ) -> None:
        self.name = name
        self.calls: list[Call] = []
        self.wrong: list[str] = []
        self.stopped = False
        self._clock = clock
        self._rng = rng
        self._pick = pick
        self._answers = answers
        self._leases = plan.leases
        self._pause_s = pause_s
        self._only_puts = only_puts
        self._answer_s = answer_s
        self._turn = 0
        self._cramped = False
        limited = plan.upkeep is not None and plan.upkeep.quota_bytes
        self._legitimate = {*LEGITIMATE, *((Problem.NO_SPACE,) if limited else ())}
        self.holder = Holder(name, clock, rng, self.ask, plan)
        self._v2_share = plan.v2
        self._v2 = V2Grammar(name, plan.stream(f"v2 {name}"), plan.clients, plan.ttl_factor)
        self._grammar = Grammar(name, rng, plan.clients, self.holder.any_lease, answers,
                                v2=bool(plan.v2))
        self._questions = Questions(clock, rng, self.ask, plan, answers, self.holder)

    @property
    def complaints(self) -> list[str]:
        """What was wrong with single answers."""
        return self.wrong + self.holder.wrong + self._questions.wrong

    @property
    def histories(self) -> list[LeaseHistory]:
        """Every lease that this client ever had."""
        return self.holder.histories + self._v2.ttls.histories

    def start(self) -> None:
        """Begin to work."""
        self._next()

    def _next(self) -> None:
        self._turn += 1
        turn = self._turn
        pause_s = 2 * self._pause_s * self._rng.random()
        self._clock.after(pause_s, self._act)
        self._clock.after(
            pause_s + self._answer_s, lambda: self._next() if turn == self._turn else None)

    def _act(self) -> None:
        if self.stopped:
            return
        member, choice = self._pick(), self._rng.random()
        if member is None:
            self._next()
        elif self._cramped and (self._only_puts or self._rng.random() < CLEAN_UP):
            self._cramped = False
            self._questions.make_room(member)
        elif self._only_puts:
            self.ask(member, self._grammar.put())
        elif self._v2_share and self._rng.random() < self._v2_share:
            self.ask(member, self._v2.draw())
        elif choice < QUESTIONS:
            self._questions.act(member)
        elif choice >= QUESTIONS + self._leases:
            self.ask(member, self._grammar.draw())
        elif not self.holder.act(member):
            self._next()

    def ask(
        self, member: SimMember, request: Proto, handle: Handle = lambda _outcome: None
    ) -> None:
        """Ask, record and judge what becomes of it, give it to `handle`, and go on."""
        asked = self._answers.ask(request, member.id, member.life, self._clock.now)
        if isinstance(request, Request | v2.Request):
            self.calls.append(Call(self.name, asked.at, NEVER, request, None))
        if isinstance(request, v2.Request):
            self._v2.asked(request, asked.at)
        turn, alarm_changes = self._turn, member.disk.backend.alarm_changes
        full = False

        def begin() -> None:
            nonlocal full
            full = member.keeper is not None and member.keeper.full
            serve(member.service, request, done)

        def done(outcome: Proto | Refused) -> None:
            if turn != self._turn:
                return
            if isinstance(outcome, Refused):
                self._refused(member, asked, outcome, alarm_changes)
            else:
                self._answered(member, asked, outcome)
                if full and takes_space(request):
                    self.wrong.append(f"{self.name} was not refused at {self._clock.now:.3f} by "
                                      f"member {member.id}, which has no space: {request}")
            handle(outcome)
            self._next()

        member.post(begin)

    def _answered(self, member: SimMember, asked: Asked, response: Proto) -> None:
        now = self._clock.now
        assert member.stable is not None
        self.wrong += self._answers.answered(
            asked, response, now, member.stable.initial_state()[0].term)
        if isinstance(response, V2Response):
            assert isinstance(asked.request, v2.Request)
            self._v2.answered(asked.request, response, asked.at, now)
        if isinstance(response, Response | V2Response):
            self._grammar.learn(response)
            self.calls[-1] = replace(self.calls[-1], returned=now, response=response)
        elif isinstance(response, rpc.LeaseTimeToLiveResponse) and response.TTL >= 0:
            assert isinstance(asked.request, rpc.LeaseTimeToLiveRequest)
            self.calls.append(Call(self.name, asked.at, now, asked.request, (
                rpc.LeaseTimeToLiveResponse(
                    header=response.header, ID=response.ID, keys=response.keys))))

    def _refused(
        self, member: SimMember, asked: Asked, refused: Refused, alarm_changes: int
    ) -> None:
        """`alarm_changes`: the member's count when it was asked."""
        problem, backend = refused.problem, member.disk.backend
        if problem not in self._legitimate:
            self.wrong.append(f"{self.name} was refused with {refused} at "
                              f"{self._clock.now:.3f}, for no reason")
        if problem in DOUBTFUL:
            return
        if isinstance(asked.request, Request | v2.Request):
            self.calls.pop()
        if isinstance(asked.request, v2.Request):
            self._v2.refused(asked.request)
        assert member.core is not None
        self.wrong += self._answers.refused(
            asked, problem, member.core.machine.revision,
            alarmed=bool(backend.full) or backend.alarm_changes != alarm_changes)
        self._cramped = self._cramped or problem is Problem.NO_SPACE
        if problem is Problem.LEASE_NOT_FOUND:
            self.holder.refused(asked)
