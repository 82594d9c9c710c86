"""The synchronous form: one Ready at a time, carried out whole, then `advance`.

A wrapper over `node.Node` with `async_storage=False`: what asynchronous storage would report back
message by message is kept and stepped by `advance`, own acknowledgements first, then the stable
append, then the applied entries. Scenario files are mostly written for this form.

Not here: anything a member uses.
"""

from __future__ import annotations

from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import Message, Ready


class SyncNode(Node):
    """Ready and advance in turns."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._steps: list[Message] = []

    def ready(self) -> Ready:
        """What to do now. Messages may leave when entries and hard state are stable."""
        after = self.raft.messages_after_append
        ready = self._build()
        messages = (*self.raft.messages, *(m for m in after if m.to != self.id))
        self._steps = [m for m in after if m.to == self.id]
        stored = self.stored_message(ready.snapshot)
        if stored is not None:
            self._steps.append(stored)
        if ready.committed_entries:
            self._steps.append(self.applied_message(ready.committed_entries))
        self.accept(ready)
        ready.messages = messages
        return ready

    def advance(self) -> None:
        """The last Ready was carried out."""
        steps, self._steps = self._steps, []
        for message in steps:
            self.raft.step(message)
