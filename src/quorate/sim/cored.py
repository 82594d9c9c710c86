"""A member core with a log and a state in memory, of which a crash takes what was not on disk.

Starts as member/build.py does it. A watcher of its own is told everything that ever happens there.
Not here: what happens when (corechaos.py).
"""

from __future__ import annotations

import random
from collections import deque
from typing import Protocol

from quorate.disk.memory_backend import MemoryBackend
from quorate.member.build import build_core, lift_commit
from quorate.member.core import MemberCore
from quorate.member.effects import AppendWork
from quorate.member.limits import CoreConfig
from quorate.member.requests import RequestIds
from quorate.member.service import WatchSink
from quorate.member.serving import MemberService
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.types import ConfState, HardState, Snapshot
from quorate.state.backend import AppliedPoint
from quorate.state.errors import Refused
from quorate.wire._generated import rpc_pb2 as rpc

TICK_S = 0.1
ELECTION_S = 0.4
REQUEST_BYTES_MAX = 1 << 20


class Surroundings(Protocol):
    """The schedule: its dice, its clock, and who wants to know what a watcher was told."""

    rng: random.Random
    now: float

    def happened(self, revision: int, value: bytes) -> None: ...


class Cored:
    """A member: its core, and what survives a crash of it."""

    def __init__(self, member_id: int, founders: tuple[int, ...], chaos: Surroundings) -> None:
        self.id = member_id
        self.log = self.stable = MemoryStorage()
        self.backend = MemoryBackend()
        self.works: deque[AppendWork] = deque()
        self.life = self.told_term = 0
        self._chaos = chaos
        conf_state = ConfState(founders)
        self.log.apply_snapshot(Snapshot(1, 1, conf_state))
        self.log.set_hard_state(HardState(1, 0, 1))
        self.backend.advance(AppliedPoint(1, 1, conf_state))
        self.backend.commit()
        self.start()

    @property
    def node(self) -> Node:
        """Its Raft node."""
        return self.core.node

    @property
    def applied(self) -> AppliedPoint:
        """How far the state is, and the configuration there."""
        return self.backend.applied

    def start(self) -> None:
        """As after a crash: what was not on disk is lost."""
        chaos = self._chaos
        self.life += 1
        self.works.clear()
        self.backend.crash()
        lift_commit(self.log, self.backend.applied.index)
        self.core: MemberCore = build_core(
            CoreConfig(1, self.id, TICK_S, ELECTION_S), self.log, self.backend,
            RequestIds(self.id, self.life), lambda ticks: chaos.rng.randrange(ticks, 2 * ticks),
            chaos.now, durable=lambda: self.backend.durable)
        self.service = MemberService(
            self.core, lambda: None, version="chaos", request_bytes_max=REQUEST_BYTES_MAX)
        watch = self.service.watch(_Watcher(chaos))
        watch.request(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=1)))


class _Watcher(WatchSink):
    """See `WatchSink`: everything that ever happens at a member."""

    def __init__(self, chaos: Surroundings) -> None:
        self._chaos = chaos

    def send(self, response: rpc.WatchResponse) -> None:
        """See `WatchSink`."""
        for event in response.events:
            self._chaos.happened(event.kv.mod_revision, event.kv.value)

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        return 0

    def end(self, _reason: Refused | None) -> None:
        """See `WatchSink`."""
