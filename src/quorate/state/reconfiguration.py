"""What may become of the cluster's members: changes as they are proposed, and which of them count.

Two kinds of rules, both etcd's. `permitted` judges a committed change by the state before it, so
all members decide alike, whatever was known when it was proposed. The `may_` functions are the
strict checks before a proposal: they keep a change from taking the quorum away (etcd:
--strict-reconfig-check), and look at what only the asked member knows.

Not here: what Raft makes of a change (raft/confchange.py), who asks (member/membership.py).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
)
from quorate.state.errors import Problem, Refused
from quorate.state.members import Member, Members, to_json

LEARNER_READY = 0.9
"""A learner may vote when it has this share of the leader's log (etcd: readyPercent)."""

PEER_URLS_MAX = 16
"""Peer URLs of one member; they are in every answer about members, on every member for good."""

_K = ConfChangeType


def checked_peer_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """Sorted, as etcd keeps them; raises Refused unless each is http(s)://host:port, no path."""
    texts = sorted(url.strip() for url in urls)
    if not 0 < len(texts) <= PEER_URLS_MAX or not all(map(_is_peer_url, texts)):
        raise Refused(Problem.BAD_MEMBER_URLS)
    return tuple(texts)


def _is_peer_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in ("http", "https") and parts.hostname and parts.port
            and text.isprintable() and " " not in text
            and not (parts.path or parts.query or parts.fragment or parts.username))
    except ValueError:  # a port that is none
        return False


# Changes as they are proposed. `number` makes each unlike any other.


def addition(member: Member, number: int, learners_max: int) -> ConfChange:
    """A new member."""
    return ConfChange(
        _K.ADD_LEARNER_NODE if member.is_learner else _K.ADD_NODE, member.id,
        _context(member, learners_max=learners_max), number)


def promotion(member_id: int, number: int) -> ConfChange:
    """A learner becomes a voter."""
    return ConfChange(_K.ADD_NODE, member_id,
                      _context(Member(member_id, "", ()), promote=True), number)


def removal(member_id: int, number: int) -> ConfChange:
    """A member leaves for good."""
    return ConfChange(_K.REMOVE_NODE, member_id, b"", number)


def update(member_id: int, peer_urls: tuple[str, ...], number: int) -> ConfChange:
    """A member is reached elsewhere from now on."""
    return ConfChange(_K.UPDATE_NODE, member_id, to_json(Member(member_id, "", peer_urls)), number)


@dataclass(frozen=True, slots=True)
class Swap:
    """Several changes in one step; ids in the last three."""

    add: tuple[Member, ...] = ()
    promote: tuple[int, ...] = ()
    demote: tuple[int, ...] = ()
    remove: tuple[int, ...] = ()

    def change(self, number: int, learners_max: int) -> ConfChangeV2:
        """As Raft takes it: a joint configuration, which is left by itself."""
        steps = (
            *((_K.ADD_LEARNER_NODE if m.is_learner else _K.ADD_NODE, m.id) for m in self.add),
            *((_K.ADD_NODE, i) for i in self.promote),
            *((_K.ADD_LEARNER_NODE, i) for i in self.demote),
            *((_K.REMOVE_NODE, i) for i in self.remove))
        described = [_context(Member(0, "", ()), learners_max=learners_max, number=number),
                     *map(to_json, self.add)]
        return ConfChangeV2(
            ConfChangeTransition.JOINT_IMPLICIT,
            tuple(ConfChangeSingle(kind, i) for kind, i in steps),
            b"[" + b",".join(described) + b"]")

    def contradiction(self) -> str:
        """What is wrong with it whatever the members are; empty if nothing is."""
        ids = (*self.promote, *self.demote, *self.remove)
        if not ids and not self.add:
            return "the change is empty: name members to add, promote, demote or remove"
        twice = [i for i in ids if ids.count(i) > 1]
        return f"member {twice[0]:x} is named twice: name each member once" if twice else ""


def _context(
    member: Member, *, promote: bool = False, learners_max: int | None = None,
    number: int | None = None,
) -> bytes:
    """The member with what `permitted` has to know, which is never kept."""
    value = json.loads(to_json(member))
    if promote:
        value["isPromote"] = True
    if learners_max is not None:
        value["maxLearners"] = learners_max
    if number is not None:
        value["number"] = number
    return json.dumps(value, separators=(",", ":")).encode()


# After consensus.


def permitted(
    members: Members, change: ConfChange | ConfChangeV2
) -> tuple[ConfChange | ConfChangeV2, Refused | None]:
    """A committed change as it takes effect, and why it does not if so. What is not permitted
    changes nothing, half of a swap less than all (etcd: ValidateConfigurationChange)."""
    refused = _Judgement(members, change).refused()
    if refused is None:
        return change, None
    if isinstance(change, ConfChangeV2):
        return replace(change, changes=tuple(
            replace(step, node_id=0) for step in change.changes)), refused
    return replace(change, node_id=0), refused


