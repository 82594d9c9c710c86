"""Carries out a simulated member's appends in order, as member/appender.py does a real one's, with
syncs that take simulated time.

Invariant, checked here: a storage step never changes the visible log (lesson L20).
Not here: the disk (simdisk.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.member.effects import AppendWork
from quorate.raft.log import NO_LIMIT
from quorate.raft.types import InvariantBroken

if TYPE_CHECKING:
    from quorate.sim.member import SimMember, Surroundings

TAIL = 6
"""Entries at the end of the log that no storage step may change."""


class Appends:
    """Appends that wait, and those whose sync is under way."""

    def __init__(self, member: SimMember, around: Surroundings) -> None:
        self._member = member
        self._around = around
        self.syncing: list[AppendWork] = []
        self._queue: list[AppendWork] = []

    def forget(self) -> None:
        """The member is gone."""
        self.syncing, self._queue = [], []

    def add(self, works: list[AppendWork]) -> None:
        """Write them after everything before."""
        self._queue += works
        if not self.syncing:
            self._write()

    def _write(self) -> None:
        works, self._queue = self._queue, []
        disk = self._member.disk
        for work in works:
            if work.snapshot is not None:
                snapshot = work.snapshot
                disk.wal.mark_snapshot(snapshot.index, snapshot.term, snapshot.conf_state)
            disk.wal.append(work.hard_state, work.entries)
        self.syncing = works
        life = self._member.life
        if any(work.must_sync for work in works):
            plan = self._around.plan
            self._around.clock.after(
                disk.sync_s(plan.sync_s, plan.election_s), lambda: self._due(life))
        else:
            self._report()

    def _due(self, life: int) -> None:
        member = self._member
        if life != member.life or not member.up:
            return
        if member.disk.hung:
            self._around.clock.after(
                self._around.plan.election_s / 10, lambda: self._due(life))
        else:
            member.post(lambda: self._sync(life))

    def _sync(self, life: int) -> None:
        if life == self._member.life and self._member.up:
            self._member.disk.wal.sync()
            self._report()
            self._member.turn()

    def _report(self) -> None:
        works, self.syncing = self.syncing, []
        core = self._member.core
        assert core is not None
        for work in works:
            if work.snapshot is not None:
                self._member.disk.install(work.snapshot)
                self._member.remembers_since = self._around.clock.now
            log = core.node.raft.log
            first = max(log.first_index(), log.last_index() - TAIL)
            before = log.entries(first, NO_LIMIT)
            core.append_done(work)
            if log.entries(first, NO_LIMIT)[:len(before)] != before:
                raise InvariantBroken(
                    f"a storage step changed the log of {self._member.id}, which was {before}")
        if self._queue:
            self._write()
