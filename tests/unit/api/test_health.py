"""/health, /livez and /readyz: checks, what they say, and how often they said it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from quorate.api.health import HealthPages
from quorate.member.service import Done, Health
from quorate.net.http1 import Request
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc


class Member:
    """A service that is as fit as it is told."""

    def __init__(self) -> None:
        self.alarm = ""
        self.lead = True
        self.learner = False

    def health(self, done: Any, *, serializable: bool, exclude: Collection[str]) -> None:
        """See `Service`."""
        if self.alarm and self.alarm not in exclude:
            done(Health(False, f"ALARM {self.alarm}"))
        else:
            done(Health(True) if serializable or self.lead else Health(False, "RAFT NO LEADER"))

    def range(self, request: rpc.RangeRequest, done: Done) -> None:
        """See `Service`."""
        done(rpc.RangeResponse() if self.lead or request.serializable
             else Refused(Problem.NO_LEADER))

    def status(self, _request: rpc.StatusRequest, done: Done) -> None:
        """See `Service`."""
        done(rpc.StatusResponse(isLearner=self.learner))


class Answer:
    """An exchange that keeps what it is told."""

    def respond(self, status: int, body: bytes, **_more: Any) -> None:
        """See `Exchange`."""
        self.status, self.text = status, body.decode()


def ask(pages: HealthPages, target: str, method: str = "GET") -> tuple[int, str]:
    """Status and text."""
    answer = Answer()
    path, _, query = target.partition("?")
    assert pages.serves(path)
    pages.respond(Request(method, path, query, (), b""), answer, b"")  # type: ignore[arg-type]
    return answer.status, answer.text


def test_a_fit_member() -> None:
    """Says so in a word, or check by check."""
    pages = HealthPages(Member())  # type: ignore[arg-type]
    assert ask(pages, "/health") == (200, '{"health":"true","reason":""}')
    assert ask(pages, "/livez") == ask(pages, "/readyz") == (200, "ok\n")
    assert ask(pages, "/livez?verbose") == (200, "[+]serializable_read ok\nok\n")
    assert ask(pages, "/readyz?verbose&exclude=linearizable_read&exclude=non_learner") == (
        200, "[+]data_corruption ok\n[+]serializable_read ok\nok\n")
    assert ask(pages, "/readyz/data_corruption?verbose") == (200, "[+]data_corruption ok\nok\n")


def test_a_member_without_a_leader_lives_but_is_not_ready() -> None:
    """What is wrong is told without being asked for; an empty line ends it, as Go's library has
    it."""
    member = Member()
    member.lead = False
    pages = HealthPages(member)  # type: ignore[arg-type]
    assert ask(pages, "/livez") == (200, "ok\n")
    assert ask(pages, "/readyz") == (503, (
        "[+]data_corruption ok\n[+]serializable_read ok\n"
        "[-]linearizable_read failed: etcdserver: no leader\n[+]non_learner ok\n\n"))
    assert ask(pages, "/readyz?exclude=linearizable_read") == (200, "ok\n")
    assert ask(pages, "/health")[0] == 503


@pytest.mark.parametrize(("alarm", "status"), [("NOSPACE", 200), ("CORRUPT", 503)])
def test_alarms(alarm: str, status: int) -> None:
    """A full store is ready, a corrupt one is not; /health minds both."""
    member = Member()
    member.alarm = alarm
    pages = HealthPages(member)  # type: ignore[arg-type]
    assert ask(pages, "/readyz")[0] == status
    assert ask(pages, "/health")[0] == 503
    assert ask(pages, f"/health?exclude={alarm}")[0] == 200


def test_a_learner_is_not_ready() -> None:
    """It cannot serve all requests."""
    member = Member()
    member.learner = True

    assert ask(HealthPages(member), "/readyz/non_learner") == (  # type: ignore[arg-type]
        503, "[-]non_learner failed: this member is a learner\n\n")


def test_only_what_there_is_is_served() -> None:
    """Other paths are somebody else's; other methods nobody's."""
    pages = HealthPages(Member())  # type: ignore[arg-type]
    assert not any(map(pages.serves, ("/livez/", "/readyz/x", "/livez/linearizable_read", "/x")))
    assert ask(pages, "/livez", "POST")[0] == 405


def test_outcomes_are_counted() -> None:
    """Each check by kind, name and outcome; /health on its own."""
    member = Member()
    pages = HealthPages(member)  # type: ignore[arg-type]
    ask(pages, "/readyz")
    ask(pages, "/health")
    member.lead = False
    ask(pages, "/readyz")
    ask(pages, "/health")

    told = {family.name: {tuple(sample.labels.values()): sample.value
                          for sample in family.samples} for family in pages.families()}
    assert told["etcd_server_health_success"] == told["etcd_server_health_failures"] == {(): 1}
    assert told["etcd_server_healthcheck"]["linearizable_read", "readyz"] == 0
    assert told["etcd_server_healthcheck"]["serializable_read", "readyz"] == 1
    assert told["etcd_server_healthchecks_total"]["linearizable_read", "error", "readyz"] == 1
    assert told["etcd_server_healthchecks_total"]["serializable_read", "success", "readyz"] == 2
