"""The search judge: is a recorded concurrent history linearizable under a model?

Wing and Gong's search with Lowe's cache ("Testing for linearizability", 2017): take any operation
that began before every open one ended, ask the model whether its answer is possible, go on; undo
when stuck; never visit the same (set of operations taken, state) twice. A history that splits
into independent parts, such as keys, is judged part by part (Herlihy and Wing: linearizability is
local), which turns one exponential search into many small ones. Two cuts keep what is left small:
an operation that changes nothing is taken for good as soon as its answer fits, since any order
that has it later may have it now; one of unknown outcome is taken only where it changes something.

Invariants: the verdict depends on the history alone, not on hash seeds; an operation whose outcome
nobody knows may take effect at any moment after it began, or never.

Not here: what operations mean (registers.py), how histories are written down (recorded.py),
histories whose answers carry revisions (revisions.py), which need no search.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")
State = TypeVar("State", bound=Hashable)

NEVER = math.inf
"""`returned` of an operation whose outcome is unknown."""

TRIES_PER_TURN = 2000
"""How far one part is searched before the next has its turn."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[Input, Output]):
    """One call of one client. Times are of any one monotonic clock; `output` is None and
    `returned` is NEVER when nobody knows what became of it."""

    client: Hashable
    invoked: float
    returned: float
    input: Input
    output: Output | None


@dataclass(frozen=True, slots=True)
class Model(Generic[Input, Output, State]):
    """What the operations mean.

    `step(state, input, output)` gives every state in which the operation can leave the object if
    it answers `output`; none if that answer is impossible; several if the model leaves it open.
    `reads(input, output)` says that an operation with that answer changes no state whatever;
    `partition(input)` names the part of the object that the operation touches.
    """

    initial: State
    step: Callable[[State, Input, Output | None], Sequence[State]]
    reads: Callable[[Input, Output | None], bool] = lambda _input, _output: False
    partition: Callable[[Input], Hashable] = lambda _input: None


@dataclass(frozen=True, slots=True)
class Stuck(Generic[Input, Output, State]):
    """Why a part is not linearizable: the longest order found, and the operations that had to be
    next but whose answers are impossible in any state that it can reach."""

    part: Hashable
    order: tuple[Operation[Input, Output], ...]
    state: State
    blocked: tuple[Operation[Input, Output], ...]


def judge(
    history: Iterable[Operation[Input, Output]], model: Model[Input, Output, State]
) -> Stuck[Input, Output, State] | None:
    """None if the history is linearizable, else where the search got stuck in the part that was
    first found not to be. The parts take turns: one that is wrong may be wrong quickly."""
    parts: dict[Hashable, list[Operation[Input, Output]]] = {}
    for operation in sorted(history, key=lambda o: o.invoked):
        parts.setdefault(model.partition(operation.input), []).append(operation)
    searches = deque((part, _Search(operations, model).run())
                     for part, operations in parts.items())
    while searches:
        part, search = searches.popleft()
        try:
            next(search)
            searches.append((part, search))
        except StopIteration as ended:
            if ended.value is not None:
                return Stuck(part, *ended.value)
    return None


Found = tuple[tuple[Operation[Input, Output], ...], State, tuple[Operation[Input, Output], ...]]


class _Event:
    """A call or a return in the list of what has not been taken yet."""

    __slots__ = ("after", "before", "match", "number")

    def __init__(self, number: int, match: _Event | None) -> None:
        self.number = number
        self.match = match
        """The return that belongs to a call; None for a return."""
        self.before: _Event | None = None
        self.after: _Event | None = None


class _Search(Generic[Input, Output, State]):
    """The search over one part."""

    def __init__(
        self, operations: list[Operation[Input, Output]], model: Model[Input, Output, State]
    ) -> None:
        self._operations = operations
        self._model = model
        self._head = _Event(-1, None)
        self._best: list[int] = []
        self._best_state = model.initial
        events: list[tuple[float, int, int, _Event]] = []
        for number, operation in enumerate(operations):
            returned = _Event(number, None)
            # At the same instant calls come before returns: they overlap, which forbids less.
            events.append((operation.invoked, 0, number, _Event(number, returned)))
            events.append((operation.returned, 1, number, returned))
        last = self._head
        for *_, event in sorted(events, key=lambda e: e[:3]):
            last.after, event.before = event, last
            last = event

    def run(self) -> Generator[None, None, Found[Input, Output, State] | None]:
        """Search, pausing now and then. None, or the longest order, its state, what blocked it."""
        tries = 0
        state, taken = self._model.initial, 0
        seen: set[tuple[int, State]] = set()
        path: list[tuple[_Event, State, list[State]]] = []
        event = self._head.after
        while event is not None and (
                event.match is not None or self._operations[event.number].returned != NEVER):
            tries += 1
            if tries % TRIES_PER_TURN == 0:
                yield
            if event.match is not None:
                operation = self._operations[event.number]
                ways = self._new(taken | 1 << event.number, seen, state, operation)
                if not ways:
                    event = event.after
                    continue
                path.append((event, state, ways))
                state = ways.pop()
                taken |= 1 << event.number
                _lift(event)
                if len(path) > len(self._best):
                    self._best, self._best_state = [e.number for e, _, _ in path], state
                event = self._head.after
                continue
            while True:  # a return whose call was not taken: undo until another way is left
                if not path:
                    return self._explain()
                call, before, ways = path.pop()
                if ways:
                    path.append((call, before, ways))
                    state = ways.pop()
                    event = self._head.after
                    break
                _unlift(call)
                state, taken = before, taken & ~(1 << call.number)
                undone = self._operations[call.number]
                if not self._model.reads(undone.input, undone.output):
                    event = call.after
                    break
        return None

    def _new(
        self, taken: int, seen: set[tuple[int, State]], before: State,
        operation: Operation[Input, Output],
    ) -> list[State]:
        """The states to try after taking an operation."""
        ways = [state for state in self._model.step(before, operation.input, operation.output)
                if (taken, state) not in seen]
        if operation.returned == NEVER:
            ways = [state for state in ways if state != before]
        seen.update((taken, state) for state in ways)
        return ways

    def _explain(self) -> Found[Input, Output, State]:
        taken = set(self._best)
        left = [o for n, o in enumerate(self._operations) if n not in taken]
        deadline = min(operation.returned for operation in left)
        return (tuple(self._operations[n] for n in self._best), self._best_state,
                tuple(o for o in left if o.invoked <= deadline and o.returned != NEVER))


def _lift(call: _Event) -> None:
    """Take a call and its return out of the list."""
    for event in (call, call.match):
        assert event is not None and event.before is not None
        event.before.after = event.after
        if event.after is not None:
            event.after.before = event.before


def _unlift(call: _Event) -> None:
    """Put them back where they were."""
    for event in (call.match, call):
        assert event is not None and event.before is not None
        event.before.after = event
        if event.after is not None:
            event.after.before = event
