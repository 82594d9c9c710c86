"""quorate beside stock etcd, in one run, interleaved. `scripts/bench` runs it.

Scenarios: put and range over JSON, and PUT and GET of v2, at 1, 16 and 64 connections, over gRPC at
1x1, 16x1 and 4x64 (connections x streams); serializable ranges, transactions and keep-alives over
gRPC; one member and three (load at the leader); idle memory; start to first write; leader killed
to first write. Both sync to the same disk. After each round the revision must have advanced by as
many writes as h2load counted successes. Watches have a command of their own, scripts/watchers.

Figures are ratios quorate / etcd per pair of rounds: median, and the least and greatest.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cluster"))

from google.protobuf.message import Message
from harness import Cluster, ErrorAnswer, Unanswered, make_cluster

from quorate.wire import gateway
from quorate.wire._generated import rpc_pb2 as rpc

KEY, VALUE = "/bench/key", "v" * 64
LEASE = 7


@dataclass(frozen=True)
class Operation:
    """A request over gRPC, over JSON if it has a path there, or of v2 if it has none of both, in
    these shapes (connections and streams of each)."""

    name: str
    method: str = ""
    message: Message | None = None
    writes: bool = False
    gateway: str = ""
    grpc_shapes: tuple[tuple[int, int], ...] = ((16, 1), (4, 64))
    json_shapes: tuple[tuple[int, int], ...] = ((1, 1), (16, 1), (64, 1))

    def shapes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Protocols and shapes."""
        if self.message is None:
            yield from (("v2", shape) for shape in self.json_shapes)
            return
        if self.gateway:
            yield from (("JSON", shape) for shape in self.json_shapes)
        yield from (("gRPC", shape) for shape in self.grpc_shapes)


