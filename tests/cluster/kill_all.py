"""kill -9 of all members at random moments under load: nothing acknowledged may be lost.

Run `python tests/cluster/kill_all.py --rounds 100` for the long form; the test run has a short
one (test_kill_all.py). Each round: start all members, write from several threads, kill everything
at a random moment, start again, and look for every write that was ever acknowledged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import (
    START_S_MAX, Cluster, ErrorAnswer, JsonClient, Member, Unanswered, b64, running_cluster,
)

WRITERS = 4


@dataclass
class Ledger:
    """What the writers were told."""

    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, key: str, value: str, revision: int) -> None:
        """A write was acknowledged."""
        with self.lock:
            self.acknowledged[key] = (value, revision)


def write(cluster: Cluster, ledger: Ledger, name: str, stop: threading.Event) -> None:
    """Put fresh keys until stopped; keys are never written twice, so outcomes are plain."""
    rng = random.Random(name)
    count = 0
    client = rng.choice(cluster.members).client(2.0)
    while not stop.is_set():
        count += 1
        key, value = f"{name}/{count}", f"value-{name}-{count}"
        try:
            ledger.note(key, value, client.put(key, value))
        except (Unanswered, ErrorAnswer):
            client.close()
            client = rng.choice(cluster.members).client(2.0)
            stop.wait(0.01)
    client.close()


def caught_up(member: Member) -> JsonClient:
    """A client of a member that serves, which it may not have done yet, though there is a leader,
    and that has applied all that was acknowledged: a linearizable read waits for it."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        client = member.client()
        try:
            client.get("x")
        except Unanswered:
            client.close()
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
        else:
            return client


def verify(cluster: Cluster, ledger: Ledger) -> None:
    """Every acknowledged write is there, and the members agree."""
    leader = cluster.leader()
    client = leader.client()
    answer = client.call("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0")})
    found = {kv["key"]: (kv["value"], int(kv["mod_revision"])) for kv in answer.get("kvs", [])}
    for key, (value, revision) in ledger.acknowledged.items():
        if found.get(b64(key)) != (b64(value), revision):
            raise AssertionError(
                f"lost: {key} = {value} of revision {revision}, found {found.get(b64(key))}")
    revision = answer["header"]["revision"]
    hashes = set()
    for member in cluster.members:
        one = caught_up(member)
        hashes.add(one.call("/v3/maintenance/hashkv", {"revision": revision}).get("hash"))
        one.close()
    if len(hashes) != 1:
        raise AssertionError(f"members differ at revision {revision}: {hashes}")
    client.close()


def torture(directory: Path, rounds: int, seed: int, report: bool = True) -> int:
    """The number of writes that were acknowledged over all rounds."""
    rng = random.Random(seed)
    ledger = Ledger()
    with running_cluster(directory, 3, extra=("--snapshot-count=500",)) as cluster:
        for number in range(1, rounds + 1):
            stop = threading.Event()
            writers = [threading.Thread(target=write, args=(cluster, ledger, f"{number}-{n}", stop))
                       for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.05, 1.0))
            for member in rng.sample(cluster.members, len(cluster.members)):
                member.kill()
            stop.set()
            for writer in writers:
                writer.join()
            cluster.start()
            verify(cluster, ledger)
            if report:
                print(f"round {number}: {len(ledger.acknowledged)} acknowledged, all there",
                      flush=True)
    return len(ledger.acknowledged)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quorate-kill-") as directory:
        count = torture(Path(directory), options.rounds, options.seed)
    print(f"{options.rounds} rounds, {count} acknowledged writes, none lost, hashes equal")


if __name__ == "__main__":
    main()
