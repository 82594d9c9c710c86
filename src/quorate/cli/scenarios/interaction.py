"""Runs interaction scenario files: a few nodes, their storage, and the messages between them.

The command language is that of anchors/raft.md §1.4. Defaults of the harness: election after 3
ticks, heartbeat each tick, no size limits. The state machine concatenates payloads; a snapshot is
always of the newest applied state.

After every directive `violations` looks at all nodes (§1.8 mode B), because stripping log lines
hides what two scenarios are about. Not here: the container format (datadriven.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from quorate.cli.scenarios.datadriven import LOG_LEVELS, Directive, parse_line
from quorate.cli.scenarios.inspect import Inspector
from quorate.cli.scenarios.maths import conf_changes
from quorate.raft import describe
from quorate.raft.confchange import decode_conf_change
from quorate.raft.errors import RaftError
from quorate.raft.log import NO_LIMIT
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig, ReadOnly
from quorate.raft.sync import SyncNode
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, ConfChange, ConfChangeTransition, ConfChangeV2,
    ConfState, Entry, EntryType, HardState, InFlightLimits, Message, MessageType, Snapshot,
    StorageError,
)

ELECTION_TICKS = 3
TRANSITIONS = {
    "auto": ConfChangeTransition.AUTO, "implicit": ConfChangeTransition.JOINT_IMPLICIT,
    "explicit": ConfChangeTransition.JOINT_EXPLICIT,
}
LOCAL = (LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD)


@dataclass(slots=True)
class Member:
    """One node with what surrounds it."""

    node: Node
    storage: MemoryStorage
    async_storage: bool
    history: list[Snapshot]
    append_work: list[Message] = field(default_factory=list)
    apply_work: list[Message] = field(default_factory=list)


class CommandFailed(Exception):
    """A command's own error; its text is the output."""


