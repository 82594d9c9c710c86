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
from collections.abc import Callable
from itertools import accumulate

from quorate.raft.errors import ConfigError, ProposalDropped, RaftError
from quorate.raft.leader import maybe_send_append
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, InvariantBroken, Message, MessageType, Role,
)
from quorate.sim.bare import ELECTION_TICK, Bare, Limits
from quorate.raft.tracker import ProgressState
from quorate.sim.invariants import RaftInvariants
from quorate.sim.reshape import changes

MESSAGES_MAX = 60
"""More than this wait in the bag: the oldest is lost."""

MEMBERS_MAX = 6
EXCHANGES_MAX = 120
SLOW = 0.1
"""Chance that the slow disk does something when it is asked to."""


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
        self._limits = Limits(rng.choice((0, 0, 20, 1 << 20)), rng.choice((1, 2, 256)),
                              lambda ticks: rng.randrange(ticks, 2 * ticks))
        self._slow = rng.choice((0, 0, 0, 1, 2))
        """The node whose disk is slow."""
        founders = tuple(range(1, rng.choice((3, 3, 3, 5, 5, 4, 2, 1)) + 1))
        self._nodes = {i: Bare(i, self._limits, founders) for i in founders}
        self.invariants = RaftInvariants(self._nodes.values, fail)
        kinds: list[tuple[Callable[[Bare], None], float]] = [
            (self._deliver, 60), (self._tick, rng.choice((3, 8))),
            (self._append, rng.choice((15, 25, 80))), (self._apply, rng.choice((4, 20))),
            (self._propose, rng.choice((1, 4))), (self._read, rng.choice((1, 5))),
            (self._lose, rng.choice((0, 1, 5))),
            (self._copy, rng.choice((0, 1, 4))), (self._crash, rng.choice((0, 0.3, 2))),
            (self._change, rng.choice((0, 0.5, 2))), (self._transfer, rng.choice((0, 0.3))),
            (self._part, rng.choice((0, 0.1, 0.3))), (self._heal, rng.choice((0.15, 0.5))),
            (self._flush, rng.choice((0.2, 2))), (self._compact, rng.choice((0, 0.5))),
            (self._campaign, 0.3), (self._contest, rng.choice((0.1, 0.4, 1))),
            (self._diverge, rng.choice((0, 0.3, 1))), (self._step_back, rng.choice((0, 1))),
            (self._image, rng.choice((0, 0.5, 2))), (self._usurp, rng.choice((0, 0.1))),
            (self._halves, rng.choice((0, 0, 0, 0, 0, 3)))]
        self._kinds = [kind for kind, _ in kinds]
        self._weights = list(accumulate(weight for _, weight in kinds))

    def run(self, steps: int) -> None:
        """Take so many steps."""
        for step in range(steps):
            kind, = self._rng.choices(self._kinds, cum_weights=self._weights)
            bare = self._rng.choice(list(self._nodes.values()))
            if self._tell is not None:
                self._tell(f"{step:6} {bare.id} {kind.__name__.strip('_')}")
            try:
                kind(bare)
            except (InvariantBroken, ConfigError) as broken:
                raise self._fail(f"{broken}, at step {step}") from broken

    def _turn(self, bare: Bare) -> None:
        """Hand out what the node has to do, and look at it."""
        node = bare.node
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
        bare.step(message)
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
        bare.node.tick()
        self._turn(bare)

    def _append(self, _bare: Bare) -> None:
        """Somebody's oldest append is on disk."""
        busy = [b for b in self._nodes.values() if b.appends]
        if busy:
            bare = self._rng.choice(busy)
            if bare.id != self._slow or self._rng.random() < SLOW:
                self._append_of(bare)

    def _append_of(self, bare: Bare) -> None:
        bare.append(lambda message: self._bag.append(message)
                    if message.to in self._nodes else None)
        self._turn(bare)

    def _apply(self, _bare: Bare) -> None:
        busy = [b for b in self._nodes.values() if b.applies]
        if busy:
            self._apply_of(self._rng.choice(busy))

    def _apply_of(self, bare: Bare) -> None:
        bare.apply()
        self._applied = max(self._applied, bare.applied.index)
        self._turn(bare)

    def _leader(self) -> Bare | None:
        """Any that believes it leads."""
        leaders = [b for b in self._nodes.values() if b.node.role is Role.LEADER]
        return self._rng.choice(leaders) if leaders else None

    def _propose(self, _bare: Bare) -> None:
        bare = self._leader()
        if bare is None:
            return
        self._count += 1
        try:
            bare.node.propose(b"%d" % self._count)
        except ProposalDropped:
            return
        self._turn(bare)

    def _read(self, bare: Bare) -> None:
        """Anybody, or who believes that it leads."""
        leader = self._leader()
        self._read_at(leader if leader is not None and self._rng.random() < 0.5 else bare)

    def _read_at(self, bare: Bare) -> None:
        if bare.node.lead == 0:
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
        """Lose what was not on disk yet, and start again; often there is something to lose."""
        busy = [b for b in self._nodes.values() if b.appends]
        if busy and self._rng.random() < 0.5:
            bare = self._rng.choice(busy)
        bare.start()

    def _campaign(self, bare: Bare) -> None:
        if bare.node.role is not Role.LEADER:
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
        if bare is None:
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
        if bare is not None:
            bare.node.transfer_leader(self._rng.choice(list(self._nodes)))
            self._turn(bare)

    def _flush(self, bare: Bare) -> None:
        bare.flush()

    def _compact(self, bare: Bare) -> None:
        if bare.durable.index > bare.log.first_index():
            bare.log.compact(bare.durable.index - self._rng.randrange(2))

    def _part(self, _bare: Bare) -> None:
        """Two halves that do not hear each other, or links that fail one by one."""
        ids, rng = list(self._nodes), self._rng
        if rng.random() < 0.5:
            half = set(rng.sample(ids, rng.randrange(1, len(ids) + 1)))
            self._cut = {(a, b) for a in ids for b in ids if (a in half) != (b in half)}
        else:
            share = rng.choice((0.15, 0.4))
            self._cut = {(a, b) for a in ids for b in ids if rng.random() < share}

    def _heal(self, _bare: Bare) -> None:
        self._cut = set()

    def _image(self, _bare: Bare) -> None:
        """A leader sends a snapshot that it need not send, and perhaps an old one: as one that was
        long under way arrives."""
        bare = self._leader()
        if bare is None or not bare.images:
            return
        snapshot = self._rng.choice(bare.images)
        to = self._rng.choice(sorted(snapshot.conf_state.members))
        if to != bare.id and to in self._nodes:
            self._bag.append(Message(MessageType.SNAP, to=to, from_=bare.id, term=bare.node.term,
                                     snapshot=snapshot))

    def _change(self, _bare: Bare) -> None:
        if (bare := self._leader()) is not None:
            self._change_at(bare)

    def _change_at(self, bare: Bare) -> None:
        try:
            bare.node.propose_entries(
                changes(self._rng, bare.applied.conf_state, tuple(self._nodes), MEMBERS_MAX))
        except ProposalDropped:
            return
        new = max(self._nodes) + 1
        if len(self._nodes) < MEMBERS_MAX:
            self._nodes[new] = Bare(new, self._limits, ())
        self._turn(bare)

    def _halves(self, _bare: Bare) -> None:
        """Members change, and some have not made the change theirs, or do not know that it is
        committed. Then two halves elect, each with whom it has."""
        rng = self._rng
        self._settle()
        leader = self._leader()
        if leader is None:
            return
        voters = leader.applied.conf_state.voters
        behind = set(
            rng.sample(voters, len(voters) // 2 + 1) if rng.random() < 0.5 else
            rng.sample(sorted(self._nodes), rng.randrange(len(self._nodes)))) - {leader.id}
        told = rng.random() < 0.5
        for _ in range(rng.randrange(1, 4)):
            newest = leader.node.raft.log.last_index()

            def wanted(message: Message, newest: int = newest) -> bool:
                return told or message.to not in behind or message.commit <= newest

            self._change_at(leader)
            self._exchange(list(self._nodes.values()), wanted, behind)
            if leader.applied.conf_state.voters_outgoing and rng.random() < 0.8:
                break
        one = behind if rng.random() < 0.5 else set(
            rng.sample(sorted(self._nodes), rng.randrange(len(self._nodes))))
        halves = one, set(self._nodes) - one
        self._cut = {(a, b) for a in self._nodes for b in self._nodes if (a in one) != (b in one)}
        for half in halves:
            nodes = [self._nodes[i] for i in sorted(half)]
            for bare in nodes:
                for _ in range(ELECTION_TICK):
                    self._tick(bare)
            if nodes:
                self._campaign(rng.choice(nodes))
                self._exchange(nodes, idle=behind)

    def _usurp(self, _bare: Bare) -> None:
        """The others elect and go on behind a leader's back; then it is asked to read, and what
        they said to it before arrives."""
        old = self._leader()
        if old is None:
            return
        others = [b for b in self._nodes.values() if b is not old]
        self._read_at(old)
        self._exchange([old, *others], lambda message: message.from_ == old.id)
        held = [message for message in self._bag if message.to == old.id]
        self._bag = []
        for bare in others:
            for _ in range(ELECTION_TICK):
                self._tick(bare)
        for bare in others:
            self._campaign(bare)
            self._exchange(others)
            if bare.node.role is Role.LEADER:
                break
        self._read_at(old)
        self._rng.shuffle(held)
        for message in held:
            self._step(old, message)

    def _settle(self) -> None:
        """Everybody hears everybody, until somebody leads or all that could have tried."""
        self._cut = set()
        nodes = list(self._nodes.values())
        self._exchange(nodes)
        for bare in self._rng.sample(nodes, len(nodes)):
            if self._leader() is not None:
                break
            for other in nodes:
                for _ in range(ELECTION_TICK):
                    self._tick(other)
            self._campaign(bare)
            self._exchange(nodes)

    def _exchange(
        self, nodes: list[Bare], wanted: Callable[[Message], bool] = lambda _message: True,
        idle: set[int] | frozenset[int] = frozenset(),
    ) -> None:
        """Until nothing is left, these get their messages, and what they have to do is done; the
        `idle` apply nothing."""
        ids = {bare.id for bare in nodes}
        for _ in range(EXCHANGES_MAX):
            here = [n for n, m in enumerate(self._bag)
                    if m.to in ids and m.from_ in ids and wanted(m)]
            busy = [bare for bare in nodes
                    if bare.appends or (bare.applies and bare.id not in idle)]
            if here and (not busy or self._rng.random() < 0.7):
                message = self._bag.pop(self._rng.choice(here))
                self._step(self._nodes[message.to], message)
            elif busy:
                bare = self._rng.choice(busy)
                if bare.appends:
                    self._append_of(bare)
                else:
                    self._apply_of(bare)
            else:
                break
