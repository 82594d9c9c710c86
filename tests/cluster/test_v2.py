"""The v2 API of real members: leases of TTLs, members, watches at the end, and no quorum."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Cluster, Member, free_ports, running_cluster

pytestmark = pytest.mark.cluster

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
CONNECTED_S = 15.0
"""Within this the members know that they are all connected, and one may be added."""
GIVE_UP_S = 3.3
"""What Patroni waits for one of three members, with its defaults."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members."""
    with running_cluster(tmp_path_factory.mktemp("v2"), 3) as three:
        for member in three.members:
            wait_for(member)
        yield three


def wait_for(member: Member) -> None:
    """Until it serves: a cluster has a leader before all of its members are up."""
    deadline = time.monotonic() + CONNECTED_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if ask(member, "GET", "/v2/keys?quorum=true")[0] == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{member.name} does not serve")


def ask(
    member: Member, method: str, path: str, body: str | None = None,
    headers: dict[str, str] = FORM, timeout_s: float = 10.0,
) -> tuple[int, str, dict[str, str]]:
    """(status, body, headers) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers if body is not None else {})
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())


def value(member: Member, path: str) -> Any:
    """The node of a read with a quorum; None if there is none."""
    status, body, _ = ask(member, "GET", f"/v2/keys{path}?quorum=true")
    return json.loads(body)["node"] if status == 200 else None


def test_stats_of_members_and_of_followers(cluster: Cluster) -> None:
    """Each tells of itself; of followers only the leader does."""
    leader = cluster.leader()
    own = {}
    for member in cluster.members:
        status, body, _ = ask(member, "GET", "/v2/stats/self")
        own[member.name] = json.loads(body)
        assert status == 200
        assert own[member.name]["name"] == member.name
        assert own[member.name]["sendAppendRequestCnt"] > 0
        assert own[member.name]["recvAppendRequestCnt"] > 0
    ids = {told["id"] for told in own.values()}
    states = [told["state"] for told in own.values()]
    assert sorted(states) == ["StateFollower", "StateFollower", "StateLeader"]
    assert {told["leaderInfo"]["leader"] for told in own.values()} == {own[leader.name]["id"]}

    followers = json.loads(ask(leader, "GET", "/v2/stats/leader")[1])["followers"]
    assert followers.keys() == ids - {own[leader.name]["id"]}
    assert all(told["counts"]["success"] > 0 for told in followers.values())
    other = next(member for member in cluster.members if member is not leader)
    assert ask(other, "GET", "/v2/stats/leader")[:2] == (
        403, '{"message":"not current leader"}')


def test_every_member_serves_everything(cluster: Cluster) -> None:
    """Writes, reads with a quorum, and in-order keys that never collide."""
    names = set()
    for number, member in enumerate(cluster.members):
        assert ask(member, "PUT", f"/v2/keys/all/{number}", f"value={number}")[0] == 201
        status, body, headers = ask(member, "POST", "/v2/keys/all/queue", "value=x")
        assert status == 201
        names.add(json.loads(body)["node"]["key"])
        assert headers["X-Etcd-Index"] == str(json.loads(body)["node"]["modifiedIndex"])
        assert int(headers["X-Raft-Term"]) > 0
        assert int(headers["X-Raft-Index"]) > 0
    assert len(names) == 3
    for number in range(3):
        for member in cluster.members:
            assert value(member, f"/all/{number}")["value"] == str(number)


def test_machines_and_members_are_told(cluster: Cluster) -> None:
    """As Patroni and etcdctl read them."""
    urls = {f"http://127.0.0.1:{member.client_port}" for member in cluster.members}
    for member in cluster.members:
        assert set(ask(member, "GET", "/v2/machines")[1].split(", ")) == urls
        listed = json.loads(ask(member, "GET", "/v2/members")[1])["members"]
        assert {url for one in listed for url in one["clientURLs"]} == urls
        assert {one["name"] for one in listed} == {"m1", "m2", "m3"}
        leader = json.loads(ask(member, "GET", "/v2/members/leader")[1])
        assert leader["name"] == cluster.leader().name


def test_members_come_and_go(cluster: Cluster) -> None:
    """201, 204, 409 and 410, with etcd's words."""
    member = cluster.members[0]
    old, new = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    body = json.dumps({"peerURLs": [old]})
    taken = json.dumps({"peerURLs": [f"http://127.0.0.1:{member.peer_port}"]})

    deadline = time.monotonic() + CONNECTED_S
    while (asked := ask(member, "POST", "/v2/members", taken, JSON)[:2])[0] == 500:
        assert time.monotonic() < deadline, asked
        time.sleep(0.2)
    assert asked == (409, '{"message":"membership: peerURL exists"}')
    status, answer, _ = ask(member, "POST", "/v2/members", body, JSON)
    assert (status, json.loads(answer)["peerURLs"]) == (201, [old])
    id_ = json.loads(answer)["id"]
    changed = json.dumps({"peerURLs": [new]})
    assert ask(member, "PUT", f"/v2/members/{id_}", changed, JSON)[:2] == (204, "")
    listed = json.loads(ask(member, "GET", "/v2/members")[1])["members"]
    assert [one["peerURLs"] for one in listed if one["id"] == id_] == [[new]]
    assert ask(member, "DELETE", f"/v2/members/{id_}")[:2] == (204, "")
    assert ask(member, "DELETE", f"/v2/members/{id_}")[:2] == (
        410, f'{{"message":"Member permanently removed: {id_}"}}')


