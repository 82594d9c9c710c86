"""Bare Raft nodes under a scheduler without mercy: a net with a finer mesh than time allows.

No clock, no members: at every step anything that could happen next may happen next. Messages wait
in a bag and are delivered in any order, twice, or never; appends and applications finish whenever;
nodes crash, compact, change the configuration. Thousands of schedules a minute find the rare
interleavings of the core that whole members meet once in a blue moon.

After every step: the Raft part of invariants.py, and that no read index is older than what was
applied anywhere when it was asked for. Not here: anything above raft/.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from quorate.raft.confchange import decode_conf_change
from quorate.raft.errors import ProposalDropped, RaftError
from quorate.raft.leader import maybe_send_append
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, ConfChange, ConfChangeSingle, ConfChangeTransition,
    ConfChangeType, ConfChangeV2, ConfState, EntryType, HardState, InFlightLimits,
    InvariantBroken, Message, MessageType, Role, Snapshot,
)
from quorate.raft.tracker import ProgressState
from quorate.sim.invariants import RaftInvariants
from quorate.sim.plan import Plan

MESSAGES_MAX = 60
"""More than this wait in the bag: the oldest is lost."""

ELECTION_TICK = 4
MEMBERS_MAX = 6


@dataclass(slots=True)
class Bare:
    """One node. `log` is its disk: it changes when an append is done."""

    id: int
    log: MemoryStorage
    node: Node | None = None
    life: int = 0
    appends: deque[Message] = field(default_factory=deque)
    applies: deque[Message] = field(default_factory=deque)
    applied: int = 1
    conf_state: ConfState = ConfState()
    durable: tuple[int, ConfState] = (1, ConfState())
    """What is applied and survives a crash."""

    @property
    def stable(self) -> MemoryStorage:
        """See invariants.Observed."""
        return self.log


class Chaos:
    """One schedule, as its seed decides; `run` raises what `fail` makes."""

    def __init__(
        self, rng: random.Random, fail: Callable[[str], Exception],
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._rng = rng
        self._fail = fail
        self._tell = tell
        self._bag: list[Message] = []
        self._cut: set[tuple[int, int]] = set()
        self._reads: dict[bytes, int] = {}
        self._applied = 1
        """The most that anybody ever applied, and so may have told a client."""
        self._count = 0
        self._message_bytes = rng.choice((0, 0, 20, 1 << 20))
        self._in_flight = rng.choice((1, 2, 256))
        members = rng.choice((3, 3, 3, 5, 2, 4, 1))
        self._voters = tuple(range(1, members + 1))
        self._nodes = {i: self._new(i, ConfState(self._voters)) for i in self._voters}
        self.invariants = RaftInvariants(self._nodes.values, fail)
        kinds: list[tuple[Callable[[Bare], None], float]] = [
            (self._deliver, 60), (self._tick, rng.choice((3, 8))),
            (self._append, rng.choice((15, 25, 80))), (self._apply, rng.choice((4, 20))),
            (self._propose, rng.choice((1, 4))), (self._read, rng.choice((1, 5))),
            (self._lose, rng.choice((0, 1, 5))),
            (self._copy, rng.choice((0, 1, 4))), (self._crash, rng.choice((0, 0.3, 2))),
            (self._change, rng.choice((0, 0.5, 2))), (self._transfer, rng.choice((0, 0.3))),
            (self._part, rng.choice((0, 0.1, 0.3))), (self._heal, 0.5),
            (self._flush, rng.choice((0.2, 2))), (self._compact, rng.choice((0, 0.5))),
            (self._campaign, 0.3), (self._contest, rng.choice((0.1, 0.4, 1))),
            (self._diverge, rng.choice((0, 0.3, 1))), (self._step_back, rng.choice((0, 1)))]
        self._kinds = [kind for kind, _ in kinds]
        self._weights = list(accumulate(weight for _, weight in kinds))

    def run(self, steps: int) -> None:
        """Take so many steps."""
        for node in self._nodes.values():
            self._start(node)
        for step in range(steps):
            kind, = self._rng.choices(self._kinds, cum_weights=self._weights)
            bare = self._rng.choice(list(self._nodes.values()))
            if self._tell is not None:
                self._tell(f"{step:6} {bare.id} {kind.__name__.strip('_')}")
            try:
                kind(bare)
            except InvariantBroken as broken:
                raise self._fail(f"{broken}, at step {step}") from broken

    # Nodes.

    def _new(self, node_id: int, conf_state: ConfState) -> Bare:
        log = MemoryStorage()
        log.apply_snapshot(Snapshot(1, 1, conf_state))
        log.set_hard_state(HardState(1, 0, 1))
        return Bare(node_id, log, conf_state=conf_state, durable=(1, conf_state))

    def _start(self, bare: Bare) -> None:
        """From its disk, as member/build.py does it."""
        bare.life += 1
        state = bare.log.initial_state()[0]
        commit = min(max(state.commit, bare.applied), bare.log.last_index())
        bare.log.set_hard_state(HardState(state.term, state.vote, commit))
        bare.log.start_with(bare.conf_state)
        bare.log.snapshot_source = lambda: Snapshot(
            bare.applied, bare.log.term(bare.applied), bare.conf_state)
        bare.node = Node(NodeConfig(
            id=bare.id, storage=bare.log, applied=bare.applied, election_tick=ELECTION_TICK,
            heartbeat_tick=1, check_quorum=True, pre_vote=True, step_down_on_removal=True,
            max_bytes_per_message=self._message_bytes,
            in_flight=InFlightLimits(self._in_flight), disable_proposal_forwarding=True,
            random_timeout=lambda ticks: self._rng.randrange(ticks, 2 * ticks)))

    def _turn(self, bare: Bare) -> None:
        """Hand out what the node has to do, and look at it."""
        node = bare.node
        assert node is not None
        while node.has_ready():
            ready = node.ready()
            for state in ready.read_states:
                wanted = self._reads.get(state.context, 0)
                if state.index < wanted:
                    raise self._fail(f"node {bare.id} was given read index {state.index}; "
                                     f"{wanted} had been applied when it asked")
            for message in ready.messages:
                if message.to == LOCAL_APPEND_THREAD:
                    bare.appends.append(message)
                elif message.to == LOCAL_APPLY_THREAD:
                    bare.applies.append(message)
                elif message.to in self._nodes:
                    self._bag.append(message)
        del self._bag[:-MESSAGES_MAX]
        self.invariants.look_at_raft(bare, 0.0)

    def _step(self, bare: Bare, message: Message) -> None:
        if bare.node is not None:
            try:
                bare.node.step(message)
            except RaftError:
                return
            self._turn(bare)

    # What may happen.

    def _deliver(self, _bare: Bare) -> None:
        if not self._bag:
            return
        message = self._bag.pop(self._rng.randrange(len(self._bag)))
        if (message.from_, message.to) in self._cut:
            if self._rng.random() < 0.5:
                self._bag.append(message)  # it waits, or is lost
            return
        self._step(self._nodes[message.to], message)

    def _lose(self, _bare: Bare) -> None:
        if self._bag:
            self._bag.pop(self._rng.randrange(len(self._bag)))

    def _copy(self, _bare: Bare) -> None:
        if self._bag:
            message = self._rng.choice(self._bag)
            if message.type is not MessageType.PROP:
                self._bag.append(message)

    def _tick(self, bare: Bare) -> None:
        if bare.node is not None:
            bare.node.tick()
            self._turn(bare)

    def _append(self, _bare: Bare) -> None:
        """Somebody's oldest append is on disk."""
        busy = [b for b in self._nodes.values() if b.appends and b.node is not None]
        if not busy:
            return
        self._append_of(self._rng.choice(busy))

    def _append_of(self, bare: Bare) -> None:
        assert bare.node is not None
        work, log = bare.appends.popleft(), bare.log
        if work.term:
            log.set_hard_state(HardState(work.term, work.vote, work.commit))
        if work.snapshot is not None:
            log.apply_snapshot(work.snapshot)
            bare.applied, bare.conf_state = work.snapshot.index, work.snapshot.conf_state
            bare.durable = (bare.applied, bare.conf_state)
        log.append(work.entries)
        raft_log = bare.node.raft.log
        before = [(i, raft_log.term(i))
                  for i in range(raft_log.first_index(), raft_log.last_index() + 1)]
        for response in work.responses:
            if response.to == bare.id:
                self._step(bare, response)
            elif response.to in self._nodes:
                self._bag.append(response)
            if not all(raft_log.matches(term, i) for i, term in before[-5:]):
                raise self._fail(f"a storage step changed the log of {bare.id}")
        self._turn(bare)

    def _apply(self, _bare: Bare) -> None:
        busy = [b for b in self._nodes.values() if b.applies and b.node is not None]
        if not busy:
            return
        bare = self._rng.choice(busy)
        assert bare.node is not None
        work = bare.applies.popleft()
        for entry in work.entries:
            if entry.index <= bare.applied:
                continue  # a snapshot came in between
            if entry.index != bare.applied + 1:
                raise self._fail(f"node {bare.id} applies {entry.index} after "
                                 f"{bare.applied}")
            bare.applied = entry.index
            self._applied = max(self._applied, bare.applied)
            if entry.type is not EntryType.NORMAL:
                change = decode_conf_change(entry.type, entry.data)
                bare.conf_state = bare.node.apply_conf_change(change)
        for response in work.responses:
            self._step(bare, response)
        self._turn(bare)

    def _leader(self) -> Bare | None:
        """Any that believes it leads."""
        leaders = [b for b in self._nodes.values()
                   if b.node is not None and b.node.role is Role.LEADER]
        return self._rng.choice(leaders) if leaders else None

    def _propose(self, _bare: Bare) -> None:
        bare = self._leader()
        if bare is None or (node := bare.node) is None:
            return
        self._count += 1
        try:
            node.propose(b"%d" % self._count)
        except ProposalDropped:
            return
        self._turn(bare)

    def _read(self, bare: Bare) -> None:
        if bare.node is None or bare.node.lead == 0:
            return
        self._count += 1
        context = self._count.to_bytes(8, "little")
        self._reads[context] = self._applied
        try:
            bare.node.read_index(context)
        except RaftError:
            return
        self._turn(bare)

    def _crash(self, bare: Bare) -> None:
        """Lose what was not on disk yet, and start again."""
        bare.appends.clear()
        bare.applies.clear()
        bare.applied, bare.conf_state = bare.durable
        self._start(bare)

    def _campaign(self, bare: Bare) -> None:
        if bare.node is not None and bare.node.role is not Role.LEADER:
            bare.node.campaign()
            self._turn(bare)

    def _contest(self, _bare: Bare) -> None:
        """Time passes in which nothing arrives, for all or for those who do not lead; then
        several want to lead."""
        asleep = self._leader() if self._rng.random() < 0.5 else None
        others = [b for b in self._nodes.values() if b is not asleep]
        for bare in others:
            for _ in range(ELECTION_TICK):
                self._tick(bare)
        for bare in self._rng.sample(others, min(len(others), 2)):
            self._campaign(bare)

    def _diverge(self, _bare: Bare) -> None:
        """A leader that is cut off takes proposals; its own disk has them, or not yet."""
        bare = self._leader()
        if bare is None:
            return
        for _ in range(self._rng.randrange(1, 6)):
            self._propose(bare)
        self._bag = [message for message in self._bag if message.from_ != bare.id]
        others = [i for i in self._nodes if i != bare.id]
        self._cut |= {(bare.id, i) for i in others} | {(i, bare.id) for i in others}
        if self._rng.random() < 0.5:
            while bare.appends:
                self._append_of(bare)

    def _step_back(self, _bare: Bare) -> None:
        """A leader begins anew to find out where a follower's log agrees, from further back than
        it need, as the paper allows and leaders without hints in refusals do."""
        bare = self._leader()
        if bare is None or bare.node is None:
            return
        progress = bare.node.raft.tracker.progress
        other_id = self._rng.choice(list(progress))
        other = progress[other_id]
        first = max(other.match + 1, bare.node.raft.log.first_index())
        if other is not progress.get(bare.id) and first < other.next and (
                other.state is not ProgressState.SNAPSHOT):
            low, high = first, other.next
            other.become_probe()
            other.next = self._rng.randrange(low, high)
            other.sent_commit = min(other.sent_commit, other.next - 1)
            maybe_send_append(bare.node.raft, other_id, even_if_empty=True)
            self._turn(bare)

    def _transfer(self, _bare: Bare) -> None:
        bare = self._leader()
        if bare is not None and bare.node is not None:
            bare.node.transfer_leader(self._rng.choice(list(self._nodes)))
            self._turn(bare)

    def _flush(self, bare: Bare) -> None:
        bare.durable = (bare.applied, bare.conf_state)

    def _compact(self, bare: Bare) -> None:
        if bare.durable[0] > bare.log.first_index():
            bare.log.compact(bare.durable[0] - self._rng.randrange(2))

    def _part(self, _bare: Bare) -> None:
        ids, share = list(self._nodes), self._rng.choice((0.15, 0.4))
        self._cut = {(a, b) for a in ids for b in ids if self._rng.random() < share}

    def _heal(self, _bare: Bare) -> None:
        self._cut = set()

    def _change(self, _bare: Bare) -> None:
        """One member more or less, or a joint swap."""
        bare = self._leader()
        if bare is None or (node := bare.node) is None:
            return
        state, new = bare.conf_state, max(self._nodes) + 1
        learners = self._rng.random() < 0.3
        change: ConfChange | ConfChangeV2
        if len(state.voters) < 3 or (self._rng.random() < 0.4 and len(self._nodes) < MEMBERS_MAX):
            change = ConfChange(
                ConfChangeType.ADD_LEARNER_NODE if learners else ConfChangeType.ADD_NODE, new)
        elif state.learners and learners:
            change = ConfChange(ConfChangeType.ADD_NODE, state.learners[0])
        elif self._rng.random() < 0.5:
            change = ConfChange(ConfChangeType.REMOVE_NODE, self._rng.choice(state.voters))
        else:
            gone = self._rng.sample(state.voters, len(state.voters) // 2)
            change = ConfChangeV2(
                ConfChangeTransition.JOINT_IMPLICIT,
                (ConfChangeSingle(ConfChangeType.ADD_NODE, new),
                 *(ConfChangeSingle(ConfChangeType.REMOVE_NODE, i) for i in gone)))
        try:
            node.propose_conf_change(change)
        except ProposalDropped:
            return
        if new not in self._nodes:
            self._nodes[new] = Bare(new, MemoryStorage(), applied=0, durable=(0, ConfState()))
            self._start(self._nodes[new])
        self._turn(bare)


def run_schedules(
    plan: Plan, fail: Callable[[str], Exception], tell: Callable[[str], None] | None = None
) -> int:
    """The schedules of a plan; how many entries were committed in them. Raises what `fail` makes.
    A plan with one schedule, as shrinking leaves it, has a line for each step."""
    commits = 0
    for number in range(plan.first_schedule, plan.first_schedule + plan.schedules):
        chaos = Chaos(plan.stream(f"schedule {number}"), lambda text, n=number: fail(  # type: ignore[misc]
            f"schedule {n} of bare nodes: {text}"), tell if plan.schedules == 1 else None)
        chaos.run(plan.steps)
        commits += chaos.invariants.commits
    return commits
