"""What a v2 watch owes: told is what happened, in order, once, and nothing is left out.

Judged are files. Exactly once: every put of another value than before, and a deletion that is all
of its revision. At most once: a put of the same value, which may be a refresh, and other
deletions, many of which one of a directory may tell.

Not here: v3's watches (watches.py), which actions are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from quorate.check.keyvalue import Change
from quorate.check.revisions import EventLog
from quorate.check.v2 import MARKER, ancestors, is_path


class Told(NamedTuple):
    """One event. `value` is None for a deletion, or of a directory."""

    at: int
    path: bytes
    value: bytes | None


@dataclass(slots=True)
class V2Watched:
    """One stream from its beginning at index `since` to its end; `complete` is up to which index it
    must have told everything."""

    client: str
    path: bytes
    recursive: bool
    since: int
    told: list[Told] = field(default_factory=list)
    complete: int = 0

    def wants(self, path: bytes) -> bool:
        """Whether an event of that path is for it."""
        below = b"/" if self.path == b"/" else self.path + b"/"
        return path == self.path or (
            self.recursive and path.startswith(below)
            and b"/_" not in b"/" + path[len(below):])


def judge_v2_watch(session: V2Watched, log: EventLog) -> list[str]:
    """What is wrong, in sentences."""
    told = Counter(session.told)
    name = f"v2 watch of {session.path!r} from {session.since} by {session.client}"
    wrong = [f"{name} was told {event} {count} times" for event, count in told.items() if count > 1]
    indexes = [event.at for event in session.told]
    if indexes != sorted(indexes) or (indexes and indexes[0] < session.since):
        wrong.append(f"{name} was told out of order: {indexes}")
    values: dict[bytes, bytes] = {}
    happened: set[Told] = set()
    for revision, changes in log:
        if revision >= session.since:
            happened.update(_possible(revision, changes))
            if revision <= session.complete:
                wrong += [f"{name} was not told {event}"
                          for event in _owed(session, revision, changes, values) if not told[event]]
        values |= {key: b"" if kv is None else kv.value for key, kv in changes}
    return wrong + [f"{name} was told {event}, which did not happen"
                    for event in told if event not in happened]


def _possible(revision: int, changes: list[Change]) -> Iterator[Told]:
    """What may be told: files, directories that were written or deleted, and those that went away
    with what was in them."""
    for key, kv in changes:
        path = key.removeprefix(MARKER)
        if key == path:
            yield Told(revision, path, None if kv is None else kv.value)
        else:
            yield Told(revision, path, None)
        if kv is None:
            for above in ancestors(path):
                yield Told(revision, above, None)


def _owed(
    session: V2Watched, revision: int, changes: list[Change], values: dict[bytes, bytes]
) -> Iterator[Told]:
    """What must be told. No value is empty."""
    for key, kv in changes:
        if not is_path(key) or not session.wants(key):
            continue
        if kv is not None and kv.value != values.get(key):
            yield Told(revision, key, kv.value)
        elif kv is None and len(changes) == 1:
            yield Told(revision, key, None)
