"""One cluster that stock etcdctl talks to: runs invocations and makes their output comparable.

Ports are chosen so that the members' ids sort as their names do and have all their digits: then
lists are in the same order and tables as wide, and a placeholder of the same width takes the
place of an id. Nothing else is replaced, but what an invocation names itself (`Step.own`).
Not here: which invocations (etcdctl_script.py), where the outputs differ
(etcdctl_differences.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any

from google.protobuf.message import Message as Proto
from harness import Cluster, Member, make_cluster

from quorate.wire._generated import rpc_pb2 as rpc

ALL = "m1 m2 m3"
FORMATS = ("simple", "fields", "json", "table")
STEP_S_MAX = 60.0
LEADER = "m1"
"""The member that leads while the script runs, unless an invocation moves the lead."""

CONNECTED_S = 5.5
"""A little longer than all voters must have been connected before a member is added."""

TIMING = ("--heartbeat-interval=300", "--election-timeout=3000")
"""Slow enough that a busy machine does not elect; leases live 5 s at least."""

ALWAYS: tuple[tuple[str, str], ...] = (
    (r'"ts":("[^"]*"|[\d.e+]+)', '"ts":<ts>'),
    (r"endpoint://client-[0-9a-f-]{36}/", "endpoint://<client>/"),
    (r'"raft_term":\d+', '"raft_term":<term>'),
    (r'"RaftTerm" : \d+', '"RaftTerm" : <term>'),
)
"""What differs between two runs against one server: times, names of clients, Raft terms."""

SOURCES = str(Path(__file__).parents[2] / "src")
CELL = r"(?:,| +\|) +"
OWN: dict[str, tuple[str, str | Callable[[re.Match[str]], str]]] = {
    "took": (r'("took":)[\d.e-]+|\b\d+(?:\.\d+)?(?:ns|µs|ms|s)\b', r"\1<took>"),
    "session": (r"/[0-9a-f]{10,16}\b", "/<session>"),
    "lease": (r'("(?:ID|id|lease)" ?: ?)\d{12,19}|\b[0-9a-f]{16}\b', r"\1<lease>"),
    "left": (r'(remaining\()\d+(?=s\))|("ttl":|"TTL" : )\d+', r"\1\2<left>"),
    "size": (r'\b\d+(?:\.\d+)? [kM]?B\b|(ize(?:InUse)?" ?: ?)\d+', r"\1<size>"),
    "index": (r'(raftTerm":|[Ii]ndex" ?: ?)\d+', r"\1<index>"),
    "columns": (rf"(false){CELL}\d+{CELL}\d+{CELL}\d+", r"\1, <term>, <index>, <index>"),
    "hash": (r'([Hh]ash" ?: ?)\d+|(-cl(?:,| \|) +)\d+|\b[0-9a-f]{7,8}(?=, \d| \|)',
             r"\1\2<hash>"),
    "revision": (r'("[Rr]evision" ?: ?)\d+', r"\1<revision>"),
    "key": (r'"key":"[^"]*"', '"key":<key>'),
    "balancer": ("(latest balancer error: )[^}]*", r"\1<text>"),
    "interrupted": (r"\{[^\n]*code = Canceled[^\n]*\n", ""),  # told if a request was under way
    "panic": (r"(?s)goroutine 1 .*", "<stack>"),
    "unfinished": (  # a compaction goes on in the background, until the program ends
        r"\{[^\n]*mvcc/(?:index|kvstore_compaction)\.go[^\n]*\n", ""),
    "width": (r" {2,}|-{2,}", " "),
    "founders": (r'(?<=ETCD_INITIAL_CLUSTER=")[^"]*',
                 lambda found: ",".join(sorted(found[0].split(",")))),
}
"""What an invocation may call its own: pattern and what takes its place."""


@dataclass(frozen=True, slots=True)
class Step:
    """One invocation. In `words`, {m1} is a member's id, {m1:c} and {m1:p} its URLs, {rev+1} a
    revision after the present one, {name} an id that was kept.

    When `until` is in stdout the steps of `during` run; when `then` is, too, the invocation is
    interrupted, unless it has ended. `keep` names the id that `find` finds in stdout, hexadecimal
    unless its group is named `ten`. `message` is the type of output that is protobuf. `post` is
    a request to the gateway for what etcdctl has no command for: it prepares, and is not counted.
    `note` is a word about the state, for the table of differences.
    """

    words: str
    stdin: str = ""
    at: str = LEADER
    until: str = ""
    during: tuple[Step, ...] = ()
    then: str = ""
    keep: str = ""
    find: str = r"\b([0-9a-f]{15,16})\b"
    message: str = ""
    own: tuple[str, ...] = ()
    unordered: bool = False
    post: tuple[str, dict[str, Any]] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """What is run, on one line."""
        before = "".join(f"{name}={value} " for name, value in self.environment)
        after = f" <<< {self.stdin[:60]!r}" if self.stdin else ""
        at = "" if self.at == LEADER else f" @ {self.at}"
        note = f" # {self.note}" if self.note else ""
        return before + self.words + after + at + note


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one invocation did, made comparable."""

    name: str
    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"exit {self.code}\n" + "".join(
            f"  {sign} {line}\n" for sign, text in (("|", self.stdout), ("!", self.stderr))
            for line in text.splitlines())


