"""Watch guarantees: what one client was given against what happened.

The rules are those that etcd publishes and its robustness tests check (reliability.md §1.2):
filter, ordered, unique, atomic, reliable, bookmarkable, resumable, previous value, is-create. One
watch is judged in one pass over its responses, with the wanted events of the log beside it; the
log is indexed once for all watches.

Not here: whether the log itself is right (revisions.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from quorate.check.keyvalue import Change, within
from quorate.check.revisions import EventLog
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

NOPUT, NODELETE = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One watch as one client saw it: responses of its id, in the order of arrival."""

    client: Hashable
    request: rpc.WatchCreateRequest
    responses: Sequence[rpc.WatchResponse]


class EventIndex:
    """The event log, with the value that each change replaced."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.revisions = [revision for revision, _ in log]
        self._previous: dict[tuple[int, bytes], kv_pb2.KeyValue | None] = {}
        now: dict[bytes, kv_pb2.KeyValue | None] = {}
        for revision, changes in log:
            for key, _ in changes:
                self._previous[revision, key] = now.get(key)
            now.update(changes)

    @property
    def newest(self) -> int:
        """The last revision, 1 if nothing happened."""
        return self.revisions[-1] if self.revisions else 1

    def previous(self, revision: int, key: bytes) -> kv_pb2.KeyValue | None:
        """The key's value before that revision."""
        return self._previous.get((revision, key))

    def wanted(
        self, request: rpc.WatchCreateRequest, first: int, last: int
    ) -> list[tuple[int, list[Change]]]:
        """What a watch must be given of the revisions from `first` to `last`."""
        out = []
        for revision, changes in self.log[bisect_left(self.revisions, first):]:
            if revision > last:
                break
            mine = [c for c in changes if _wants(request, c)]
            if mine:
                out.append((revision, mine))
        return out


def judge_watch(watched: Watched, index: EventIndex, *, compacted: int = 0) -> list[str]:
    """What is wrong, in sentences; empty if nothing is. Previous values at or below `compacted`
    may be missing."""
    return [f"a watch of {watched.request.key!r} by {watched.client}, from revision "
            f"{watched.request.start_revision}, {text}"
            for text in _Judge(watched, index, compacted).run()]


def judge_resumption(sessions: Sequence[Watched], index: EventIndex) -> list[str]:
    """Consecutive watches of one client, each from after what the one before was given: together
    they were given everything up to the last event, and nothing twice."""
    wrong, at, given = [], 0, 0
    for session in sessions:
        start = _first(session)
        if at and index.wanted(session.request, at, start - 1):
            wrong.append(f"{session.client} resumed at {start}, after it was given what is below "
                         f"{at}")
        if 0 < start <= given:
            wrong.append(f"{session.client} resumed at {start}, though it was given {given}")
        for response in session.responses:
            if response.events:  # a revision whose fragments are not all there is still to be given
                given = max(given, response.events[-1].kv.mod_revision - response.fragment)
        gone = max((r.compact_revision for r in session.responses), default=0)
        at = max(at, start, gone, given + 1 if given else 0)
    return wrong


def _first(watched: Watched) -> int:
    """The first revision that it must be given; 0 if nobody knows."""
    if watched.request.start_revision:
        return watched.request.start_revision
    return next((r.header.revision + 1 for r in watched.responses if r.created), 0)


