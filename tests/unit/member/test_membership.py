"""Changes of members through the façade of a member, with three cores and links told by hand."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message as Proto
from three import Trio

from quorate.member.membership import PROMOTE_PATH, RECONFIGURE_PATH, Respond, Rules
from quorate.member.serving import MemberService
from quorate.state.errors import Problem, Refused
from quorate.state.members import Member
from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc

NEW = "http://m4:2380"


class Wires:
    """`Links` of all members: everybody is connected since 0, but for those in `lost`."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.since = 0.0
        self.services: dict[int, MemberService] = {}
        self.posted: list[str] = []

    def active_since(self, member_id: int) -> float | None:
        """See `Links`."""
        return None if member_id in self.lost else self.since

    def post(self, member: Member, path: str, body: bytes, respond: Respond) -> None:
        """See `Links`."""
        self.posted.append(path)
        if member.id in self.lost:
            return respond(0, b"")
        if not self.services[member.id].membership.answer_peer(path, body, respond):
            return respond(404, b"")
        return None


class Cluster:
    """Three services, of which member 1 leads for ten seconds."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.trio, self.wires = Trio(), Wires()
        for i, core in self.trio.cores.items():
            self.wires.services[i] = MemberService(
                core, lambda: None, version="", request_bytes_max=1 << 20,
                rules=rules or Rules(), links=self.wires)
        self.trio.elect()
        self.trio.tick(100)

    def ask(self, call: str, request: Proto, at: int = 1) -> object:
        """The outcome of one call."""
        outcomes: list[object] = []
        getattr(self.wires.services[at], call)(request, outcomes.append)
        self.trio.settle()
        assert len(outcomes) == 1
        return outcomes[0]

    def add(self, url: str = NEW, *, learner: bool = False, at: int = 1) -> object:
        """MemberAdd."""
        return self.ask("member_add", rpc.MemberAddRequest(peerURLs=[url], isLearner=learner), at)

    def learner(self) -> int:
        """Add a learner which is up to date, as far as the leader knows; its id."""
        added = self.add(learner=True)
        assert isinstance(added, rpc.MemberAddResponse)
        leader = self.trio.cores[1].node.raft
        leader.tracker.progress[added.member.ID].match = leader.log.last_index()
        for core in self.trio.cores.values():
            core.machine.members.set_attributes(added.member.ID, "m4", ["http://m4:2379"])
        return added.member.ID


@pytest.fixture
def three() -> Cluster:
    """With the default rules."""
    return Cluster()


def refusal(outcome: object) -> Problem:
    """Why it was refused."""
    assert isinstance(outcome, Refused), outcome
    return outcome.problem


def test_a_member_is_added_through_any_member(three: Cluster) -> None:
    """All of them list it, with the id of the answer and no revision."""
    added = three.add(at=2)

    assert isinstance(added, rpc.MemberAddResponse)
    assert added.header.revision == 0
    assert added.header.member_id == 2
    assert list(added.member.peerURLs) == [NEW]
    for core in three.trio.cores.values():
        assert core.machine.members.get(added.member.ID) is not None
    assert refusal(three.add()) is Problem.PEER_URL_EXISTS
    assert refusal(three.add("bogus")) is Problem.BAD_MEMBER_URLS


def test_nobody_is_added_while_a_voter_is_away(three: Cluster) -> None:
    """Or has been back for less than five seconds."""
    three.wires.lost = {3}
    assert refusal(three.add()) is Problem.UNHEALTHY
    assert refusal(three.add(learner=True)) is Problem.UNHEALTHY
    three.wires.lost, three.wires.since = set(), three.trio.now - 4.9
    assert refusal(three.add()) is Problem.UNHEALTHY
    three.wires.since = three.trio.now - 5.0
    assert isinstance(three.add(), rpc.MemberAddResponse)


def test_without_strict_checks_anything_goes_that_the_state_allows() -> None:
    """--strict-reconfig-check=false."""
    loose = Cluster(Rules(strict=False))
    loose.wires.lost = {3}

    assert isinstance(loose.add(), rpc.MemberAddResponse)


def test_learners_are_limited(three: Cluster) -> None:
    """--max-learners, by the member that is asked."""
    three.learner()

    assert refusal(three.add("http://m5:2380", learner=True)) is Problem.TOO_MANY_LEARNERS
    more = Cluster(Rules(learners_max=2))
    more.learner()
    assert isinstance(more.add("http://m5:2380", learner=True), rpc.MemberAddResponse)


@pytest.mark.parametrize("at", [1, 2])
def test_a_learner_is_promoted_when_it_has_the_log(three: Cluster, at: int) -> None:
    """The leader decides, whoever is asked."""
    id_ = three.learner()
    progress = three.trio.cores[1].node.raft.tracker.progress[id_]
    request, match = rpc.MemberPromoteRequest(ID=id_), progress.match

    progress.match = 0
    assert refusal(three.ask("member_promote", request, at)) is Problem.LEARNER_NOT_READY
    progress.match = match
    promoted = three.ask("member_promote", request, at)
    assert isinstance(promoted, rpc.MemberPromoteResponse)
    assert promoted.header.member_id == at
    assert not any(m.isLearner for m in promoted.members)
    assert refusal(three.ask("member_promote", request, at)) is Problem.MEMBER_NOT_LEARNER
    request.ID = 77
    assert refusal(three.ask("member_promote", request, at)) is Problem.MEMBER_NOT_FOUND
    assert set(three.wires.posted) <= {f"{PROMOTE_PATH}{id_}", f"{PROMOTE_PATH}77"}


def test_a_promotion_without_a_leader_is_refused_at_once(three: Cluster) -> None:
    """What came of one that the leader may have taken, nobody knows."""
    request = rpc.MemberPromoteRequest(ID=three.learner())
    three.wires.lost = {1}
    assert refusal(three.ask("member_promote", request, at=2)) is Problem.LEADER_CHANGED
    three.trio.cores[2].node.forget_leader()
    assert refusal(three.ask("member_promote", request, at=2)) is Problem.NO_LEADER


def test_the_peer_port_answers_the_leader_only(three: Cluster) -> None:
    """A request is sent on once; unknown paths are not taken."""
    answers: list[tuple[int, bytes]] = []
    respond = lambda status, body: answers.append((status, body))  # noqa: E731
    membership = three.wires.services[2].membership

    assert membership.answer_peer(f"{PROMOTE_PATH}7", b"", respond)
    assert membership.answer_peer(RECONFIGURE_PATH, b"\xff", respond)
    assert not membership.answer_peer(f"{PROMOTE_PATH}x", b"", respond)
    assert not membership.answer_peer(f"{PROMOTE_PATH}{1 << 64}", b"", respond)
    three.trio.settle()
    assert answers == [(503, b"LEADER_CHANGED"), (400, b"not a ReconfigureRequest")]


def test_a_member_is_removed_for_good(three: Cluster) -> None:
    """Unless the others could not go on without it."""
    request = rpc.MemberRemoveRequest(ID=3)
    three.wires.lost = {2}
    assert refusal(three.ask("member_remove", request)) is Problem.UNHEALTHY
    three.wires.lost = {3}
    removed = three.ask("member_remove", request)
    assert isinstance(removed, rpc.MemberRemoveResponse)
    assert [m.ID for m in removed.members] == [1, 2]
    assert refusal(three.ask("member_remove", request)) is Problem.MEMBER_NOT_FOUND


def test_peer_urls_are_updated(three: Cluster) -> None:
    """Those of others are refused."""
    request = rpc.MemberUpdateRequest(ID=2, peerURLs=[NEW])

    updated = three.ask("member_update", request, at=3)
    assert isinstance(updated, rpc.MemberUpdateResponse)
    assert [list(m.peerURLs) for m in updated.members if m.ID == 2] == [[NEW]]
    request.ID = 1
    assert refusal(three.ask("member_update", request)) is Problem.PEER_URL_EXISTS
    request = rpc.MemberUpdateRequest(ID=2)
    assert refusal(three.ask("member_update", request)) is Problem.BAD_MEMBER_URLS


@pytest.mark.parametrize("at", [1, 2])
def test_several_members_change_in_one_step(three: Cluster, at: int) -> None:
    """A learner takes the place of a voter, which learns from now on, through any member."""
    learner = three.learner()
    request = cluster.ReconfigureRequest(
        promote=[learner], demote=[3], add=[cluster.NewMember(peerURLs=["http://m5:2380"])],
        remove=[2 if at == 1 else 77])

    changed = three.ask("reconfigure", request, at)
    if at == 2:
        assert refusal(changed) is Problem.MEMBER_NOT_FOUND
        assert three.wires.posted == [RECONFIGURE_PATH]
        return
    assert isinstance(changed, cluster.ReconfigureResponse)
    assert {m.ID: m.isLearner for m in changed.members} == {
        1: False, 3: True, learner: False, changed.added[0].ID: False}


def test_a_swap_that_would_end_the_quorum_is_refused(three: Cluster) -> None:
    """As is one that says nothing, or contradicts itself."""
    new = [cluster.NewMember(peerURLs=[f"http://n{i}:2380"]) for i in range(2)]
    swap = cluster.ReconfigureRequest(add=new, remove=[2, 3])

    assert refusal(three.ask("reconfigure", swap)) is Problem.NOT_ENOUGH_STARTED_MEMBERS
    assert refusal(three.ask("reconfigure", swap, at=2)) is Problem.NOT_ENOUGH_STARTED_MEMBERS
    assert refusal(three.ask(
        "reconfigure", cluster.ReconfigureRequest(remove=[2], demote=[2]))) is Problem.MALFORMED
    assert refusal(three.ask("reconfigure", cluster.ReconfigureRequest())) is Problem.MALFORMED
    three.wires.lost = {2, 3}
    one = cluster.ReconfigureRequest(add=new[:1], remove=[3])
    assert refusal(three.ask("reconfigure", one)) is Problem.UNHEALTHY


def test_leadership_is_moved_by_the_leader(three: Cluster) -> None:
    """The answer comes when the other leads; learners and strangers cannot."""
    learner = three.learner()

    def move(target: int, at: int = 1) -> object:
        return three.ask("move_leader", rpc.MoveLeaderRequest(targetID=target), at)

    assert refusal(move(2, at=2)) is Problem.NOT_LEADER
    assert refusal(move(77)) is Problem.BAD_LEADER_TRANSFEREE
    assert refusal(move(learner)) is Problem.BAD_LEADER_TRANSFEREE
    assert isinstance(move(1), rpc.MoveLeaderResponse)
    assert isinstance(move(2), rpc.MoveLeaderResponse)
    assert three.trio.cores[2].is_leader


def test_a_move_to_somebody_who_is_away_ends_after_an_election_timeout(three: Cluster) -> None:
    """The old leader goes on."""
    outcomes: list[object] = []
    three.trio.cut = {3}
    three.wires.services[1].move_leader(rpc.MoveLeaderRequest(targetID=3), outcomes.append)
    three.trio.tick(5)
    assert outcomes == []
    three.trio.tick(15)
    assert [refusal(one) for one in outcomes] == [Problem.TIMED_OUT]
    assert three.trio.cores[1].is_leader


def test_a_learner_serves_status_and_serializable_ranges(three: Cluster) -> None:
    """Nothing else, and no streams (surface §2)."""
    service = three.wires.services[3]
    assert service.refusal(rpc.PutRequest()) is None
    three.ask("reconfigure", cluster.ReconfigureRequest(demote=[3]))
    three.trio.tick(3)

    assert service.refusal(rpc.StatusRequest()) is None
    assert service.refusal(rpc.RangeRequest(serializable=True)) is None
    for request in (rpc.RangeRequest(), rpc.PutRequest(), rpc.MemberListRequest(), None):
        assert refusal(service.refusal(request)) is Problem.NOT_SUPPORTED_FOR_LEARNER
