"""After healing, room is made: then every alarm NOSPACE must end by itself, whoever raised it, and
there are puts again.

Not here: what an alarm forbids meanwhile (tables.py), when it is raised (upkeep.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import Message as Proto

from quorate.member.quota import CLEAR_S
from quorate.member.upkeep import TICK_S
from quorate.sim.client import Client
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

if TYPE_CHECKING:
    from quorate.sim.member import SimMember
    from quorate.sim.world import World

ASK_ELECTIONS = 2.0
"""How long, in election timeouts, the one who makes room waits for an answer."""

ROOM_ELECTIONS = 30
SCRUBS = 50
"""Until alarms are over: so many elections, and so many steps of clean-up, above CLEAR_S."""


def make_room(world: World) -> None:
    """Clients stop, everything is deleted and history compacted; raises Violation unless alarms
    end. Not where a disk is lost for good: its member may have raised one."""
    if any(member.disk.rotten for member in world.members.values()):
        return
    plan = world.plan
    for client in world.clients:
        client.stopped = True
    janitor = _Janitor(world)
    janitor.ask(rpc.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
    janitor.ask(rpc.CompactionRequest(revision=len(world.events.log) + 1))
    deadline = world.clock.now + (
        CLEAR_S * (1 + 2 * plan.drift) + SCRUBS * plan.commit_s + ROOM_ELECTIONS * plan.election_s)
    while raised := {i for member in _running(world) for i in member.disk.backend.full}:
        if world.clock.now >= deadline:
            raise world.violation(f"there is room, but the alarms of {sorted(raised)} do not end")
        world.clock.run_until(world.clock.now + TICK_S)
    janitor.ask(rpc.PutRequest(key=b"room", value=b"again"))


class _Janitor:
    """Asks until it is answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.plan.stream("janitor")
        self._client = Client("janitor", world.clock, self._rng, lambda: None, world.plan,
                              world.answers, 1.0)
        self._client.stopped = True
        world.clients.append(self._client)

    def ask(self, request: Proto) -> None:
        """Of any member that runs; raises Violation if none answers in time."""
        world, answers = self._world, list[Proto | Refused]()

        def done(outcome: Proto | Refused) -> None:
            if not isinstance(outcome, Refused) or outcome.problem is Problem.COMPACTED:
                answers.append(outcome)

        deadline = world.clock.now + ROOM_ELECTIONS * world.plan.election_s
        while not answers:
            if world.clock.now >= deadline:
                raise world.violation(f"nobody answers {type(request).__name__} after healing")
            self._client.start()  # nothing of what it asked before counts any more
            self._client.ask(self._rng.choice(_running(world)), request, done)
            world.clock.run_until(world.clock.now + ASK_ELECTIONS * world.plan.election_s)


def _running(world: World) -> list[SimMember]:
    """Members of the configuration that run."""
    state = world.conf_state()
    return [world.members[i] for i in sorted(state.members) if world.members[i].up]
