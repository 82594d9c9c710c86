"""Malformed requests of every kind against a real member; scripts/malformed runs it.

Each must end in an error, in a closed connection, or in an answer if it was not so wrong after all:
never in a crash, a hung loop or growth. Meanwhile another client renews leases. After each kind
the member must live, answer, hold no connection that is over, have no traceback in its log, and not
have grown.

The generator is one process at a lower priority than the member, and waits for the answer to each
batch before it sends the next: it cannot keep the member, or who renews, from a CPU for long. How
long they did wait for one is measured (renewer.py).

Any attempt can be sent again: --kind and --only, with the seed that was printed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import nonsense_bodies as bodies
import nonsense_http1 as http1
import nonsense_http2 as http2
from doors_in import Http1Door, Http2Door, Hung, Tally
from harness import Member, running_cluster
from nonsense import Attempt, Kind
from procfs import MIB, cpu_s, memory_bytes, sockets
from renewer import Renewals, Renewer
from unfinished import leave_unfinished

KINDS = (
    Kind("frames", "http2", http2.frames, 1),
    Kind("header blocks", "http2", http2.header_blocks, 8),
    Kind("gRPC framing", "http2", http2.grpc_framing, 16),
    Kind("protobuf", "http2", bodies.protobuf, 32),
    Kind("nested protobuf", "http2", bodies.nested_protobuf, 16),
    Kind("sizes, HTTP/2", "http2", bodies.sizes_http2, 2),
    Kind("request lines", "http1", http1.request_lines, 1),
    Kind("headers", "http1", http1.headers, 1),
    Kind("chunking", "http1", http1.chunking, 1),
    Kind("JSON", "http1", bodies.json_bodies, 32),
    Kind("nested JSON", "http1", bodies.nested_json, 1),
    Kind("sizes, HTTP/1.1", "http1", bodies.sizes_http1, 1),
)
DOORS: dict[str, type[Http1Door | Http2Door]] = {"http1": Http1Door, "http2": Http2Door}
RENEWAL_MS_MAX = 100.0
GROWTH_BYTES_MAX = 24 * MIB
"""Of the member's own memory over one kind, when all its connections are closed."""

PEAK_BYTES_MAX = 64 * MIB
"""Above what it had before, while one kind is sent by one client."""

CLOSED_S_MAX = 5.0
SAMPLE_EVERY = 50
WARM_UP = 200
NICENESS = 10
"""Of the generator."""


@dataclass
class Line:
    """What is reported of a kind."""

    name: str
    tally: Tally
    renewals: Renewals
    before: int
    most: int
    after: int
    seconds: float
    cpu_share: float
    """Of one CPU, that the generator took."""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        t, r = self.tally, self.renewals
        return (
            f"{self.name:16} {t.sent:6} sent {t.errors:6} errors {t.fine:5} fine {t.ignored:5} "
            f"ignored {t.closed:6} closed | renewals {r.count:5} longest {r.longest_ms:5.1f} ms "
            f"({r.longest_own_ms:5.1f} without waits for a CPU) | MiB {self.before / MIB:5.1f} "
            f"most {self.most / MIB:5.1f} after {self.after / MIB:5.1f} | {self.seconds:5.1f} s, "
            f"generator {self.cpu_share:4.0%} of a CPU")


class Target:
    """A member, and who renews leases at it."""

    def __init__(self, member: Member) -> None:
        assert member.process is not None
        self.member = member
        self.pid = member.process.pid
        self.renewer = Renewer(member.client_port, self.pid)
        self.renewer.report()
        self._sockets = sockets(self.pid)

    def health(self, renewals: Renewals) -> Iterator[str]:
        """What is wrong with it."""
        assert self.member.process is not None
        status = self.member.process.poll()
        if status is not None:
            yield f"the member has ended with status {status}"
            return
        client = self.member.client()
        client.put("/still/there", "yes")
        if not client.get("/still/there").get("kvs"):
            yield "a key that was put is not there"
        client.close()
        deadline = time.monotonic() + CLOSED_S_MAX
        while (left := sockets(self.pid) - self._sockets) > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        if left > 0:
            yield f"{left} connections are left over"
        log = self.member.log.read_text(errors="replace")
        if "Traceback" in log or "Fatal error" in log:
            yield "the log has a traceback: " + log[log.find("Fatal error"):][:3000]
        if renewals.failed:
            yield f"{renewals.failed} renewals failed"
        if renewals.longest_own_ms > RENEWAL_MS_MAX:
            yield f"a renewal took {renewals.longest_own_ms:.0f} ms"


