"""The cluster's members as the log has them; ids are never used twice.

Ids: the first 8 bytes of SHA-1 over peer URLs and token, so that every member of a static cluster
computes the same ones (surface §7). Stored as etcd's member JSON (rpc-fields §7.6).

Not here: which changes count (reconfiguration.py), what Raft counts (raft/tracker.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha1

from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState,
)
from quorate.state.backend import Backend, Bucket

REMOVED = b"removed"


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `name` is empty until it has started."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


def member_id(peer_urls: Iterable[str], token: str, now_s: int | None) -> int:
    """The id of a member; `now_s` only for members added to a running cluster."""
    text = "".join(sorted(peer_urls)) + token + ("" if now_s is None else str(now_s))
    return int.from_bytes(sha1(text.encode()).digest()[:8], "big")


def cluster_id(ids: Iterable[int], content: bytes = b"") -> int:
    """The id of a cluster that begins with these members, and with something in it if `content`,
    a digest of that, is not empty."""
    data = b"".join(i.to_bytes(8, "big") for i in sorted(ids))
    return int.from_bytes(sha1(data + content).digest()[:8], "big")


def to_json(member: Member) -> bytes:
    """etcd's form: `{"id":1,"peerURLs":[...],"name":...,"clientURLs":[...]}`."""
    out: dict[str, object] = {"id": member.id, "peerURLs": list(member.peer_urls)}
    if member.is_learner:
        out["isLearner"] = True
    if member.name:
        out["name"] = member.name
    if member.client_urls:
        out["clientURLs"] = list(member.client_urls)
    return json.dumps(out, separators=(",", ":")).encode()


def from_json(data: bytes) -> Member:
    """See `to_json`; raises ValueError."""
    return _from_value(json.loads(data))


def _from_value(value: object) -> Member:
    if not isinstance(value, dict) or not isinstance(value.get("id"), int):
        raise ValueError(f"not a member: {value!r}")
    return Member(
        value["id"], str(value.get("name", "")), tuple(map(str, value.get("peerURLs") or ())),
        tuple(map(str, value.get("clientURLs") or ())), bool(value.get("isLearner", False)))


def from_json_list(data: bytes) -> list[Member]:
    """One member as `to_json` writes it, or a list of them; raises ValueError."""
    value = json.loads(data)
    return [_from_value(v) for v in (value if isinstance(value, list) else [value])]


class Members:
    """Bucket.MEMBER."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def all(self) -> list[Member]:
        """Ascending by id."""
        return [from_json(value) for _, value in self._backend.scan(Bucket.MEMBER, b"", None)
                if value != REMOVED]

    def get(self, id_: int) -> Member | None:
        """One member."""
        value = self._backend.get(Bucket.MEMBER, id_.to_bytes(8, "big"))
        return None if value in (None, REMOVED) else from_json(value or b"")

    def is_removed(self, id_: int) -> bool:
        """Whether that id was a member once and never can be again."""
        return self._backend.get(Bucket.MEMBER, id_.to_bytes(8, "big")) == REMOVED

    def add(self, member: Member) -> None:
        """Add or replace."""
        self._backend.put(Bucket.MEMBER, member.id.to_bytes(8, "big"), to_json(member))

    def set_attributes(self, id_: int, name: str, client_urls: Iterable[str]) -> None:
        """What a member says of itself when it has started; of unknown ids nothing is kept."""
        member = self.get(id_)
        if member is not None:
            self.add(replace(member, name=name, client_urls=tuple(client_urls)))

    def apply_conf_change(
        self, change: ConfChange | ConfChangeV2, state: ConfState
    ) -> None:
        """A committed configuration change that led to `state`. Its context describes the members
        added or changed. Whoever is in no part of the configuration any more is removed for good:
        in a joint one that is later than the change which asks for it."""
        if isinstance(change, ConfChange):
            steps: tuple[ConfChangeSingle, ...] = (
                ConfChangeSingle(change.type, change.node_id),)
        else:
            steps = change.changes
        for step in steps:
            self._apply_step(step, change.context)
        current = state.members
        for member in self.all():
            if member.id not in current:
                self._backend.put(Bucket.MEMBER, member.id.to_bytes(8, "big"), REMOVED)

    def _apply_step(self, step: ConfChangeSingle, context: bytes) -> None:
        if step.node_id == 0 or self.is_removed(step.node_id):
            return
        if step.type is ConfChangeType.REMOVE_NODE:
            return
        described = self._described(step.node_id, context) or self.get(step.node_id)
        if described is not None:
            learner = step.type is ConfChangeType.ADD_LEARNER_NODE
            if step.type is ConfChangeType.UPDATE_NODE:
                learner = described.is_learner
            self.add(replace(described, is_learner=learner))

    def _described(self, id_: int, context: bytes) -> Member | None:
        if not context:
            return None
        try:
            described = [m for m in from_json_list(context) if m.id == id_]
        except ValueError:
            return None
        if not described:
            return None
        member, known = described[0], self.get(id_)
        if known is not None and not member.name:
            member = replace(member, name=known.name, client_urls=known.client_urls,
                             peer_urls=member.peer_urls or known.peer_urls)
        return member
