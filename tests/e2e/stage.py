"""The stage of a recording: three members, three nodes behind doors, three witnesses.

Owns how the cluster comes up, when it counts as healthy and quiet, and how each action is done.
The first node starts alone and becomes the primary, so that the member it speaks to can be chosen:
behind doors Patroni uses its list of hosts as it is, and stays with the first while that answers.

Not here: which actions when (scenarios.py), the file (record.py).
"""

from __future__ import annotations

import random
import re
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from doors import Doors
from scenarios import Scenario
from witness import Change, Witness

from quorate.cli.demo.members import Store, StoreMember
from quorate.cli.demo.postgres import PostgresCluster, PostgresNode, find_postgres
from quorate.cli.demo.processes import Workspace

NODES = ("pg1", "pg2", "pg3")
HEALTHY_S_MAX = 90
QUIET_S_MAX = 120
LATE_S_MAX = 1.0
"""A loop that is later than this says that the machine was too busy."""
REPLICA_EXTRA_S = 0.5
"""Patroni gives a node that does not lead so much longer before its next loop."""
LOOP = re.compile(r"^(\S+ \S+) INFO: no action\. I am \((\w+)\)", re.MULTILINE)
LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (\w+): (.*)$")


class Disturbed(Exception):
    """The recording is worth nothing: repeat it."""


def wall_s(stamp: str) -> float:
    """Seconds since the epoch of a time in Patroni's log."""
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()


@dataclass(frozen=True, slots=True)
class Situation:
    """Who was what at time 0."""

    primary: str
    replicas: list[str]
    leader: str
    others: list[str]
    spoken: dict[str, str]
    sync_standbys: list[str]

    def who(self, name: str, chance: random.Random) -> list[str]:
        """Whom a step of a scenario hits."""
        found: dict[str, list[str]] = {
            "primary": [self.primary],
            "replica": [chance.choice(self.replicas)],
            "leader": [self.leader],
            "majority": [self.leader, chance.choice(self.others)],
            "primary's member": [self.spoken[self.primary]],
        }
        return found.get(name, [name])


