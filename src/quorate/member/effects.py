"""What a member core asks its driver to do.

The core (core.py) is a pure step function: events in, one `Effects` out. The driver, be it the
asyncio runtime or the simulator, must carry the parts out in this order (docs/durability.md):
`messages` may leave at once; `appends` are written and synced in list order and reported with
`MemberCore.append_done`; `replies` are called last, on the core's thread.

Not here: how any of it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quorate.raft.types import Entry, HardState, Message, Snapshot

Waiter = Callable[[Any], None]
Reply = tuple[Waiter, object]
"""A waiter and its outcome. What the outcome is, is between the waiter and whoever took it."""


@dataclass(slots=True, eq=False)
class AppendWork:
    """One STORAGE_APPEND: write these in this order, sync if `must_sync`, then report.

    `responses` are the core's own business: they are stepped or sent by `append_done`.
    """

    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    must_sync: bool
    responses: tuple[Message, ...]
    asked_at: float


class Effects:
    """One turn's worth of work for the driver. Not a dataclass: one is made for every turn, and
    default factories take three times as long as plain lists."""

    __slots__ = ("appends", "members_changed", "messages", "replies")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.appends: list[AppendWork] = []
        self.replies: list[Reply] = []
        self.members_changed = False
        """The driver talks to other members from now on; this one may have been removed."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.appends or self.replies or self.members_changed)

    @property
    def go_on(self) -> bool:
        """Whether the driver drains again in this turn: storage work that is done at once reports
        to the core, and nothing else would wake the driver."""
        return bool(self.appends) and any(work.responses for work in self.appends)
