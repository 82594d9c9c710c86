"""What one seed decides: cluster, timing, workload and every fault, before anything runs.

A plan is a value: it can be written to a file, given to another process, and have faults or
members taken away (shrink.py), and still means the same run. Each part of a simulation draws from
a stream of its own (`stream`), so that taking a fault away leaves the others' dice alone.

Every seed draws its own probabilities and its own kinds of faults (swarm testing): a run with
nothing but pauses finds what a run with everything hides.

Not here: what a fault does (faults.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from quorate.member.limits import Limits

TIGHT = Limits(
    pending_proposals=3, read_rounds=1, lease_calls=3, expiries_per_turn=3,
    watch_history_events=1, watch_history_bytes=50, watch_fragment_bytes=100, log_bytes=4000)

SIZES = (1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 6, 7)
"""Cluster sizes; three and five are what people run."""

MEMBER_FAULTS = ("kill", "power", "fuse", "file fuse", "pause", "pause inside a turn", "suspend")
EXACT_LINKS = "exact links"
"""Not drawn: `size` says which directed links are cut, as bits / 2**(n(n−1)); with `aim` at or
above a half which pairs are, as bits / 2**(n(n−1)/2)."""

LINK_FAULTS = ("cut", "one-way cut", "link graph", "isolate", "clog", "swizzle", "ring")
DISK_FAULTS = ("slow disk", "hung disk", "failing disk", "full disk", "torn tail", "rot")
ZONE_FAULTS = ("power of all", "zone power", "zone links")
NODE_FAULTS = ("node kill", "node cut", "nodes apart")
"""Of PostgreSQL's nodes, where there are some."""

COMPACTING_RUNS = 0.3
"""Share of the swarm's seeds in which history is compacted now and then."""

LEASE_RUNS = 0.25
"""Share of the swarm's seeds in which leases come and go under leaders that come and go."""

TIGHT_RUNS = 0.25
"""Share of the swarm's seeds whose members have tiny limits."""

UPKEEP_RUNS = 0.25
"""Share of the seeds whose members have a tiny quota, compact by themselves, or both."""

V2_SHARES = (0.0, 0.0, 0.2, 0.6)

SCHEDULES = 6
"""Of bare nodes in every seed of the swarm: about a third of its time."""

OPERATIONS = ("transfer", "add", "promote", "remove", "swap", "compact")
"""Not faults: what an operator does at bad moments."""

KINDS = (EXACT_LINKS, *MEMBER_FAULTS, *LINK_FAULTS, *DISK_FAULTS, *ZONE_FAULTS, *NODE_FAULTS,
         *OPERATIONS)

