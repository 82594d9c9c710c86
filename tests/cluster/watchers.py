"""Ten thousand watches on one member, and a client that stops reading; scripts/watchers runs it.

Reports the member's memory per watch, the time from a put to the last of its events, and whether
every watch was given every event, in order. Then 100 MB of events pass while one client does not
read its socket, or another grants no window: their cost is the memory above that of the same events
with everybody reading. Stock etcd does the same in the same run when it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import Member, running_cluster
from procfs import MIB, memory_bytes
from watchclient import Lost, Putter, Range, Watches, gather, mark

CONNECTIONS = 10
STREAMS = 10
"""Of each connection; the watches are spread over them evenly."""

PROGRAMS = {"quorate": [sys.executable, "-m", "quorate.cli.serve"], "etcd": ["etcd"]}
STOPPED_BYTES_MAX = 16 * MIB
"""What two clients that stopped reading may cost: 1 MiB of backlog each (`watch_backlog_bytes`), a
batch from history, what the socket's transport keeps, and slack for the allocator."""

EVENT_BYTES = 32 << 10
"""Below the window that etcd gives a client at first, which this client does not look at."""


LOG_BYTES = 80 << 20
"""More than the member keeps of its log in memory (`log_bytes`), which grows until it is cut: while
so many bytes of events pass it needs the most that it will ever need for them."""


@dataclass(frozen=True)
class Shape:
    """What the watches watch, and what is put."""

    name: str
    watched: Callable[[int], Range]
    put: Callable[[int], bytes]
    everybody: bool
    """Each put is an event of every watch, and not of one."""


SHAPES = (
    Shape("one key", lambda _: (b"/one", b""), lambda _: b"/one", True),
    Shape("keys of their own", lambda n: (b"/k/%06d" % n, b""), lambda n: b"/k/%06d" % n, False),
    Shape("one range", lambda _: (b"/all/", b"/all0"), lambda _: b"/all/key", True),
    Shape("ranges of their own", lambda n: (b"/r/%06d/" % n, b"/r/%06d0" % n),
          lambda n: b"/r/%06d/key" % n, False),
)


