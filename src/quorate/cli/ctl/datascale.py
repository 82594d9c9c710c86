"""check datascale: how much more memory the first endpoint takes with so many keys, by what its
`/metrics` says before and after.

Not here: speed (check.py).
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from quorate.cli.ctl.check import VALUE_BYTES, empty_prefix, random_pair
from quorate.cli.ctl.flags import BAD_CONNECTION, BAD_FEATURE, ERROR, Exit
from quorate.cli.ctl.printer import complain, say
from quorate.cli.ctl.shell import Shell, sentence
from quorate.client.client import Client
from quorate.client.connection import Connection
from quorate.client.errors import ClientError
from quorate.client.methods import COMPACT, DEFRAGMENT, DELETE_RANGE, PUT
from quorate.wire._generated import rpc_pb2 as rpc

TELL_S = 1.0
MEMORY = "process_resident_memory_bytes"


class Load(NamedTuple):
    """So many keys, put by so many clients."""

    keys: int
    clients: int


LOADS = {"s": Load(10_000, 50), "m": Load(100_000, 200), "l": Load(1_000_000, 500),
         "xl": Load(3_000_000, 1000)}
LOADS |= {"small": LOADS["s"], "medium": LOADS["m"], "large": LOADS["l"], "xLarge": LOADS["xl"]}


async def datascale(shell: Shell) -> None:
    """check datascale [--load=s|m|l|xl]."""
    words = shell.words
    load = LOADS.get(words.text("load"))
    if load is None:
        raise Exit(BAD_FEATURE, f"unknown load option {words.text('load')}")
    prefix, end = await empty_prefix(shell)
    before = await _memory_bytes(shell)
    say(f"Start data scale check for work load [{load.keys} key-value pairs, {VALUE_BYTES} bytes "
        f"per key-value, {load.clients} concurrent clients].")
    failures = await _fill(shell, load, prefix)
    after = await _memory_bytes(shell)
    gone = await shell.ask(DELETE_RANGE, rpc.DeleteRangeRequest(key=prefix, range_end=end))
    if words.on("auto-compact"):
        await shell.ask(COMPACT, rpc.CompactionRequest(
            revision=gone.header.revision, physical=True))
        say(f"Compacted with revision {gone.header.revision}")
    if words.on("auto-defrag"):
        async with shell.at(shell.client.endpoints[0]) as one:
            await one.call(DEFRAGMENT, rpc.DefragmentRequest())
        say(f'Defragmented "{shell.client.endpoints[0]}"')
    if failures:
        for text in sorted(set(failures)):
            say(f"FAIL: ERROR({text}) -> {failures.count(text)}")
        raise Exit(ERROR, "too many errors")
    say(f"PASS: Approximate system memory used : {(after - before) / (1 << 20):.2f} MB.")


async def _memory_bytes(shell: Shell) -> int:
    """Resident memory of the first endpoint, in bytes; raises Exit."""
    endpoint = shell.client.endpoints[0]
    try:
        connection = await Connection.open(endpoint, shell.dial_timeout_s)
        try:
            status, text = await connection.get("/metrics")
        finally:
            connection.close()
    except ClientError as failure:
        raise Exit(BAD_CONNECTION, sentence(failure)) from None
    for line in text.decode().splitlines():
        name, _, value = line.partition(" ")
        if name == MEMORY:
            return int(float(value))
    raise Exit(ERROR, f"{endpoint}/metrics (status {status}) does not tell {MEMORY}; name an "
                      f"endpoint that serves metrics first in --endpoints")


async def _fill(shell: Shell, load: Load, prefix: bytes) -> list[str]:
    """Put the keys; what was wrong with those that failed."""
    failures: list[str] = []
    due = iter(range(load.keys))
    done = 0

    async def one() -> None:
        nonlocal done
        client = Client(shell.client.endpoints[:1], dial_timeout_s=shell.dial_timeout_s)
        try:
            for _ in due:
                try:
                    await shell.tried(PUT, random_pair(prefix), client)
                except ClientError as failure:
                    failures.append(str(failure))
                done += 1
        finally:
            client.close()

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_S)
            complain(f"{done} of {load.keys} keys")

    telling = asyncio.ensure_future(tell())
    await asyncio.gather(*(one() for _ in range(load.clients)))
    telling.cancel()
    return failures
