"""Readable forms of Raft's values, for scenario files and for operators' debug dumps.

The shapes are those of etcd's raft library (anchors/raft.md §1.5), because scenario files compare
them. Nothing in here is on a hot path. Not here: log texts; Raft writes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quorate.raft.confchange import as_v2, decode_conf_change
from quorate.raft.errors import ConfigError
from quorate.raft.quorum import INFINITE_INDEX
from quorate.raft.tracker import Config, Progress
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, NONE, ConfChangeSingle, ConfChangeType, ConfState,
    Entry, EntryType, HardState, Message, MessageType, Ready, Role, Snapshot, SoftState,
)

_ENTRY_TYPE = {
    EntryType.NORMAL: "EntryNormal", EntryType.CONF_CHANGE: "EntryConfChange",
    EntryType.CONF_CHANGE_V2: "EntryConfChangeV2",
}
_ROLE = {
    Role.FOLLOWER: "StateFollower", Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader", Role.PRE_CANDIDATE: "StatePreCandidate",
}
_STEP = {
    ConfChangeType.ADD_NODE: "v", ConfChangeType.ADD_LEARNER_NODE: "l",
    ConfChangeType.REMOVE_NODE: "r", ConfChangeType.UPDATE_NODE: "u",
}
_TARGET = {
    NONE: "None", LOCAL_APPEND_THREAD: "AppendThread", LOCAL_APPLY_THREAD: "ApplyThread",
}
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r",
            34: '\\"', 92: "\\\\"}


def message_type(kind: MessageType) -> str:
    """`MsgAppResp` for APP_RESP."""
    return "Msg" + "".join(word.capitalize() for word in kind.name.split("_"))


def role(value: Role) -> str:
    """`StateLeader`."""
    return _ROLE[value]


def quoted(data: bytes) -> str:
    """Bytes as Go's %q prints a string."""
    out = []
    for char in data.decode("utf-8", "surrogateescape"):
        code = ord(char)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def hard_state(state: HardState) -> str:
    """`Term:1 Vote:2 Commit:3`."""
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"Term:{state.term}{vote} Commit:{state.commit}"


def soft_state(state: SoftState) -> str:
    """`Lead:1 State:StateLeader`."""
    return f"Lead:{state.lead} State:{_ROLE[state.role]}"


def conf_changes(steps: Iterable[ConfChangeSingle]) -> str:
    """`v1 l2`."""
    return " ".join(f"{_STEP[step.type]}{step.node_id}" for step in steps)


def _ids(ids: Iterable[int]) -> str:
    return "[" + " ".join(map(str, ids)) + "]"


def conf_state(state: ConfState) -> str:
    """The five parts in one line."""
    return (f"Voters:{_ids(state.voters)} VotersOutgoing:{_ids(state.voters_outgoing)} "
            f"Learners:{_ids(state.learners)} LearnersNext:{_ids(state.learners_next)} "
            f"AutoLeave:{str(state.auto_leave).lower()}")


def snapshot(value: Snapshot) -> str:
    """Index, term and configuration."""
    return f"Index:{value.index} Term:{value.term} ConfState:{conf_state(value.conf_state)}"


def entry(value: Entry) -> str:
    """`1/11 EntryNormal "payload"`."""
    if value.type is EntryType.NORMAL:
        text = quoted(value.data)
    else:
        try:
            text = conf_changes(as_v2(decode_conf_change(value.type, value.data)).changes)
        except ConfigError as malformed:
            text = str(malformed)
    return f"{value.term}/{value.index} {_ENTRY_TYPE[value.type]}" + (f" {text}" if text else "")


def entries(values: Iterable[Entry]) -> str:
    """One line each."""
    return "".join(entry(value) + "\n" for value in values)


def _target(node_id: int) -> str:
    return _TARGET.get(node_id) or f"{node_id:x}"