class InteractionScenario:
    """All nodes of one file."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._messages: list[Message] = []
        self._out: list[str] = []
        self._indent = ""
        self._level = 0
        self._inspector = Inspector()

    def run(self, directive: Directive) -> str:
        """The output of one directive."""
        self._out = []
        error = self._attempt(directive)
        if directive.command != "propose-conf-change" and error is None:
            for line in directive.input:
                command, arguments = parse_line(line)
                error = self._attempt(directive.having(command, arguments))
                if error is not None and not self._quiet:
                    self._out.append(error)
                    error = None
        if error is not None:
            if self._quiet:
                return error
            self._out.append(error)
        return "".join(self._out) or "ok"

    def violations(self) -> list[str]:
        """Broken invariants of any node, now."""
        return self._inspector.take_changed() + [
            f"node {m.node.id}: {text}" for m in self._members
            for text in self._inspector.violations(m.node, m.storage)]

    @property
    def _quiet(self) -> bool:
        return LOG_LEVELS[self._level] == "NONE"

    def _attempt(self, directive: Directive) -> str | None:
        handler = _HANDLERS.get(directive.command)
        if handler is None:
            return "unknown command"
        try:
            handler(self, directive)
        except (RaftError, StorageError, CommandFailed, ValueError) as failed:
            return str(failed)
        return None

    def _print(self, text: str) -> None:
        if self._quiet:
            return
        for line in text.split("\n"):
            if line:
                self._out.append(f"{self._indent}{line}\n")

    def _indented(self, work: Callable[[], object]) -> None:
        old, self._indent = self._indent, self._indent + "  "
        try:
            work()
        finally:
            self._indent = old

    def _member(self, node_id: int) -> Member:
        if not 0 < node_id <= len(self._members):
            raise CommandFailed(f"there is no node {node_id}")
        return self._members[node_id - 1]

    # Commands.

    def _add_nodes(self, d: Directive) -> None:
        value = d.value
        state = ConfState(
            voters=tuple(int(v) for v in d.values("voters") if v),
            learners=tuple(int(v) for v in d.values("learners") if v))
        snapshot = Snapshot(int(value("index", "0")), 0, state, value("content").encode())
        bootstrap = snapshot != Snapshot()
        if bootstrap:
            if snapshot.index <= 1:
                raise CommandFailed("index must be specified as > 1 due to bootstrap")
            snapshot = replace(snapshot, term=1)
        for _ in range(d.ids[0]):
            self._members.append(self._new_member(d, snapshot, bootstrap))

    def _new_member(self, d: Directive, snapshot: Snapshot, bootstrap: bool) -> Member:
        storage = MemoryStorage()
        history = [snapshot]
        storage.snapshot_source = lambda: history[-1]
        if bootstrap:
            storage.apply_snapshot(snapshot)

        def flag(key: str) -> bool:
            return d.value(key, "false") == "true"

        config = NodeConfig(
            id=len(self._members) + 1, storage=storage,
            random_timeout=lambda ticks: 2 * ticks - 1, election_tick=ELECTION_TICKS,
            applied=snapshot.index, async_storage=flag("async-storage-writes"),
            max_committed_bytes_per_ready=int(
                d.value("max-committed-size-per-ready", str(NO_LIMIT))),
            in_flight=InFlightLimits(int(d.value("inflight", str(2**31 - 1)))),
            check_quorum=flag("checkquorum"), pre_vote=flag("prevote"),
            read_only=ReadOnly(d.value("read-only", "safe")),
            step_down_on_removal=flag("step-down-on-removal"),
            disable_conf_change_validation=flag("disable-conf-change-validation"))
        node = Node(config) if config.async_storage else SyncNode(config)
        return Member(node, storage, config.async_storage, history)

    def _campaign(self, d: Directive) -> None:
        self._member(d.ids[0]).node.campaign()

    def _compact(self, d: Directive) -> None:
        self._member(d.ids[0]).storage.compact(d.ids[1])
        self._raft_log(d)

    def _raft_log(self, d: Directive) -> None:
        storage = self._member(d.ids[0]).storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self._print(f"log is empty: first index={first}, last index={last}")
        else:
            self._print(describe.entries(storage.entries(first, last + 1, NO_LIMIT)))

    def _raft_state(self, _d: Directive) -> None:
        for member in self._members:
            raft = member.node.raft
            voter = "Voter" if raft.id in raft.tracker.config.voter_ids else "Non-Voter"
            self._print(f"{raft.id}: {describe.role(raft.role)} ({voter}) "
                        f"Term:{raft.term} Lead:{raft.lead}")

    def _status(self, d: Directive) -> None:
        node = self._member(d.ids[0]).node
        if node.lead == node.id:
            self._print(describe.progress_map(node.raft.tracker.progress))

    def _log_level(self, d: Directive) -> None:
        self._set_level(d.arguments[0].key)

    def _set_level(self, name: str) -> None:
        if name.upper() not in LOG_LEVELS:
            raise CommandFailed(f"log levels must be either of {list(LOG_LEVELS)}")
        self._level = LOG_LEVELS.index(name.upper())

    def _set_timeout(self, d: Directive) -> None:
        self._member(d.ids[0]).node.raft.election_timeout = int(d.value("timeout"))

    def _tick_election(self, d: Directive) -> None:
        for _ in range(ELECTION_TICKS):
            self._member(d.ids[0]).node.tick()

    def _tick_heartbeat(self, d: Directive) -> None:
        self._member(d.ids[0]).node.tick()

    def _transfer(self, d: Directive) -> None:
        self._member(int(d.value("from"))).node.transfer_leader(int(d.value("to")))

    def _forget_leader(self, d: Directive) -> None:
        self._member(d.ids[0]).node.forget_leader()

    def _report_unreachable(self, d: Directive) -> None:
        self._member(d.ids[0]).node.report_unreachable(d.ids[1])

    def _propose(self, d: Directive) -> None:
        self._member(int(d.arguments[0].key)).node.propose(d.arguments[1].key.encode())

    def _propose_conf_change(self, d: Directive) -> None:
        transition = d.value("transition", "auto")
        if transition not in TRANSITIONS:
            raise CommandFailed(f"unknown transition {transition}")
        changes = conf_changes(" ".join(d.input))
        change: ConfChange | ConfChangeV2 = ConfChangeV2(TRANSITIONS[transition], changes)
        if d.value("v1", "false") == "true":
            if len(changes) != 1 or transition != "auto":
                raise CommandFailed(
                    "v1 conf change can only have one operation and no transition")
            change = ConfChange(changes[0].type, changes[0].node_id)
        self._member(d.ids[0]).node.propose_conf_change(change)

    def _send_snapshot(self, d: Directive) -> None:
        source, to = self._member(d.ids[0]), d.ids[1]
        message = Message(
            MessageType.SNAP, to=to, from_=source.node.id, term=source.node.term,
            snapshot=source.storage.snapshot())
        self._messages.append(message)
        self._print(describe.message(message))

    def _deliver_command(self, d: Directive) -> None:
        kind = d.value("type")
        drop = [int(v) for v in d.values("drop") if v]
        count = sum(self._deliver(to, kind) for to in d.ids)
        count += sum(self._deliver(to, kind, drop=True) for to in drop)
        if not count:
            self._print("no messages")

    def _each(self, d: Directive, heading: str, work: Callable[[Member], None]) -> None:
        for node_id in d.ids:
            member = self._member(node_id)
            if len(d.ids) > 1:
                self._print(f"> {node_id} {heading}")
                self._indented(lambda member=member: work(member))  # type: ignore[misc]
            else:
                work(member)

    def _ready_command(self, d: Directive) -> None:
        self._each(d, "handling Ready", self._process_ready)

    def _append_command(self, d: Directive) -> None:
        self._each(d, "processing append thread", self._process_append)

    def _apply_command(self, d: Directive) -> None:
        self._each(d, "processing apply thread", self._process_apply)

    def _stabilize(self, d: Directive) -> None:
        level = self._level
        if d.values("log-level"):
            self._set_level(d.value("log-level"))
        members = [self._member(i) for i in d.ids] or self._members
        try:
            while self._stabilize_once(members):
                pass
        finally:
            self._level = level

    def _stabilize_once(self, members: list[Member]) -> bool:
        busy = False
        for m in members:
            if m.node.has_ready():
                self._print(f"> {m.node.id} handling Ready")
                self._indented(lambda m=m: self._process_ready(m))  # type: ignore[misc]
                busy = True
        for m in members:
            if any(message.to == m.node.id for message in self._messages):
                self._print(f"> {m.node.id} receiving messages")
                self._indented(lambda m=m: self._deliver(m.node.id))  # type: ignore[misc]
                busy = True
        for m in members:
            if m.append_work:
                self._print(f"> {m.node.id} processing append thread")
                while m.append_work:
                    self._indented(lambda m=m: self._process_append(m))  # type: ignore[misc]
                busy = True
        for m in members:
            if m.apply_work:
                self._print(f"> {m.node.id} processing apply thread")
                while m.apply_work:
                    self._indented(lambda m=m: self._process_apply(m))  # type: ignore[misc]
                busy = True
        return busy

    # The surroundings of a node.

    def _deliver(self, to: int, kind: str = "", *, drop: bool = False) -> int:
        """Deliver or drop what waits for `to`; local messages are never dropped."""
        mine = [m for m in self._messages if m.to == to and not (drop and _is_local(m))
                and (not kind or describe.message_type(m.type) == kind)]
        chosen = {id(m) for m in mine}
        self._messages = [m for m in self._messages if id(m) not in chosen]
        for message in mine:
            self._print(("dropped: " if drop else "") + describe.message(message))
            if not drop:
                try:
                    self._member(to).node.step(message)
                except RaftError as refused:
                    self._print(str(refused))
        return len(mine)

    def _process_ready(self, m: Member) -> None:
        ready = m.node.ready()
        self._print(describe.ready(ready))
        if not m.async_storage:
            self._store(m, ready.hard_state, ready.entries, ready.snapshot)
            self._apply(m, ready.committed_entries)
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                m.append_work.append(message)
            elif message.to == LOCAL_APPLY_THREAD:
                m.apply_work.append(message)
            else:
                self._messages.append(message)
        if isinstance(m.node, SyncNode):
            m.node.advance()

    def _process_append(self, m: Member) -> None:
        if not m.append_work:
            return self._print("no append work to perform")
        work = m.append_work.pop(0)
        self._print("Processing:\n" + describe.message(replace(work, responses=())))
        hard_state = HardState(work.term, work.vote, work.commit) if work.term else None
        with self._inspector.same_log(m.node):
            self._store(m, hard_state, work.entries, work.snapshot)
        return self._respond(work)

    def _process_apply(self, m: Member) -> None:
        if not m.apply_work:
            return self._print("no apply work to perform")
        work = m.apply_work.pop(0)
        self._print("Processing:\n" + describe.message(replace(work, responses=())))
        self._apply(m, work.entries)
        return self._respond(work)

    def _respond(self, work: Message) -> None:
        self._print("Responses:\n" + "\n".join(map(describe.message, work.responses)))
        self._messages.extend(work.responses)

    def _store(
        self, m: Member, hard_state: HardState | None, entries: tuple[Entry, ...],
        snapshot: Snapshot | None,
    ) -> None:
        if hard_state is not None:
            m.storage.set_hard_state(hard_state)
        if snapshot is not None:
            if entries:
                raise CommandFailed("can't apply snapshot and entries at the same time")
            m.storage.apply_snapshot(snapshot)
        else:
            m.storage.append(entries)

    def _apply(self, m: Member, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            last = m.history[-1]
            data, state = entry.data, last.conf_state
            if entry.type is not EntryType.NORMAL:
                change = decode_conf_change(entry.type, entry.data)
                data, state = change.context, m.node.apply_conf_change(change)
            m.history.append(Snapshot(entry.index, entry.term, state, last.data + data))


def _is_local(message: Message) -> bool:
    return message.from_ == message.to or message.from_ in LOCAL or message.to in LOCAL


_HANDLERS: dict[str, Callable[[InteractionScenario, Directive], None]] = {
    "_breakpoint": lambda scenario, directive: None,
    "add-nodes": InteractionScenario._add_nodes,
    "campaign": InteractionScenario._campaign,
    "compact": InteractionScenario._compact,
    "deliver-msgs": InteractionScenario._deliver_command,
    "process-ready": InteractionScenario._ready_command,
    "process-append-thread": InteractionScenario._append_command,
    "process-apply-thread": InteractionScenario._apply_command,
    "log-level": InteractionScenario._log_level,
    "raft-log": InteractionScenario._raft_log,
    "raft-state": InteractionScenario._raft_state,
    "set-randomized-election-timeout": InteractionScenario._set_timeout,
    "stabilize": InteractionScenario._stabilize,
    "status": InteractionScenario._status,
    "tick-election": InteractionScenario._tick_election,
    "tick-heartbeat": InteractionScenario._tick_heartbeat,
    "transfer-leadership": InteractionScenario._transfer,
    "forget-leader": InteractionScenario._forget_leader,
    "send-snapshot": InteractionScenario._send_snapshot,
    "propose": InteractionScenario._propose,
    "propose-conf-change": InteractionScenario._propose_conf_change,
    "report-unreachable": InteractionScenario._report_unreachable,
}
