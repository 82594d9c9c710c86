"""A bare Raft node: the core over a disk in memory, with appends and applications that are done
when somebody says so.

Starts and recovers as member/build.py does it. Invariants, checked here: a storage step never
changes the visible log; entries are applied one after the other.

Not here: what happens when (chaos.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from quorate.member.build import lift_commit
from quorate.raft.confchange import decode_conf_change
from quorate.raft.errors import RaftError
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import (
    ConfState, EntryType, HardState, InFlightLimits, InvariantBroken, Message, Snapshot,
)

ELECTION_TICK = 4
IMAGES_MAX = 4
TAIL = 5
"""Entries at the end of the log that no storage step may change."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How far the state is, and the configuration there."""

    index: int
    conf_state: ConfState


@dataclass(frozen=True, slots=True)
class Limits:
    """The same for all nodes of a schedule; `random_timeout` as Raft wants it."""

    message_bytes: int
    in_flight: int
    random_timeout: Callable[[int], int]


class Bare:
    """One node. `log` is its disk: it changes when an append is done."""

    def __init__(self, node_id: int, limits: Limits, founders: tuple[int, ...]) -> None:
        """Without founders it waits to be told by a leader."""
        self.id = node_id
        self.log = MemoryStorage()
        self.life = 0
        self.appends: deque[Message] = deque()
        self.applies: deque[Message] = deque()
        self.applied = Applied(1 if founders else 0, ConfState(founders))
        self.durable = self.applied
        """What is applied and survives a crash."""
        self.images: deque[Snapshot] = deque(maxlen=IMAGES_MAX)
        """Snapshots of its state, the oldest first."""
        if founders:
            self.log.apply_snapshot(Snapshot(1, 1, self.applied.conf_state))
            self.log.set_hard_state(HardState(1, 0, 1))
        self._limits = limits
        self.start()

    @property
    def stable(self) -> MemoryStorage:
        """See invariants.Observed."""
        return self.log

    def start(self) -> None:
        """From its disk; what was not there is lost."""
        self.life += 1
        self.appends.clear()
        self.applies.clear()
        self.applied = self.durable
        lift_commit(self.log, self.applied.index)
        self.log.start_with(self.applied.conf_state)
        self.log.snapshot_source = lambda: Snapshot(
            self.applied.index, self.log.term(self.applied.index), self.applied.conf_state)
        self.node = Node(NodeConfig(
            id=self.id, storage=self.log, applied=self.applied.index, election_tick=ELECTION_TICK,
            heartbeat_tick=1, check_quorum=True, pre_vote=True, step_down_on_removal=True,
            max_bytes_per_message=self._limits.message_bytes,
            in_flight=InFlightLimits(self._limits.in_flight), disable_proposal_forwarding=True,
            random_timeout=self._limits.random_timeout))

    def flush(self) -> None:
        """What is applied survives a crash from now on, and can be sent."""
        if self.applied != self.durable:
            self.durable = self.applied
            self.images.append(self.log.snapshot())

    def step(self, message: Message) -> None:
        """A message that Raft refuses, as from who is no member any more, changes nothing."""
        with suppress(RaftError):
            self.node.step(message)

    def append(self, send: Callable[[Message], None]) -> None:
        """The oldest append is on disk; `send` takes what was waiting for it."""
        work, log = self.appends.popleft(), self.log
        if work.term:
            log.set_hard_state(HardState(work.term, work.vote, work.commit))
        if work.snapshot is not None:
            log.apply_snapshot(work.snapshot)
            self.applied = self.durable = Applied(
                work.snapshot.index, work.snapshot.conf_state)
        log.append(work.entries)
        visible = self.node.raft.log
        last = visible.last_index()
        before = [(i, visible.term(i))
                  for i in range(max(visible.first_index(), last - TAIL), last + 1)]
        for response in work.responses:
            if response.to == self.id:
                self.step(response)
            else:
                send(response)
        if not all(visible.matches(term, i) for i, term in before):
            raise InvariantBroken(f"a storage step changed the log of {self.id}")

    def apply(self) -> None:
        """The oldest application is done."""
        work = self.applies.popleft()
        for entry in work.entries:
            if entry.index <= self.applied.index:
                continue  # a snapshot came in between
            if entry.index != self.applied.index + 1:
                raise InvariantBroken(
                    f"{self.id} applies {entry.index} after {self.applied.index}")
            conf_state = self.applied.conf_state
            if entry.type is not EntryType.NORMAL:
                conf_state = self.node.apply_conf_change(
                    decode_conf_change(entry.type, entry.data))
            self.applied = Applied(entry.index, conf_state)
        for response in work.responses:
            self.step(response)
