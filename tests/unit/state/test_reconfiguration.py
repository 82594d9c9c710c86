"""Which changes of members may be proposed, and which count when they are committed."""

import pytest

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfChange, ConfChangeType, ConfChangeV2, ConfState
from quorate.state import reconfiguration as rules
from quorate.state.errors import Problem, Refused
from quorate.state.members import Member, Members

P = Problem


def member(id_: int, *, learner: bool = False, started: bool = True) -> Member:
    """One with URLs of its own."""
    return Member(id_, f"m{id_}" if started else "", (f"http://m{id_}:2380",), is_learner=learner)


def cluster(*members: Member) -> Members:
    """These are the members; 9 was one."""
    state = Members(MemoryBackend())
    for one in (*members, member(9)):
        state.add(one)
    state.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 9), ConfState(
        tuple(m.id for m in members if not m.is_learner),
        learners=tuple(m.id for m in members if m.is_learner)))
    return state


THREE = (member(1), member(2), member(3))


@pytest.mark.parametrize("urls", [
    [], ["bogus"], ["http://a"], ["http://a:1/"], ["http://a:1/x"], ["http://a:x"], ["ftp://a:1"],
    ["http://:1"], ["http://a:70000"], ["http://a:1?x"], ["http://u@a:1"], ["unix://a:1"],
    [f"http://a:{port}" for port in range(1, rules.PEER_URLS_MAX + 2)]])
def test_peer_urls_that_nobody_could_reach_are_refused(urls: list[str]) -> None:
    """Scheme, host and port, no path."""
    with pytest.raises(Refused) as refused:
        rules.checked_peer_urls(urls)

    assert refused.value.problem is P.BAD_MEMBER_URLS


def test_peer_urls_are_sorted() -> None:
    """As etcd keeps and compares them."""
    assert rules.checked_peer_urls(["http://b:1 ", "https://a:2", "http://[::1]:3"]) == (
        "http://[::1]:3", "http://b:1", "https://a:2")


@pytest.mark.parametrize(("change", "problem"), [
    (rules.addition(member(4), 1, 1), None),
    (rules.addition(member(4, learner=True), 1, 1), None),
    (rules.addition(member(4, learner=True), 1, 0), P.TOO_MANY_LEARNERS),
    (rules.addition(member(2), 1, 1), P.MEMBER_EXISTS),
    (rules.addition(member(9), 1, 1), P.MEMBER_NOT_FOUND),
    (rules.addition(Member(4, "", ("http://m1:2380",)), 1, 1), P.PEER_URL_EXISTS),
    (rules.promotion(1, 1), P.MEMBER_NOT_LEARNER), (rules.promotion(4, 1), P.MEMBER_NOT_FOUND),
    (rules.promotion(9, 1), P.MEMBER_NOT_FOUND),
    (rules.removal(1, 1), None), (rules.removal(4, 1), P.MEMBER_NOT_FOUND),
    (rules.removal(9, 1), P.MEMBER_NOT_FOUND),
    (rules.update(1, ("http://x:1",), 1), None), (rules.update(1, ("http://m1:2380",), 1), None),
    (rules.update(1, ("http://m2:2380",), 1), P.PEER_URL_EXISTS),
    (rules.update(4, ("http://x:1",), 1), P.MEMBER_NOT_FOUND),
    (rules.Swap(add=(member(4), member(5)), remove=(1, 2)).change(1, 1), None),
    (rules.Swap(demote=(1,)).change(1, 1), None),
    (rules.Swap(demote=(1, 2)).change(1, 1), P.TOO_MANY_LEARNERS),
    (rules.Swap(demote=(1, 2, 3)).change(1, 3), P.NOT_ENOUGH_STARTED_MEMBERS),
    (rules.Swap(remove=(1, 2, 3)).change(1, 3), P.NOT_ENOUGH_STARTED_MEMBERS),
    (rules.Swap(promote=(1,)).change(1, 1), P.MEMBER_NOT_LEARNER),
    (rules.Swap(add=(Member(4, "", ("http://m1:2380",)),), remove=(1,)).change(1, 1),
     P.PEER_URL_EXISTS),
    (rules.Swap(add=(member(4),), remove=(7,)).change(1, 1), P.MEMBER_NOT_FOUND),
])
def test_committed_changes(change: ConfChange | ConfChangeV2, problem: Problem | None) -> None:
    """Judged by the state before them; what is refused has no effect at all."""
    effective, refused = rules.permitted(cluster(*THREE), change)

    assert (refused and refused.problem) == problem
    if problem is None:
        assert effective == change
    elif isinstance(effective, ConfChangeV2):
        assert all(step.node_id == 0 for step in effective.changes)
    else:
        assert effective.node_id == 0


