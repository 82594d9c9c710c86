"""Three member cores in one test; messages are carried by hand."""

from __future__ import annotations

from collections import deque

from quorate.disk.memory_backend import MemoryBackend
from quorate.disk.wal import SnapshotMark, WalContents, WalMetadata
from quorate.member.build import build_core, open_log
from quorate.member.core import MemberCore
from quorate.member.effects import AppendWork
from quorate.member.limits import CoreConfig
from quorate.member.requests import RequestIds
from quorate.raft.types import ConfState, HardState, Message
from quorate.state.backend import AppliedPoint
from quorate.state.machine import Machine
from quorate.state.members import Member

IDS = (1, 2, 3)
TICK_S = 0.1


class Trio:
    """Three cores. `cut` members hear and say nothing; `slow` ones do not sync."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cut: set[int] = set()
        self.slow: set[int] = set()
        self.appends: dict[int, deque[AppendWork]] = {i: deque() for i in IDS}
        self.sent: list[Message] = []
        self.cores = {i: self._core(i) for i in IDS}

    def _core(self, member_id: int) -> MemberCore:
        backend = MemoryBackend()
        machine = Machine(backend)
        for i in IDS:
            machine.members.add(Member(i, f"m{i}", (f"http://m{i}",)))
        point = AppliedPoint(1, 1, ConfState(IDS))
        backend.advance(point)
        contents = WalContents(
            WalMetadata(9, member_id), HardState(1, 0, 1), SnapshotMark(*point), (), None)
        return build_core(
            CoreConfig(9, member_id), open_log(contents, point), backend,
            RequestIds(member_id, 1), lambda ticks: ticks + member_id, self.now,
            durable=lambda: backend.applied)

    def settle(self) -> None:
        """Carry messages and sync until nothing moves."""
        busy = True
        while busy:
            busy = False
            for i, core in self.cores.items():
                while effects := core.drain(self.now):
                    busy = True
                    self.appends[i].extend(effects.appends)
                    for message in effects.messages:
                        self._carry(message)
                    while self.appends[i] and i not in self.slow:
                        core.append_done(self.appends[i].popleft())
                    for waiter, outcome in effects.replies:
                        waiter(outcome)

    def _carry(self, message: Message) -> None:
        self.sent.append(message)
        if not {message.from_, message.to} & self.cut and message.to in self.cores:
            self.cores[message.to].receive(message, self.now)

    def tick(self, count: int = 1) -> None:
        """Time passes for all."""
        for _ in range(count):
            self.now += TICK_S
            for core in self.cores.values():
                core.tick(self.now)
            self.settle()

    def elect(self, member_id: int = 1) -> MemberCore:
        """Make that member leader."""
        self.cores[member_id].node.campaign()
        self.settle()
        assert self.cores[member_id].leads_with_authority
        return self.cores[member_id]
