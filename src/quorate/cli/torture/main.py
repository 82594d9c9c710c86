"""`quorate torture`: real members on loopback, tormented, and judged by what they answered.

Kills, pauses and impairs links between three or more real processes while recorded clients work
over the client port; then heals everything, wants progress, and lets the judges of the simulation
look at the whole history. Needs no root.

Not here: faults (nemesis.py), clients (workload.py), the judgement (verdict.py).
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from quorate.check.revisions import EventLog
from quorate.cli.demo.members import NoAnswer, Store, call
from quorate.cli.demo.processes import Workspace
from quorate.cli.torture.nemesis import Nemesis, strokes
from quorate.cli.torture.verdict import History, judge, read_log
from quorate.cli.torture.workload import Actor, Holder, Watching, Writer

WRITERS, HOLDERS, WATCHERS = 4, 3, 3
SETTLE_S = 10.0
"""Clients go on for this long when everything is healed: the longest lease, and its end."""

PROGRESS_S = 10.0
"""Within this every member must take part again."""

SHOW_S = 5.0


@dataclass
class Torture:
    """One run."""

    store: Store
    rng: random.Random
    minutes: float
    actors: list[Actor] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.nemesis = Nemesis(self.store)
        self.leaders: set[int] = set()
        self.longest_s = 0.0

    def run(self) -> History:
        """Torment, heal, collect; raises TimeoutError if the cluster does not come back."""
        self.store.start()
        ports = [member.port for member in self.store.members]
        for kind, count in ((Writer, WRITERS), (Holder, HOLDERS), (Watching, WATCHERS)):
            for number in range(count):
                name = f"{kind.__name__.lower()}{number}"
                self.actors.append(kind(
                    name, ports, random.Random(self.rng.random()), self.stop))
        began = time.monotonic()
        for actor in self.actors:
            actor.thread.start()
        try:
            self._torment(began + 60 * self.minutes)
        finally:
            self.nemesis.relent()
        healed = time.monotonic()
        self._calm(healed + SETTLE_S)
        until = time.monotonic()
        self.stop.set()
        for actor in self.actors:
            actor.thread.join(30)
        return History(self.actors, self._logs(), (began, healed + PROGRESS_S), until)

    def _torment(self, until: float) -> None:
        began = time.monotonic()
        for stroke in strokes(self.rng):
            self._calm(time.monotonic() + stroke.calm_s)
            if time.monotonic() >= until:
                return
            said = self.nemesis.strike(stroke)
            self._show(f"{time.monotonic() - began:5.0f} s  {said}")
            self._calm(time.monotonic() + stroke.for_s)
            self.nemesis.relent()

    def _calm(self, until: float) -> None:
        """Wait, and see how long nobody has been able to write."""
        while (left := until - time.monotonic()) > 0:
            written = max(actor.last_write for actor in self.actors)
            if written:
                self.longest_s = max(self.longest_s, time.monotonic() - written)
            time.sleep(min(0.05, left))

    def _show(self, text: str) -> None:
        answers = sum(len(actor.calls) for actor in self.actors)
        print(f"{text:48} {answers:7} calls so far", flush=True)

    def _logs(self) -> list[EventLog]:
        """The events of all members up to one revision; they must all get there."""
        deadline, revision = time.monotonic() + PROGRESS_S, 0
        for member in self.store.members:
            while True:
                try:
                    answer = call(member.port, "/v3/kv/range", {"key": "bm9uZQ=="}, PROGRESS_S)
                    break
                except NoAnswer as failure:
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"{member.name} does not answer {PROGRESS_S:.0f} s after healing: "
                            f"{failure}; its log ends:\n{member.process.tail()}") from failure
                    time.sleep(0.1)
            revision = max(revision, int(answer["header"]["revision"]))
            self.leaders.add(int(answer["header"].get("raft_term", 0)))
        return [read_log(member.port, revision) for member in self.store.members]


def main(argv: list[str] | None = None) -> int:
    """0 if every promise held, 1 if one was broken, 2 if the members could not be started."""
    parser = argparse.ArgumentParser(
        prog="quorate torture", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--seed", type=int, help="of the faults; drawn if not given")
    parser.add_argument("--keep", action="store_true", help="keep data and logs of the members")
    options = parser.parse_args(argv)
    if not 1 <= options.members <= 7:
        print(f"quorate torture: --members {options.members}: 1 to 7 members can be tormented",
              file=sys.stderr)
        return 2
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    workspace = Workspace(options.keep, unprivileged=False)
    store = Store(workspace, [sys.executable, "-m", "quorate.cli.serve"], options.members)
    torture = Torture(store, random.Random(seed), options.minutes)
    print(f"{options.members} members, {options.minutes:g} minutes, seed {seed}", flush=True)
    wrong = ["it was interrupted"]
    try:
        history = torture.run()
        wrong = judge(history)
        print(_report(torture, history))
    except TimeoutError as failure:
        wrong = [str(failure)]
    except KeyboardInterrupt:
        workspace.keep = True
    finally:
        torture.stop.set()
        store.stop()
        workspace.keep = workspace.keep or bool(wrong)
        workspace.remove()
    print("no violation" if not wrong else "\n".join(
        [*(f"VIOLATION: {text}" for text in wrong[:20]),
         f"{len(wrong)} violations; data and logs are in {workspace.path}"]))
    return 1 if wrong else 0


def _report(torture: Torture, history: History) -> str:
    calls = history.calls
    kinds = Counter(type(call.request).__name__.removesuffix("Request").lower()
                    for call in calls if call.response is not None)
    leases = [lease for holder in history.holders for lease in holder.histories]
    renewals = sum(r.acknowledged for lease in leases for r in lease.renewals)
    watched = sum(len(r.events) for w in history.watchers for s in w.sessions
                  for r in s.responses)
    faults = torture.nemesis.counts
    return "\n".join((
        f"operations judged: {sum(kinds.values())} ("
        + ", ".join(f"{number} {kind}" for kind, number in kinds.most_common()) + ")",
        f"unknown outcomes:  {sum(call.response is None for call in calls)}",
        f"faults:            {sum(faults.values())} ("
        + ", ".join(f"{number} {kind}" for kind, number in faults.most_common()) + ")",
        f"leases:            {len(leases)}, of which {sum(x.ended is not None for x in leases)} "
        f"ended; {renewals} renewals, {sum(len(h.holds) for h in history.holders)} locks held",
        f"watches:           {sum(len(w.sessions) for w in history.watchers)}, {watched} events",
        f"history:           {len(history.logs[0])} revisions, raft term "
        f"{max(torture.leaders, default=0)}, {torture.longest_s:.1f} s at most without a write",
    ))
