"""Patroni's way of choosing members: budgets of contract §2.6, and what is asked next."""

import random

import pytest
from google.protobuf.message import Message as Proto

from quorate.api.errors import TABLE, Code
from quorate.sim.access import Answer, Lost
from quorate.sim.clock import Clock
from quorate.sim.dcs import UNAVAILABLE, DcsError, RequestFailed, Retry, StoreClient, split
from quorate.sim.plan import HaSettings
from quorate.sim.process import Pause, Program, Steps
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc

REQUEST = rpc.PutRequest(key=b"k")


@pytest.mark.parametrize(("members", "retry_timeout_s", "asked", "each_s", "tries"), [
    (1, 10, 1, 10 / 3, 3), (2, 10, 2, 2.5, 2), (3, 10, 3, 10 / 3, 1), (5, 10, 5, 2.0, 1),
    (9, 10, 9, 10 / 9, 1), (1, 3, 1, 1.0, 3), (3, 3, 3, 1.0, 1), (5, 3, 3, 1.0, 1),
    (3, 0.5, 0, 0.5, 1)])
def test_the_retry_timeout_is_split_over_the_members(
    members: int, retry_timeout_s: float, asked: int, each_s: float, tries: int
) -> None:
    """Never less than a second for each; then fewer are asked. The table is the contract's."""
    assert split(members, retry_timeout_s) == (asked, pytest.approx(each_s), tries)


def test_what_is_unavailable_is_what_clients_see_as_code_14() -> None:
    """The same set as in the table of errors."""
    assert {p for p, (code, _) in TABLE.items() if code is Code.UNAVAILABLE} == UNAVAILABLE


class FakeAccess:
    """Members that answer as they are told; asking takes as long as they say."""

    cut = False

    def __init__(self, clock: Clock, answers: dict[int, Answer], took_s: float = 0.0) -> None:
        self.clock = clock
        self.answers = answers
        self.took_s = took_s
        self.asked: list[int] = []

    @property
    def ids(self) -> list[int]:
        """All of them."""
        return list(self.answers)

    def ask(self, member_id: int, _request: Proto, timeout_s: float) -> Steps[Answer]:
        """As `Access.ask`."""
        self.asked.append(member_id)
        answer = self.answers[member_id]
        yield Pause(timeout_s if answer is Lost.SILENT else self.took_s)
        return answer


def _ask(
    answers: dict[int, Answer], *, retry: bool = True, base: int = 1
) -> tuple[object, FakeAccess, StoreClient, float]:
    """What became of a request: an answer or the error's class, and who was asked."""
    clock = Clock()
    access = FakeAccess(clock, answers)
    client = StoreClient(clock, random.Random(1), access, HaSettings(proxies=True), base=base)
    seen: list[tuple[object, float]] = []

    def program() -> Steps[None]:
        outcome: object
        try:
            outcome = yield from client.ask(REQUEST, client.retry() if retry else None)
        except (DcsError, RequestFailed) as failure:
            outcome = type(failure)
        seen.append((outcome, clock.now))

    Program(clock, program()).start()
    clock.run_until(60.0)
    return seen[0][0], access, client, seen[0][1]


def _put(term: int = 1) -> rpc.PutResponse:
    return rpc.PutResponse(header=rpc.ResponseHeader(raft_term=term))


def test_a_node_stays_with_its_member() -> None:
    """While it answers."""
    outcome, access, client, _ = _ask({1: _put(), 2: _put(), 3: _put()}, base=2)

    assert (outcome, access.asked, client.base) == (_put(), [2], 2)


@pytest.mark.parametrize("failure", [Lost.RESET, Lost.SILENT, Refused(Problem.NO_LEADER)])
def test_the_next_member_is_asked_and_kept(failure: Answer) -> None:
    """If the first is gone, silent, or has no leader."""
    outcome, access, client, _ = _ask({1: failure, 2: _put(), 3: _put()})

    assert (outcome, access.asked, client.base) == (_put(), [1, 2], 2)


def test_a_refusal_is_an_answer() -> None:
    """A lease that is not there is so at every member."""
    outcome, access, client, _ = _ask({1: Refused(Problem.LEASE_NOT_FOUND), 2: _put()})

    assert (outcome, access.asked, client.base) == (RequestFailed, [1], 1)


def test_a_request_without_retry_is_asked_once_and_turns_to_the_next() -> None:
    """So that the next request does not fail as well."""
    outcome, access, client, _ = _ask(
        {1: Lost.RESET, 2: _put(), 3: _put()}, retry=False)

    assert (outcome, access.asked, client.base) == (RequestFailed, [1], 2)


@pytest.mark.parametrize("failure", [Lost.RESET, Lost.SILENT, Refused(Problem.NO_LEADER)])
def test_when_all_fail_it_goes_on_for_the_retry_timeout(failure: Answer) -> None:
    """Then it gives up, which is what demotes a primary, and neither much earlier nor later."""
    outcome, access, _, at = _ask({1: failure, 2: failure, 3: failure})

    assert outcome is DcsError
    assert 3.0 <= at <= 5.1
    assert len(access.asked) >= 3


def test_a_member_with_an_older_term_counts_as_failed() -> None:
    """As Patroni's guard against stale members has it."""
    clock = Clock()
    access = FakeAccess(clock, {1: _put(term=3), 2: _put(term=5), 3: _put()})
    client = StoreClient(clock, random.Random(1), access, HaSettings(proxies=True), base=1, term=4)
    seen = []

    def program() -> Steps[None]:
        seen.append((yield from client.ask(REQUEST, Retry(clock.now + 5))))

    Program(clock, program()).start()
    clock.run_until(9.0)

    assert (seen, access.asked, client.term) == ([_put(term=5)], [1, 2], 5)