def test_a_ttl_ends_in_time_and_is_told_at_once(cluster: Cluster) -> None:
    """Not before its time, and within the second that is promised after it and an election."""
    member = cluster.members[1]
    index = int(ask(member, "PUT", "/v2/keys/short", "value=x&ttl=2")[2]["X-Etcd-Index"])
    began = time.monotonic()
    assert value(member, "/short")["ttl"] in (1, 2)
    status, body, _ = ask(member, "GET", f"/v2/keys/short?wait=true&waitIndex={index + 1}")
    took = time.monotonic() - began

    assert (status, json.loads(body)["action"]) == (200, "expire")
    assert 1.9 < took < 2 + 1 + 1
    assert value(member, "/short") is None


def test_renewals_by_comparing_keep_a_key(cluster: Cluster) -> None:
    """As Patroni holds its lock."""
    member = cluster.members[2]
    ask(member, "PUT", "/v2/keys/held", "value=me&ttl=1&prevExist=false")
    for _ in range(5):
        time.sleep(0.5)
        assert ask(member, "PUT", "/v2/keys/held", "value=me&ttl=1&prevValue=me")[0] == 200
    assert ask(member, "DELETE", "/v2/keys/held?prevValue=me")[0] == 200


def test_v3_ends_what_v2_has_made(cluster: Cluster) -> None:
    """A TTL is a lease that v3 can see and revoke."""
    member = cluster.members[0]
    ask(member, "PUT", "/v2/keys/timed/dir", "dir=true&ttl=900")
    ask(member, "PUT", "/v2/keys/timed/dir/x", "value=1")
    client = member.client()
    (lease,) = [one["ID"] for one in client.call("/v3/lease/leases", {})["leases"]
                if int(one["ID"]) >> 48 == 0x7632]
    client.call("/v3/lease/revoke", {"ID": lease})
    client.close()

    assert value(member, "/timed/dir") is None
    assert value(member, "/timed")["dir"]


def test_without_a_quorum_there_is_no_answer(tmp_path: Path) -> None:
    """So Patroni goes to the next member before it would give up; what needs no quorum is served,
    and a watch goes on."""
    with running_cluster(tmp_path, 3) as cluster:
        left, *others = cluster.members
        wait_for(left)
        ask(left, "PUT", "/v2/keys/a", "value=1")
        watch = http.client.HTTPConnection("127.0.0.1", left.client_port, timeout=10)
        watch.request("GET", "/v2/keys/a?wait=true")
        response = watch.getresponse()
        for member in others:
            member.signal(signal.SIGSTOP)
        time.sleep(2.5)  # until it knows
        for method, path, body in (("PUT", "/v2/keys/a", "value=2"), ("DELETE", "/v2/keys/a", None),
                                   ("POST", "/v2/keys/q", "value=2"),
                                   ("GET", "/v2/keys/a?quorum=true", None)):
            began = time.monotonic()
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                ask(left, method, path, body)
            assert time.monotonic() - began < GIVE_UP_S
        assert ask(left, "GET", "/v2/keys/a")[0] == 200
        assert ask(left, "GET", "/v2/machines")[0] == 200
        assert ask(left, "GET", "/v2/members/leader")[:2] == (
            503, '{"message":"During election"}')
        for member in others:
            member.signal(signal.SIGCONT)
        cluster.leader()
        assert ask(others[0], "PUT", "/v2/keys/a", "value=3")[0] == 200
        assert json.loads(response.read())["node"]["value"] == "3"
        watch.close()


def test_a_watch_ends_when_its_member_stops(tmp_path: Path) -> None:
    """Complete, without an event."""
    with running_cluster(tmp_path, 1) as cluster:
        (member,) = cluster.members
        watch = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=10)
        watch.request("GET", "/v2/keys/a?wait=true&stream=true")
        response = watch.getresponse()
        member.signal(signal.SIGTERM)

        assert (response.status, response.read()) == (200, b"")
        assert member.wait() == -signal.SIGTERM
        watch.close()


def test_without_v2(tmp_path: Path) -> None:
    """Nothing of it is there, and v3 is."""
    with running_cluster(tmp_path, 1, extra=("--enable-v2=false",)) as cluster:
        member = cluster.members[0]
        client = member.client()
        client.put("k", "v")
        client.close()
        statuses = {ask(member, method, path, body)[0] for method, path, body in (
            ("GET", "/v2/keys/", None), ("PUT", "/v2/keys/k", "value=1"),
            ("GET", "/v2/members", None), ("GET", "/v2/machines", None))}

    assert statuses == {404}
