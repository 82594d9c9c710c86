"""Repeats a recording of real Patroni in the model: the same cluster, the same phases of the loops,
the same actions, and then the roles of the servers as the recording has them.

A recording is a file of tests/sim/patroni (its README describes the fields). Members "m1", "m2", …
are members 1, 2, … here; nodes keep their names.

Not here: how recordings are made (tests/e2e/record.py), how the two are compared (compare.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from quorate.sim.ha import Change, HaCluster
from quorate.sim.member import SimMember
from quorate.sim.plan import HaSettings, Plan
from quorate.sim.world import World

CALM_S = 60.0
"""Until the model's cluster is up and quiet."""


class RecordedNode(NamedTuple):
    """A node before the first action."""

    name: str
    role: str
    loop_age_s: float
    member: int
    """The member that it talks to."""


class Action(NamedTuple):
    """Something that was done, to whom."""

    at: float
    do: str
    who: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """See tests/sim/patroni/README.md."""

    name: str
    settings: HaSettings
    nodes: tuple[RecordedNode, ...]
    leader: int
    actions: tuple[Action, ...]
    roles: tuple[Change, ...]
    observed_s: float

    @property
    def primary(self) -> str:
        """The node that was primary."""
        return next(node.name for node in self.nodes if node.role == "primary")


def read_recording(text: str) -> Recording:
    """From a file's text; raises ValueError with a sentence."""
    try:
        value: dict[str, Any] = json.loads(text)
        s = value["settings"]
        return Recording(
            value["scenario"],
            HaSettings(
                len(value["nodes"]), s["ttl"], s["loop_wait"], s["retry_timeout"],
                failsafe=s["failsafe_mode"], synchronous=s["synchronous_mode"], watchdog=False,
                driver=value["driver"], proxies=True, hangs=value["store"] != "quorate",
                row_s=0.0),
            tuple(RecordedNode(n["name"], n["role"], n["loop_age_s"], _id(n["member"]))
                  for n in value["nodes"]),
            _id(value["leader"]),
            tuple(Action(a["at"], a["do"], tuple(a["who"])) for a in value["actions"]),
            tuple(Change(r["at"], r["node"], r["role"]) for r in value["roles"]),
            value["observed_s"])
    except (KeyError, TypeError, ValueError, StopIteration) as wrong:
        raise ValueError(f"this is not a recording of Patroni: {wrong!r}; "
                         f"`scripts/patroni record` makes one") from wrong


def _id(member: str) -> int:
    return int(member.removeprefix("m"))


def repeat(
    recording: Recording, seed: int, tell: Callable[[str], None] | None = None
) -> list[Change]:
    """What the model's servers do; raises Violation."""
    plan = Plan(seed, "patroni", 3, faults_s=0.0, clients=0, watchers=0, delay_s=0.0005,
                sync_s=0.002, lost_connection_noticed=1.0, ha=recording.settings)
    return _Repeat(World(plan, tell), recording).run()


class _Repeat:
    def __init__(self, world: World, recording: Recording) -> None:
        assert world.ha is not None
        self._world = world
        self._ha: HaCluster = world.ha
        self._recording = recording

    def run(self) -> list[Change]:
        began = self._prepare()
        for action in self._recording.actions:
            self._world.clock.run_until(began + action.at)
            self._world.note(0, f"action: {action.do} {', '.join(action.who)}")
            for who in action.who:
                self._do(action.do, who)
        self._world.clock.run_until(began + self._recording.observed_s)
        return [change._replace(at=change.at - began)
                for change in self._ha.roles if change.at >= began]

    def _prepare(self) -> float:
        """The cluster as it was recorded; when the first action is due."""
        world, recording, clock = self._world, self._recording, self._world.clock
        for member in world.members.values():
            member.start()
        nodes = self._ha.nodes
        nodes[recording.primary].start()
        clock.run_until(CALM_S / 2)
        for node in nodes.values():
            node.start()
        clock.run_until(CALM_S)
        self._lead(world.members[recording.leader])
        loop_s = recording.settings.loop_wait_s
        for recorded in recording.nodes:
            nodes[recorded.name].turn_to(recorded.member)
            nodes[recorded.name].realign = CALM_S + 2 * loop_s - recorded.loop_age_s
        return CALM_S + 2 * loop_s

    def _lead(self, member: SimMember) -> None:
        for leader in self._world.members.values():
            if leader.core is not None and leader.core.is_leader and leader is not member:
                leader.core.node.transfer_leader(member.id)
                leader.wake()

    def _do(self, do: str, who: str) -> None:
        what, kind = do.split()
        if kind in ("node", "nodes"):
            self._do_to_node(what, who)
        else:
            self._do_to_member(what, self._world.members[_id(who)])

    def _do_to_node(self, what: str, name: str) -> None:
        node, access = self._ha.nodes[name], self._ha.access(name)
        {"kill": node.kill, "start": node.start, "cut": access.sever, "heal": access.heal}[what]()

    def _do_to_member(self, what: str, member: SimMember) -> None:
        match what:
            case "kill" | "stop":
                member.kill()
                self._world.connections_lost(member.id)
            case "start":
                member.start()
            case "pause":
                member.pause()
            case "resume":
                member.resume()
            case "isolate":
                self._world.network.cut_between([member.id], self._world.members)
            case "heal":
                self._world.network.mend(set(self._world.network.cut))
            case _:
                raise ValueError(f"nobody knows how to {what} a member")
