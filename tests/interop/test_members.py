"""Changes of members through stock etcdctl, on stock etcd and on quorate: the same words.

One script of commands runs against three members of each; ids and ports are replaced by names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from harness import Cluster, Member, free_ports, join, running_cluster

from quorate.wire._generated import rpc_pb2 as rpc

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)

CONNECTED_S = 5.5
"""A little longer than all voters must have been connected before one is added."""

START_S_MAX = 20.0


@dataclass
class Story:
    """One cluster, what was asked of it and what it said."""

    cluster: Cluster
    program: list[str] | None
    directory: Path
    ids: dict[str, str] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for member in self.cluster.members:
            self._name(member.name, member.client_port, member.peer_port)
        for line in self.run("member", "list").stdout.splitlines():
            id_, _, name = line.split(", ")[:3]
            self.ids[name] = id_

    def _name(self, name: str, client_port: int, peer_port: int) -> None:
        self.ports |= {client_port: f"<{name} clients>", peer_port: f"<{name} peers>"}

    def run(self, *words: str, at: str = "") -> subprocess.CompletedProcess[str]:
        """One command, at one member or all founders."""
        ports = [m.client_port for m in self.cluster.members[:3] if at in ("", m.name)]
        return subprocess.run(
            ["etcdctl", "--endpoints", ",".join(f"http://127.0.0.1:{p}" for p in ports),
             "--command-timeout=10s", *words],
            env={**os.environ, "ETCDCTL_API": "3"}, text=True, capture_output=True, timeout=60)

    def ask(self, text: str, at: str = "") -> str:
        """Run `text`, in which {name} is an id and {name:p} a peer URL; note what came of it."""
        words = re.sub(r"\{(\w+):p\}", lambda m: self.peer_url(m[1]), text)
        words = re.sub(r"\{(\w+)\}", lambda m: self.ids.get(m[1], m[1]), words)
        done = self.run(*words.split(), at=at)
        code = re.search(r"code = (\w+)", done.stderr)
        error = done.stderr.strip().splitlines()[-1] if done.returncode else ""
        out = self._plain(done.stdout.strip()).splitlines()
        self.said.append(self._plain(
            f"{text}: {done.returncode} {code[1] if code else ''} {error}\n")
            + "\n".join(sorted(out)))
        return done.stdout

    def peer_url(self, name: str) -> str:
        """Of a member that was named."""
        port = next(p for p, shown in self.ports.items() if shown == f"<{name} peers>")
        return f"http://127.0.0.1:{port}"

    def _plain(self, text: str) -> str:
        for port, name in self.ports.items():
            text = text.replace(f"http://127.0.0.1:{port}", name)
        for name, id_ in self.ids.items():
            text = text.replace(id_, f"<{name}>")
        text = re.sub("Member +<", "Member <", text)  # ids are padded to 16 digits
        text = re.sub(r"cluster [ 0-9a-f]{12,16}", "cluster <id>", text)
        text = re.sub(r'(ETCD_INITIAL_CLUSTER=")([^"]*)',
                      lambda m: m[1] + ",".join(sorted(m[2].split(","))), text)
        return re.sub(r"\(took [^)]*\)", "", text)

    def add(self, name: str, flags: str = "") -> str:
        """Add a member that is not started; its --initial-cluster."""
        client_port, peer_port = free_ports(2)
        self._name(name, client_port, peer_port)
        out = self.run("member", "add", name, f"--peer-urls={self.peer_url(name)}", *flags.split())
        found = re.match(r"Member +([0-9a-f]+) added", out.stdout)
        if found:
            self.ids[name] = found[1]
        error = out.stderr.strip().splitlines()[-1] if out.returncode else ""
        self.said.append(self._plain(
            f"add {name} {flags}: {out.returncode} {error}\n{out.stdout.strip()}"))
        initial = re.search(r'ETCD_INITIAL_CLUSTER="([^"]*)"', out.stdout)
        return initial[1] if initial else ""

    def start(self, name: str, initial_cluster: str) -> Member:
        """Start an added member, and wait until the others know that it has started."""
        ports = {shown: port for port, shown in self.ports.items()}
        member = join(self.directory, name, ports[f"<{name} clients>"], ports[f"<{name} peers>"],
                      initial_cluster, program=self.program)
        self.cluster.members.append(member)
        member.start()
        deadline = time.monotonic() + START_S_MAX
        while f", started, {name}," not in self.run("member", "list").stdout:
            assert time.monotonic() < deadline, member.log.read_text()[-2000:]
            time.sleep(0.1)
        return member

    def leader(self) -> str:
        """The name of the leader."""
        return self.cluster.leader().name


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Story, Story]]:
    """Three members of each."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with running_cluster(ours, 3) as quorate, running_cluster(
            theirs, 3, program=["etcd"], extra=("--log-level=error",)) as etcd:
        yield (Story(quorate, None, ours),
               Story(etcd, ["etcd", "--log-level=error"], theirs))


