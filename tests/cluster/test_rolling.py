"""Members come and go: all three replaced under load, a swap in one step, wrong ways to join."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Cluster, Member, free_ports, join, running_cluster

from quorate.check.keyvalue import Request, Response
from quorate.cli.torture.verdict import History, judge, read_log
from quorate.cli.torture.wire import Wire
from quorate.cli.torture.workload import TIMEOUT_S, Writer

CONNECTED_S = 5.0
"""How long all voters must be connected before one is added."""

WAIT_S_MAX = 20.0
CLIENTS = 4


class Client(Writer):
    """Counts the requests that failed at one member, and then at another."""

    failed = 0
    failed_twice = 0
    _failing = False

    def ask(self, request: Request) -> Response | None:
        """See `Writer.ask`."""
        answer = super().ask(request)
        self.failed += answer is None
        self.failed_twice += answer is None and self._failing
        self._failing = answer is None
        return answer

    def close(self) -> None:
        """Drop the connection."""
        self._wire.close()

    def move(self) -> None:
        """Another member than the one that failed."""
        self._wire.close()
        others = [port for port in list(self.ports) if port != self._wire.port]
        self._wire = Wire(self.rng.choice(others), TIMEOUT_S)


def ctl(cluster: Cluster, *words: str) -> str:
    """`quorate ctl member ...` at the members that run; raises AssertionError with its words."""
    endpoints = ",".join(f"http://127.0.0.1:{m.client_port}" for m in cluster.members)
    done = subprocess.run(
        [sys.executable, "-m", "quorate.cli.main", "ctl", "--endpoints", endpoints, "member",
         *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def insist(call: Callable[[], str], *passing: str) -> str:
    """Repeat what is refused for a while only."""
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        try:
            return call()
        except AssertionError as refused:
            if not any(text in str(refused) for text in passing) or time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def ids(cluster: Cluster) -> dict[str, str]:
    """Name → id of those that have started."""
    rows = [line.split(", ") for line in ctl(cluster, "list").splitlines()]
    return {row[2]: row[0] for row in rows if row[1] == "started"}


def add_learner(cluster: Cluster, directory: Path, name: str) -> Member:
    """Add and start a learner; it is started when this returns."""
    client_port, peer_port = free_ports(2)
    out = insist(lambda: ctl(cluster, "add", name, "--learner",
                             f"--peer-urls=http://127.0.0.1:{peer_port}"), "unhealthy cluster")
    initial = re.search(r'ETCD_INITIAL_CLUSTER="([^"]*)"', out)
    assert initial is not None
    member = join(directory, name, client_port, peer_port, initial[1])
    member.start()
    deadline = time.monotonic() + WAIT_S_MAX
    while name not in ids(cluster):
        assert time.monotonic() < deadline, member.log.read_text()[-2000:]
        time.sleep(0.1)
    cluster.members.append(member)
    return member


def replace(cluster: Cluster, old: Member, directory: Path, ports: list[int]) -> None:
    """A new member for an old one, as an operator would do it; the old one stops by itself."""
    new = add_learner(cluster, directory, f"new-{old.name}")
    known = ids(cluster)
    insist(lambda: ctl(cluster, "promote", known[new.name]), "in sync with leader")
    ports.append(new.client_port)
    cluster.members.remove(old)
    insist(lambda: ctl(cluster, "remove", known[old.name]), "unhealthy cluster")
    ports.remove(old.client_port)
    assert old.wait() == 0
    assert "was removed from the cluster for good" in old.log.read_text()


@pytest.mark.cluster
def test_all_members_are_replaced_under_load(tmp_path: Path) -> None:
    """No request fails at two members in a row, and every answer fits into one history."""
    with running_cluster(tmp_path, 3) as cluster:
        old, stop = list(cluster.members), threading.Event()
        ports = [member.client_port for member in old]
        clients = [Client(f"c{n}", ports, random.Random(n), stop) for n in range(CLIENTS)]
        began = time.monotonic()
        for client in clients:
            client.thread.start()
        try:
            for member in old:
                replace(cluster, member, tmp_path, ports)
        finally:
            stop.set()
            for client in clients:
                client.thread.join()
                client.close()
        calls = sum(len(client.calls) for client in clients)
        until = time.monotonic()
        reader = cluster.leader().client()
        revision = int(reader.get("k/0")["header"]["revision"])
        reader.close()
        logs = [read_log(member.client_port, revision) for member in cluster.members]
        assert sorted(ids(cluster)) == ["new-m1", "new-m2", "new-m3"]

    assert judge(History(clients, logs, (began, until), until)) == []
    assert [client.failed_twice for client in clients] == [0] * CLIENTS, calls
    assert calls > 100
    assert sum(client.failed for client in clients) < calls / 20


@pytest.mark.cluster
def test_a_swap_in_one_step(tmp_path: Path) -> None:
    """A learner takes a voter's place; both majorities decide while it happens."""
    with running_cluster(tmp_path, 3) as cluster:
        old = next(m for m in cluster.members if m is not cluster.leader())
        new = add_learner(cluster, tmp_path, "d")
        known = ids(cluster)
        cluster.members.remove(old)
        said = insist(lambda: ctl(cluster, "swap", "--promote", known["d"], "--remove",
                                  known[old.name]), "in sync with leader")
        assert f"Member {known['d']} promoted\nMember {known[old.name]} removed\n3 members" in said
        assert old.wait() == 0
        ctl(cluster, "move-leader", known["d"])
        assert cluster.leader() is new
        new.kill()
        new.start()  # whoever joined starts again with the very same settings
        cluster.leader()
        founder = cluster.members[0]
        founder.kill()
        founder.arguments = [
            f"{word},d=http://127.0.0.1:{new.peer_port}" if word.startswith("--initial-cluster=")
            else word for word in founder.arguments]
        founder.start()  # as does a founder whose --initial-cluster has grown
        cluster.leader()


@pytest.mark.cluster
def test_wrong_ways_to_join_end_in_a_sentence(tmp_path: Path) -> None:
    """Nothing is written, and the cluster is not disturbed."""
    with running_cluster(tmp_path, 3) as cluster:
        first = cluster.members[0]
        peers = ",".join(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in cluster.members)
        client_port, peer_port = free_ports(2)

        def refused(name: str, initial: str, port: int = peer_port) -> str:
            member = join(tmp_path / "x", name, client_port, port, initial)
            (tmp_path / "x").mkdir(exist_ok=True)
            member.start()
            assert member.wait() == 1
            assert not member.data_dir.exists()
            return member.log.read_text()

        own = f"d=http://127.0.0.1:{peer_port}"
        assert "Add it first" in refused("d", f"{peers},{own}")
        assert "names 'd' only" in refused("d", own)
        assert "none of the members of --initial-cluster answered" in refused(
            "d", f"e=http://127.0.0.1:{client_port},{own}")
        first.kill()
        shutil.rmtree(first.data_dir)
        wiped = refused("m1", peers, first.peer_port)
        assert "has run before, as 'm1'" in wiped