PROFILES = {
    "swarm": "short runs, everything drawn (the default)",
    "steady": "three members, ten operations a second, ten minutes: for measuring speed",
    "long": "hours of little traffic and slow elections: for cluster-years",
    "patroni": "PostgreSQL nodes under Patroni on the members; both fail",
    "excess": "more damage than is promised to be survived: demands a safe stop",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong `at` seconds after the start, for `for_s`. `aim` and `size`, both
    in [0, 1), choose the victim and how much."""

    at: float
    kind: str
    for_s: float
    aim: float
    size: float


@dataclass(frozen=True, slots=True)
class HaSettings:
    """Patroni nodes on the cluster, with Patroni's own settings (patroni.py). `hangs`: members
    without a leader keep clients waiting, as stock etcd does."""

    nodes: int = 3
    ttl_s: int = 20
    loop_wait_s: int = 5
    retry_timeout_s: int = 5
    failsafe: bool = False
    synchronous: bool = False
    watchdog: bool = True
    """Resets a node whose Patroni has not kept the lock in time."""
    driver: str = "etcd3"
    proxies: bool = False
    """Patroni's `use_proxies`: the list of members is not asked for."""
    hangs: bool = False
    row_s: float = 0.5
    """Mean time between rows that the application writes; 0 for none."""


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """What members do by themselves: a quota that is reached soon (0: none), and compaction to so
    many revisions ago, or so many seconds (0 and 0: none)."""

    quota_bytes: int = 0
    revisions: int = 0
    period_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module's text. Times in seconds of simulated time."""

    seed: int
    profile: str = "swarm"
    members: int = 3
    zones: int = 1
    faults_s: float = 20.0
    election_s: float = 1.0
    delay_s: float = 0.001
    """Longest delay of a message; the shortest is a fifth of a millisecond."""
    loss: float = 0.0
    duplication: float = 0.0
    sync_s: float = 0.005
    gather_s: float = 0.0
    """How long a member lets events gather before it takes a turn."""
    commit_s: float = 0.1
    snapshot_count: int = 100
    catch_up: int = 50
    segment_bytes: int = 16 << 10
    message_bytes: int = 1 << 20
    in_flight: int = 512
    tight: bool = False
    """Whether the members' limits are TIGHT, so that what happens at them happens often."""
    drift: float = 0.0
    """Clocks of members run between 1 − drift and 1 + drift times as fast as real time."""
    clients: int = 3
    pause_s: float = 0.05
    """Mean time a client waits between requests."""
    leases: float = 0.25
    """Share of a client's requests that are about leases."""
    ttl_factor: int = 1
    """Leases live for 2 to 9 times as many seconds."""
    give_up: float = 0.04
    """Chance at each of these that a lease is left to its end."""
    watchers: int = 4
    lost_connection_noticed: float = 0.7
    """Chance that a peer notices a crash by its connection rather than by silence."""
    ha: HaSettings | None = None
    upkeep: UpkeepSettings | None = None
    v2: float = 0.0
    """Share of requests that are v2's."""
    schedules: int = 0
    """How many of each kind (schedules.py) run before the cluster, from `first_schedule` on."""
    first_schedule: int = 0
    steps: int = 3000
    """Of each schedule."""
    faults: tuple[Fault, ...] = ()

    def stream(self, name: str) -> random.Random:
        """The dice of one part; equal in every process whatever its hash seed."""
        return random.Random(f"{self.seed}/{name}")

    @property
    def limits(self) -> Limits:
        """Of each member."""
        return TIGHT if self.tight else Limits()

    def to_json(self) -> str:
        """Readable, one fault a line."""
        value = asdict(self)
        faults = value.pop("faults")
        head = json.dumps(value, indent=1)[:-2]
        lines = ",\n".join("  " + json.dumps(fault) for fault in faults)
        return f"{head},\n \"faults\": [\n{lines}\n ]\n}}\n"


def from_json(text: str) -> Plan:
    """See `to_json`; raises ValueError with a sentence."""
    try:
        value = json.loads(text)
        faults = tuple(Fault(**fault) for fault in value.pop("faults"))
        ha = value.pop("ha", None)
        upkeep = value.pop("upkeep", None)
        plan = Plan(**value, faults=faults, ha=HaSettings(**ha) if ha else None,
                    upkeep=UpkeepSettings(**upkeep) if upkeep else None)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as wrong:
        raise ValueError(f"this is not a simulation plan: {wrong}; `quorate sim --shrink` writes "
                         f"one") from wrong
    unknown = [f.kind for f in faults if f.kind not in KINDS]
    if unknown:
        raise ValueError(f"there is no fault {unknown[0]!r}; the faults are {', '.join(KINDS)}")
    return plan


def draw(seed: int, profile: str = "swarm", members: int | None = None) -> Plan:
    """The plan of a seed."""
    plan = _DRAWS[profile](random.Random(f"{seed}/plan/{profile}"), seed)
    if profile in ("swarm", "long", "excess"):
        plan = replace(plan, upkeep=_upkeep(plan.stream("upkeep")),
                       v2=plan.stream("v2").choice(V2_SHARES))
    if members is not None:
        plan = replace(plan, members=members, zones=min(plan.zones, members))
    return plan


def link_graphs(members: int) -> Iterator[Plan]:
    """One plan for every graph: all directed ones over up to 3 members, all undirected ones over
    more. The links are cut when the cluster has settled, for several elections."""
    pairs = members * (members - 1)
    directed = members <= 3
    bits = pairs if directed else pairs // 2
    for graph in range(1 << bits):
        yield Plan(graph, "swarm", members, faults_s=10.0, clients=2, watchers=1, faults=(
            Fault(3.0, EXACT_LINKS, 8.0, 0.0 if directed else 0.5, graph / (1 << bits)),))


def _swarm(rng: random.Random, seed: int) -> Plan:
    members = rng.choice(SIZES)
    election_s = rng.choice((1.0, 1.0, 1.0, 0.5, 3.0))
    faults_s = election_s * rng.uniform(8.0, 25.0)
    plan = Plan(
        seed, "swarm", members, zones=rng.randrange(1, min(members, 3) + 1), faults_s=faults_s,
        election_s=election_s,
        delay_s=election_s * rng.choice((0.001, 0.001, 0.01, 0.05, 0.3)),
        loss=rng.choice((0.0, 0.0, 0.01, 0.1, 0.3)), duplication=rng.choice((0.0, 0.05)),
        sync_s=election_s * rng.choice((0.0005, 0.0005, 0.005, 0.05, 0.3)),
        gather_s=rng.choice((0.0, 0.0, 0.001, 0.01)), commit_s=rng.choice((0.02, 0.1, 1.0)),
        snapshot_count=rng.choice((20, 100, 1000)), catch_up=rng.choice((0, 5, 50)),
        segment_bytes=rng.choice((2 << 10, 16 << 10)),
        message_bytes=rng.choice((0, 100, 1 << 20)), in_flight=rng.choice((1, 2, 512)),
        drift=rng.choice((0.0, 0.0, 0.0, 0.05)),
        clients=rng.randrange(2, 6), pause_s=rng.choice((0.01, 0.03, 0.1)),
        watchers=rng.randrange(2, 6), lost_connection_noticed=rng.choice((0.0, 0.7, 1.0)))
    kinds = _some(rng, MEMBER_FAULTS + LINK_FAULTS + DISK_FAULTS + ZONE_FAULTS) + _some(
        rng, OPERATIONS)
    every_s = 0.8 * election_s
    if rng.random() < COMPACTING_RUNS:
        kinds += ("compact", "compact")
    if rng.random() < LEASE_RUNS:
        plan, every_s = replace(plan, leases=0.8, give_up=0.2), 0.4 * election_s
        kinds += ("transfer", "kill", "isolate", "pause")
    return replace(plan, schedules=SCHEDULES, tight=rng.random() < TIGHT_RUNS,
                   faults=_faults(rng, kinds, faults_s, every_s, election_s))


def _steady(rng: random.Random, seed: int) -> Plan:
    kinds = ("kill", "cut", "pause", "isolate", "slow disk")
    return Plan(seed, "steady", 3, faults_s=600.0, clients=4, pause_s=0.28, watchers=1,
                snapshot_count=1000, faults=_faults(rng, kinds, 590.0, 30.0, 1.0))


def _long(rng: random.Random, seed: int) -> Plan:
    members = rng.choice((3, 3, 5))
    hours = 3600.0 * rng.uniform(0.5, 2.0)
    election_s = rng.choice((10.0, 20.0))
    kinds = _some(rng, MEMBER_FAULTS + LINK_FAULTS + DISK_FAULTS + ZONE_FAULTS) + OPERATIONS
    return Plan(
        seed, "long", members, zones=min(members, 3), faults_s=hours, election_s=election_s,
        delay_s=rng.choice((0.001, 0.05, 0.5)), loss=rng.choice((0.0, 0.0, 0.01, 0.1)),
        sync_s=rng.choice((0.001, 0.05)), commit_s=rng.choice((1.0, 5.0)),
        snapshot_count=rng.choice((50, 1000)), catch_up=rng.choice((5, 50)),
        clients=rng.randrange(1, 4), pause_s=rng.choice((5.0, 20.0)), watchers=2,
        leases=0.4, ttl_factor=10, give_up=0.1,
        faults=_faults(rng, kinds, hours, rng.choice((60.0, 300.0)), election_s))


def _excess(rng: random.Random, seed: int) -> Plan:
    plan = _swarm(rng, seed)
    kinds = ("rot", "failing disk", "full disk", "power", "power of all", "kill", "torn tail",
             *_some(rng, LINK_FAULTS))
    return replace(plan, profile="excess", schedules=0, faults=_faults(
        rng, kinds, plan.faults_s, 0.5 * plan.election_s, plan.election_s))


def _patroni(rng: random.Random, seed: int) -> Plan:
    loop_wait_s = rng.choice((1, 2, 5, 10))
    retry_timeout_s = rng.choice((3, 5, 10))
    ttl_s = max(20, loop_wait_s + 2 * retry_timeout_s) + rng.choice((0, 0, 10))
    ha = HaSettings(
        rng.choice((2, 3, 3, 3, 4)), ttl_s, loop_wait_s, retry_timeout_s,
        failsafe=rng.random() < 0.3, synchronous=rng.random() < 0.5,
        driver=rng.choice(("etcd3", "etcd3", "etcd")), proxies=rng.random() < 0.2)
    members = rng.choice((1, 3, 3, 3, 5))
    faults_s = rng.uniform(10.0, 30.0) * ttl_s
    kinds = NODE_FAULTS + _some(rng, (*MEMBER_FAULTS, *LINK_FAULTS, *ZONE_FAULTS, "slow disk",
                                      "hung disk", "transfer"))
    return Plan(
        seed, "patroni", members, zones=min(members, 3), faults_s=faults_s,
        election_s=rng.choice((1.0, 1.0, 3.0)), delay_s=rng.choice((0.001, 0.01, 0.05)),
        loss=rng.choice((0.0, 0.0, 0.01)), sync_s=rng.choice((0.001, 0.02)), clients=1,
        pause_s=2.0, watchers=1, ha=ha,
        faults=_faults(rng, kinds, faults_s, 1.5 * ttl_s, 0.5 * ttl_s))


_DRAWS = {"swarm": _swarm, "steady": _steady, "long": _long, "patroni": _patroni,
          "excess": _excess}


def _upkeep(rng: random.Random) -> UpkeepSettings | None:
    """From dice of its own, which came later than the others'."""
    if rng.random() >= UPKEEP_RUNS:
        return None
    revisions, period_s = rng.choice(((0, 0.0), (20, 0.0), (60, 0.0), (0, 2.0), (0, 4.0)))
    quota_bytes = rng.choice((12_000, 16_000, 24_000, 48_000))
    if (revisions or period_s) and rng.random() < 0.3:
        quota_bytes = 0
    return UpkeepSettings(quota_bytes, revisions, period_s)


def _some(rng: random.Random, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """A few of them, often the same few again and again."""
    return tuple(rng.sample(kinds, rng.randrange(1, min(len(kinds), 8) + 1)))


def _faults(
    rng: random.Random, kinds: tuple[str, ...], until: float, every_s: float, election_s: float
) -> tuple[Fault, ...]:
    out: list[Fault] = []
    at = rng.uniform(0.0, 2.0 * every_s)
    while at < until:
        for_s = election_s * rng.choice((0.1, 0.5, 1.5, 4.0)) * rng.uniform(0.5, 1.5)
        out.append(Fault(round(at, 4), rng.choice(kinds), round(for_s, 4),
                         rng.randrange(10_000) / 10_000, rng.randrange(10_000) / 10_000))
        at += rng.expovariate(1.0 / every_s)
    return tuple(out)