def _learner_refusals(member: Member) -> list[str]:
    """What a learner says to one request of each kind."""
    out = []
    requests = (("KV/Range", rpc.RangeRequest(key=b"a")),
                ("KV/Range", rpc.RangeRequest(key=b"a", serializable=True)),
                ("KV/Put", rpc.PutRequest(key=b"a")), ("KV/Txn", rpc.TxnRequest()),
                ("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=5)),
                ("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=1)),
                ("Cluster/MemberList", rpc.MemberListRequest()),
                ("Maintenance/Status", rpc.StatusRequest()),
                ("Maintenance/HashKV", rpc.HashKVRequest()))
    with grpc.insecure_channel(f"127.0.0.1:{member.client_port}") as channel:
        for path, request in requests:
            try:
                channel.unary_unary(f"/etcdserverpb.{path}")(
                    request.SerializeToString(), timeout=10)
                out.append(f"{path}: served")
            except grpc.RpcError as refused:
                out.append(f"{path}: {refused.code().name} {refused.details()}")
        for path in ("Watch/Watch", "Lease/LeaseKeepAlive"):
            try:
                next(iter(channel.stream_stream(f"/etcdserverpb.{path}")(
                    iter([rpc.WatchRequest().SerializeToString()]), timeout=10)), None)
                out.append(f"{path}: served")
            except grpc.RpcError as refused:
                out.append(f"{path}: {refused.code().name} {refused.details()}")
    return out


def _tell(story: Story) -> None:
    """The whole script."""
    ask = story.ask
    ask("member list")
    time.sleep(CONNECTED_S)
    ask("member add x --peer-urls={m1:p}")
    ask("member add x --peer-urls=http://127.0.0.1:1/path")
    ask("member remove 123")
    ask("member promote 123")
    ask("member promote {m1}")
    ask("member update 123 --peer-urls=http://127.0.0.1:1")
    ask("member update {m2} --peer-urls={m1:p}")
    ask("member update {m2} --peer-urls={m2:p}")
    initial = story.add("learner", "--learner")
    story.add("another", "--learner")
    ask("member list")
    ask("member promote {learner}")
    learner = story.start("learner", initial)
    story.said += _learner_refusals(learner)
    ask("member list")
    ask("move-leader {learner}", at=story.leader())
    leader = story.leader()
    follower = next(m.name for m in story.cluster.members[:3] if m.name != leader)
    story.said.append(str(story.run("move-leader", story.ids[follower], at=follower).returncode))
    ask("move-leader 123", at=leader)
    story.said.append(str(story.run("move-leader", story.ids[follower], at=leader).returncode))
    assert story.leader() == follower
    time.sleep(1.0)  # a new leader has to hear how far the learner is
    ask("member promote {learner}", at=leader)  # not the leader any more: forwarded
    ask("member promote {learner}")
    ask("member list")
    time.sleep(CONNECTED_S)
    story.add("voter")
    ask("member list")
    ask("member remove {voter}")
    ask("member remove {voter}")
    ask("member remove {learner}")
    ask("member list")
    assert learner.wait() == 0
    story.cluster.members.pop().process = None


def test_changes_of_members_are_told_in_etcds_words(stories: tuple[Story, Story]) -> None:
    """Every output, code and error text is stock etcd's."""
    ours, theirs = stories
    for story in stories:
        _tell(story)

    wrong = [f"ours   {one}\ntheirs {other}"
             for one, other in zip(ours.said, theirs.said, strict=True) if one != other]
    assert not wrong, "\n".join(wrong)


def test_what_would_end_the_quorum_is_refused_alike(stories: tuple[Story, Story]) -> None:
    """With one member dead, no other may be removed, none added; the dead one may go."""
    for story in stories:
        dead = next(m for m in story.cluster.members if m.name != story.leader())
        dead.kill()
        time.sleep(1.0)
        alive = [m.name for m in story.cluster.members if m is not dead]
        story.said.clear()
        story.said += [re.sub(r"m\d", "m", text) for text in (
            _error(story, "member", "add", "x", "--peer-urls=http://127.0.0.1:1", at=alive[0]),
            _error(story, "member", "remove", story.ids[alive[1]], at=alive[0]),
            _error(story, "member", "remove", story.ids[dead.name], at=alive[0]),
            _error(story, "member", "remove", story.ids[alive[1]], at=alive[0]),
            _error(story, "member", "remove", story.ids[alive[0]], at=alive[0]))]

    assert stories[0].said == stories[1].said


def test_the_only_member_stays(tmp_path: Path) -> None:
    """One of the two errors that travel as Unknown."""
    said = []
    for name, options in (("ours", {}), ("theirs", {
            "program": ["etcd"], "extra": ("--log-level=error",)})):
        (tmp_path / name).mkdir()
        with running_cluster(tmp_path / name, 1, **options) as cluster:
            story = Story(cluster, None, tmp_path / name)
            story.ask("member remove {m1}")
            story.ask("member list")
            said.append(story.said)

    assert said[0] == said[1]
    assert "Unknown" in said[0][0]


def _error(story: Story, *words: str, at: str) -> str:
    done = story.run(*words, at=at)
    time.sleep(1.0)  # a leader may have removed itself
    return done.stderr.strip().splitlines()[-1] if done.returncode else "done"