ALL_SHAPES = ((1, 1), (16, 1), (4, 64))
PUT = rpc.PutRequest(key=KEY.encode(), value=VALUE.encode())
RANGE = rpc.RangeRequest(key=KEY.encode())
OPERATIONS = (
    Operation("put", "KV/Put", PUT, True, "kv/put", ALL_SHAPES),
    Operation("range", "KV/Range", RANGE, False, "kv/range", ALL_SHAPES),
    Operation("serializable range", "KV/Range",
              rpc.RangeRequest(key=KEY.encode(), serializable=True)),
    Operation("transaction", "KV/Txn", rpc.TxnRequest(
        compare=[rpc.Compare(key=KEY.encode(), target=rpc.Compare.VERSION,
                             result=rpc.Compare.GREATER, version=0)],
        success=[rpc.RequestOp(request_put=PUT), rpc.RequestOp(request_range=RANGE)]), True),
    Operation("keep-alive", "Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest(ID=LEASE)),
    Operation("PUT", writes=True),
    Operation("GET"),
)

PROGRAMS = {"quorate": [sys.executable, "-m", "quorate.cli.serve"], "etcd": ["etcd"]}
ALONE = 8
"""One request at a time gets so many times fewer than many, to take about as long."""


class Pair:
    """The same cluster of each kind."""

    def __init__(self, directory: Path, count: int) -> None:
        self.clusters: dict[str, Cluster] = {}
        for kind, program in PROGRAMS.items():
            home = directory / f"{kind}-{count}"
            home.mkdir()
            self.clusters[kind] = make_cluster(
                home, count, program=program, extra=("--log-level=error", "--enable-v2"))
            self.clusters[kind].start()
        self.ports = {k: c.leader().client_port for k, c in self.clusters.items()}
        for kind, cluster in self.clusters.items():
            client = cluster.leader().client()
            client.put(KEY, VALUE)
            client.call("/v3/lease/grant", {"ID": LEASE, "TTL": 3600})
            client.close()
            port = self.ports[kind] = cluster.leader().client_port
            urllib.request.urlopen(urllib.request.Request(
                f"http://127.0.0.1:{port}/v2/keys{KEY}", f"value={VALUE}".encode(),
                method="PUT")).close()

    def stop(self) -> None:
        """Kill all."""
        for cluster in self.clusters.values():
            cluster.stop()


def h2load(port: int, protocol: str, operation: Operation, shape: tuple[int, int],
           requests: int, directory: Path) -> tuple[float, int, list[int]]:
    """(requests a second, successes, latencies in µs)."""
    connections, streams = shape
    body = directory / f"{protocol}-{operation.name}"
    if operation.message is None:
        body.write_text(f"value={VALUE}" if operation.writes else "")
        how = ["--h1", "-H", f":method: {operation.name}",
               "-H", "content-type: application/x-www-form-urlencoded",
               f"http://127.0.0.1:{port}/v2/keys{KEY}"]
    elif protocol == "JSON":
        body.write_bytes(gateway.encode(operation.message))
        how = ["--h1", "-H", "content-type: application/json",
               f"http://127.0.0.1:{port}/v3/{operation.gateway}"]
    else:
        data = operation.message.SerializeToString()
        body.write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
        how = ["-m", str(streams), "-H", "content-type: application/grpc", "-H", "te: trailers",
               f"http://127.0.0.1:{port}/etcdserverpb.{operation.method}"]
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        done = subprocess.run(
            ["h2load", "-n", str(requests), "-c", str(connections),
             *(["-d", str(body)] if body.stat().st_size else []),
             f"--log-file={log.name}", *how], capture_output=True, text=True, check=True)
        latencies = [int(line.split("\t")[2]) for line in log]
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if rate is None or good is None:
        raise RuntimeError(f"h2load printed nothing to read:\n{done.stdout}{done.stderr}")
    return float(rate[1]), int(good[1]), latencies


def revision(port: int, protocol: str) -> int:
    """The store's revision, or its index as v2 has it, by a linearizable read."""
    from harness import JsonClient

    if protocol == "v2":
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/keys?quorum=true") as answer:
            return int(answer.headers["X-Etcd-Index"])
    client = JsonClient(port)
    try:
        return int(client.get("none")["header"]["revision"])
    finally:
        client.close()


def load(pair: Pair, protocol: str, operation: Operation, shape: tuple[int, int], requests: int,
         rounds: int, directory: Path) -> dict[str, list[float]]:
    """Rates and p50 of each kind, a pair of rounds after the other."""
    requests //= ALONE if shape == (1, 1) else 1
    out: dict[str, list[float]] = {f"{k} {f}": [] for k in PROGRAMS for f in ("rate", "p50")}
    for number in range(rounds + 1):
        for kind in PROGRAMS if number % 2 else reversed(PROGRAMS):
            port = pair.ports[kind]
            before = revision(port, protocol)
            rate, good, latencies = h2load(
                port, protocol, operation, shape, requests, directory)
            wrote = revision(port, protocol) - before
            if wrote != (good if operation.writes else 0):
                raise RuntimeError(f"{kind}: {good} successes, but {wrote} revisions")
            if number:  # the first pair warms up
                out[f"{kind} rate"].append(rate)
                out[f"{kind} p50"].append(statistics.median(latencies))
    return out


def rss_mib(cluster: Cluster) -> float:
    """Resident memory of one member, the mean, in MiB."""
    sizes = []
    for member in cluster.members:
        assert member.process is not None
        status = Path(f"/proc/{member.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        sizes.append(int(found[1]) / 1024 if found else 0.0)
    return statistics.mean(sizes)


def start_to_first_write(directory: Path, kind: str, count: int) -> float:
    """Seconds from the start of all processes to the first acknowledged write."""
    home = Path(tempfile.mkdtemp(dir=directory))
    cluster = make_cluster(home, count, program=PROGRAMS[kind], extra=("--log-level=error",))
    started = time.monotonic()
    cluster.start()
    try:
        return first_write(cluster, started)
    finally:
        cluster.stop()
        shutil.rmtree(home)


def first_write(cluster: Cluster, started: float) -> float:
    """Ask one member after the other, every 10 ms, until a write is acknowledged."""
    turn = 0
    alive = [m for m in cluster.members if m.process is not None and m.process.poll() is None]
    while time.monotonic() - started < 30:
        client = alive[turn % len(alive)].client(1.0)
        try:
            client.put("first", "write")
            return time.monotonic() - started
        except (Unanswered, ErrorAnswer):
            turn += 1
            time.sleep(0.01)
        finally:
            client.close()
    raise RuntimeError("no write within 30 s")


def killed_to_first_write(directory: Path, kind: str) -> float:
    """Seconds from kill -9 of the leader to the first write through another member."""
    home = Path(tempfile.mkdtemp(dir=directory))
    cluster = make_cluster(home, 3, program=PROGRAMS[kind], extra=("--log-level=error",))
    cluster.start()
    try:
        leader = cluster.leader()
        time.sleep(1.5)
        leader.kill()
        return first_write(cluster, time.monotonic())
    finally:
        cluster.stop()
        shutil.rmtree(home)


def spread(values: list[float], digits: int = 2) -> str:
    """median (least–greatest)."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def ratios(result: dict[str, list[float]], figure: str) -> list[float]:
    """quorate / etcd, pair by pair."""
    return [a / b for a, b in
            zip(result[f"quorate {figure}"], result[f"etcd {figure}"], strict=True)]


def mount_of(directory: Path) -> str:
    """File system of the data directories."""
    return subprocess.run(["findmnt", "-no", "FSTYPE,SOURCE", "--target", str(directory)],
                          capture_output=True, text=True, check=False).stdout.strip()


def run_load(directory: Path, requests: int, rounds: int, only: str,
             note: Callable[[str], None]) -> list[str]:
    """Rows of the table of rates."""
    rows = []
    for count in (1, 3):
        pair = Pair(directory, count)
        try:
            time.sleep(1)
            idle = {k: rss_mib(c) for k, c in pair.clusters.items()}
            for operation in OPERATIONS:
                for protocol, shape in operation.shapes():
                    if only not in f"{protocol} {operation.name}":
                        continue
                    result = load(
                        pair, protocol, operation, shape, requests, rounds, directory)
                    rows.append(
                        f"| {count} | {protocol} {operation.name} | {shape[0]}×{shape[1]} "
                        f"| {statistics.median(result['etcd rate']):.0f} "
                        f"| {statistics.median(result['quorate rate']):.0f} "
                        f"| **{spread(ratios(result, 'rate'))}** "
                        f"| {spread(ratios(result, 'p50'))} |")
                    note(rows[-1])
            rows.append(f"| {count} | idle memory, MiB a member | | {idle['etcd']:.0f} "
                        f"| {idle['quorate']:.0f} | | |")
        finally:
            pair.stop()
    return rows


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few requests, one round")
    parser.add_argument("--only", default="", metavar="TEXT",
                        help='requests whose name contains this, as "v2" or "gRPC put"')
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"),
                        help="where the data directories go; not a tmpfs")
    options = parser.parse_args()
    requests, rounds, starts = (3000, 1, 2) if options.quick else (30_000, 5, 5)
    directory = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.directory))

    def note(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        version = subprocess.run(["etcd", "--version"], capture_output=True, text=True,
                                 check=True).stdout.split("\n")[0]
        rows = run_load(directory, requests, rounds, options.only, note)
        print(f"Against {version}; data on {mount_of(directory)}; {rounds} pairs of rounds after "
              f"a warm-up; ratio = quorate / etcd: median (least–greatest).\n")
        print("| Members | Request | Connections × streams | etcd/s | quorate/s | Ratio "
              "| Ratio of p50 |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        print("\n".join(rows))
        if options.only:
            return 0
        print("\n| Seconds | etcd | quorate |\n| --- | --- | --- |")
        for title, measure in (
                ("start of one member to first write",
                 lambda kind: start_to_first_write(directory, kind, 1)),
                ("start of three members to first write",
                 lambda kind: start_to_first_write(directory, kind, 3)),
                ("leader killed to first write",
                 lambda kind: killed_to_first_write(directory, kind))):
            seen: dict[str, list[float]] = {kind: [] for kind in PROGRAMS}
            for _ in range(starts):
                for kind in PROGRAMS:
                    seen[kind].append(measure(kind))
            print(f"| {title} | {spread(seen['etcd'])} | {spread(seen['quorate'])} |", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
