"""From one configuration to the next (Raft thesis, chapter 4; etcd raft confchange/).

`Changer` checks and computes a change and leaves the old configuration untouched.
`encode_conf_change` and `decode_conf_change` are the protobuf form of changes in entries, by
hand so that Raft depends on nothing.

Not here: when a change may be proposed and what a leader does after one (leader.py, core.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from quorate.raft.errors import ConfigError
from quorate.raft.tracker import Config, Progress, Tracker
from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    EntryType, InFlightLimits,
)

Result = tuple[Config, dict[int, Progress]]


def as_v2(change: ConfChange | ConfChangeV2) -> ConfChangeV2:
    """The old form as the new one."""
    if isinstance(change, ConfChangeV2):
        return change
    return ConfChangeV2(
        changes=(ConfChangeSingle(change.type, change.node_id),), context=change.context)


def leaves_joint(change: ConfChangeV2) -> bool:
    """Whether the change is "leave the joint configuration"."""
    return not change.changes and change.transition is ConfChangeTransition.AUTO


def enters_joint(change: ConfChangeV2) -> tuple[bool, bool]:
    """(auto leave, whether a joint configuration is used)."""
    if change.transition is ConfChangeTransition.AUTO and len(change.changes) <= 1:
        return False, False
    return change.transition is not ConfChangeTransition.JOINT_EXPLICIT, True


@dataclass(slots=True)
class Changer:
    """Changes on top of a tracker. New progress starts at `last_index`, so that a new member is
    probed at the end of the log first."""

    tracker: Tracker
    last_index: int

    def change(self, change: ConfChangeV2) -> Result:
        """Any change; raises ConfigError."""
        if leaves_joint(change):
            return self.leave_joint()
        auto_leave, joint = enters_joint(change)
        if joint:
            return self.enter_joint(change.changes, auto_leave=auto_leave)
        return self.simple(change.changes)

    def simple(self, changes: Iterable[ConfChangeSingle]) -> Result:
        """At most one voter more or less."""
        edit = _Edit(self)
        if edit.config.joint:
            raise ConfigError("can't apply simple config change in joint config")
        edit.apply(changes)
        if len(self.tracker.config.voters ^ edit.voters) > 1:
            raise ConfigError("more than one voter changed without entering joint config")
        return edit.result()

    def enter_joint(self, changes: Iterable[ConfChangeSingle], *, auto_leave: bool) -> Result:
        """Any number of changes, with both majorities deciding until the joint state is left."""
        edit = _Edit(self)
        if edit.config.joint:
            raise ConfigError("config is already joint")
        if not edit.voters:
            raise ConfigError("can't make a zero-voter config joint")
        edit.outgoing = set(edit.voters)
        edit.apply(changes)
        edit.auto_leave = auto_leave
        return edit.result()

    def leave_joint(self) -> Result:
        """Only the incoming majority decides from now on."""
        edit = _Edit(self)
        if not edit.config.joint:
            raise ConfigError("can't leave a non-joint config")
        for node_id in edit.learners_next:
            edit.learners.add(node_id)
            edit.progress[node_id].is_learner = True
        for node_id in edit.outgoing - edit.voters - edit.learners:
            del edit.progress[node_id]
        edit.learners_next, edit.outgoing, edit.auto_leave = set(), set(), False
        return edit.result()


class _Edit:
    """A configuration under change, on copies."""

    def __init__(self, changer: Changer) -> None:
        tracker = changer.tracker
        self.config = tracker.config
        self._limits = tracker.limits
        self._next = max(changer.last_index, 1)
        self.voters = set(self.config.voters)
        self.outgoing = set(self.config.outgoing)
        self.learners = set(self.config.learners)
        self.learners_next = set(self.config.learners_next)
        self.auto_leave = self.config.auto_leave
        self.progress = {i: p.copy(self._limits) for i, p in tracker.progress.items()}

    def apply(self, changes: Iterable[ConfChangeSingle]) -> None:
        """Each step in turn. Id 0 means that the server withdrew the step."""
        for change in changes:
            if change.node_id == 0:
                continue
            match change.type:
                case ConfChangeType.ADD_NODE:
                    self._make_voter(change.node_id)
                case ConfChangeType.ADD_LEARNER_NODE:
                    self._make_learner(change.node_id)
                case ConfChangeType.REMOVE_NODE:
                    self._remove(change.node_id)
        if not self.voters:
            raise ConfigError("removed all voters")

    def result(self) -> Result:
        """The checked outcome."""
        config = Config(
            frozenset(self.voters), frozenset(self.outgoing), frozenset(self.learners),
            frozenset(self.learners_next), self.auto_leave)
        _check(config, self.progress)
        return config, self.progress

    def _make_voter(self, node_id: int) -> None:
        progress = self.progress.get(node_id)
        if progress is None:
            self._start(node_id, is_learner=False)
        else:
            progress.is_learner = False
        self.learners.discard(node_id)
        self.learners_next.discard(node_id)
        self.voters.add(node_id)

    def _make_learner(self, node_id: int) -> None:
        progress = self.progress.get(node_id)
        if progress is None:
            self._start(node_id, is_learner=True)
            self.learners.add(node_id)
            return
        if progress.is_learner:
            return
        self._remove(node_id)
        self.progress[node_id] = progress
        if node_id in self.outgoing:
            self.learners_next.add(node_id)
        else:
            progress.is_learner = True
            self.learners.add(node_id)

    def _remove(self, node_id: int) -> None:
        if node_id not in self.progress:
            return
        self.voters.discard(node_id)
        self.learners.discard(node_id)
        self.learners_next.discard(node_id)
        if node_id not in self.outgoing:
            del self.progress[node_id]

    def _start(self, node_id: int, *, is_learner: bool) -> None:
        self.progress[node_id] = Progress(
            match=0, next_index=self._next, limits=self._limits, is_learner=is_learner,
            recent_active=True)


def _check(config: Config, progress: dict[int, Progress]) -> None:
    """The invariants of a configuration."""
    for node_id in sorted(
            config.voters | config.outgoing | config.learners | config.learners_next):
        if node_id not in progress:
            raise ConfigError(f"no progress for {node_id}")
    for node_id in sorted(config.learners_next):
        if node_id not in config.outgoing:
            raise ConfigError(f"{node_id} is in LearnersNext, but not Voters[1]")
        if progress[node_id].is_learner:
            raise ConfigError(f"{node_id} is in LearnersNext, but is already marked as learner")
    for node_id in sorted(config.learners):
        for half, voters in ((1, config.outgoing), (0, config.voters)):
            if node_id in voters:
                raise ConfigError(f"{node_id} is in Learners and Voters[{half}]")
        if not progress[node_id].is_learner:
            raise ConfigError(f"{node_id} is in Learners, but is not marked as learner")
    if not config.joint:
        if config.learners_next:
            raise ConfigError("cfg.LearnersNext must be nil when not joint")
        if config.auto_leave:
            raise ConfigError("AutoLeave must be false when not joint")


def restore(limits: InFlightLimits, state: ConfState, last_index: int) -> Result:
    """The configuration that a snapshot describes, built by the very changes that lead to it."""
    add, learn = ConfChangeType.ADD_NODE, ConfChangeType.ADD_LEARNER_NODE
    incoming = [ConfChangeSingle(ConfChangeType.REMOVE_NODE, i) for i in state.voters_outgoing]
    incoming += [ConfChangeSingle(add, i) for i in state.voters]
    incoming += [ConfChangeSingle(learn, i) for i in (*state.learners, *state.learners_next)]
    tracker = Tracker(limits)
    changer = Changer(tracker, last_index)
    first = [ConfChangeSingle(add, i) for i in state.voters_outgoing]
    for change in first or incoming:
        tracker.switch(*changer.simple((change,)))
    if first:
        tracker.switch(*changer.enter_joint(incoming, auto_leave=state.auto_leave))
    return tracker.config, tracker.progress


# The protobuf form (raftpb: ConfChange, ConfChangeV2). Varints below 2**64 only.


def encode_conf_change(change: ConfChange | ConfChangeV2) -> bytes:
    """raftpb bytes. A V2 change with nothing in it is empty."""
    if isinstance(change, ConfChange):
        return (_field(1, change.id) + _field(2, change.type) + _field(3, change.node_id)
                + _bytes(4, change.context))
    steps = b"".join(
        _bytes(2, _field(1, step.type) + _field(2, step.node_id), always=True)
        for step in change.changes)
    return _field(1, change.transition) + steps + _bytes(3, change.context)


def decode_conf_change(kind: EntryType, data: bytes) -> ConfChange | ConfChangeV2:
    """The change in an entry of this type; raises ConfigError for what is none."""
    try:
        if kind is EntryType.CONF_CHANGE:
            return _decode_v1(data)
        return _decode_v2(data)
    except (IndexError, ValueError) as malformed:
        raise ConfigError(f"malformed configuration change {data!r}") from malformed


def _decode_v1(data: bytes) -> ConfChange:
    change = ConfChange(ConfChangeType.ADD_NODE, 0)
    for number, value in _fields(data):
        if isinstance(value, bytes):
            change = replace(change, context=value) if number == 4 else change
        elif number == 1:
            change = replace(change, id=value)
        elif number == 2:
            change = replace(change, type=ConfChangeType(value))
        elif number == 3:
            change = replace(change, node_id=value)
    return change


def _decode_v2(data: bytes) -> ConfChangeV2:
    transition, steps, context = ConfChangeTransition.AUTO, [], b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            transition = ConfChangeTransition(value)
        elif number == 2 and isinstance(value, bytes):
            step = dict(_fields(value))
            steps.append(ConfChangeSingle(
                ConfChangeType(_number(step.get(1, 0))), _number(step.get(2, 0))))
        elif number == 3 and isinstance(value, bytes):
            context = value
    return ConfChangeV2(transition, tuple(steps), context)


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("bytes where a number belongs")
    return value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: int) -> bytes:
    return bytes((number << 3,)) + _varint(value) if value else b""


def _bytes(number: int, value: bytes, *, always: bool = False) -> bytes:
    if not value and not always:
        return b""
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def _fields(data: bytes) -> Iterable[tuple[int, int | bytes]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("varint is too long")

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            length = varint()
            if at + length > len(data):
                raise ValueError("field is cut short")
            at += length
            yield tag >> 3, data[at - length:at]
        else:
            raise ValueError(f"unexpected wire type {tag & 7}")
