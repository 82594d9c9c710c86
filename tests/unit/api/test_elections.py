"""Elections: what a leader may, and what one who observes is told."""

from __future__ import annotations

from typing import Any

import pytest
from store import Store

from quorate.api.elections import Elections, Observer
from quorate.api.queues import rewrite
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import election_pb2 as election, rpc_pb2 as rpc


class Office:
    """An election `e` with leases 1 and 2."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.grant(1, 2)
        self.elections = Elections(self.store)  # type: ignore[arg-type]  # as far as it is used

    def ask(self, method: str, request: Any) -> Any:
        """The answer."""
        told: list[Any] = []
        getattr(self.elections, method)(request, told.append)
        self.store.turn()
        return told[0] if told else None

    def campaign(self, lease: int, value: bytes) -> Any:
        """The leader's key, or None while it waits."""
        answer = self.ask("campaign", election.CampaignRequest(
            name=b"e", lease=lease, value=value))
        return answer.leader if answer is not None else None

    def proclaim(self, leader: election.LeaderKey, value: bytes) -> Any:
        """The answer."""
        return self.ask("proclaim", election.ProclaimRequest(leader=leader, value=value))


class Told:
    """A `LeaderSink`."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, int]] = []
        self.failed: Refused | None = None

    def send(self, response: election.LeaderResponse) -> None:
        """Value and revision of the header."""
        self.got.append((response.kv.value, response.header.revision))

    def backlog_bytes(self) -> int:
        """Nothing waits."""
        return 0

    def fail(self, reason: Refused) -> None:
        """The end."""
        self.failed = reason


@pytest.fixture
def office() -> Office:
    """Nobody leads."""
    return Office()


def observe(office: Office) -> tuple[Told, Observer]:
    """From now on."""
    told = Told()
    observer = office.elections.observe(election.LeaderRequest(name=b"e"), told)
    office.store.turn()
    return told, observer


def test_a_leader_is_who_came_first(office: Office) -> None:
    """Its key, create revision and lease; then its value for all to read."""
    leader = office.campaign(1, b"one")
    assert office.campaign(2, b"two") is None

    assert (leader.name, leader.key, leader.rev, leader.lease) == (b"e", b"e/1", 2, 1)
    assert office.ask("leader", election.LeaderRequest(name=b"e")).kv.value == b"one"


def test_nobody_leads(office: Office) -> None:
    """The refusal has a name."""
    assert office.ask("leader", election.LeaderRequest(name=b"e")).problem \
        is Problem.ELECTION_NO_LEADER


def test_a_leader_proclaims_and_another_cannot(office: Office) -> None:
    """What counts is the create revision of its key."""
    leader = office.campaign(1, b"one")
    assert office.proclaim(leader, b"more").header.revision == 3

    leader.rev = 1
    assert office.proclaim(leader, b"less").problem is Problem.ELECTION_NOT_LEADER


def test_a_key_without_a_lease_gets_one(office: Office) -> None:
    """As etcd does it: the value lives on under a lease of a minute."""
    leader = office.campaign(1, b"one")
    leader.lease = 0
    office.proclaim(leader, b"more")

    kv = office.ask("leader", election.LeaderRequest(name=b"e")).kv
    assert kv.lease not in (0, 1)


@pytest.mark.parametrize(("method", "request_type"), [
    ("proclaim", election.ProclaimRequest), ("resign", election.ResignRequest)])
def test_a_leader_must_be_named(office: Office, method: str, request_type: Any) -> None:
    """Without the field there is nothing to do."""
    assert office.ask(method, request_type()).problem is Problem.ELECTION_LEADER_MISSING


def test_resigning_hands_over(office: Office) -> None:
    """To the next; resigning twice does nothing."""
    leader = office.campaign(1, b"one")
    office.campaign(2, b"two")
    for _ in range(2):
        office.ask("resign", election.ResignRequest(leader=leader))

    assert office.ask("leader", election.LeaderRequest(name=b"e")).kv.value == b"two"


def test_an_observer_is_told_of_each_leader_and_value(office: Office) -> None:
    """From the first one that shows up, over a change of leaders, through a time without one."""
    told, observer = observe(office)
    leader = office.campaign(1, b"one")
    office.campaign(2, b"two")
    office.proclaim(leader, b"more")
    office.ask("resign", election.ResignRequest(leader=leader))
    office.store.lease_revoke(2)
    office.campaign(1, b"again")
    observer.close()

    assert told.got == [(b"one", 2), (b"more", 4), (b"two", 5), (b"again", 7)]
    assert office.store.watchers() == 0


def test_an_observer_begins_with_who_leads(office: Office) -> None:
    """With the revision of the question, as etcd does."""
    office.campaign(1, b"one")
    office.store.grant(7)
    told, _ = observe(office)

    assert told.got == [(b"one", 2)]


def test_an_observer_that_is_gone_is_told_nothing(office: Office) -> None:
    """Also when it goes before its first answer."""
    told = Told()
    office.elections.observe(election.LeaderRequest(name=b"e"), told).close()
    office.campaign(1, b"one")

    assert told.got == []
    assert office.store.watchers() == 0


def test_without_consensus_observing_does_not_begin(office: Office) -> None:
    """In etcd's words."""
    office.store.refuse = Problem.NO_LEADER
    told, _ = observe(office)

    assert told.failed is not None
    assert told.failed.problem is Problem.ELECTION_OBSERVE_CLOSED


def test_a_compaction_below_an_observer_is_no_end(office: Office) -> None:
    """It goes on with whoever leads."""
    told, _ = observe(office)
    leader = office.campaign(1, b"one")
    office.store.hub.restart()
    for value in (b"more", b"most"):
        office.store.machine.apply_command(rewrite(leader.key, leader.rev, value, 1), 1)
    office.store.machine.apply_command(rpc.CompactionRequest(revision=4), 1)
    office.store.hub.flush()
    office.proclaim(leader, b"end")

    assert told.got == [(b"one", 2), (b"most", 4), (b"end", 5)]
