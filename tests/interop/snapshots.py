"""Snapshots between quorate and stock etcd, both ways, with many keys; scripts/snapshots runs it.

One member of each is given a history (keyspace.py) and saved by stock `etcdctl`. Stock `etcdctl`
looks at the file of quorate's and restores it, and three members of stock etcd start on it; three
members of quorate start on what `quorate import` makes of stock etcd's file, and again of its data
directory when it is stopped. Every member that was begun so must have what the source had, byte
for byte, and go on; both sources, having the same history, must have the same. The exit code is 1
unless all is equal. The last lines are times and sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).parent))

from harness import Cluster, Member, make_cluster, running_cluster
from keyspace import Content, History, Store, content, differences
from procfs import MIB

from quorate.wire._generated import rpc_pb2 as rpc

MEMBERS = 3
SEED = 1
"""Of both histories."""

COMMAND_S_MAX = 600.0
START_S_MAX = 120.0
INITIAL = ("--name=", "--data-dir=", "--initial-")
"""Flags that `etcdctl snapshot restore` and `quorate import` share."""

IMPORT = (sys.executable, "-m", "quorate.cli.main", "import")
ETCD = ["etcd"]
QUIET = ("--log-level=error",)


@dataclass
class Round:
    """What is measured and found."""

    keys: int
    directory: Path
    wrong: list[str] = field(default_factory=list)
    table: list[tuple[str, float, int]] = field(default_factory=list)
    """Step, seconds, bytes (0: none)."""

    @contextlib.contextmanager
    def step(self, name: str, path: Path | None = None) -> Iterator[None]:
        """Tells, and takes the time and the size of what was made."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        size = path.stat().st_size if path is not None else 0
        self.table.append((name, seconds, size))
        tell(f"{name}: {seconds:.1f} s" + (f", {size / MIB:.1f} MiB" if size else ""))

    def expect(self, who: str, before: Content, after: Content) -> None:
        """Notes what differs."""
        wrong = [f"{who}: {text}" for text in differences(before, after)]
        self.wrong += wrong
        for text in wrong[:10]:
            tell(f"WRONG {text}")
        tell(f"{who}: {after}" + ("" if wrong else " — all equal"))


def tell(text: str) -> None:
    """Progress."""
    print(text, flush=True)


def run(*command: object) -> str:
    """Standard output; exits with what was said unless it succeeded."""
    done = subprocess.run(
        [*map(str, command)], env={**os.environ, "ETCDCTL_API": "3"}, check=False,
        capture_output=True, text=True, timeout=COMMAND_S_MAX)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed: {done.stdout}{done.stderr}")
    return done.stdout


def initial(member: Member) -> list[str]:
    """What says which member it is."""
    return [word for word in member.arguments if word.startswith(INITIAL)]


@contextlib.contextmanager
def store_of(member: Member) -> Iterator[Store]:
    """A connection."""
    store = Store(member.client_port)
    try:
        yield store
    finally:
        store.close()


def source(round_: Round, name: str, member: Member, file: Path) -> Content:
    """A member gets its history and is saved; what it had."""
    with store_of(member) as store:
        with round_.step(f"{name}: history written"):
            History(store, round_.keys, SEED).write(lambda text: tell(f"{name}: {text}"))
        with round_.step(f"{name}: etcdctl snapshot save", file):
            run("etcdctl", f"--endpoints=127.0.0.1:{member.client_port}", "snapshot", "save", file)
        found = content(store)
    tell(f"{name}: {found}")
    with round_.step(f"{name}: etcdctl snapshot status"):
        status = json.loads(run("etcdctl", "snapshot", "status", file, "-w", "json"))
    if status["revision"] != found.revision:
        round_.wrong.append(f"{name}: snapshot status says revision {status['revision']}")
    return found


