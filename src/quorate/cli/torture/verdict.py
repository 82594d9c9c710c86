"""Judges what tormented members answered: the same judges as the simulation's (check/).

Not here: how the history came about (workload.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from quorate.check.keyvalue import Change
from quorate.check.leases import judge_leases, judge_locks
from quorate.check.revisions import Call, EventLog, judge_revisions
from quorate.check.watches import EventIndex, judge_resumption, judge_watch
from quorate.cli.torture.wire import Wire
from quorate.cli.torture.workload import Actor, Holder, Watching, lease_key
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

EARLY_S = 0.02
"""How much earlier than its promise a lease may seem to end: clocks of threads that wait."""

ELECTION_S = 3.0
"""Elections that a lease's end may wait for, and the way of its event to a watcher."""


@dataclass(frozen=True, slots=True)
class History:
    """Everything that was recorded; the log comes from one member, and `logs` from all."""

    actors: Sequence[Actor]
    logs: Sequence[EventLog]
    trouble: tuple[float, float]
    until: float

    @property
    def calls(self) -> list[Call]:
        """Of all clients."""
        return [call for actor in self.actors for call in actor.calls]

    @property
    def holders(self) -> list[Holder]:
        """Those with leases."""
        return [actor for actor in self.actors if isinstance(actor, Holder)]

    @property
    def watchers(self) -> list[Watching]:
        """Those that watch."""
        return [actor for actor in self.actors if isinstance(actor, Watching)]


def judge(history: History) -> list[str]:
    """What is wrong, in sentences; empty if nothing is."""
    wrong = [f"{actor.name} crashed: {actor.crashed}" for actor in history.actors
             if actor.crashed]
    log = history.logs[0]
    if any(other != log for other in history.logs[1:]):
        wrong.append("members differ in the events that they give from the start")
    wrong += judge_revisions(history.calls, log)
    index = EventIndex(log)
    for watcher in history.watchers:
        for session in watcher.sessions:
            wrong += judge_watch(session, index)
        wrong += judge_resumption(watcher.sessions, index)
    return wrong + _judge_leases(history)


def _judge_leases(history: History) -> list[str]:
    """A lease is known to be gone when any watcher heard that its key was deleted."""
    leases = []
    for holder in history.holders:
        for lease in holder.histories:
            heard = [w.arrived[key] for w in history.watchers
                     if (key := lease_key(lease.id)) in w.arrived]
            lease.ended = min(heard) if heard else None
            # Without a key nobody can see its end.
            has_key = any(change.key == lease_key(lease.id)
                          for _, changes in history.logs[0] for change in changes)
            lease.observed_until = history.until if has_key else 0.0
            leases.append(lease)
    wrong = judge_leases(leases, election_s=ELECTION_S, trouble=(history.trouble,),
                         early_s=EARLY_S,
                         remembered=lambda _id, at: max(at, history.trouble[1]))
    return wrong + judge_locks([hold for h in history.holders for hold in h.holds])


def read_log(port: int, revision: int) -> EventLog:
    """Everything that a member tells a watch from the start, up to a revision."""
    log: list[tuple[int, list[Change]]] = []
    stop = threading.Event()
    while not log or log[-1][0] < revision:
        before = len(log)
        create = rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=log[-1][0] + 1 if log else 2)
        for response in Wire(port, ELECTION_S).watch(create, stop):
            for at, events in groupby(response.events, key=lambda e: e.kv.mod_revision):
                log.append((at, [Change(
                    e.kv.key, None if e.type == kv_pb2.Event.DELETE else e.kv) for e in events]))
            if log and log[-1][0] >= revision:
                break
        if len(log) == before:
            raise TimeoutError(f"the member on port {port} tells no events from revision "
                               f"{create.start_revision} on")
    return [pair for pair in log if pair[0] <= revision]  # leases end after it, too
