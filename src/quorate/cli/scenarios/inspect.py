"""Invariants of a node that scenario outputs do not show (anchors/raft.md §1.8, mode B).

Looked at from outside, after every directive: unstable and stable log agree where they meet,
commit and applied are within the log, progress is sane, stable term and vote never go back, the
configuration is well formed, and storage work never changes the log that the node sees.

Not here: running anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quorate.raft.log import NO_LIMIT
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.types import Entry, HardState, Role


class Inspector:
    """Remembers what must not go back."""

    def __init__(self) -> None:
        self._states: dict[int, HardState] = {}
        self._committed: dict[int, Entry] = {}
        self._leaders: dict[int, int] = {}
        self._changed: list[str] = []

    def violations(self, node: Node, storage: MemoryStorage) -> list[str]:
        """Everything that is wrong with this node."""
        raft, log = node.raft, node.raft.log
        found = []
        if not log.applied <= log.applying <= log.committed <= log.last_index():
            found.append(f"applied {log.applied}, applying {log.applying}, committed "
                         f"{log.committed}, last {log.last_index()} are out of order")
        if not log.offset <= log.offset_in_progress <= log.last_index() + 1:
            found.append("handed-out entries are outside the unstable tail")
        if log.snapshot is None and log.offset > storage.last_index() + 1:
            found.append(f"gap between stable {storage.last_index()} and unstable {log.offset}")
        for node_id, progress in raft.tracker.progress.items():
            if progress.match >= progress.next and raft.role is Role.LEADER:
                found.append(f"match {progress.match} of {node_id} is not below "
                             f"next {progress.next}")
        config = raft.tracker.config
        if config.voters & config.learners or config.learners_next - config.outgoing:
            found.append("the configuration has a member in two roles")
        found += self._stable_state(node, storage)
        found += self._agreement(node)
        if raft.role is Role.LEADER and self._leaders.setdefault(raft.term, raft.id) != raft.id:
            found.append(f"second leader of term {raft.term}")
        return found

    def _stable_state(self, node: Node, storage: MemoryStorage) -> list[str]:
        old, (new, _) = self._states.get(node.id, HardState()), storage.initial_state()
        self._states[node.id] = new
        if new.term < old.term or new.commit < old.commit:
            return [f"stable state went back from {old} to {new}"]
        if new.term == old.term and old.vote not in (0, new.vote):
            return [f"vote of term {new.term} changed from {old.vote} to {new.vote}"]
        return []

    def _agreement(self, node: Node) -> list[str]:
        """Committed entries are the same everywhere."""
        log = node.raft.log
        for index in range(log.first_index(), log.committed + 1):
            entry = log.slice(index, index + 1, 1)[0]
            if self._committed.setdefault(index, entry) != entry:
                return [f"committed entry {index} differs from another node's"]
        return []

    @contextmanager
    def same_log(self, node: Node) -> Iterator[None]:
        """What happens inside may make entries stable, never change what the node sees."""
        before = _visible(node)
        yield
        after = _visible(node)
        if after != before:
            self._changed.append(f"node {node.id}: storage work changed the log that the node "
                                 f"sees from {before} to {after}")

    def take_changed(self) -> list[str]:
        """Violations of `same_log` since the last call."""
        changed, self._changed = self._changed, []
        return changed


def _visible(node: Node) -> tuple[Entry, ...]:
    log = node.raft.log
    return log.slice(log.first_index(), log.last_index() + 1, NO_LIMIT)
