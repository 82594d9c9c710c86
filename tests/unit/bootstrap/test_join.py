"""Joining a running cluster: what its members list must fit --initial-cluster."""

from __future__ import annotations

import pytest

from quorate.bootstrap.join import Listing, plan_join
from quorate.member.config import Config, load_config
from quorate.member.settings import ConfigError
from quorate.state.members import Member

A, B, D = "http://10.0.0.1:2380", "http://10.0.0.2:2380", "http://10.0.0.4:2380"
RUNNING = [Member(1, "a", (A,)), Member(2, "b", (B,))]
ADDED = [*RUNNING, Member(4, "", (D,), is_learner=True)]


def config(initial: str = f"a={A},b={B},d={D}") -> Config:
    """That of d."""
    return load_config([
        "--name=d", f"--initial-advertise-peer-urls={D}", f"--initial-cluster={initial}",
        "--advertise-client-urls=http://10.0.0.4:2379",
        "--initial-cluster-state=existing"], {}, lambda _: "")


def refused(members: list[Member], initial: str = f"a={A},b={B},d={D}") -> str:
    """The sentence."""
    with pytest.raises(ConfigError) as wrong:
        plan_join(config(initial), ask=lambda _: (9, members), pause=lambda _: None)
    return str(wrong.value)


def test_the_id_is_the_one_that_the_cluster_gave() -> None:
    """As is the cluster's."""
    place = plan_join(config(), ask=lambda _: (9, ADDED), pause=lambda _: None)

    assert (place.cluster_id, place.local.id) == (9, 4)


def test_a_member_that_does_not_answer_is_passed_over() -> None:
    """One answer is enough, and the own URL is not asked."""
    asked = []

    def ask(url: str) -> Listing:
        asked.append(url)
        if url == A:
            raise OSError("refused")
        return 9, ADDED

    assert plan_join(config(), ask=ask, pause=lambda _: None).local.id == 4
    assert asked == [A, B]


def test_who_is_asked_may_not_know_of_the_addition_yet() -> None:
    """It is asked again for a while."""
    lists = iter([RUNNING, RUNNING, ADDED])
    place = plan_join(config(f"a={A},b={B},d={D}"), ask=lambda _: (9, next(lists)),
                      pause=lambda _: None)

    assert place.local.id == 4


def test_a_member_that_was_not_added_is_told_to_be() -> None:
    """With the command."""
    assert f"etcdctl member add d --peer-urls={D}" in refused(RUNNING)


def test_a_member_that_lost_its_directory_does_not_come_back() -> None:
    """Its votes and acknowledgements would be forgotten."""
    assert "has run before, as 'd'" in refused([*RUNNING, Member(4, "d", (D,))])


def test_lists_that_differ_are_named() -> None:
    """Whoever is too many in either."""
    text = refused([RUNNING[0], ADDED[2]])
    assert f"not in the cluster: b={B}" in text
    text = refused(ADDED, f"a={A},d={D}")
    assert f"not in --initial-cluster: {B}" in text


def test_nobody_answers() -> None:
    """Each failure is named."""
    def ask(_url: str) -> Listing:
        raise OSError("connection refused")

    with pytest.raises(ConfigError, match=f"{A}: connection refused; {B}"):
        plan_join(config(), ask=ask, pause=lambda _: None)
    with pytest.raises(ConfigError, match="names 'd' only"):
        plan_join(config(f"d={D}"), ask=ask, pause=lambda _: None)
