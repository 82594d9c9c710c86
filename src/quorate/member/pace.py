"""When applied state goes to the backend: often while that is cheap, seldom while it is not.

A commit writes a page for every key that changed, and syncs of the log wait behind it at the disk.
In a large store few of the changed keys share a page, so a commit of a tenth of a second's writes
takes longer than that (docs/performance.md). What waits is in the log: waiting loses nothing, and
costs memory and a longer replay, so it has an end in time and in bytes.

Pure. Not here: the commit (runtime.py, disk/lmdb_backend.py).
"""

from __future__ import annotations

COMMIT_S = 0.1
"""How often the driver asks. A commit begins so long after the last one began, at the earliest."""

COMMIT_S_MAX = 1.0
"""The same, at the latest."""

SHARE = 0.1
"""Of the time may be spent on commits, between these two."""

BYTES_MAX = 8 << 20
"""When the log has grown by so much, a commit is due. It also bounds what the space quota, which
looks at the backend, does not see."""


class CommitPace:
    """Of one member."""

    def __init__(self) -> None:
        self._began_at = -COMMIT_S_MAX
        self._began_bytes = 0
        self._wait_s = COMMIT_S

    def due(self, now: float, log_bytes: int) -> bool:
        """Whether to commit at `now` (seconds of any clock that never goes back), when so many
        bytes were ever written to the log."""
        waited_s = now - self._began_at + COMMIT_S / 2  # the nearest time of asking will do
        return waited_s >= self._wait_s or log_bytes - self._began_bytes >= BYTES_MAX

    def began(self, now: float, log_bytes: int) -> None:
        """A commit begins."""
        self._began_at, self._began_bytes = now, log_bytes

    def took(self, seconds: float) -> None:
        """It is durable, so many seconds later."""
        self._wait_s = min(max(seconds / SHARE, COMMIT_S), COMMIT_S_MAX)