class Stage:
    """Everything that runs for one recording."""

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self.scenario = scenario
        self.settings = scenario.settings
        self.workspace = Workspace()
        command = [sys.executable, "-m", "quorate.cli.serve"]
        if scenario.etcd:
            command = ["etcd", "--enable-v2=true"] if scenario.driver == "etcd" else ["etcd"]
        self.store = Store(self.workspace, command)
        self.doors = Doors(list(NODES), {m.name: m.port for m in self.store.members})
        self.orders: dict[str, list[str]] = {}
        self.changes: list[Change] = []
        self.witnesses: list[Witness] = []
        self.postgres: PostgresCluster | None = None
        self._chance = chance

    @property
    def nodes(self) -> list[PostgresNode]:
        """The three."""
        assert self.postgres is not None
        return self.postgres.nodes

    def start(self) -> None:
        """Bring all up and wait until it is healthy; raises TimeoutError."""
        self.store.start()
        leader = self.store.leader().name
        for node in NODES:
            self.orders[node] = self._order(leader, self.scenario.speaks_to)
        self.postgres = PostgresCluster(
            self.workspace, "", find_postgres("wheel"), settings=self.settings,
            dcs=lambda name: {self.scenario.driver: {
                "hosts": self.doors.hosts(name, self.orders[name]), "use_proxies": True}})
        for node in self.nodes:
            self.witnesses.append(
                Witness(node, str(self.postgres.sockets), self.changes.append))
        self.nodes[0].process.start()
        self.postgres.primary(HEALTHY_S_MAX)
        for node in self.nodes[1:]:
            node.process.start()
        for witness in self.witnesses:
            witness.start()
        self.postgres.wait_for_replicas(2, HEALTHY_S_MAX)

    def _order(self, leader: str, first: str) -> list[str]:
        names = [member.name for member in self.store.members]
        self._chance.shuffle(names)
        if first == "leader":
            names.sort(key=lambda name: name != leader)
        elif first == "follower":
            names.sort(key=lambda name: name == leader)
        return names

    def wait_until_quiet(self) -> None:
        """Wait until the last two loop_waits held nothing but punctual loops without action."""
        loop_wait = self.settings.loop_wait
        deadline = time.monotonic() + QUIET_S_MAX
        since = time.time()
        while time.monotonic() < deadline:
            time.sleep(0.25)
            noise = max((self.noise(node) for node in self.nodes), default=0.0)
            since = max(since, noise)
            enough = all(len([t for t in self.loops(node) if t > since]) >= 3
                         for node in self.nodes)
            if self.healthy() and enough and time.time() - since >= 2 * loop_wait:
                return
        raise TimeoutError("the cluster did not become quiet")

    def healthy(self) -> bool:
        """Whether one node is primary and the others are replicas."""
        return sorted(w.role for w in self.witnesses) == ["primary", "replica", "replica"]

    def loops(self, node: PostgresNode) -> list[float]:
        """When a node logged that a loop ended without action, s since the epoch."""
        text = node.process.log.read_text(errors="replace")
        return [wall_s(stamp) for stamp, _name in LOOP.findall(text)]

    def noise(self, node: PostgresNode) -> float:
        """When a node last logged anything else than such loops, s since the epoch."""
        last = 0.0
        for line in node.process.log.read_text(errors="replace").splitlines():
            found = LINE.match(line)
            if found and not found[3].startswith(("no action. I am", "Lock owner:")):
                last = wall_s(found[1])
        return last

    def check_punctual(self, until: float) -> None:
        """Raise Disturbed if a loop of the quiet time before `until` (epoch, s) was late."""
        limit = self.settings.loop_wait + REPLICA_EXTRA_S + LATE_S_MAX
        for node in self.nodes:
            ends = [t for t in self.loops(node) if until - 2 * limit < t <= until]
            for before, after in zip(ends, [*ends[1:], until], strict=True):
                if after - before > limit:
                    raise Disturbed(f"{node.name} was late: {after - before:.2f} s")

    def situation(self) -> Situation:
        """Who is what now; raises Disturbed if that is not what the scenario needs."""
        if not self.healthy():
            raise Disturbed("the cluster is not healthy any more")
        leader = self.store.leader().name
        primary = next(w.node.name for w in self.witnesses if w.role == "primary")
        speaks_to = self.doors.spoken[primary]
        wanted = self.scenario.speaks_to
        if wanted and (speaks_to == leader) != (wanted == "leader"):
            raise Disturbed(f"{primary} speaks to {speaks_to}, {leader} leads")
        return Situation(
            primary, [n for n in NODES if n != primary], leader,
            [m.name for m in self.store.members if m.name != leader], dict(self.doors.spoken),
            [n.name for n in self.nodes if (n.rest() or {}).get("sync_standby")])

    def do(self, action: str, who: list[str]) -> None:
        """One action of a scenario."""
        verb, kind = action.split()
        if kind == "node":
            for node in (n for n in self.nodes if n.name in who):
                {"kill": node.kill, "start": node.process.start,
                 "cut": lambda: self.doors.cut(node.name),
                 "heal": lambda: self.doors.heal(node.name)}[verb]()
            return
        members = [m for m in self.store.members if m.name in who]
        if verb == "kill":
            for member in members:
                member.process.signal(signal.SIGKILL)
        for member in members:
            self._do_to_member(verb, member)

    def _do_to_member(self, verb: str, member: StoreMember) -> None:
        if verb == "kill":
            self.doors.shut(member.name)
            member.process.kill()
        elif verb == "stop":
            member.process.stop()
            self.doors.shut(member.name)
        elif verb == "start":
            member.process.start()
            self.doors.open(member.name)
        elif verb == "pause":
            member.process.signal(signal.SIGSTOP)
        elif verb == "resume":
            member.process.signal(signal.SIGCONT)
        elif verb == "isolate":
            self.store.links.isolate(member.name)
        else:
            self.store.links.heal(member.name)

    def stop(self) -> None:
        """End everything that was started."""
        for witness in self.witnesses:
            if witness.is_alive():
                witness.halt()
        if self.postgres is not None:
            self.postgres.stop()
        self.doors.close()
        self.store.stop()
        self.workspace.remove()