def every(words: str, formats: tuple[str, ...] = FORMATS, **more: Any) -> Iterator[Step]:
    """In every format; the ones that a command does not have are refused by etcdctl."""
    for name in formats:
        yield Step(f"{words} -w {name}", **more)


def each(*words: str, **more: Any) -> Iterator[Step]:
    """Several that have the same options."""
    for one in words:
        yield Step(one, **more)


@dataclass
class Runner:
    """One cluster, the ids in it, and what came of the invocations so far."""

    cluster: Cluster
    directory: Path
    command: tuple[str, ...] = ("etcdctl",)
    ids: dict[str, int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    settled: str = ""
    _files: int = 0
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.ids = {member.name: _id(member) for member in self.cluster.members}

    def member(self, name: str) -> Member:
        """By its name."""
        return next(m for m in self.cluster.members if m.name == name)

    def ask(self, step: Step) -> None:
        """Run one invocation, and those during it; note what came of them."""
        self._settle(step.at)
        if step.post is not None:
            with contextlib.closing(self.member(LEADER).client(20.0)) as client:
                client.call(*step.post)
            return
        if step.words.startswith("member add"):
            time.sleep(max(0.0, self.started_s + CONNECTED_S - time.monotonic()))
        place = len(self.outcomes)
        words = shlex.split(self._filled(step.words))
        self._files += 1
        out, err = (self.directory / f"{kind}.{self._files}" for kind in ("out", "err"))
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(subprocess.Popen(
                [*self.command, *self._endpoints(step, words), *words], cwd=self.directory,
                env={**os.environ, "ETCDCTL_API": "3", "PYTHONPATH": SOURCES,
                     **{name: self._filled(value) for name, value in step.environment}},
                stdin=subprocess.PIPE, stdout=stack.enter_context(out.open("wb")),
                stderr=stack.enter_context(err.open("wb"))))
            stack.callback(process.kill)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._filled(step.stdin).encode())
                process.stdin.flush()
                if not step.until:
                    process.stdin.close()
            if step.until or step.during:
                self._interrupt(process, step, out)
            code = process.wait(STEP_S_MAX)
        stdout = out.read_text("utf-8", "backslashreplace")
        self._keep(step, stdout)
        if step.message:
            stdout = _decoded(out.read_bytes(), step.message)
        self.outcomes.insert(place, Outcome(
            step.name, code, self.plain(stdout, step), self.plain(err.read_text(), step)))

    def _keep(self, step: Step, stdout: str) -> None:
        if step.keep and (found := re.search(step.find, stdout)):
            self.ids[step.keep] = int(found[1], 10 if "ten" in found.groupdict() else 16)

    def _interrupt(self, process: subprocess.Popen[bytes], step: Step, out: Path) -> None:
        deadline = time.monotonic() + STEP_S_MAX
        def there(text: str) -> bool:
            while text not in out.read_text("utf-8", "backslashreplace"):
                if process.poll() is not None or time.monotonic() > deadline:
                    return False
                time.sleep(0.02)
            return True
        there(step.until)
        self._keep(step, out.read_text())
        for other in step.during:
            self.ask(other)
        there(step.then)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)

    def _endpoints(self, step: Step, words: list[str]) -> list[str]:
        if any(word.startswith("--endpoints") for word in words) or not step.at:
            return []
        return ["--endpoints=" + ",".join(
            f"127.0.0.1:{self.member(name).client_port}" for name in step.at.split())]

    def _settle(self, at: str) -> None:
        """A member that was not asked last may be behind: local reads would show that."""
        if at == self.settled:
            return
        self.settled = at
        for name in at.split():
            with contextlib.closing(self.member(name).client(20.0)) as client:
                client.get("x")

    def revision(self) -> int:
        """The present one."""
        with contextlib.closing(self.member(LEADER).client(20.0)) as client:
            return int(client.get("x")["header"]["revision"])

    def _filled(self, text: str) -> str:
        def url(found: re.Match[str]) -> str:
            member = self.member(found[1])
            port = member.client_port if found[2] == "c" else member.peer_port
            return f"127.0.0.1:{port}"
        text = re.sub(r"\{(\w+):([cp])\}", url, text)
        text = re.sub(r"\{rev([+-]\d+)?\}", lambda m: str(self.revision() + int(m[1] or 0)), text)
        return re.sub(r"\{(\w+)\}", lambda m: f"{self.ids.get(m[1], 0):x}", text)

    def plain(self, text: str, step: Step) -> str:
        """Without what is this run's own."""
        for member in self.cluster.members:
            text = text.replace(f":{member.client_port}", f":{member.name}-cl")
            text = text.replace(f":{member.peer_port}", f":{member.name}-pe")
        for name, id_ in self.ids.items():
            founder = name in {member.name for member in self.cluster.members}
            for form, width in ((f"{id_:016x}", 16), (f"{id_:x}", 16), (str(id_), 19)):
                text = text.replace(form, f"<{name}>".ljust(width if founder else 0, "_"))
        cluster = _cluster_id(self.cluster)
        text = text.replace(f"{cluster:x}", "<cluster>").replace(str(cluster), "<cluster>")
        for pattern, by in (*ALWAYS, *(OWN[name] for name in step.own)):
            text = re.sub(pattern, by, text)
        return ordered(text) if step.unordered else text

    def published(self) -> None:
        """Wait until the members know each other's client URLs."""
        deadline = time.monotonic() + STEP_S_MAX
        for member in self.cluster.members:
            with contextlib.closing(member.client(20.0)) as client:
                while not all("clientURLs" in one for one in client.call(
                        "/v3/cluster/member/list", {})["members"]):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)

    def lead(self) -> None:
        """Make LEADER the leader."""
        found = self.cluster.leader()
        while found.name != LEADER:
            subprocess.run(
                ["etcdctl", f"--endpoints=127.0.0.1:{found.client_port}", "move-leader",
                 f"{self.ids[LEADER]:x}"],
                env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=30)
            found = self.cluster.leader()


