"""What a simulated client asks besides keys and its own leases: which members there are, which
leases there are; where the plan compacts, compactions of the past and of what is compacted; and,
when there is no room, what makes some.

Not here: what holds for every answer (answers.py), the operator's compactions (operator.py).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from google.protobuf.message import Message as Proto

from quorate.sim.answers import Answers
from quorate.sim.clock import Clock
from quorate.sim.holder import Ask, Holder
from quorate.sim.member import SimMember
from quorate.sim.operator import described
from quorate.sim.plan import Plan
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

BEHIND = (10, 40)
"""How far back compactions go. No closer: what is compacted in the turn in which it is applied,
nobody saw (invariants.py)."""


@dataclass(slots=True)
class Questions:
    """Of one client."""

    clock: Clock
    rng: random.Random
    ask: Ask
    plan: Plan
    answers: Answers
    holder: Holder
    wrong: list[str] = field(default_factory=list)

    def act(self, member: SimMember) -> None:
        """Ask something."""
        choice = self.rng.random()
        if self.compacts and choice < 0.6:
            self.ask(member, rpc.CompactionRequest(revision=self._revision()))
        elif choice < 0.7:
            self._members(member)
        else:
            self._leases(member)

    def make_room(self, member: SimMember) -> None:
        """Delete some keys, or compact what is past."""
        client = self.rng.randrange(self.plan.clients)
        if self.rng.random() < 0.5:
            v2 = "/" if self.plan.v2 and self.rng.random() < self.plan.v2 else ""
            self.ask(member, rpc.DeleteRangeRequest(
                key=f"{v2}c{client}/".encode(), range_end=f"{v2}c{client}0".encode()))
        else:
            self.ask(member, rpc.CompactionRequest(revision=self._revision()))

    @property
    def compacts(self) -> bool:
        """Whether the plan has history compacted at all."""
        return any(fault.kind == "compact" for fault in self.plan.faults)

    def _revision(self) -> int:
        past = self.answers.revision - self.rng.randrange(*BEHIND)
        return max(1, self.rng.choice((past, self.answers.compacted)))

    def _members(self, member: SimMember) -> None:
        """As the configuration has them in which the member counts; who asks for the newest gets
        nothing older than what was applied anywhere before."""
        linearizable = self.rng.random() < 0.7
        oldest = self.answers.applied if linearizable else 0

        def done(outcome: Proto | Refused) -> None:
            if not isinstance(outcome, rpc.MemberListResponse):
                return
            assert member.core is not None
            state = member.core.conf_state
            learners = (*state.learners, *state.learners_next)
            known = [rpc.Member(ID=m.id, name=m.name, peerURLs=m.peer_urls,
                                isLearner=m.id in learners)
                     for m in map(described, sorted(state.members))]
            if list(outcome.members) != known:
                self.wrong.append(
                    f"member {member.id} lists at {self.clock.now:.3f} the members "
                    f"{list(outcome.members)}; its configuration is {state}")
            if member.core.backend.applied.index < oldest:
                self.wrong.append(
                    f"member {member.id} lists at {self.clock.now:.3f} the members as of index "
                    f"{member.core.backend.applied.index}; {oldest} was applied before")

        self.ask(member, rpc.MemberListRequest(linearizable=linearizable), done)

    def _leases(self, member: SimMember) -> None:
        """Those that the client has and that are not listed are gone."""
        asked = self.clock.now

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, rpc.LeaseLeasesResponse):
                own = {kept.history.id for kept in self.holder.kept}
                self.holder.missed(own - {lease.ID for lease in outcome.leases}, asked)

        self.ask(member, rpc.LeaseLeasesRequest(), done)
