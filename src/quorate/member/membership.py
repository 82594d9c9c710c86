"""What clients may do to the cluster's members: add, promote, update, remove, swap, hand over.

A change is checked against what this member knows of the cluster (etcd's strict checks), proposed,
and judged again by everybody when it is committed. What only the leader can judge, how far learners
are, is forwarded to it over the peer port.

Not here: the rules (state/reconfiguration.py), sockets (peers/), encodings for clients (api/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from google.protobuf.message import DecodeError, Message as Proto

from quorate.member.core import MemberCore
from quorate.member.service import Done
from quorate.raft.types import ConfChange, ConfChangeV2
from quorate.state import reconfiguration as rules
from quorate.state.errors import Problem, Refused
from quorate.state.members import Member, from_json_list, member_id, to_json
from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc

CONNECTED_S = 5.0
"""How long every voter must have been connected before one is added (etcd: HealthInterval)."""

PROMOTE_PATH = "/members/promote/"
RECONFIGURE_PATH = "/members/reconfigure"
"""On the peer port, POST: the first is etcd's, with the id in decimal."""

Respond = Callable[[int, bytes], None]
"""HTTP status and body."""


class Links(Protocol):
    """What the member's connections can tell and do."""

    def active_since(self, member_id: int) -> float | None:
        """When the member was connected, by the driver's clock; None if it is not."""
        ...

    def post(self, member: Member, path: str, body: bytes, respond: Respond) -> None:
        """Ask another member on its peer port; status 0 if it cannot be reached."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """--strict-reconfig-check and --max-learners."""

    strict: bool = True
    learners_max: int = 1


DEFAULT_RULES = Rules()


class Membership:
    """Part of `MemberService`. Without `links` no other member counts as connected."""

    def __init__(
        self, core: MemberCore, wake: Callable[[], None], limits: Rules, links: Links | None
    ) -> None:
        self._core = core
        self._wake = wake
        self._rules = limits
        self._links = links

    def header(self) -> rpc.ResponseHeader:
        """Without a revision, as etcd's answers about members are."""
        header = self._core.header()
        header.revision = 0
        return header

    def listed(self) -> list[rpc.Member]:
        """The members as clients see them."""
        return [_shown(member) for member in self._members()]

    def member_list(self, request: rpc.MemberListRequest, done: Done) -> None:
        """Cluster.MemberList; without `linearizable` it is answered without a leader, too."""

        def ready(refused: Refused | None) -> None:
            done(refused or rpc.MemberListResponse(header=self.header(), members=self.listed()))

        if not request.linearizable:
            return ready(None)
        self._core.read(ready)
        return self._wake()

    def add(self, request: rpc.MemberAddRequest, done: Done) -> None:
        """Cluster.MemberAdd."""
        try:
            member = self._new(request.peerURLs, learner=request.isLearner)
        except Refused as refused:
            return done(refused)
        if self._rules.strict:
            if not member.is_learner and not rules.may_add_voter(self._members()):
                return done(Refused(Problem.NOT_ENOUGH_STARTED_MEMBERS))
            if self._voters() - self._connected(CONNECTED_S):
                return done(Refused(Problem.UNHEALTHY))
        change = rules.addition(member, self._core.ids.next(), self._rules.learners_max)
        return self._propose(change, done, lambda: rpc.MemberAddResponse(
            header=self.header(), member=_shown(member), members=self.listed()))

    def remove(self, request: rpc.MemberRemoveRequest, done: Done) -> None:
        """Cluster.MemberRemove."""
        members = self._members()
        if self._rules.strict and not any(m.id == request.ID and m.is_learner for m in members):
            if not rules.may_remove_voter(members, request.ID):
                return done(Refused(Problem.NOT_ENOUGH_STARTED_MEMBERS))
            if not rules.may_lose(members, request.ID, self._connected()):
                return done(Refused(Problem.UNHEALTHY))
        return self._propose(
            rules.removal(request.ID, self._core.ids.next()), done,
            lambda: rpc.MemberRemoveResponse(header=self.header(), members=self.listed()))

    def update(self, request: rpc.MemberUpdateRequest, done: Done) -> None:
        """Cluster.MemberUpdate."""
        try:
            urls = rules.checked_peer_urls(request.peerURLs)
        except Refused as refused:
            return done(refused)
        return self._propose(
            rules.update(request.ID, urls, self._core.ids.next()), done,
            lambda: rpc.MemberUpdateResponse(header=self.header(), members=self.listed()))

    def promote(self, request: rpc.MemberPromoteRequest, done: Done) -> None:
        """Cluster.MemberPromote, judged by the leader."""
        if not self._core.is_leader:
            return self._forward(
                f"{PROMOTE_PATH}{request.ID}", b"", done, lambda body: rpc.MemberPromoteResponse(
                    header=self.header(), members=map(_shown, from_json_list(body))))
        if not self._learner_ready(request.ID):
            return done(Refused(Problem.LEARNER_NOT_READY))
        members = self._members()
        if self._rules.strict and not rules.may_promote(members, request.ID):
            return done(Refused(Problem.NOT_ENOUGH_STARTED_MEMBERS))
        return self._propose(
            rules.promotion(request.ID, self._core.ids.next()), done,
            lambda: rpc.MemberPromoteResponse(header=self.header(), members=self.listed()))

    def reconfigure(self, request: cluster.ReconfigureRequest, done: Done) -> None:
        """quorate.v1.Cluster.Reconfigure: all of it in one step, judged by the leader."""
        try:
            swap = rules.Swap(
                tuple(self._new(new.peerURLs, learner=new.isLearner) for new in request.add),
                tuple(request.promote), tuple(request.demote), tuple(request.remove))
        except Refused as refused:
            return done(refused)
        if wrong := swap.contradiction():
            return done(Refused(Problem.MALFORMED, wrong))
        if not self._core.is_leader:
            return self._forward(RECONFIGURE_PATH, request.SerializeToString(), done,
                                 self._forwarded_swap)
        if not all(map(self._learner_ready, swap.promote)):
            return done(Refused(Problem.LEARNER_NOT_READY))
        if self._rules.strict and (
                problem := rules.may_swap(self._members(), swap, self._connected())) is not None:
            return done(Refused(problem))
        change = swap.change(self._core.ids.next(), self._rules.learners_max)
        return self._propose(change, done, lambda: cluster.ReconfigureResponse(
            header=self.header(), added=map(_shown, swap.add),
            # Who leaves is a member until the joint configuration ends, a round later.
            members=[m for m in self.listed() if m.ID not in swap.remove]))

    def move_leader(self, request: rpc.MoveLeaderRequest, done: Done) -> None:
        """Maintenance.MoveLeader, at the leader only; its answer has no header."""
        core = self._core
        if not core.is_leader:
            return done(Refused(Problem.NOT_LEADER))
        target = core.machine.members.get(request.targetID)
        if target is None or target.is_learner:
            return done(Refused(Problem.BAD_LEADER_TRANSFEREE))

        def moved(refused: Refused | None) -> None:
            done(refused or rpc.MoveLeaderResponse())

        core.handover.to(target.id, moved, core.deadline())
        return self._wake()

    def answer_peer(self, path: str, body: bytes, respond: Respond) -> bool:
        """Serve what another member forwards to this one as the leader; whether the path is one
        of these. Errors are the problem's name, with etcd's status."""
        call: Callable[[Done], None]
        if path == RECONFIGURE_PATH:
            try:
                swap = cluster.ReconfigureRequest.FromString(body)
            except DecodeError:
                respond(400, b"not a ReconfigureRequest")
                return True
            call = partial(self.reconfigure, swap)
        elif path.startswith(PROMOTE_PATH) and path[len(PROMOTE_PATH):].isdecimal():
            id_ = int(path[len(PROMOTE_PATH):])
            if id_ >= 1 << 64:
                return False
            call = partial(self.promote, rpc.MemberPromoteRequest(ID=id_))
        else:
            return False

        def done(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                respond(_STATUS.get(outcome.problem, 503), outcome.problem.name.encode())
            elif path == RECONFIGURE_PATH:
                respond(200, outcome.SerializeToString())
            else:
                respond(200, b"[" + b",".join(map(to_json, self._members())) + b"]")

        if self._core.is_leader:
            call(done)
        else:  # it may have led when it was asked; to send it on again could go in circles
            done(Refused(Problem.LEADER_CHANGED))
        return True

    # What this member knows.

    def _members(self) -> list[Member]:
        return self._core.machine.members.all()

    def _new(self, peer_urls: Iterable[str], *, learner: bool) -> Member:
        """Raises Refused. The id is new, as the number is."""
        urls = rules.checked_peer_urls(peer_urls)
        return Member(member_id(urls, "", self._core.ids.next()), "", urls, is_learner=learner)

    def _voters(self) -> set[int]:
        return {m.id for m in self._members() if not m.is_learner}

    def _connected(self, for_s: float = 0.0) -> set[int]:
        """This member and those that have been connected for so long."""
        core = self._core
        connected = {core.config.member_id}
        if self._links is not None:
            for member in self._members():
                since = self._links.active_since(member.id)
                if since is not None and core.now - since >= for_s:
                    connected.add(member.id)
        return connected

    def _learner_ready(self, id_: int) -> bool:
        """Whether a learner has enough of the leader's log; of others the state will judge."""
        member = self._core.machine.members.get(id_)
        if member is None or not member.is_learner:
            return True
        match = self._core.node.status().match
        own = match.get(self._core.config.member_id, 0)
        return id_ not in match or rules.learner_ready(match[id_], own)

    # Asking others.

    def _propose(
        self, change: ConfChange | ConfChangeV2, done: Done, answer: Callable[[], Proto]
    ) -> None:
        def applied(refused: Refused | None) -> None:
            done(refused or answer())

        self._core.reconfigure(change, applied)
        self._wake()

    def _forward(
        self, path: str, body: bytes, done: Done, answer: Callable[[bytes], Proto]
    ) -> None:
        leader = self._core.machine.members.get(self._core.node.lead)
        if leader is None or self._links is None:
            return done(Refused(Problem.NO_LEADER))

        def respond(status: int, found: bytes) -> None:
            if status != 200:
                name = found.decode("ascii", "replace")
                return done(Refused(Problem.__members__.get(name, Problem.LEADER_CHANGED)))
            try:
                return done(answer(found))
            except (ValueError, DecodeError):
                return done(Refused(Problem.LEADER_CHANGED))

        return self._links.post(leader, path, body, respond)

    def _forwarded_swap(self, body: bytes) -> Proto:
        response = cluster.ReconfigureResponse.FromString(body)
        response.header.CopyFrom(self.header())
        return response


_STATUS = {
    Problem.MEMBER_NOT_FOUND: 404, Problem.MEMBER_NOT_LEARNER: 412, Problem.LEARNER_NOT_READY: 412}
"""etcd's, for `PROMOTE_PATH`."""


def _shown(member: Member) -> rpc.Member:
    return rpc.Member(ID=member.id, name=member.name, peerURLs=member.peer_urls,
                      clientURLs=member.client_urls, isLearner=member.is_learner)
