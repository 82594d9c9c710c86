"""A loop and a transport without time and sockets, for tests of protocols."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """A call that is due some time."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Not any more."""
        self.cancelled = True


class Loop:
    """Turns by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        """At the end of the turn."""
        self._soon.append(call)

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """When the test says so."""
        timer = Timer(self.now + delay, call)
        self.timers.append(timer)
        return timer

    def time(self) -> float:
        """Now."""
        return self.now

    def turn(self) -> None:
        """End the turn."""
        soon, self._soon = self._soon, []
        for call in soon:
            call()


class Transport:
    """Remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.paused = False
        self.unsent = 0

    def get_extra_info(self, _name: str) -> None:
        """No socket."""

    def write(self, data: bytes) -> None:
        """One write."""
        self.writes.append(data)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """As the test says."""
        return self.unsent

    def close(self) -> None:
        """Closed."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Full."""
        self.paused = True

    def resume_reading(self) -> None:
        """Room."""
        self.paused = False
