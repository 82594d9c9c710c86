"""What a client may send without being useful: control frames, resets, pings.

Two buckets that refill with time and a rule for pings (that of Go's gRPC server, which etcd uses).
Not here: frames (http2.py).
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROL_FRAMES_MAX = 10_000
"""At once."""

CONTROL_FRAMES_PER_S = 2_000.0
RESETS_MAX = 1_000
"""At once: a client that gives up all its requests, say."""

RESETS_PER_S = 200.0
PING_STRIKES_MAX = 2
IDLE_PING_MIN_S = 7200.0
"""Between pings of a client that has no stream."""


class Bucket:
    """Tokens, taken one by one, that come back at a rate."""

    def __init__(self, size: int, per_s: float) -> None:
        self._size = self._left = float(size)
        self._per_s = per_s
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether there was one."""
        if self._left < 1.0:
            self._left = min(self._size, self._left + (now - self._at) * self._per_s)
            self._at = now
            if self._left < 1.0:
                return False
        self._left -= 1.0
        return True


class FloodGuard:
    """What one connection may still do."""

    def __init__(self) -> None:
        self._controls = Bucket(CONTROL_FRAMES_MAX, CONTROL_FRAMES_PER_S)
        self._resets = Bucket(RESETS_MAX, RESETS_PER_S)

    def control(self, now: float) -> bool:
        """A frame that carries nothing; whether it may."""
        return self._controls.take(now)

    def reset(self, now: float) -> bool:
        """A stream was reset, or had to be; whether it may."""
        return self._resets.take(now)


class PingPolicy:
    """Pings of a client come no faster than `min_s`, a few times excepted; each time that the
    server has sent something, one is free."""

    def __init__(self, min_s: float) -> None:
        self._min_s = min_s
        self._last: float | None = None
        self._strikes = 0
        self.sent = False

    def ping(self, now: float, *, active: bool) -> bool:
        """A ping came; whether the client may go on. `active`: it has streams."""
        last, self._last = self._last, now
        if self.sent or last is None:
            self.sent, self._strikes = False, 0
            return True
        if now - last < (self._min_s if active else IDLE_PING_MIN_S):
            self._strikes += 1
        return self._strikes <= PING_STRIKES_MAX


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """As etcd's `grpc-keepalive-*`: seconds between a client's pings at least, of silence before
    the server pings, and to wait for an answer."""

    min_s: float = 5.0
    interval_s: float = 7200.0
    timeout_s: float = 20.0


KEEP_ALIVE = KeepAlive()
