"""Carries out the core's appends: write, sync, report, in order.

Where the sync runs (anchors/performance.md, point 6): inline on the loop while the disk is fast,
in one worker thread while it is not, so that a slow disk never stops heartbeats. `SyncMode`
decides from measured durations. Whatever arrives while a sync is in the thread shares the next.

A failed sync is final (reliability.md S1): nothing after it is reported, the member stops.

Not here: the format (disk/wal.py), what an append means (logkeeper.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from quorate.disk.probe import SyncMode
from quorate.disk.wal import Wal
from quorate.member.effects import AppendWork
from quorate.raft.types import Snapshot
from quorate.wire.prometheus import Histogram

log = logging.getLogger(__name__)

SYNC_S_SLOW = 1.0
"""A sync that takes longer is told (etcd's limit)."""


class Appender:
    """Owner of the WAL. All methods on the loop's thread."""

    def __init__(
        self, wal: Wal, mode: SyncMode, *, done: Callable[[AppendWork], None],
        wake: Callable[[], None], failed: Callable[[BaseException], None],
        install: Callable[[Snapshot], None],
    ) -> None:
        """`install` loads a received snapshot image into the backend."""
        self.wal = wal
        self.mode = mode
        self._done = done
        self._wake = wake
        self._failed = failed
        self._install = install
        self._queue: list[AppendWork] = []
        self._syncing: list[AppendWork] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal-sync")
        self.sync_s = Histogram()
        self.write_s = Histogram()
        self._broken = False
        self.syncing_since: float | None = None
        """When the sync that is under way in the thread began, by the loop's clock."""

    @property
    def busy(self) -> bool:
        """Whether a sync is under way in the thread."""
        return bool(self._syncing)

    def append(self, works: Sequence[AppendWork]) -> None:
        """Write them after everything before, and report each when it is as durable as asked."""
        self._queue += works
        if not self._syncing and not self._broken:
            self._write()

    def close(self) -> None:
        """Wait for the thread and close the log."""
        self._thread.shutdown(wait=True)
        self.wal.close()

    def _write(self) -> None:
        works, self._queue = self._queue, []
        try:
            started = time.perf_counter()
            for work in works:
                self._write_one(work)
            self.write_s.observe(time.perf_counter() - started)
            if not any(work.must_sync for work in works):
                self._report(works)
            elif self.mode.inline:
                self._timed_sync()
                self._report(works)
            else:
                self._syncing, loop = works, asyncio.get_running_loop()
                self.syncing_since = loop.time()
                future = loop.run_in_executor(self._thread, self._timed_sync)
                future.add_done_callback(self._synced)
        except Exception as failure:
            self._fail(failure)

    def _write_one(self, work: AppendWork) -> None:
        snapshot = work.snapshot
        if snapshot is not None:
            self.wal.mark_snapshot(snapshot.index, snapshot.term, snapshot.conf_state)
        self.wal.append(work.hard_state, work.entries)
        if snapshot is not None:
            self.wal.sync()
            self._install(snapshot)

    def _timed_sync(self) -> None:
        started = time.perf_counter()
        self.wal.sync()
        took_s = time.perf_counter() - started
        self.sync_s.observe(took_s)
        if took_s > SYNC_S_SLOW:
            log.warning("a sync of the log took %.1f s; writes wait for it, so look at the disk",
                        took_s, extra={"fields": {"took_s": took_s}})
        switches = self.mode.switches
        self.mode.record(took_s)
        if self.mode.switches != switches:
            where = "on" if self.mode.inline else "off"
            log.info("log syncs run %s the loop from now on; the last one took %.1f ms",
                     where, 1000 * took_s)

    def _synced(self, future: asyncio.Future[None]) -> None:
        works, self._syncing = self._syncing, []
        self.syncing_since = None
        failure = future.exception()
        if failure is not None:
            self._fail(failure)
            return
        self._report(works)
        if self._queue:
            self._write()
        self._wake()

    def _report(self, works: Sequence[AppendWork]) -> None:
        for work in works:
            self._done(work)

    def _fail(self, failure: BaseException) -> None:
        self._broken = True
        self._failed(failure)