def test_learners_that_are_there_already_do_not_stop_other_changes() -> None:
    """A smaller limit than before forbids more learners, not promotions or voters."""
    state = cluster(*THREE, member(4, learner=True), member(5, learner=True))

    assert rules.permitted(state, rules.promotion(4, 1))[1] is None
    assert rules.permitted(state, rules.addition(member(6), 1, 1))[1] is None
    assert rules.permitted(state, rules.Swap(promote=(4,), demote=(1,)).change(1, 1))[1] is None


def test_the_only_voter_stays() -> None:
    """A cluster without voters could never agree on anything again."""
    state = cluster(member(1), member(2, learner=True))
    refused = rules.permitted(state, rules.removal(1, 1))[1]

    assert refused is not None
    assert refused.problem is P.NOT_ENOUGH_STARTED_MEMBERS


def test_what_was_told_of_a_member_outlives_promotion_and_update() -> None:
    """Name and client URLs stay; the peer URLs change by an update only."""
    state = cluster(*THREE)
    learner = member(4, learner=True, started=False)
    state.apply_conf_change(
        rules.addition(learner, 1, 1), ConfState((1, 2, 3), learners=(4,)))
    state.set_attributes(4, "d", ["http://d:2379"])
    state.apply_conf_change(rules.promotion(4, 2), ConfState((1, 2, 3, 4)))

    assert state.get(4) == Member(4, "d", learner.peer_urls, ("http://d:2379",))
    state.apply_conf_change(
        rules.update(4, ("http://x:1",), 3), ConfState((1, 2, 3, 4)))
    assert state.get(4) == Member(4, "d", ("http://x:1",), ("http://d:2379",))


@pytest.mark.parametrize(("voters", "started", "may"), [
    (1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False), (3, 3, True), (4, 3, True)])
def test_who_has_started_must_be_a_quorum_with_one_more(
    voters: int, started: int, may: bool
) -> None:
    """etcd's IsReadyToAddVotingMember."""
    assert rules.may_add_voter(
        [member(i, started=i < started) for i in range(voters)]
        + [member(8, learner=True)]) == may


@pytest.mark.parametrize(("voters", "unstarted", "may"), [
    (1, (), False), (2, (), True), (2, (1,), False), (3, (1,), False), (3, (0,), True)])
def test_who_has_started_must_be_a_quorum_without_the_removed(
    voters: int, unstarted: tuple[int, ...], may: bool
) -> None:
    """etcd's IsReadyToRemoveVotingMember, of member 0."""
    members = [member(i, started=i not in unstarted) for i in range(voters)]

    assert rules.may_remove_voter(members, 0) == may


def test_a_connected_voter_may_only_go_if_the_others_decide() -> None:
    """One that is not connected takes nothing away."""
    assert rules.may_lose(THREE, 1, {1, 2, 3})
    assert not rules.may_lose(THREE, 1, {1, 2})
    assert rules.may_lose(THREE, 3, {1, 2})
    assert rules.may_lose(THREE, 7, {1, 2})


def test_a_promotion_counts_the_learner_as_a_voter() -> None:
    """If it has started."""
    assert rules.may_promote([member(1), member(2, learner=True)], 2)
    assert not rules.may_promote(
        [member(1), member(3, started=False), member(2, learner=True, started=False)], 2)


@pytest.mark.parametrize(("swap", "connected", "problem"), [
    (rules.Swap(add=(member(5),), remove=(1,)), {1, 2, 3}, None),
    (rules.Swap(add=(member(5), member(6)), remove=(1, 2)), {1, 2, 3},
     P.NOT_ENOUGH_STARTED_MEMBERS),
    (rules.Swap(promote=(4,), remove=(1,)), {1, 2, 3, 4}, None),
    (rules.Swap(promote=(4,), remove=(1,)), {2}, P.UNHEALTHY),
    (rules.Swap(promote=(4,), demote=(1, 2)), {1, 2, 3, 4}, None),
])
def test_a_swap_must_leave_a_quorum_at_once(
    swap: rules.Swap, connected: set[int], problem: Problem | None
) -> None:
    """Of members that have started and can be reached."""
    assert rules.may_swap([*THREE, member(4, learner=True)], swap, connected) == problem


def test_a_swap_names_each_member_once() -> None:
    """Otherwise nobody knows what is wanted."""
    assert not rules.Swap(promote=(1,), remove=(2,)).contradiction()
    assert "empty" in rules.Swap().contradiction()
    assert "a is named twice" in rules.Swap(promote=(10,), remove=(10,)).contradiction()


def test_a_learner_needs_nine_tenths_of_the_log() -> None:
    """etcd's readyPercent."""
    assert rules.learner_ready(90, 100)
    assert not rules.learner_ready(89, 100)
