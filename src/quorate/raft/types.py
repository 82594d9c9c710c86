"""Raft's vocabulary: entries, messages, configurations and what a node hands to its driver.

Names and numbers are those of etcd's raftpb, so that its scenario files, wire format and
documentation all speak of the same things. Everything here is an immutable value.

`Entry` is a NamedTuple, not a dataclass: one is made per proposal, and a tuple is built
about four times as fast as a frozen dataclass.

Not here: behaviour (core.py), encodings (wire/raft.py), readable forms (describe.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

NONE = 0
"""The id of no node."""

LOCAL_APPEND_THREAD = 2**64 - 1
LOCAL_APPLY_THREAD = 2**64 - 2
"""Addressees of storage work (etcd raft.go LocalAppendThread, LocalApplyThread)."""


class InvariantBroken(Exception):
    """A programmer's error: the process must stop rather than go on. Never caught."""


class EntryType(IntEnum):
    """What an entry's data is."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


class MessageType(IntEnum):
    """raftpb.MessageType; numbers above 10000 are quorate's own."""

    HUP = 0
    BEAT = 1
    PROP = 2
    APP = 3
    APP_RESP = 4
    VOTE = 5
    VOTE_RESP = 6
    SNAP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    UNREACHABLE = 10
    SNAP_STATUS = 11
    CHECK_QUORUM = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESP = 16
    PRE_VOTE = 17
    PRE_VOTE_RESP = 18
    STORAGE_APPEND = 19
    STORAGE_APPEND_RESP = 20
    STORAGE_APPLY = 21
    STORAGE_APPLY_RESP = 22
    FORGET_LEADER = 23
    NOTICE = 10001
    """A member's message to a member (wire/peer.proto) in `context`; Raft never sees it."""


class Entry(NamedTuple):
    """One log entry."""

    term: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    data: bytes = b""
    type: EntryType = EntryType.NORMAL


class HardState(NamedTuple):
    """What must be on disk before a message that reflects it leaves. Commit may lag."""

    term: int = 0
    vote: int = NONE
    commit: int = 0


@dataclass(frozen=True, slots=True)
class ConfState:
    """A configuration as snapshots carry it; all lists ascending."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    @property
    def members(self) -> set[int]:
        """Everybody in any part of it."""
        return {*self.voters, *self.learners, *self.voters_outgoing, *self.learners_next}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point of the log that stands for everything before it. `data` is opaque to Raft."""

    index: int = 0
    term: int = 0
    conf_state: ConfState = ConfState()
    data: bytes = b""

    @property
    def empty(self) -> bool:
        """Whether this is the absence of a snapshot."""
        return self.index == 0


@dataclass(slots=True)
class Message:
    """raftpb.Message. Fields mean what etcd's raft.go says for each type.

    Not frozen, because that triples the cost of making one and a dozen are made for every write;
    nothing changes a message after it is made.
    """

    type: MessageType
    to: int = NONE
    from_: int = NONE
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    vote: int = NONE
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    responses: tuple[Message, ...] = ()


class ConfChangeType(IntEnum):
    """raftpb.ConfChangeType."""

    ADD_NODE = 0
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    ADD_LEARNER_NODE = 3


class ConfChangeTransition(IntEnum):
    """raftpb.ConfChangeTransition."""

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


@dataclass(frozen=True, slots=True)
class ConfChangeSingle:
    """One step of a configuration change."""

    type: ConfChangeType
    node_id: int


@dataclass(frozen=True, slots=True)
class ConfChange:
    """raftpb.ConfChange: the old form, one step. Entry type CONF_CHANGE."""

    type: ConfChangeType
    node_id: int
    context: bytes = b""
    id: int = 0


@dataclass(frozen=True, slots=True)
class ConfChangeV2:
    """raftpb.ConfChangeV2: any number of steps; none means "leave the joint configuration"."""

    transition: ConfChangeTransition = ConfChangeTransition.AUTO
    changes: tuple[ConfChangeSingle, ...] = ()
    context: bytes = b""


class Role(IntEnum):
    """What a node is in its term."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    PRE_CANDIDATE = 3


class SoftState(NamedTuple):
    """What a driver may want to show; never stored."""

    lead: int
    role: Role


class ReadState(NamedTuple):
    """A confirmed read: serve `context`'s reads once `index` is applied."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    context: bytes


@dataclass(slots=True)
class Ready:
    """What a node wants done, in asynchronous-storage form. Made as often as a message is.

    `messages` hold STORAGE_APPEND (to LOCAL_APPEND_THREAD) and STORAGE_APPLY
    (to LOCAL_APPLY_THREAD) among the messages to peers. When such work is done the driver
    hands each of its `responses` to `Node.step` (own id) or to the network (another's).
    """

    soft_state: SoftState | None = None
    hard_state: HardState | None = None
    read_states: tuple[ReadState, ...] = ()
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    committed_entries: tuple[Entry, ...] = ()
    messages: tuple[Message, ...] = ()
    must_sync: bool = False


class Storage(Protocol):
    """The stable log as the node reads it (etcd raft storage.go).

    `term` and `entries` raise `Compacted` below `first_index` and `Unavailable` above
    `last_index`; `term(first_index - 1)` is known.
    """

    def initial_state(self) -> tuple[HardState, ConfState]: ...

    def first_index(self) -> int: ...

    def last_index(self) -> int: ...

    def term(self, index: int) -> int: ...

    def entries(self, low: int, high: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries of [low, high), as many as fit `max_bytes` but at least one."""
        ...

    def snapshot(self) -> Snapshot:
        """The newest snapshot; raises `SnapshotUnavailable` while none can be had."""
        ...


class StorageError(Exception):
    """Root of what a `Storage` may raise."""


class Compacted(StorageError):
    """The index is below the first that is kept."""


class Unavailable(StorageError):
    """The index is above the last that is there."""


class SnapshotUnavailable(StorageError):
    """No snapshot right now; ask again later."""


@dataclass(frozen=True, slots=True)
class InFlightLimits:
    """Flow control towards one follower; 0 bytes means no limit in bytes."""

    messages: int = 256
    bytes: int = field(default=0)
