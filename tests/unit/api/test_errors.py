"""The table of errors: complete, in etcd's words, and safe for a primary."""

import json

import pytest

from quorate.api.errors import HTTP_STATUS, TABLE, Code, form
from quorate.state.errors import Problem, Refused


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_has_a_form(problem: Problem) -> None:
    """Code, text and HTTP status; the unary shape has error, message and code."""
    error = form(Refused(problem))
    body = json.loads(error.unary())

    assert body == {"error": error.text, "message": error.text, "code": int(error.code)}
    assert error.status == HTTP_STATUS[error.code][0]


@pytest.mark.parametrize(("problem", "code", "status", "text"), [
    (Problem.NO_LEADER, 14, 503, "etcdserver: no leader"),
    (Problem.LEASE_NOT_FOUND, 5, 404, "etcdserver: requested lease not found"),
    (Problem.AUTH_NOT_ENABLED, 9, 400, "etcdserver: authentication is not enabled"),
    (Problem.EMPTY_KEY, 3, 400, "etcdserver: key is not provided"),
    (Problem.COMPACTED, 11, 400, "etcdserver: mvcc: required revision has been compacted"),
    (Problem.TIMED_OUT, 14, 503, "etcdserver: request timed out"),
    (Problem.TOO_MANY_REQUESTS, 14, 503, "etcdserver: too many requests"),
    (Problem.REQUEST_TOO_LARGE, 3, 400, "etcdserver: request is too large"),
    (Problem.ELECTION_NO_LEADER, 2, 500, "election: no leader"),
    (Problem.ELECTION_NOT_LEADER, 2, 500, "election: not leader"),
    (Problem.ELECTION_LEADER_MISSING, 2, 500, '"leader" field must be provided'),
])
def test_what_clients_switch_on(problem: Problem, code: int, status: int, text: str) -> None:
    """Whole strings and codes (surface §3, patroni-contract §2.5)."""
    error = form(Refused(problem))

    assert (error.code, error.status, error.text) == (code, status, text)


def test_the_streaming_shape_has_both_codes() -> None:
    """`grpc_code` for etcd 3.4 and 3.5's readers, `code` for 3.6's."""
    assert json.loads(form(Refused(Problem.NO_LEADER)).streaming()) == {"error": {
        "grpc_code": 14, "code": 14, "http_code": 503, "message": "etcdserver: no leader",
        "http_status": "Service Unavailable"}}


def test_nothing_that_happens_to_a_lock_demotes_its_holder() -> None:
    """Codes 2 and 8 make Patroni give up; only membership changes, a full store, and the election
    and lock services, which Patroni does not use, have them."""
    dangerous = {p for p, (code, _) in TABLE.items()
                 if code in (Code.UNKNOWN, Code.RESOURCE_EXHAUSTED)}
    services = {p for p in Problem if p.name.startswith(("ELECTION_", "LOCK_", "RELAYED"))}

    assert dangerous - services == {Problem.NOT_ENOUGH_STARTED_MEMBERS, Problem.NO_SPACE}
