"""Programs that wait, as generators over simulated time: what Patroni's threads are in the model.

A program yields a `Pause` and is resumed when the signal it waits for is set or the time is over,
whichever comes first; it gets what the signal was set to, or None. Blocking calls of the model are
generators that programs delegate to with `yield from`. No asyncio, no threads: the simulated clock
resumes everybody.

Not here: what the programs do (patroni.py, dcs.py, postgres.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from quorate.sim.clock import Clock

T = TypeVar("T")


class Signal:
    """Something that one program waits for. Set before anybody waits, it is remembered."""

    def __init__(self) -> None:
        self.value: object = None
        self.resume: Callable[[], None] | None = None

    def set(self, value: object = True) -> None:
        """Wake who waits; `value` is what the waiter gets, and not None."""
        self.value = value
        if self.resume is not None:
            self.resume()

    def clear(self) -> None:
        """Forget that it was set."""
        self.value = None


class Pause(NamedTuple):
    """For so long at most, or until the signal is set."""

    seconds: float
    signal: Signal | None = None


Steps = Generator[Pause, object, T]
"""A program, or a part of one, that returns a T."""


@dataclass(slots=True)
class Program:
    """A running program; `stop` ends it wherever it is."""

    clock: Clock
    steps: Steps[None] | None
    _turn: int = 0

    def start(self) -> Program:
        """Run until it waits for the first time."""
        self._step(None)
        return self

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.steps is not None

    def stop(self) -> None:
        """It never goes on."""
        steps, self.steps = self.steps, None
        self._turn += 1
        if steps is not None:
            steps.close()

    def _step(self, value: object) -> None:
        self._turn += 1
        turn = self._turn
        if self.steps is None:
            return
        try:
            pause = self.steps.send(value)
        except StopIteration:
            self.steps = None
            return
        signal = pause.signal

        def resume() -> None:
            if turn == self._turn:
                if signal is not None:
                    signal.resume = None
                self._step(None if signal is None else signal.value)

        if signal is not None:
            if signal.value is not None:
                self.clock.after(0.0, resume)
                return
            signal.resume = resume
        self.clock.after(max(0.0, pause.seconds), resume)