class _Judge:
    def __init__(self, watched: Watched, index: EventIndex, compacted: int) -> None:
        self._request = watched.request
        self._start = _first(watched)
        self._responses = watched.responses
        self._index = index
        self._compacted = compacted
        self._given: list[tuple[int, list[Change]]] = []
        self._bookmark = 0
        self._complete_to = 0
        """What was given and wanted up to this revision has been compared."""
        self._compared = 0
        """So many of those given."""
        self._open = False
        """Whether the last response was a fragment, so that its revision may go on."""
        self._wrong: list[str] = []

    def run(self) -> list[str]:
        start, over = self._start, False
        for response in self._responses:
            if over:
                self._wrong.append("was sent something after it was canceled")
            over |= response.canceled
            if response.canceled:
                self._canceled(response, start)
            elif response.events:
                self._events(response, start)
            elif not response.created:
                self._bookmark = max(self._bookmark, response.header.revision)
                self._complete(start, response.header.revision)
        last = self._given[-1][0] - 1 if self._open else self._given[-1][0] if self._given else 0
        self._complete(start, max(last, self._bookmark))
        if self._open:
            self._begun(*self._given[-1])
        return self._wrong

    def _canceled(self, response: rpc.WatchResponse, start: int) -> None:
        """Only because what it would have to be given next is compacted."""
        asked = response.compact_revision
        given = self._given[-1][0] + (not self._open) if self._given else 0
        next_ = max(given, start, self._bookmark + 1)
        if asked and asked > self._compacted:
            self._wrong.append(f"was canceled because {asked} is compacted, which nobody asked for")
        if asked and next_ >= asked:
            self._wrong.append(f"was canceled because {asked} is compacted, but was to go on "
                               f"from {next_}")

    def _events(self, response: rpc.WatchResponse, start: int) -> None:
        for position, event in enumerate(response.events):
            revision = event.kv.mod_revision
            change = Change(
                event.kv.key, None if event.type == kv_pb2.Event.DELETE else event.kv)
            last = self._given[-1][0] if self._given else 0
            joined = revision == last and (position > 0 or self._open)
            if revision < max(start, self._bookmark + 1):
                self._wrong.append(f"was given revision {revision}, which is not new: it starts "
                                   f"at {start} and was told of {self._bookmark}")
            elif revision < last or (revision == last and not joined):
                self._wrong.append(f"was given revision {revision} after {last}")
            elif revision > response.header.revision:
                self._wrong.append(f"was given revision {revision} under a header of "
                                   f"{response.header.revision}")
            if joined:
                self._given[-1][1].append(change)
            else:
                self._given.append((revision, [change]))
            self._previous_value(event, revision)
            self._creation(event, revision)
        self._open = response.fragment and self._request.fragment

    def _previous_value(self, event: kv_pb2.Event, revision: int) -> None:
        before = self._index.previous(revision, event.kv.key)
        given = event.prev_kv if event.HasField("prev_kv") else None
        if not self._request.prev_kv:
            if given is not None:
                self._wrong.append(f"was given a previous value at {revision} unasked")
        elif given is None:
            # Compaction keeps the newest value at its revision, unless it was superseded there.
            if before is not None and revision > self._compacted:
                self._wrong.append(f"was given no previous value of {event.kv.key!r} at "
                                   f"{revision}; it was {before.value!r}")
        elif given != before:
            self._wrong.append(f"was given {given.value!r} as the value of {event.kv.key!r} "
                               f"before {revision}")

    def _creation(self, event: kv_pb2.Event, revision: int) -> None:
        if event.type == kv_pb2.Event.DELETE:
            return
        new = self._index.previous(revision, event.kv.key) is None
        if (event.kv.create_revision == revision) != new or (event.kv.version == 1) != new:
            self._wrong.append(f"was told that {event.kv.key!r} is "
                               f"{'not ' if new else ''}new at {revision}")

    def _complete(self, start: int, last: int) -> None:
        """Everything wanted up to `last`, as it happened, and nothing else."""
        if last <= self._complete_to:
            return
        given = [pair for pair in self._given[self._compared:] if pair[0] <= last]
        wanted = self._index.wanted(self._request, max(start, self._complete_to + 1), last)
        self._complete_to, self._compared = last, self._compared + len(given)
        if given != wanted and not self._wrong:
            missing = [revision for revision, _ in wanted if revision not in dict(given)]
            more = [revision for revision, _ in given if revision not in dict(wanted)]
            differ = [revision for revision, changes in given
                      if dict(wanted).get(revision, changes) != changes]
            self._wrong.append(f"was given up to {last} without {missing}, with {more} that it "
                               f"did not want, and with {differ} other than they happened")

    def _begun(self, revision: int, changes: list[Change]) -> None:
        """What was given of a revision whose other fragments are to come."""
        wanted = dict(self._index.wanted(self._request, revision, revision)).get(revision, [])
        if changes != wanted[:len(changes)] and not self._wrong:
            self._wrong.append(f"was given the beginning of {revision} other than it happened")


def _wants(request: rpc.WatchCreateRequest, change: Change) -> bool:
    unwanted = NODELETE if change.kv is None else NOPUT
    return unwanted not in request.filters and within(
        change.key, request.key or b"\0", request.range_end)