def message(value: Message, indent: str = "") -> str:
    """One line, or several where there are entries, a snapshot or responses."""
    out = [f"{indent}{_target(value.from_)}->{_target(value.to)} {message_type(value.type)} "
           f"Term:{value.term} Log:{value.log_term}/{value.index}"]
    if value.reject:
        out.append(f" Rejected (Hint: {value.reject_hint})")
    if value.commit:
        out.append(f" Commit:{value.commit}")
    if value.vote:
        out.append(f" Vote:{value.vote}")
    if len(value.entries) == 1:
        out.append(f" Entries:[{entry(value.entries[0])}]")
    elif value.entries:
        lines = "".join(f"\n{indent}  {entry(one)}" for one in value.entries)
        out.append(f" Entries:[{lines}\n{indent}]")
    if value.snapshot is not None and not value.snapshot.empty:
        out.append(f"\n{indent}  Snapshot: {snapshot(value.snapshot)}")
    if value.responses:
        lines = "".join("\n" + message(one, indent + "  ") for one in value.responses)
        out.append(f" Responses:[{lines}\n{indent}]")
    return "".join(out)


def ready(value: Ready) -> str:
    """All parts that are there."""
    out = []
    if value.soft_state is not None:
        out.append(soft_state(value.soft_state) + "\n")
    if value.hard_state is not None:
        out.append(f"HardState {hard_state(value.hard_state)}\n")
    if value.read_states:
        states = " ".join(f"{{{s.index} {_ids(s.context)}}}" for s in value.read_states)
        out.append(f"ReadStates [{states}]\n")
    if value.entries:
        out.append("Entries:\n" + entries(value.entries))
    if value.snapshot is not None:
        out.append(f"Snapshot {snapshot(value.snapshot)}\n")
    if value.committed_entries:
        out.append("CommittedEntries:\n" + entries(value.committed_entries))
    if value.messages:
        out.append("Messages:\n" + "".join(message(one) + "\n" for one in value.messages))
    if not out:
        return "<empty Ready>"
    return f"Ready MustSync={str(value.must_sync).lower()}:\n" + "".join(out)


def progress(value: Progress) -> str:
    """One follower as its leader sees it."""
    out = f"{value.state.value} match={value.match} next={value.next}"
    out += " learner" if value.is_learner else ""
    out += " paused" if value.paused else ""
    out += f" pendingSnap={value.pending_snapshot}" if value.pending_snapshot else ""
    out += "" if value.recent_active else " inactive"
    if value.in_flight:
        out += f" inflight={len(value.in_flight)}" + ("[full]" if value.in_flight.full else "")
    return out


def progress_map(values: Mapping[int, Progress]) -> str:
    """One line a member, ascending."""
    return "".join(f"{i}: {progress(values[i])}\n" for i in sorted(values))


def _voters(ids: Iterable[int]) -> str:
    return "(" + " ".join(map(str, sorted(ids))) + ")"


def config(value: Config) -> str:
    """`voters=(1 2)&&(3) learners=(4) autoleave`."""
    out = f"voters={_voters(value.voters)}"
    out += f"&&{_voters(value.outgoing)}" if value.outgoing else ""
    out += f" learners={_voters(value.learners)}" if value.learners else ""
    out += f" learners_next={_voters(value.learners_next)}" if value.learners_next else ""
    return out + (" autoleave" if value.auto_leave else "")


def index(value: int) -> str:
    """A committed index; the empty majority's is ∞."""
    return "∞" if value == INFINITE_INDEX else str(value)


def quorum(voters: Iterable[int], acked: Mapping[int, int]) -> str:
    """A row per voter with a bar as long as its rank."""
    ids = sorted(voters)
    if not ids:
        return "<empty majority quorum>"
    ranked = sorted(ids, key=lambda i: (acked.get(i, 0), i))
    bars, bar = {}, 0
    for rank, voter in enumerate(ranked):
        if rank and acked.get(ranked[rank - 1], 0) < acked.get(voter, 0):
            bar = rank
        bars[voter] = bar
    lines = [" " * len(ids) + "    idx\n"]
    for voter in ids:
        length = bars[voter]
        shape = ("x" * length + ">" + " " * (len(ids) - length) if voter in acked
                 else "?" + " " * len(ids))
        lines.append(f"{shape} {acked.get(voter, 0):5d}    (id={voter})\n")
    return "".join(lines)
