"""The simulated operator: adds, promotes, removes and swaps members, hands leadership over and
compacts, at moments that suit nobody; and keeps count of what members do by themselves.

It asks whichever member answers, as `etcdctl` does, and never takes more than it is sure that the
cluster can spare. Not here: what a change does to the cluster (raft), the members (member.py).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
)
from quorate.sim.plan import Fault
from quorate.state.members import Member, to_json
from quorate.state.reconfiguration import addition, promotion, removal
from quorate.wire._generated import rpc_pb2 as rpc

if TYPE_CHECKING:
    from quorate.sim.member import SimMember
    from quorate.sim.world import World

MEMBERS_MAX = 7
COMPACT_BEHIND_MAX = 200
"""How far behind the newest revision a compaction may stay."""


def described(member_id: int) -> Member:
    """A simulated member as the cluster knows it."""
    return Member(id=member_id, name=f"m{member_id}", peer_urls=(f"http://m{member_id}:2380",))


class Operator:
    """Carries out the operations of a plan."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng: random.Random = world.plan.stream("operator")
        self.done: Counter[str] = Counter()
        self._ids = 0
        self._full: frozenset[int] = frozenset()
        self._kinds: dict[str, Callable[[ConfState], None]] = {
            "transfer": self._transfer, "add": self._add, "promote": self._promote,
            "remove": self._remove, "swap": self._swap, "compact": self._compact,
        }

    def schedule(self) -> None:
        """Put the plan's operations on the agenda."""
        for fault in self._world.plan.faults:
            if fault.kind in self._kinds:
                self._world.clock.after(fault.at, partial(self._operate, fault))

    def _operate(self, fault: Fault) -> None:
        if not self._world.healing:
            self._kinds[fault.kind](self._world.conf_state())

    def compacts(self, revision: int) -> None:
        """A member is about to compact by itself."""
        self.done["automatic compaction"] += 1
        self._world.answers.compacts(revision)

    def look_at_alarms(self, full: frozenset[int]) -> None:
        """These members have raised NOSPACE, as whoever has applied most sees it."""
        if full != self._full:
            self._world.note(0, f"alarms for space: {sorted(full)}")
            self.done["alarm for space"] += len(full - self._full)
            self.done["end of an alarm"] += len(self._full - full)
            self._full = full

    # Membership.

    def _change(self, kind: str, change: ConfChange | ConfChangeV2, new: list[int]) -> None:
        """Ask any member; new members start when it says that it is done."""
        member = self._world.pick(self._rng)
        if member is None:
            return
        self._world.note(0, f"operator: {kind} {change} at member {member.id}")

        def done(outcome: object) -> None:
            self._world.note(0, f"operator: {kind} is {'done' if outcome is None else outcome}")
            self.done[kind] += outcome is None

        def ask() -> None:
            assert member.core is not None
            member.core.reconfigure(change, done)
            member.wake()

        for member_id in new:
            self._world.add_member(member_id)  # it waits to be told, perhaps in vain
        member.post(ask)

    def _number(self) -> int:
        """What makes a change unlike any other."""
        self._ids += 1
        return self._ids

    def _add(self, state: ConfState) -> None:
        if len(state.voters) + len(state.learners) < MEMBERS_MAX:
            new = self._world.new_id()
            self._change("add", addition(
                replace(described(new), is_learner=True), self._number(), MEMBERS_MAX), [new])

    def _promote(self, state: ConfState) -> None:
        if state.learners:
            self._change(
                "promote", promotion(self._rng.choice(state.learners), self._number()), [])

    def _remove(self, state: ConfState) -> None:
        if len(state.voters) > 2:
            self._change("remove", removal(
                self._rng.choice(state.voters + state.learners), self._number()), [])

    def _swap(self, state: ConfState) -> None:
        """Several members at once, with both majorities deciding meanwhile; who goes leaves, or
        learns from now on."""
        count = self._rng.randrange(1, len(state.voters) // 2 + 2)
        old = self._rng.sample(state.voters, min(count, len(state.voters)))
        new = [self._world.new_id() for _ in old]
        self._number()
        context = b"[" + b",".join(to_json(described(i)) for i in new) + b"]"
        gone = (ConfChangeType.REMOVE_NODE, ConfChangeType.REMOVE_NODE,
                ConfChangeType.ADD_LEARNER_NODE)
        self._change("swap", ConfChangeV2(
            self._rng.choice((ConfChangeTransition.AUTO, ConfChangeTransition.JOINT_IMPLICIT)),
            tuple(ConfChangeSingle(ConfChangeType.ADD_NODE, i) for i in new)
            + tuple(ConfChangeSingle(self._rng.choice(gone), i) for i in old),
            context), new)

    # Leadership and history.

    def _leader(self) -> SimMember | None:
        leaders = [m for m in self._world.members.values()
                   if m.core is not None and m.core.is_leader]
        return self._rng.choice(leaders) if leaders else None

    def _transfer(self, state: ConfState) -> None:
        leader, to = self._leader(), self._rng.choice(state.voters)
        if leader is None:
            return

        def transfer() -> None:
            if leader.core is not None:
                leader.core.node.transfer_leader(to)
                leader.wake()

        self._world.note(0, f"operator: transfer of leadership from {leader.id} to {to}")
        self.done["transfer"] += 1
        leader.post(transfer)

    def _compact(self, _state: ConfState) -> None:
        member = self._world.pick(self._rng)
        revision = len(self._world.events.log) + 1 - self._rng.randrange(COMPACT_BEHIND_MAX)
        if member is None or revision < 1:
            return
        world, request = self._world, rpc.CompactionRequest(revision=revision)
        world.answers.ask(request, member.id, member.life, world.clock.now)

        def done(outcome: object) -> None:
            if isinstance(outcome, rpc.CompactionResponse):
                self.done["compact"] += 1
                world.answers.compacted = max(world.answers.compacted, revision)

        member.post(lambda: member.service.compact(request, done))
