"""check perf: writes at a rate for a minute, then judges what it saw, by etcdctl's limits.

Not here: memory (datascale.py), benchmarks that compare (benchmarks/).
"""

from __future__ import annotations

import asyncio
import os
import statistics
from typing import NamedTuple

from quorate.cli.ctl.flags import BAD_FEATURE, ERROR, INVALID_INPUT, Exit
from quorate.cli.ctl.printer import complain, say
from quorate.cli.ctl.shell import Shell, as_bytes, prefix_end
from quorate.client.client import Client
from quorate.client.errors import ClientError
from quorate.client.methods import COMPACT, DEFRAGMENT, DELETE_RANGE, PUT, RANGE
from quorate.wire._generated import rpc_pb2 as rpc

DURATION_S = 60.0
KEY_BYTES, VALUE_BYTES = 256, 1024
RATE_MIN = 0.9
"""Of the load's writes a second."""

SLOWEST_S_MAX, STDDEV_S_MAX = 0.5, 0.1


class Load(NamedTuple):
    """Writes a second by so many clients."""

    rate: int
    clients: int


LOADS = {"s": Load(150, 50), "m": Load(1000, 200), "l": Load(8000, 500), "xl": Load(15000, 1000)}
LOADS |= {"small": LOADS["s"], "medium": LOADS["m"], "large": LOADS["l"], "xLarge": LOADS["xl"]}


async def perf(shell: Shell, duration_s: float = DURATION_S) -> None:
    """check perf [--load=s|m|l|xl]."""
    words = shell.words
    load = LOADS.get(words.text("load"))
    if load is None:
        raise Exit(BAD_FEATURE, f"unknown load option {words.text('load')}")
    prefix, end = await empty_prefix(shell)
    took, failures = await _write(shell, load, prefix, duration_s)
    await shell.ask(DELETE_RANGE, rpc.DeleteRangeRequest(key=prefix, range_end=end))
    if words.on("auto-compact"):
        newest = await shell.ask(RANGE, rpc.RangeRequest(key=prefix))
        await shell.ask(COMPACT, rpc.CompactionRequest(
            revision=newest.header.revision, physical=True))
    if words.on("auto-defrag"):
        await shell.ask(DEFRAGMENT, rpc.DefragmentRequest())
    if not judged(load, took, failures, duration_s):
        say("FAIL")
        raise Exit(ERROR)
    say("PASS")


async def empty_prefix(shell: Shell) -> tuple[bytes, bytes]:
    """The range of keys with --prefix, in which there must be none; raises Exit."""
    text = shell.words.text("prefix")
    prefix = as_bytes(text)
    end = prefix_end(prefix)
    there = await shell.ask(RANGE, rpc.RangeRequest(key=prefix, range_end=end, limit=1))
    if there.kvs:
        raise Exit(INVALID_INPUT, f"prefix {text!r} has keys. Delete with "
                                  f"`quorate ctl del --prefix {text}` first.")
    return prefix, end


def random_pair(prefix: bytes) -> rpc.PutRequest:
    """A key that nobody has used, with a value of VALUE_BYTES."""
    return rpc.PutRequest(key=prefix + os.urandom(KEY_BYTES // 2).hex().encode(),
                          value=os.urandom(VALUE_BYTES))


async def _write(
    shell: Shell, load: Load, prefix: bytes, duration_s: float
) -> tuple[list[float], list[str]]:
    """Durations of the writes that succeeded, and what was wrong with the others."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    took: list[float] = []
    failures: list[str] = []
    due = iter(range(int(load.rate * duration_s)))

    async def one() -> None:
        client = Client(shell.client.endpoints, dial_timeout_s=shell.dial_timeout_s)
        try:
            for number in due:
                await asyncio.sleep(max(0.0, began + number / load.rate - loop.time()))
                started = loop.time()
                if started - began > duration_s:
                    return
                try:
                    await shell.tried(PUT, random_pair(prefix), client)
                    took.append(loop.time() - started)
                except ClientError as failure:
                    failures.append(str(failure))
        finally:
            client.close()

    async def tell() -> None:
        while True:
            await asyncio.sleep(5)
            complain(f"{min(duration_s, loop.time() - began):.0f} s of {duration_s:.0f}: "
                     f"{len(took)} writes")

    telling = asyncio.ensure_future(tell())
    await asyncio.gather(*(one() for _ in range(load.clients)))
    telling.cancel()
    return took, failures


def judged(load: Load, took: list[float], failures: list[str], duration_s: float) -> bool:
    """Print a line for each limit; whether all are kept."""
    good = True
    for failure in sorted(set(failures)):
        good = False
        say(f"FAIL: {failures.count(failure)} errors: {failure}")
    rate = len(took) / duration_s
    slowest, stddev = max(took, default=0.0), statistics.pstdev(took) if took else 0.0
    for kept, yes, no in (
            (rate >= RATE_MIN * load.rate, f"Throughput is {rate:.0f} writes/s",
             f"Throughput too low: {rate:.0f} writes/s"),
            (slowest < SLOWEST_S_MAX, f"Slowest request took {slowest:.6f}s",
             f"Slowest request took too long: {slowest:.6f}s"),
            (stddev < STDDEV_S_MAX, f"Stddev is {stddev:.6f}s",
             f"Stddev too high: {stddev:.6f}s")):
        good = good and kept
        say(f"PASS: {yes}" if kept else f"FAIL: {no}")
    return good
