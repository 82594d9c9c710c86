"""The revision-order judge: is a recorded v3 history strictly serializable in revision order?

etcd tells every client at which revision it was served, so the order need not be searched: it is
given, and only has to be confirmed. One pass over the revisions, with the state rebuilt from the
event log that a watch delivered:

- Revisions have no gap, and each is the effect of exactly one cause: a write that was acknowledged
  at it, else a write of unknown outcome (each at most once), else the end of a lease, which takes
  all keys of that lease at once.
- Every answer, to the last field, is what the model answers at that revision.
- Real time: a call never has a smaller revision than one that ended before it began; a write
  has a larger one.

Near linear in the number of calls. Exact where causes are unambiguous, which workloads that write
unique values ensure.

Not here: the semantics of requests (keyvalue.py), watches other than the one that gave the event
log, leases' times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from quorate.check import keyvalue, v2
from quorate.check.keyvalue import Change, Impossible, State, is_serializable
from quorate.check.linearizability import NEVER
from quorate.wire._generated.v2_pb2 import V2Response

Question = keyvalue.Question | v2.Request
Answer = keyvalue.Answer | V2Response


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request of one client. `response` is None and `returned` NEVER when nobody knows what
    became of it. Calls that were refused for sure are not part of a history."""

    client: Hashable
    invoked: float
    returned: float
    request: Question
    response: Answer | None

    @property
    def revision(self) -> int:
        """At which revision it was served; 0 if unknown."""
        return self.response.header.revision if self.response is not None else 0


EventLog = Sequence[tuple[int, list[Change]]]
"""Revisions in the order in which a watch from revision 2 delivered them."""


def judge_revisions(calls: Iterable[Call], log: EventLog) -> list[str]:
    """What is wrong, in sentences; empty if nothing is."""
    return _Judge(list(calls), log).run()


class _Judge:
    def __init__(self, calls: list[Call], log: EventLog) -> None:
        self._log = log
        self._floor = _floors(calls)
        self._unknown = [c for c in sorted(calls, key=lambda c: c.invoked) if c.response is None]
        self._at: dict[int, list[Call]] = defaultdict(list)
        for call in calls:
            if call.response is not None:
                self._at[call.revision].append(call)
        self._wrong: list[str] = []

    def run(self) -> list[str]:
        state = State()
        self._reads(state, None)
        for revision, changes in self._log:
            if revision != state.revision + 1:
                self._wrong.append(f"revision {revision} follows {state.revision} in the events")
                return self._wrong
            writer = self._writer(state, revision, changes)
            state.advance(changes)
            if writer is not None and writer.response is not None:
                v2.learn(state, writer.request)
            self._reads(state, writer)
        late = [revision for revision in self._at if revision > state.revision]
        self._wrong += [f"{_name(call)} was served at a revision that no event has"
                        for revision in sorted(late) for call in self._at[revision]]
        return self._wrong

    def _writer(self, state: State, revision: int, changes: list[Change]) -> Call | None:
        """The write at this revision; says so if nothing explains the events."""
        fitting = [call for call in self._at[revision]
                   if not is_serializable(call.request) and _fits(state, call, changes)]
        if len(fitting) > 1:
            self._wrong.append(f"revision {revision} was acknowledged to {len(fitting)} writes: "
                               f"{', '.join(_name(call) for call in fitting)}")
        if fitting:
            for call in fitting:
                if self._floor[call] >= revision:
                    self._too_old(call, "not larger than")
            return fitting[0]
        if _is_end_of_lease(state, changes):
            return None  # before any delete of unknown outcome, which need not have happened
        for call in self._unknown:
            if self._floor[call] < revision and _same(_effects(state, call), changes):
                self._unknown.remove(call)
                return call
        self._wrong.append(f"nothing explains revision {revision}: {_describe(changes)}")
        return None

    def _reads(self, state: State, writer: Call | None) -> None:
        """Everything else at this revision changed nothing and must show this very state."""
        for call in self._at[state.revision]:
            if call is writer or call.response is None:
                continue
            try:
                answer, changes = _execute(state, call.request)
            except Impossible as why:
                self._wrong.append(f"{_name(call)} was answered, although {why}")
                continue
            if changes:
                self._wrong.append(f"{_name(call)} was acknowledged, but is not what "
                                   f"happened at its revision")
            elif not _equal(state, answer, call.response):
                self._wrong.append(f"{_name(call)} was answered {_text(call.response)}; at its "
                                   f"revision the answer is {_text(answer)}")
            if not is_serializable(call.request) and self._floor[call] > state.revision:
                self._too_old(call, "smaller than")

    def _too_old(self, call: Call, relation: str) -> None:
        self._wrong.append(f"{_name(call)} has a revision {relation} {self._floor[call]}, which "
                           f"had been answered before it began")


def _floors(calls: list[Call]) -> dict[Call, int]:
    """For each call the largest revision that had been answered before it began."""
    moments = sorted(
        [(call.invoked, 0, n) for n, call in enumerate(calls)]
        + [(call.returned, 1, n) for n, call in enumerate(calls) if call.returned != NEVER])
    floors: dict[Call, int] = {}
    floor = 0
    for _, ended, n in moments:
        if ended:
            floor = max(floor, calls[n].revision)
        else:
            floors[calls[n]] = floor
    return floors


def _fits(state: State, call: Call, changes: list[Change]) -> bool:
    try:
        answer, effects = _execute(state, call.request)
    except Impossible:
        return False
    return bool(effects) and _same(effects, changes) and call.response is not None and _equal(
        state, answer, call.response)


def _effects(state: State, call: Call) -> list[Change]:
    try:
        return _execute(state, call.request)[1]
    except Impossible:
        return []


def _same(one: list[Change], other: list[Change]) -> bool:
    return sorted(one, key=lambda c: c.key) == sorted(other, key=lambda c: c.key)


def _execute(state: State, request: Question) -> tuple[Answer, list[Change]]:
    if isinstance(request, v2.Request):
        return v2.execute(state, request)
    return keyvalue.execute(state, request)


def _equal(state: State, model: Answer, told: Answer) -> bool:
    """Equal but for the header, which the model does not know; those of the parts of a
    transaction it does."""
    model.header.CopyFrom(told.header)
    if isinstance(model, V2Response) and isinstance(told, V2Response):
        return v2.blurred(model, state) == v2.blurred(told, state)
    return model == told


def _is_end_of_lease(state: State, changes: list[Change]) -> bool:
    """Whether these are all keys that end with one lease, deleted together."""
    keys = {key for key, kv in changes if kv is None and key in state.kvs}
    return len(keys) == len(changes) and any(
        lease and v2.ends_with(state.kvs, lease) == keys
        for lease in {state.kvs[key].lease for key in keys})


def _name(call: Call) -> str:
    served = f" at revision {call.revision}" if call.response is not None else ""
    return (f"{type(call.request).__name__} {_text(call.request)} of {call.client}, "
            f"{call.invoked:.3f}–{call.returned:.3f} s{served}")


def _describe(changes: list[Change]) -> str:
    return ", ".join(f"{key!r} = {kv.value!r}" if kv is not None else f"{key!r} deleted"
                     for key, kv in changes)


def _text(message: Question | Answer) -> str:
    return "{" + " ".join(str(message).split()) + "}"


__all__ = ["Call", "Change", "EventLog", "judge_revisions"]
