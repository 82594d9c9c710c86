"""DNS SRV: which target is this member, and what the records must be like."""

from __future__ import annotations

import pytest

from quorate.bootstrap.srv import (
    LookupFailed, Target, find_endpoints, find_members, plan_srv,
)
from quorate.bootstrap.static import StaticCluster
from quorate.member.config import load_config
from quorate.member.settings import ConfigError
from quorate.state.members import member_id

TARGETS = [Target(f"{name}.example.com", 2380) for name in "cab"]
ADDRESSES = {"a.example.com": "10.0.0.1", "b.example.com": "10.0.0.2", "c.example.com": "10.0.0.3",
             "10.0.0.2": "10.0.0.2", "alias.example.com": "10.0.0.2"}


def resolve(host: str) -> set[str]:
    """From the table."""
    if host not in ADDRESSES:
        raise OSError(-2, "Name or service not known")
    return {ADDRESSES[host]}


def found(
    *flags: str, records: dict[str, list[Target]] | None = None,
    advertised: str = "http://10.0.0.2:2380",
) -> StaticCluster:
    """The cluster as member b finds it."""
    records = records or {"_etcd-server._tcp.example.com": TARGETS}
    config = load_config([
        "--name=b", "--discovery-srv=example.com", "--advertise-client-urls=http://10.0.0.2:2379",
        f"--initial-advertise-peer-urls={advertised}", *flags], {}, lambda _: "")
    return plan_srv(find_members(
        config, lookup=lambda name: list(records.get(name, [])), resolve=resolve))


def refused(*flags: str, **how: object) -> str:
    """The sentence."""
    with pytest.raises(ConfigError, match=r"--discovery-srv 'example\.com'") as wrong:
        found(*flags, **how)  # type: ignore[arg-type]
    return str(wrong.value)


def test_members_are_the_targets_in_all_eyes_alike() -> None:
    """Ids are made of the targets, not of what this member advertises; nobody has a name yet."""
    plan = found("--initial-cluster-token=t")

    assert {member.id for member in plan.members} == {
        member_id([f"http://{name}.example.com:2380"], "t", None) for name in "abc"}
    assert plan.local.peer_urls == ("http://b.example.com:2380",)
    assert {member.name for member in plan.members} == {""}


@pytest.mark.parametrize("advertised", [
    "http://10.0.0.2:2380", "http://b.example.com:2380", "http://alias.example.com:2380"])
def test_the_own_target_is_found_by_address(advertised: str) -> None:
    """Whatever name of it is advertised."""
    assert found(advertised=advertised).local.peer_urls == ("http://b.example.com:2380",)


def test_the_services_name_may_have_a_suffix() -> None:
    """As etcd writes it."""
    records = {"_etcd-server-pg._tcp.example.com": TARGETS}

    assert len(found("--discovery-srv-name=pg", records=records).members) == 3


def test_targets_that_cannot_be_resolved_are_members_all_the_same() -> None:
    """While the own one can be told."""
    records = {"_etcd-server._tcp.example.com": [*TARGETS, Target("new.example.com", 2380)]}

    assert len(found(records=records).members) == 4


@pytest.mark.parametrize(("how", "sentence"), [
    ({"advertised": "http://10.0.0.2:9999"}, "none of a.example.com:2380, b.example.com:2380"),
    ({"advertised": "http://nowhere.example.com:2380"},
     "not resolved: nowhere.example.com: Name or service not known"),
    ({"advertised": "http://10.0.0.2:2380,http://10.0.0.3:2380"}, "has several"),
    ({"records": {"_etcd-server._tcp.example.com": [*TARGETS, Target("alias.example.com", 2380)]}},
     "more than one of a.example.com:2380, alias.example.com:2380"),
    ({"records": {"x": []}}, "there are no SRV records for _etcd-server._tcp.example.com"),
    ({"records": {"_etcd-server-ssl._tcp.example.com": TARGETS}}, "TLS is not in this release"),
])
def test_records_that_do_not_fit_are_told(how: dict[str, object], sentence: str) -> None:
    """With what was found."""
    assert sentence in refused(**how)


def test_a_resolver_that_does_not_answer_is_told() -> None:
    """Nobody knows then whether there are records."""
    def lookup(name: str) -> list[Target]:
        raise LookupFailed(f"{name} cannot be looked up: timed out")

    with pytest.raises(ConfigError, match=r"timed out\. Check the domain and the resolvers"):
        find_endpoints("example.com", "", lookup)


def test_clients_ask_for_records_of_their_own() -> None:
    """With a suffix, too."""
    records = {"_etcd-client._tcp.example.com": [Target("b.example.com", 2379)],
               "_etcd-client-pg._tcp.example.com": [Target("c.example.com", 2379)]}

    assert find_endpoints("example.com", "", records.__getitem__) == ["http://b.example.com:2379"]
    assert find_endpoints("example.com", "pg", records.__getitem__) == ["http://c.example.com:2379"]
