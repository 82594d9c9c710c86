"""The member's step function: three cores in one test, messages carried by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from three import Trio

from quorate.member.core import MemberCore
from quorate.member.leasecalls import LeaseAnswer
from quorate.member.reads import RETRY_S
from quorate.raft.types import MessageType
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc


@pytest.fixture
def trio() -> Trio:
    """Three members without a leader."""
    return Trio()


def put(core: MemberCore, key: bytes = b"k") -> list[object]:
    """Propose a put; the list gets its outcome."""
    outcomes: list[object] = []
    core.propose(rpc.PutRequest(key=key, value=b"v"), outcomes.append)
    return outcomes


def problems(outcomes: list[object]) -> list[Problem]:
    """What was refused."""
    return [o.problem for o in outcomes if isinstance(o, Refused)]


def test_a_write_through_any_member(trio: Trio) -> None:
    """Answered once, with the revision that all members have."""
    trio.elect(1)
    outcomes = [put(core) for core in trio.cores.values()]
    trio.settle()

    revisions = sorted(o[0].header.revision for o in outcomes)  # type: ignore[attr-defined]
    assert revisions == [2, 3, 4]
    assert {core.machine.revision for core in trio.cores.values()} == {4}


def test_without_a_leader_requests_fail_fast(trio: Trio) -> None:
    """After one election timeout: what waits, and at once what comes (patroni-contract §2.6)."""
    trio.cut = {2, 3}
    core = trio.cores[1]
    waiting, reading = put(core), list[object]()
    core.read(reading.append)
    trio.tick(11)
    assert problems(waiting) == problems(reading) == [Problem.NO_LEADER]

    later, renewal = put(core), list[object]()
    core.leases.call(7, renewal.append)
    trio.settle()

    assert problems(later) == problems(renewal) == [Problem.NO_LEADER]


def test_what_was_lost_with_a_leader_is_proposed_again(trio: Trio) -> None:
    """The client sees a slow success, and the write happens once."""
    trio.elect(1)
    trio.cut = {1}
    outcomes = put(trio.cores[2])
    trio.settle()  # forwarded into the void
    assert outcomes == []
    trio.cores[2].peer_lost(1, 0.0, trio.now)
    trio.cores[3].peer_lost(1, 0.01, trio.now)
    trio.tick()

    assert [type(o) for o in outcomes] == [rpc.PutResponse]
    assert trio.cores[2].machine.revision == trio.cores[3].machine.revision == 2


def test_a_forwarded_write_is_taken_in_its_term_only(trio: Trio) -> None:
    """A delayed one must not be done beside its repetition."""
    leader = trio.elect(1)
    put(trio.cores[2])
    trio.settle()
    forwarded = next(m for m in trio.sent if m.type is MessageType.PROP)
    for other in (3, 1):
        trio.cores[2].node.transfer_leader(other)
        trio.settle()
    assert leader.leads_with_authority
    before = leader.machine.revision

    unseen = replace(forwarded, context=forwarded.context[:8] + b"unseen")
    leader.receive(unseen, trio.now)
    trio.settle()

    assert leader.machine.revision == before


def test_a_copy_of_a_forwarded_write_is_not_taken(trio: Trio) -> None:
    """What a client asked for once happens once, whatever the network does."""
    leader = trio.elect(1)
    put(trio.cores[2])
    trio.settle()
    forwarded = next(m for m in trio.sent if m.type is MessageType.PROP)
    before = leader.machine.revision

    leader.receive(forwarded, trio.now)
    trio.settle()

    assert leader.machine.revision == before


def test_a_killed_leader_is_replaced_without_waiting_for_a_timeout(trio: Trio) -> None:
    """The others ask for pre-votes as soon as their connections break."""
    trio.elect(1)
    trio.tick(3)
    trio.cut = {1}
    for i in (2, 3):
        trio.cores[i].peer_lost(1, 0.01 * i, trio.now)
    trio.tick()

    assert any(trio.cores[i].is_leader for i in (2, 3))


def test_a_lost_connection_to_a_living_leader_disturbs_nobody(trio: Trio) -> None:
    """The other member still hears it and grants nothing."""
    leader = trio.elect(1)
    trio.tick(2)
    term = leader.node.term
    trio.cores[2].peer_lost(1, 0.0, trio.now)
    trio.tick(10)

    assert leader.is_leader
    assert leader.node.term == term
    assert trio.cores[2].node.lead == 1


def test_the_reported_term_is_durable_and_of_a_leader(trio: Trio) -> None:
    """A candidacy that fails does not show (patroni-contract §2.4)."""
    trio.elect(1)
    assert {c.header().raft_term for c in trio.cores.values()} == {2}
    trio.cut = {2}
    trio.cores[2].node.raft.config.pre_vote = False
    trio.cores[2].node.forget_leader()
    trio.cores[2].node.campaign()
    trio.settle()

    assert trio.cores[2].node.term == 3
    assert trio.cores[2].header().raft_term == 2


def test_a_term_is_not_reported_before_it_is_on_disk(trio: Trio) -> None:
    """It could be forgotten."""
    trio.slow = {3}
    trio.elect(1)

    assert trio.cores[3].node.term == 2
    assert trio.cores[3].header().raft_term == 1


def test_a_leader_with_a_stuck_disk_steps_down(trio: Trio) -> None:
    """L7: others can write, it cannot, so it must not keep its office."""
    leader = trio.elect(1)
    trio.slow = {1}
    put(leader)
    trio.tick(12)

    assert not leader.is_leader


def test_reads_are_as_new_as_the_call(trio: Trio) -> None:
    """A follower asks the leader, and waits until it has applied as much."""
    leader = trio.elect(1)
    put(leader)
    seen: list[int] = []
    follower = trio.cores[3]
    follower.read(lambda outcome: seen.append(follower.machine.revision))
    trio.settle()
    follower.read(lambda outcome: seen.append(follower.machine.revision))
    trio.settle()

    assert seen[-1] == leader.machine.revision == 2


def _granted(trio: Trio, ttl_s: int = 5) -> int:
    trio.cores[1].propose(rpc.LeaseGrantRequest(ID=7, TTL=ttl_s), lambda _outcome: None)
    trio.settle()
    return 7


def test_a_read_under_way_with_a_lost_leader_goes_to_the_next_at_once(trio: Trio) -> None:
    """It does not wait until its round has been without an answer for long."""
    trio.elect(1)
    follower, outcomes = trio.cores[2], list[object]()
    trio.cut.add(1)
    follower.read(outcomes.append)
    trio.settle()
    assert outcomes == []
    began = trio.now
    for member in (2, 3):
        trio.cores[member].peer_lost(1, 0.01 * member, trio.now)
    while outcomes == [] and trio.now < began + 1.0:
        trio.now += 0.01
        for member in (2, 3):
            trio.cores[member].wake(trio.now)
        trio.settle()

    assert outcomes == [None]
    assert trio.now - began < RETRY_S / 2


def test_leases_are_renewed_on_any_member(trio: Trio) -> None:
    """A follower forwards, the leader asks a quorum."""
    trio.elect(1)
    lease = _granted(trio)
    answers: list[object] = []
    for core in trio.cores.values():
        core.leases.call(lease, answers.append)
    trio.settle()

    assert answers == [LeaseAnswer(5, 5)] * 3


def test_a_renewal_without_a_quorum_is_not_acknowledged(trio: Trio) -> None:
    """Nobody else would know of it."""
    leader = trio.elect(1)
    lease = _granted(trio)
    trio.cut = {2, 3}
    answers: list[object] = []
    leader.leases.call(lease, answers.append)
    trio.settle()

    assert answers == []


def test_what_a_paused_member_reads_late_is_no_renewal(trio: Trio) -> None:
    """It would make the lease seem fresher to the next leader."""
    leader = trio.elect(1)
    lease = _granted(trio)
    leader.leases.call(lease, lambda _answer: None)  # and learns what gaps the others have had
    trio.settle()
    trio.cut = {2}
    leader.leases.call(lease, lambda _answer: None)
    trio.settle()
    late = [m for m in trio.sent if m.to == 2 and m.type is MessageType.NOTICE][-1]
    trio.now += 3.0
    trio.cores[2].receive(late, trio.now)

    assert trio.cores[2].leases.clock.ages(trio.now, 1).ages_ms == [3000]


def test_what_arrives_after_a_time_without_a_leader_is_no_renewal(trio: Trio) -> None:
    """It may have been held back as long."""
    leader = trio.elect(1)
    lease = _granted(trio)
    leader.leases.call(lease, lambda _answer: None)  # and learns what gaps the others have had
    trio.settle()
    trio.cut = {2}
    leader.leases.call(lease, lambda _answer: None)
    trio.settle()
    late = [m for m in trio.sent if m.to == 2 and m.type is MessageType.NOTICE][-1]
    while trio.cores[2].node.lead:
        trio.tick()
    trio.cores[2].receive(late, trio.now)

    assert trio.cores[2].leases.clock.ages(trio.now, 1).ages_ms[0] >= 1000


def test_a_paused_member_is_told_of_renewals_again(trio: Trio) -> None:
    """The leader learns that it was paused, and needs it for the quorum; that it did not hear is no
    acknowledgement."""
    leader = trio.elect(1)
    lease = _granted(trio)
    trio.cores[2].leases.mistrust()
    trio.cut = {3}
    answers: list[object] = []
    trio.now += 0.5
    leader.leases.call(lease, answers.append)
    trio.settle()

    assert answers == [LeaseAnswer(5, 5)]
    assert trio.cores[2].leases.clock.ages(trio.now, 1).ages_ms == [0]


def test_a_renewal_that_did_not_leave_is_tried_again(trio: Trio) -> None:
    """At the next tick, when there may be a connection to the leader."""
    trio.elect(1)
    lease = _granted(trio)
    answers: list[object] = []
    trio.cut = {2}
    trio.cores[2].leases.call(lease, answers.append)
    trio.settle()
    trio.cores[2].leases.not_sent(trio.sent[-1])
    trio.cut = set()
    trio.tick()

    assert answers == [LeaseAnswer(5, 5)]


def test_an_unknown_lease_is_answered_from_a_current_state(trio: Trio) -> None:
    """TTL 0, on any member, and only after a read index."""
    trio.elect(1)
    answers: list[object] = []
    trio.cores[2].leases.call(99, answers.append)
    trio.settle()

    assert answers == [LeaseAnswer(0)]


def test_a_lease_ends_in_time_over_a_change_of_leader(trio: Trio) -> None:
    """TTL after the last renewal, although the leader that knew it is gone."""
    trio.elect(1)
    lease = _granted(trio, ttl_s=5)
    trio.tick(20)
    trio.cut = {1}
    for i in (2, 3):
        trio.cores[i].peer_lost(1, 0.01 * i, trio.now)
    trio.tick(25)
    assert trio.cores[2].machine.leases.get(lease) == 5  # 4.5 s after the grant
    trio.tick(8)

    assert trio.cores[2].machine.leases.get(lease) is None


def test_a_stopping_member_takes_nothing_new(trio: Trio) -> None:
    """And says so."""
    core = trio.elect(1)
    core.stop()
    outcomes = put(core)
    trio.settle()

    assert problems(outcomes) == [Problem.STOPPED]