class Run:
    """Attempts of one kind."""

    def __init__(self, target: Target, kind: Kind, seed: int) -> None:
        self._target = target
        self._kind = kind
        self._seed = seed
        self.tally = Tally()
        self.before = self.most = memory_bytes(target.pid)

    def make(self, index: int, stream_id: int) -> Attempt:
        """An attempt; it depends on the seed and its number alone."""
        return self._kind.make(random.Random(f"{self._seed}/{self._kind.name}/{index}"), stream_id)

    def send(self, count: int, only: int | None = None) -> str | None:
        """Send so many; what went wrong, if anything."""
        door = DOORS[self._kind.door](self._target.member.client_port)
        rng = random.Random(f"{self._seed}/{self._kind.name}")
        at, end = (0, count) if only is None else (only, only + 1)
        while at < end:
            ids, batch = self._batch(door, at, min(end - at, rng.randint(1, self._kind.batch)))
            handled = self.tally.sent
            try:
                door.attempt(batch, ids, self.tally)
            except (Hung, OSError) as failure:
                door.close()
                return (f"{type(failure).__name__}: {failure}; --kind '{self._kind.name}' "
                        f"--only N with N from {at} to {at + len(batch) - 1}")
            handled = self.tally.sent - handled  # what a closed connection swallowed comes again
            if at % SAMPLE_EVERY < handled:
                self.sample()
            at += handled
        door.close()
        return None

    def _batch(
        self, door: Http1Door | Http2Door, at: int, size: int
    ) -> tuple[list[int], list[Attempt]]:
        """Streams and attempts; one that needs its own connection is alone."""
        if (alone := self.make(at, 1)).fresh:
            return door.streams(1, fresh=True), [alone]
        ids = door.streams(size, fresh=False)
        batch = [self.make(at + n, stream_id) for n, stream_id in enumerate(ids)]
        fresh = next((n for n, one in enumerate(batch) if one.fresh), size)
        return ids[:fresh], batch[:fresh]

    def sample(self) -> None:
        """Look at the member's memory."""
        if self._target.member.process is not None and self._target.member.process.poll() is None:
            self.most = max(self.most, memory_bytes(self._target.pid))


def run_kind(target: Target, kind: Kind, seed: int, count: int, only: int | None = None) -> Line:
    """Send attempts of a kind and look at the member."""
    target.renewer.report()
    run, began, cpu = Run(target, kind, seed), time.monotonic(), cpu_s("self")
    failure = run.send(count, only)
    seconds, cpu = time.monotonic() - began, cpu_s("self") - cpu
    run.sample()
    renewals = target.renewer.report()
    line = Line(kind.name, run.tally, renewals, run.before, run.most, 0, seconds, cpu / seconds)
    if failure:
        line.wrong.append(failure)
    line.wrong += target.health(renewals)
    _judge_memory(line, target)
    return line


def _judge_memory(line: Line, target: Target) -> None:
    if target.member.process is None or target.member.process.poll() is not None:
        return
    line.after = memory_bytes(target.pid)
    if line.after - line.before > GROWTH_BYTES_MAX:
        line.wrong.append(f"it has grown by {(line.after - line.before) / MIB:.0f} MiB")
    if line.most - line.before > PEAK_BYTES_MAX:
        line.wrong.append(f"it needed {(line.most - line.before) / MIB:.0f} MiB meanwhile")


def run_unfinished(target: Target, seed: int, count: int) -> Line:
    """Requests whose rest never comes, all open at once."""
    target.renewer.report()
    before, began, cpu = memory_bytes(target.pid), time.monotonic(), cpu_s("self")
    tally, most, failure = leave_unfinished(target.member.client_port, target.pid, seed, count)
    seconds, cpu = time.monotonic() - began, cpu_s("self") - cpu
    renewals = target.renewer.report()
    line = Line("unfinished", tally, renewals, before, most, 0, seconds, cpu / seconds)
    if failure:
        line.wrong.append(failure)
    line.wrong += target.health(renewals)
    _judge_memory(line, target)
    return line


def campaign(
    directory: Path, count: int, seed: int, *, kinds: list[str] | None = None,
    only: int | None = None, unfinished: int = 500,
) -> list[Line]:
    """Send attempts of each kind; prints a line for each. Stops at the first kind that goes
    wrong."""
    lines: list[Line] = []
    niceness = os.nice(0)
    with running_cluster(directory, 1, extra=("--log-level=warn",)) as cluster:
        target = Target(cluster.members[0])
        os.setpriority(os.PRIO_PROCESS, 0, niceness + NICENESS)
        try:
            # What a member needs once, for code paths it has not been on, is no growth.
            for kind in KINDS:
                warm = run_kind(target, kind, seed + 1_000_003, min(WARM_UP, count))
                if warm.wrong and warm.tally.sent < min(WARM_UP, count):
                    return [warm]
            for kind in KINDS:
                if kinds and kind.name not in kinds:
                    continue
                lines.append(run_kind(target, kind, seed, count, only))
                print(lines[-1], flush=True)
                if lines[-1].wrong:
                    return lines
            if unfinished and (not kinds or "unfinished" in kinds):
                lines.append(run_unfinished(target, seed, unfinished))
                print(lines[-1], flush=True)
        finally:
            target.renewer.stop()
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", help="only this one; may be repeated")
    parser.add_argument("--only", type=int, help="only the attempt with this number")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-malformed-") as directory:
        lines = campaign(Path(directory), options.count, options.seed, kinds=options.kind,
                         only=options.only, unfinished=min(options.count, 500))
    wrong = [f"{line.name}: {text}" for line in lines for text in line.wrong]
    print(f"{sum(line.tally.sent for line in lines)} attempts, longest renewal "
          f"{max(line.renewals.longest_ms for line in lines):.1f} ms")
    if wrong:
        sys.exit("\n".join([*wrong, f"seed {options.seed}"]))


if __name__ == "__main__":
    main()