@dataclass
class Result:
    """Of one shape on one program."""

    shape: str
    program: str
    watch_bytes: float
    latencies_ms: list[float]
    events: int
    create_s: float

    @property
    def figures(self) -> tuple[float, float, float]:
        """Median, 99th percentile, greatest, in milliseconds."""
        ordered = sorted(self.latencies_ms)
        return statistics.median(ordered), ordered[(len(ordered) * 99 - 1) // 100], ordered[-1]

    def __str__(self) -> str:
        median, p99, most = self.figures
        return (f"{self.shape:20} {self.program:8} {self.watch_bytes:7.0f} bytes a watch, "
                f"{self.events:8} events, all there, last one after median {median:7.2f} ms, "
                f"99 % {p99:7.2f}, max {most:7.2f}; made in {self.create_s:.1f} s")


def spread(watches: int, watched: Callable[[int], Range]) -> list[list[list[Range]]]:
    """Watches by connection and stream."""
    ranges = [watched(n) for n in range(watches)]
    size = -(-watches // (CONNECTIONS * STREAMS))
    streams = [ranges[at:at + size] for at in range(0, watches, size)]
    return [streams[at:at + STREAMS] for at in range(0, len(streams), STREAMS)]


@contextlib.contextmanager
def member(program: str) -> Iterator[Member]:
    """A fresh member."""
    with tempfile.TemporaryDirectory(prefix="quorate-watchers-") as directory, running_cluster(
            Path(directory), 1, program=PROGRAMS[program], extra=("--log-level=error",)) as cluster:
        yield cluster.members[0]


def measure(shape: Shape, program: str, watches: int, puts: int) -> Result:
    """One shape on a fresh member; raises Lost."""
    with member(program) as one, contextlib.ExitStack() as stack:
        assert one.process is not None
        putter = Putter(one.client_port)
        stack.callback(putter.close)
        putter.send(b"/first", b"")
        putter.revision()
        before, began = memory_bytes(one.process.pid), time.perf_counter()
        clients = [Watches(one.client_port, streams)
                   for streams in spread(watches, shape.watched)]
        for client in clients:
            stack.callback(client.close)
        create_s = time.perf_counter() - began
        time.sleep(0.3)  # what the last requests left behind is let go of
        per_watch = (memory_bytes(one.process.pid) - before) / watches
        rng = random.Random(shape.name)
        latencies, revisions = [], []
        for number in range(puts):
            began = putter.send(shape.put(rng.randrange(watches)), mark(number))
            ended = gather(clients, mark(number), watches if shape.everybody else 1)
            latencies.append((ended - began) * 1000)
            revisions.append(putter.revision())
            for client in clients:
                client.digest()
        events = _check(clients, revisions, everybody=shape.everybody)
        return Result(shape.name, program, per_watch, latencies, events, create_s)


def _check(clients: list[Watches], revisions: list[int], *, everybody: bool) -> int:
    """The number of events, when all are there, once and in order."""
    found = [known for client in clients for known in client.revisions.values()]
    if everybody:
        if any(known != revisions for known in found):
            raise Lost("a watch was not given what was put, in order")
    elif (sorted(r for known in found for r in known) != revisions
          or any(known != sorted(known) for known in found)):
        raise Lost("events are missing, or came twice")
    return sum(map(len, found))


@dataclass
class Stopped:
    """What clients that stop reading cost."""

    program: str
    reading_bytes: int
    """Memory after the events, when everybody reads."""

    stopped_bytes: int
    """The most while two do not."""

    latencies_ms: tuple[list[float], list[float]]
    """Of those who read: before, and while others do not."""

    events: int
    catch_up_s: float

    @property
    def cost_bytes(self) -> int:
        """The difference."""
        return self.stopped_bytes - self.reading_bytes

    def __str__(self) -> str:
        before, during = (statistics.median(one) for one in self.latencies_ms)
        slowest = [max(one) for one in self.latencies_ms]
        return (
            f"{'stopped readers':20} {self.program:8} {self.cost_bytes / MIB:7.1f} MiB above "
            f"{self.reading_bytes / MIB:.0f} with everybody reading; others' events after median "
            f"{before:.2f} before, {during:.2f} ms meanwhile (max {slowest[0]:.1f}, "
            f"{slowest[1]:.1f}); {self.events} events to those who had stopped, all in order, "
            f"within {self.catch_up_s:.1f} s")


def stopped(program: str, total_bytes: int) -> Stopped:
    """Two clients stop while so many bytes of events pass, and then read on; raises Lost."""
    rng = random.Random(1)
    count = max(10, total_bytes // EVENT_BYTES)
    watched: list[list[Range]] = [[(b"/big/", b"/big0")]]
    with member(program) as one, contextlib.ExitStack() as stack:
        assert one.process is not None
        pid = one.process.pid
        putter, reader = Putter(one.client_port), Watches(one.client_port, watched)
        stack.callback(putter.close)
        stack.callback(reader.close)
        most = 0
        revisions: list[int] = []

        def pass_events(count: int) -> list[float]:
            nonlocal most
            latencies = []
            for number in range(len(revisions), len(revisions) + count):
                value = rng.randbytes(EVENT_BYTES) + mark(number)
                began = putter.send(b"/big/%d" % (number % 7), value)
                ended = gather([reader], mark(number), 1)
                latencies.append((ended - began) * 1000)
                revisions.append(putter.revision())
                reader.digest()
                if number % 10 == 0:
                    most = max(most, memory_bytes(pid))
            return latencies

        pass_events(max(count, LOG_BYTES // EVENT_BYTES))
        most = 0
        before = pass_events(max(count, LOG_BYTES // EVENT_BYTES))
        reading = most
        half = [Watches(one.client_port, watched),  # reads nothing
                Watches(one.client_port, watched, window=65_535)]  # and this grants nothing
        for client in half:
            stack.callback(client.close)
        most, known = 0, len(revisions)
        during = pass_events(count)
        highest, began = most, time.perf_counter()
        for client in half:
            client.resume()
            known_of = next(iter(client.revisions.values()))
            while len(known_of) < count:
                client.read()
                highest = max(highest, memory_bytes(pid))
        seconds = time.perf_counter() - began
        for client in half:
            if next(iter(client.revisions.values())) != revisions[known:]:
                raise Lost("a client that stopped reading was not given everything in order")
        if next(iter(reader.revisions.values())) != revisions:
            raise Lost("a client that read on was not given everything in order")
        return Stopped(program, reading, highest, (before, during), 2 * count, seconds)


def compare(watches: int, puts: int, total_bytes: int, rounds: int) -> list[str]:
    """Everything, in turns; prints it and returns what is wrong."""
    programs = [name for name, command in PROGRAMS.items()
                if name == "quorate" or shutil.which(command[0])]
    wrong: list[str] = []
    for shape in SHAPES:
        results: dict[str, list[Result]] = {program: [] for program in programs}
        for _ in range(rounds):
            for program in programs:
                results[program].append(
                    measure(shape, program, watches, puts if shape.everybody else 5 * puts))
                print(results[program][-1], flush=True)
        if len(programs) == 2:
            _ratios(shape.name, results)
    for program in programs:
        result = stopped(program, total_bytes)
        print(result, flush=True)
        if program == "quorate" and result.cost_bytes > STOPPED_BYTES_MAX:
            wrong.append(f"stopped readers cost {result.cost_bytes / MIB:.0f} MiB")
    return wrong


def _ratios(name: str, results: dict[str, list[Result]]) -> None:
    pairs = list(zip(results["quorate"], results["etcd"], strict=True))
    texts = []
    for index, label in enumerate(("median", "99 %", "max")):
        ratios = sorted(ours.figures[index] / theirs.figures[index] for ours, theirs in pairs)
        texts.append(f"{label} {statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    memory = sorted(ours.watch_bytes / theirs.watch_bytes for ours, theirs in pairs)
    print(f"{name:20} quorate / etcd: {', '.join(texts)}, memory a watch "
          f"{statistics.median(memory):.2f} ({memory[0]:.2f}–{memory[-1]:.2f})", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--watchers", type=int, default=10_000)
    parser.add_argument("--puts", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=100, help="past the stopped readers")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    try:
        wrong = compare(options.watchers, options.puts, options.megabytes * 1_000_000,
                        options.rounds)
    except Lost as lost:
        sys.exit(f"lost: {lost}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