class _Judgement:
    """One change, step by step, on a copy of the members."""

    def __init__(self, members: Members, change: ConfChange | ConfChangeV2) -> None:
        self._members = members
        self._after = {member.id: member for member in members.all()}
        self._swap = isinstance(change, ConfChangeV2)
        self._steps = change.changes if isinstance(change, ConfChangeV2) else (
            ConfChangeSingle(change.type, change.node_id),)
        self._described = _described(change.context)
        self._learners_max = min((
            limit for value in self._described.values()
            if isinstance(limit := value.get("maxLearners"), int)), default=None)

    def refused(self) -> Refused | None:
        """Why the change must have no effect, if so."""
        learners = self._learners()
        for step in self._steps:
            if step.node_id == 0:
                continue
            if self._members.is_removed(step.node_id):
                return Refused(Problem.MEMBER_NOT_FOUND)
            problem = (self._bring if step.type in (_K.ADD_NODE, _K.ADD_LEARNER_NODE)
                       else self._alter)(step)
            if problem is not None:
                return Refused(problem)
        limit = self._learners_max
        if limit is not None and self._learners() > max(limit, learners):
            return Refused(Problem.TOO_MANY_LEARNERS)
        if self._steps and len(self._after) and len(self._after) == self._learners():
            return Refused(Problem.NOT_ENOUGH_STARTED_MEMBERS)
        return None

    def _learners(self) -> int:
        return sum(member.is_learner for member in self._after.values())

    def _bring(self, step: ConfChangeSingle) -> Problem | None:
        """A new member, a promotion, or in a swap a demotion."""
        known = self._after.get(step.node_id)
        about = self._described.get(step.node_id, {})
        learns, promote = step.type is _K.ADD_LEARNER_NODE, about.get("isPromote") is True
        if known is None:
            if promote:
                return Problem.MEMBER_NOT_FOUND
            return self._place(Member(step.node_id, "", _urls(about), is_learner=learns))
        if not self._swap and not promote:
            return Problem.MEMBER_EXISTS
        if learns == known.is_learner:
            return Problem.MEMBER_EXISTS if learns else Problem.MEMBER_NOT_LEARNER
        self._after[known.id] = replace(known, is_learner=learns)
        return None

    def _alter(self, step: ConfChangeSingle) -> Problem | None:
        """A removal, or other peer URLs."""
        known = self._after.pop(step.node_id, None)
        if known is None:
            return Problem.MEMBER_NOT_FOUND
        if step.type is _K.REMOVE_NODE:
            # An empty cluster could not even agree to be empty.
            return None if self._after else Problem.NOT_ENOUGH_STARTED_MEMBERS
        return self._place(replace(
            known, peer_urls=_urls(self._described.get(step.node_id, {}))))

    def _place(self, member: Member) -> Problem | None:
        # The members that a swap removes are still reached at theirs while it is joint.
        others = [m for m in self._members.all() if m.id != member.id] + [
            m for m in self._after.values() if m.id != member.id]
        if any(set(member.peer_urls) & set(other.peer_urls) for other in others):
            return Problem.PEER_URL_EXISTS
        self._after[member.id] = member
        return None


def _described(context: bytes) -> dict[int, dict[str, object]]:
    """What a change says of members, by id."""
    try:
        value = json.loads(context) if context else []
    except ValueError:
        return {}
    listed = value if isinstance(value, list) else [value]
    return {one["id"]: one for one in listed
            if isinstance(one, dict) and isinstance(one.get("id"), int)}


def _urls(about: dict[str, object]) -> tuple[str, ...]:
    urls = about.get("peerURLs")
    return tuple(map(str, urls)) if isinstance(urls, list) else ()


# Before consensus: the strict checks.


def may_add_voter(members: Sequence[Member]) -> bool:
    """Whether the members that have started are a quorum with one more voter. A single member may
    always get a second one, or no cluster could grow from one."""
    voters = [m for m in members if not m.is_learner]
    started = _started(voters)
    return (started == 1 and len(voters) == 1) or started >= (len(voters) + 1) // 2 + 1


def may_promote(members: Sequence[Member], member_id: int) -> bool:
    """The same; who is promoted counts for as much as it has started."""
    voters = [m for m in members if not m.is_learner or m.id == member_id]
    return _started(voters) >= len(voters) // 2 + 1


def may_remove_voter(members: Sequence[Member], member_id: int) -> bool:
    """Whether the started ones among the others are a quorum of the others."""
    voters = [m for m in members if not m.is_learner and m.id != member_id]
    return _started(voters) >= len(voters) // 2 + 1


def may_lose(members: Sequence[Member], member_id: int, connected: Collection[int]) -> bool:
    """Whether the connected voters can do without this one, which is connected: whoever is not
    takes nothing away."""
    voters = [m.id for m in members if not m.is_learner]
    active = sum(i in connected for i in voters)
    return member_id not in connected or active - 1 >= 1 + (len(voters) - 1) // 2


def may_swap(members: Sequence[Member], swap: Swap, connected: Collection[int]) -> Problem | None:
    """Why the voters after the swap would be no quorum at once, if so: who has not started, or
    cannot be reached, does not count."""
    gone = {*swap.demote, *swap.remove}
    voters = [m for m in members if m.id not in gone and (not m.is_learner or m.id in swap.promote)]
    quorum = (len(voters) + sum(not m.is_learner for m in swap.add)) // 2 + 1
    if _started(voters) < quorum:
        return Problem.NOT_ENOUGH_STARTED_MEMBERS
    if sum(m.id in connected for m in voters) < quorum:
        return Problem.UNHEALTHY
    return None


def learner_ready(learner_match: int, leader_match: int) -> bool:
    """Whether a learner has enough of the log not to hold the others up as a voter."""
    return learner_match >= leader_match * LEARNER_READY


def _started(members: Iterable[Member]) -> int:
    """Whoever has told its name has started."""
    return sum(bool(m.name) for m in members)
