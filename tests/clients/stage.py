"""What the Python programs share: checks, and the conductor's ear.

Runs in the clients' own environments: nothing of quorate may be imported here.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MEMBERS = [(host, int(port)) for host, port in
           (address.rsplit(":", 1) for address in os.environ["MEMBERS"].split(","))]
"""The leader's address is the first."""

LEASE_S = 2
"""The shortest that etcd grants at its default election timeout."""

LATE_S = 6.0
"""A lease ends within its TTL, an election and a second; the rest is a busy machine."""


@contextmanager
def check(name: str) -> Iterator[None]:
    """Names what its body shows; the program ends if that fails."""
    try:
        yield
    except BaseException:
        print(f"FAILED {name}", flush=True)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # threads of the libraries must not hold the end up
    print(f"ok {name}", flush=True)


def finish() -> None:
    """All checks have passed."""
    print("all passed", flush=True)
    os._exit(0)


def equal(actual: Any, expected: Any) -> None:
    """Asserts, and shows both."""
    assert actual == expected, f"{actual!r} is not {expected!r}"


def ask(order: str) -> None:
    """Has the conductor do `kill N` or `start N`; returns when it is done."""
    print(f"! {order}", flush=True)
    equal(sys.stdin.readline(), "done\n")


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Waits for something that other threads bring about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Tally:
    """What a follower has seen and a writer was told, and whether they agree."""

    def __init__(self) -> None:
        self.acknowledged: list[bytes] = []
        self.seen: list[tuple[int, bytes]] = []

    def judge(self, truth: list[tuple[int, bytes]]) -> None:
        """No event lost or told twice; `truth` is what one whole stream told."""
        equal(self.seen, truth)
        told = [value for _, value in truth]
        for value in self.acknowledged:
            equal(told.count(value), 1)