def ordered(text: str) -> str:
    """Lines, and objects of a JSON list, sorted."""
    return "\n".join(sorted(re.split(r"\n|^\[\{|\}, ?\{|(?<=s\":\[)\{|\}\]\}?$", text)))


def _decoded(data: bytes, kind: str) -> str:
    """Protobuf as text, without the ids of its header."""
    message: Proto = getattr(rpc, kind)()
    message.MergeFromString(data.removesuffix(b"\n"))
    for name in ("member_id", "cluster_id", "raft_term"):
        message.header.ClearField(name)  # type: ignore[attr-defined]
    return str(message)


def _id(member: Member) -> int:
    return int.from_bytes(sha1(
        f"http://127.0.0.1:{member.peer_port}test".encode()).digest()[:8], "big")


def _cluster_id(cluster: Cluster) -> int:
    return int.from_bytes(sha1(b"".join(
        i.to_bytes(8, "big") for i in sorted(map(_id, cluster.members)))).digest()[:8], "big")


def _fits(cluster: Cluster) -> bool:
    """Ids sort as names, and each has 16 hexadecimal and 19 decimal digits."""
    ids = [_id(member) for member in cluster.members]
    ports = [port for m in cluster.members for port in (m.client_port, m.peer_port)]
    return ids == sorted(ids) and all(
        2**60 <= i < 10**19 for i in ids) and min(ports) >= 10_000


@contextlib.contextmanager
def running(directory: Path, program: list[str] | None, extra: tuple[str, ...],
            command: tuple[str, ...] = ("etcdctl",)) -> Iterator[Runner]:
    """Three started members, LEADER leading, who are asked by that command; killed at the end."""
    os.environ.setdefault("PYTHONPATH", SOURCES)
    # Who is started in the background ignores interrupts, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    directory.mkdir()
    cluster = make_cluster(directory, 3, program=program, extra=(*TIMING, *extra))
    while not _fits(cluster):
        cluster = make_cluster(directory, 3, program=program, extra=(*TIMING, *extra))
    try:
        cluster.start()
        runner = Runner(cluster, directory, command)
        runner.lead()
        runner.published()
        yield runner
    finally:
        cluster.stop()
