"""A put among a million keys beside one among a thousand; `scripts/bench-large` runs it.

Two members of each kind are filled, one with a thousand keys, one with a million. Rounds of puts to
random keys of theirs, 16 at a time over JSON, alternate between the four. Then the large ones are
killed and started again: seconds to the first write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cluster"))

from bench import PROGRAMS, first_write, mount_of, rss_mib, spread
from harness import Cluster, b64, make_cluster

AT_ONCE = 16
VALUE = b64("v" * 64)
PUTS_PER_TXN = 128
FEW = 1_000
STARTS = 3


def key(number: int) -> str:
    """The name of a key, spread over the keyspace as names are."""
    return b64(f"/service/{number * 7_919 % 1_000_003:07d}/{number}")


def request(path: str, body: dict[str, object]) -> bytes:
    """The bytes of a POST."""
    text = json.dumps(body, separators=(",", ":")).encode()
    return (f"POST /v3/kv/{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n").encode() + text


def fills(count: int) -> Iterator[bytes]:
    """Transactions that put every key once."""
    for first in range(0, count, PUTS_PER_TXN):
        numbers = range(first, min(count, first + PUTS_PER_TXN))
        yield request("txn", {"success": [
            {"requestPut": {"key": key(n), "value": VALUE}} for n in numbers]})


def puts(count: int, rounds: int, seed: int) -> list[bytes]:
    """Puts to random ones of `count` keys."""
    chance = random.Random(seed)
    return [request("put", {"key": key(chance.randrange(count)), "value": VALUE})
            for _ in range(rounds)]


class Connection(asyncio.Protocol):
    """Sends one request after the other; `latencies` gets seconds of each."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._received = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        message = next(self._requests, None)
        if message is None:
            self._transport.close()
            self.over.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """One answer at a time, since one question is asked at a time."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length is None and not body.endswith(b"\r\n0\r\n\r\n"):  # chunked: the last one
            return
        if length is not None and len(body) < int(length[1]):
            return
        self._received = b""
        if b" 200 " not in head:
            self.over.set_exception(RuntimeError(f"refused: {head!r} {body!r}"))
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """A broken connection ends the run."""
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("the member closed the connection"))


async def _ask(port: int, requests: Iterator[bytes]) -> list[float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    pairs = [await loop.create_connection(lambda: Connection(requests, latencies),
                                          "127.0.0.1", port) for _ in range(AT_ONCE)]
    for _, connection in pairs:
        await connection.over
    return latencies


def ask(port: int, requests: Iterator[bytes]) -> tuple[float, float]:
    """(requests a second, median latency in s) of all, `AT_ONCE` at a time."""
    began = time.perf_counter()
    latencies = uvloop.run(_ask(port, requests))
    return len(latencies) / (time.perf_counter() - began), statistics.median(latencies)


def alone(directory: Path, kind: str, keys: int) -> Cluster:
    """One member with so many keys."""
    home = directory / f"{kind}-{keys}"
    home.mkdir()
    cluster = make_cluster(home, 1, program=PROGRAMS[kind], extra=("--log-level=error",))
    cluster.start()
    port = cluster.leader().client_port
    rate, _ = ask(port, fills(keys))
    print(f"{kind}: {keys} keys filled, {rate * PUTS_PER_TXN:.0f} a second, "
          f"{rss_mib(cluster):.0f} MiB resident", file=sys.stderr, flush=True)
    return cluster


def table(clusters: dict[tuple[str, int], Cluster], rounds: int, count: int,
          keys: int) -> Iterator[str]:
    """Load, then restart; a row per program."""
    seen: dict[tuple[str, int], list[tuple[float, float]]] = {pair: [] for pair in clusters}
    for number in range(rounds + 1):
        for (kind, size), cluster in clusters.items():
            measured = ask(cluster.members[0].client_port, iter(puts(size, count, number)))
            if number:  # the first warms up
                seen[kind, size].append(measured)
            print(f"{kind}, {size} keys: {measured[0]:.0f} puts/s", file=sys.stderr)
    for kind in PROGRAMS:
        rounds_of = list(zip(seen[kind, FEW], seen[kind, keys], strict=True))
        cluster = clusters[kind, keys]
        resident = rss_mib(cluster)
        cluster.stop()
        starts = []
        for _ in range(STARTS):
            began = time.monotonic()
            cluster.start()
            starts.append(first_write(cluster, began))
            cluster.stop()
        yield (f"| {kind} | {spread([few[0] / many[0] for few, many in rounds_of])} "
               f"| {spread([many[1] / few[1] for few, many in rounds_of])} | {resident:.0f} "
               f"| {spread(starts)} |")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench-large", description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--puts", type=int, default=30_000, help="of a round")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"),
                        help="where the data directories go; not a tmpfs")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="quorate-large-", dir=options.directory))
    clusters: dict[tuple[str, int], Cluster] = {}
    try:
        for kind in PROGRAMS:
            for size in (FEW, options.keys):
                clusters[kind, size] = alone(directory, kind, size)
        print(f"Data on {mount_of(options.directory)}; {options.rounds} rounds after a warm-up; "
              f"{options.keys} keys against {FEW}: median (least–greatest).\n\n"
              "| Program | Time of a put | Its p50 | MiB resident | Restart to first write, s |\n"
              "| --- | --- | --- | --- | --- |")
        for row in table(clusters, options.rounds, options.puts, options.keys):
            print(row, flush=True)
    finally:
        for cluster in clusters.values():
            cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