def goes_on(round_: Round, name: str, cluster: Cluster, before: Content) -> None:
    """Members are started, compared, written to, and stopped."""
    try:
        with contextlib.ExitStack() as stack:
            with round_.step(f"{name}: start of {MEMBERS} to all reading"):
                cluster.start()
                cluster.leader(START_S_MAX)
                stores = [stack.enter_context(store_of(member)) for member in cluster.members]
                for store in stores:
                    store.ask(rpc.RangeRequest(key=b"x"))
            for member, store in zip(cluster.members, stores, strict=True):
                round_.expect(f"{name}, {member.name}", before, content(store))
            lease_id, (_, keys) = next(
                one for one in sorted(before.leases.items()) if one[1][1])
            put = stores[0].ask(rpc.PutRequest(key=b"/after", lease=lease_id))
            revoked = stores[-1].ask(rpc.LeaseRevokeRequest(ID=lease_id))
            left = stores[1].ask(rpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True))
            now = put.header.revision, revoked.header.revision, left.count
            expected = before.revision + 1, before.revision + 2, before.keys - len(keys)
            if now != expected:
                round_.wrong.append(f"{name}: a put and a revocation give (revision, revision, "
                                    f"keys) {now}, not {expected}")
    finally:
        cluster.stop()


def out(round_: Round) -> Content:
    """From quorate to stock etcd; what the source had."""
    directory = round_.directory / "out"
    directory.mkdir()
    file = directory / "saved.db"
    with running_cluster(directory, 1) as ours:
        before = source(round_, "quorate", ours.members[0], file)
    stock = make_cluster(directory / "stock", MEMBERS, program=ETCD, extra=QUIET)
    for member in stock.members:
        with round_.step(f"etcdctl snapshot restore, {member.name}"):
            member.log.parent.mkdir(exist_ok=True)
            run("etcdctl", "snapshot", "restore", file, *initial(member))
    goes_on(round_, "etcd on quorate's snapshot", stock, before)
    return before


def in_(round_: Round) -> Content:
    """From stock etcd to quorate; what the source had."""
    directory = round_.directory / "in"
    directory.mkdir()
    file = directory / "saved.db"
    with running_cluster(directory, 1, program=ETCD, extra=QUIET) as theirs:
        member = theirs.members[0]
        before = source(round_, "etcd", member, file)
        member.signal(signal.SIGTERM)
        member.wait()
        data = member.data_dir
    for form, path in (("snapshot", file), ("data directory", data)):
        cluster = make_cluster(directory / form, MEMBERS)
        for member in cluster.members:
            with round_.step(f"quorate import of the {form}, {member.name}"):
                member.log.parent.mkdir(exist_ok=True)
                said = run(*IMPORT, path, *initial(member))
            if f"hash-kv {before.hashes[before.revision]}\n" not in said:
                round_.wrong.append(f"quorate import of the {form} says {said}")
        goes_on(round_, f"quorate on etcd's {form}", cluster, before)
    return before


def table(round_: Round) -> str:
    """Times and sizes; steps that differ in the member only are one, with the longest time."""
    rows: dict[str, tuple[float, int]] = {}
    for name, seconds, size in round_.table:
        name = name.partition(", m")[0]
        rows[name] = max(seconds, rows.get(name, (0.0, 0))[0]), size
    return "\n".join(
        [f"{'step (the longest of equal ones)':60} seconds    MiB"]
        + [f"{name:60} {seconds:7.1f} {size / MIB:6.1f}" if size else f"{name:60} {seconds:7.1f}"
           for name, (seconds, size) in rows.items()])


def both_ways(directory: Path, keys: int) -> Round:
    """Everything."""
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    round_ = Round(keys, directory)
    ours, theirs = out(round_), in_(round_)
    round_.expect("both sources", theirs, ours)
    return round_


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    options = parser.parse_args()
    if options.keys < 1000:
        parser.error("--keys below 1000 leaves nothing to delete and to compact")
    if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
        parser.error("stock etcd is not installed: apt-get install etcd-server etcd-client")
    tell(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory(prefix="quorate-snapshots-") as directory:
        round_ = both_ways(Path(directory), options.keys)
    print(f"\n{table(round_)}\n")
    for text in round_.wrong:
        print(f"WRONG {text}")
    print(f"{options.keys} keys, both ways: " + (
        f"{len(round_.wrong)} differences" if round_.wrong else "everything equal"))
    return int(bool(round_.wrong))


if __name__ == "__main__":
    sys.exit(main())
