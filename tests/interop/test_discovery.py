"""Discovery with real processes: members of quorate and of stock etcd find each other through
registries of both, by the discovery service, and by DNS SRV; their ids are the same.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Cluster, Member, free_ports, running_cluster

from quorate.state.members import member_id

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
dns_server = importlib.import_module("dns_server").dns_server

OURS = [sys.executable, "-m", "quorate.cli.serve"]
THEIRS = ["etcd", "--log-level=error", "--enable-v2", "--discovery-fallback=exit"]
PROGRAMS = {"quorate": OURS, "etcd": THEIRS}
END_S_MAX = 20.0
LOCAL = "127.0.0.1"


@pytest.fixture(scope="module", params=["quorate", "etcd"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The client URL of one member, of each kind."""
    options: dict[str, Any] = {} if request.param == "quorate" else {
        "program": ["etcd"], "extra": ("--log-level=error", "--enable-v2")}
    directory = tmp_path_factory.mktemp(f"store-{request.param}")
    with running_cluster(directory, 1, **options) as cluster:
        yield f"http://127.0.0.1:{cluster.members[0].client_port}"


def ask(method: str, url: str, body: str = "") -> str:
    """As curl does."""
    request = urllib.request.Request(url, body.encode() or None, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


def members(
    directory: Path, count: int, ports: list[int], program: list[str], *flags: str,
    domain: str = "",
) -> Cluster:
    """Members that know nobody; not started. `ports`: two for each. In a domain, client URLs have
    names."""
    directory.mkdir()
    cluster = Cluster()
    for n in range(count):
        name, client, peers = f"m{n + 1}", ports[2 * n], ports[2 * n + 1]
        cluster.members.append(Member(name, client, peers, directory / name, [
            *program, f"--name={name}", f"--data-dir={directory / name}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://{f'{name}.{domain}' if domain else LOCAL}:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}", *flags,
        ], directory / f"{name}.log"))
    return cluster


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """All but the last, with a leader."""
    try:
        for member in cluster.members[:-1]:
            member.start()
        late, cluster.members = cluster.members[-1], cluster.members[:-1]
        cluster.leader()
        cluster.members.append(late)
        yield cluster
    finally:
        cluster.stop()


def listed(member: Member) -> list[tuple[str, str, str]]:
    """(id, name, peer URL) of all members, as one of them knows them when all have started."""
    deadline = time.monotonic() + END_S_MAX
    while True:
        done = subprocess.run(
            ["etcdctl", f"--endpoints=127.0.0.1:{member.client_port}", "member", "list"],
            env={**os.environ, "ETCDCTL_API": "3"}, text=True, capture_output=True, timeout=20)
        rows = [line.split(", ") for line in done.stdout.splitlines()]
        if rows and all(row[1] == "started" for row in rows):
            return sorted((row[0], row[2], row[3]) for row in rows)
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(0.05)


def told(member: Member) -> str:
    """What a member that ends by itself has to say."""
    member.start()
    assert member.wait() != 0
    return member.log.read_text()


def logged(member: Member, text: str) -> None:
    """Wait for a line."""
    deadline = time.monotonic() + END_S_MAX
    while not member.log.exists() or text not in member.log.read_text():
        assert time.monotonic() < deadline, member.log.read_text()
        time.sleep(0.02)


def test_members_find_each_other_by_a_url(store: str, tmp_path: Path) -> None:
    """Three of stock etcd, then three of quorate on the same ports: the same ids; a fourth is told
    that the cluster is full."""
    url, ports = f"{store}/v2/keys/discovery/token", free_ports(8)
    found = []
    for kind, program in PROGRAMS.items():
        ask("PUT", f"{url}/_config/size", "value=3")
        with running(members(tmp_path / kind, 4, ports, program, f"--discovery={url}")) as cluster:
            found.append(listed(cluster.members[0]))
            assert "is full" in told(cluster.members[3])
        ask("DELETE", f"{url}?recursive=true")

    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_the_bootstrapper_may_go(tmp_path: Path) -> None:
    """Members that have met start again without it, as with any data directory."""
    with running_cluster(tmp_path, 1) as store:
        url = f"http://127.0.0.1:{store.members[0].client_port}/v2/keys/t"
        ask("PUT", f"{url}/_config/size", "value=3")
        with running(members(
                tmp_path / "x", 4, free_ports(8), OURS, f"--discovery={url}")) as cluster:
            cluster.members.pop()
            store.stop()
            with contextlib.closing(cluster.members[0].client()) as client:
                client.put("key", "value")
            for member in cluster.members:
                member.kill()
            cluster.start()
            cluster.leader()
            with contextlib.closing(cluster.members[2].client()) as client:
                assert client.get("key")["count"] == "1"


def test_a_member_that_waits_can_be_stopped_and_finds_itself_again(
    store: str, tmp_path: Path
) -> None:
    """But not one whose directory is gone."""
    url = f"{store}/v2/keys/again"
    ask("PUT", f"{url}/_config/size", "value=2")
    cluster = members(tmp_path / "x", 2, free_ports(4), OURS, f"--discovery={url}")
    first, second = cluster.members
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            first.log.unlink(missing_ok=True)
            first.start()
            logged(first, "1 of 2 members have registered")
            first.signal(number)
            assert first.wait() == -number
            assert "Traceback" not in first.log.read_text()
        moved = first.data_dir.rename(tmp_path / "moved")
        assert "has the member" in told(first)
        assert not first.data_dir.exists()
        moved.rename(first.data_dir)
        first.start()
        second.start()
        cluster.leader()
    finally:
        cluster.stop()


def test_members_find_each_other_by_a_token(store: str, tmp_path: Path) -> None:
    """v3 discovery, with the ids that etcd 3.6 would give; the registry has its keys."""
    env = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": store}
    prefix, ports = "/_etcd/registry/v3-token", free_ports(8)
    subprocess.run(["etcdctl", "put", f"{prefix}/_config/size", "3"], env=env, check=True,
                   capture_output=True, timeout=20)
    flags = "--discovery-token=v3-token", f"--discovery-endpoints=127.0.0.1:1,{store}"
    with running(members(tmp_path / "x", 4, ports, OURS, *flags)) as cluster:
        urls = [f"http://127.0.0.1:{port}" for port in ports[1:6:2]]
        expected = sorted((f"{member_id([url], 'v3-token', None):x}", f"m{n}", url)
                          for n, url in enumerate(urls, 1))
        assert listed(cluster.members[0]) == expected
        assert "is full" in told(cluster.members[3])
        out = subprocess.run(["etcdctl", "get", "--prefix", f"{prefix}/members/"], env=env,
                             check=True, capture_output=True, text=True, timeout=20).stdout
        assert out.split() == [word for id_, name, url in expected
                               for word in (f"{prefix}/members/{id_}", f"{name}={url}")]


@pytest.mark.parametrize(("keeper", "kind"), [("own", "etcd"), ("etcd", "quorate")])
def test_the_service_makes_tokens_by_which_members_meet(
    keeper: str, kind: str, tmp_path: Path
) -> None:
    """Over a member of its own, and over a store; the tokens outlive it."""
    port, *ports = free_ports(9)
    with contextlib.ExitStack() as stack:
        flags = [f"--data-dir={tmp_path / 'tokens'}"]
        if keeper == "etcd":
            etcd = stack.enter_context(running_cluster(
                tmp_path, 1, program=["etcd"], extra=("--log-level=error", "--enable-v2")))
            flags = [f"--endpoints=127.0.0.1:1,127.0.0.1:{etcd.members[0].client_port}"]
        service = Member("service", port, 0, tmp_path, [
            sys.executable, "-m", "quorate.cli.main", "discovery", "serve",
            f"--listen-url=http://127.0.0.1:{port}", *flags], tmp_path / "service.log")
        stack.callback(lambda: service.process and service.kill())
        service.start()
        logged(service, "discovery is served")
        url = new_token(port)
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
        service.log.unlink()
        service.start()
        logged(service, "discovery is served")
        with running(members(
                tmp_path / "x", 4, ports, PROGRAMS[kind], f"--discovery={url}")) as cluster:
            assert len(listed(cluster.members[0])) == 3
            assert "is full" in told(cluster.members[3])


def new_token(port: int) -> str:
    """As soon as the service's member leads."""
    deadline = time.monotonic() + END_S_MAX
    while True:
        try:
            return ask("GET", f"http://127.0.0.1:{port}/new?size=3")
        except urllib.error.HTTPError as refused:
            refused.close()
            assert refused.code == 503 and time.monotonic() < deadline
            time.sleep(0.05)


NAMESERVER = "127.53.53.53"
"""Port 53 there, which resolv.conf cannot choose."""


def with_nameserver(directory: Path) -> list[str]:
    """What makes a command ask NAMESERVER, by a mount of its own; skips where that cannot be."""
    conf = directory / "resolv.conf"
    conf.write_text(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:2\n")
    command = ["unshare", "-m", "sh", "-c",
               f'mount --bind {conf} /etc/resolv.conf && exec "$@"', "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this needs root and mount namespaces")
    return command


def test_members_find_each_other_in_dns(tmp_path: Path) -> None:
    """Their ids are those of stock etcd with the names in DNS; clients of both find them there, and
    whoever is not among the records is told so. (Stock 3.4 itself finds members with TLS only.)"""
    ports, command = free_ports(8), with_nameserver(tmp_path)
    records = [(f"_etcd-{service}-pg._tcp.db.test.", f"m{n}.db.test.", ports[2 * n - before])
               for service, before in (("server", 1), ("client", 2)) for n in (1, 2, 3)]
    srv = "--discovery-srv=db.test", "--discovery-srv-name=pg"
    urls = [f"http://m{n}.db.test:{ports[2 * n - 1]}" for n in (1, 2, 3)]
    static = ",".join(f"m{n}={url}" for n, url in enumerate(urls, 1))
    found = []
    with dns_server(NAMESERVER, records, {f"m{n}.db.test.": "127.0.0.1" for n in (1, 2, 3)}):
        with running(members(tmp_path / "ours", 4, ports, [*command, *OURS], *srv,
                             domain="db.test")) as cluster:
            found.append(listed(cluster.members[0]))
            assert "none of m1.db.test" in told(cluster.members[3])
            for ctl in (["etcdctl"], [sys.executable, "-m", "quorate.cli.main", "ctl"]):
                done = subprocess.run(
                    [*command, *ctl, *srv, "put", "key", "value"], capture_output=True, text=True,
                    env={**os.environ, "ETCDCTL_API": "3"}, timeout=30)
                assert done.stdout == "OK\n", done.stderr
        with running(members(tmp_path / "theirs", 4, ports, [*command, *THEIRS],
                             f"--initial-cluster={static}", domain="db.test")) as cluster:
            found.append(listed(cluster.members[0]))

    assert found[0] == found[1]
    assert [row[2] for row in sorted(found[0], key=lambda row: row[1])] == urls
