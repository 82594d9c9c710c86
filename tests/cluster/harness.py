"""Real members as processes on loopback, and a plain JSON client, for tests.

Nothing of the product is imported but the wire names: what is tested is what a user starts.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S_MAX = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Unanswered(Exception):
    """The connection broke or timed out: the outcome is unknown."""


class ErrorAnswer(Exception):
    """The member answered with an error; `code` is the gRPC code."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status, body)
        self.status = status
        self.code = body.get("code")


def b64(value: bytes | str) -> str:
    """As the JSON gateway wants bytes."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


class JsonClient:
    """One keep-alive connection to one member."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.port = port
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST and decode; raises ErrorAnswer or Unanswered."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=self._timeout_s)
            self._connection.request("POST", path, json.dumps(body),
                                     {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as failure:
            self.close()
            raise Unanswered(str(failure)) from failure
        if response.status >= 400:
            raise ErrorAnswer(response.status, answer)
        return dict(answer)

    def put(self, key: str, value: str) -> int:
        """The revision of the write."""
        answer = self.call("/v3/kv/put", {"key": b64(key), "value": b64(value)})
        return int(answer["header"]["revision"])

    def get(self, key: str, **options: Any) -> dict[str, Any]:
        """The RangeResponse."""
        return self.call("/v3/kv/range", {"key": b64(key), **options})

    def status(self) -> dict[str, Any]:
        """The StatusResponse."""
        return self.call("/v3/maintenance/status", {})

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Member:
    """One `quorate serve` process (or another program with etcd's flags)."""

    name: str
    client_port: int
    peer_port: int
    data_dir: Path
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True)

    def signal(self, number: int) -> None:
        """Signal the process if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9 and wait."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait for the end; the exit status."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def client(self, timeout_s: float = 10.0) -> JsonClient:
        """A new connection."""
        return JsonClient(self.client_port, timeout_s)


@dataclass
class Cluster:
    """Members that know each other statically."""

    members: list[Member] = field(default_factory=list)

    def start(self) -> None:
        """Start all."""
        for member in self.members:
            member.start()

    def stop(self) -> None:
        """Kill all."""
        for member in self.members:
            if member.process is not None:
                member.kill()

    def leader(self, timeout_s: float = START_S_MAX) -> Member:
        """The member that all members that answer call leader."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            votes = {}
            for member in self.members:
                client = member.client(1.0)
                with contextlib.suppress(Unanswered, ErrorAnswer):
                    status = client.status()
                    votes[status["header"]["member_id"]] = (member, status.get("leader", "0"))
                client.close()
            leaders = {leader for _, leader in votes.values()}
            if len(leaders) == 1 and (leader := leaders.pop()) in votes:
                return votes[leader][0]
            time.sleep(0.05)
        logs = "\n".join(m.log.read_text()[-2000:] for m in self.members if m.log.exists())
        raise AssertionError(f"no leader within {timeout_s} s\n{logs}")


def make_cluster(
    directory: Path, count: int, *, program: list[str] | None = None,
    extra: tuple[str, ...] = (), advertised_peer_ports: list[int] | None = None,
) -> Cluster:
    """A cluster that is not started yet."""
    ports = free_ports(2 * count)
    clients, peers = ports[:count], ports[count:]
    public = advertised_peer_ports or peers
    initial = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(public, 1))
    command = program or [sys.executable, "-m", "quorate.cli.serve"]
    cluster = Cluster()
    for n in range(count):
        name = f"m{n + 1}"
        arguments = [
            *command, f"--name={name}", f"--data-dir={directory / name}",
            f"--listen-client-urls=http://127.0.0.1:{clients[n]}",
            f"--advertise-client-urls=http://127.0.0.1:{clients[n]}",
            f"--listen-peer-urls=http://127.0.0.1:{peers[n]}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{public[n]}",
            f"--initial-cluster={initial}", "--initial-cluster-token=test", *extra]
        cluster.members.append(Member(
            name, clients[n], peers[n], directory / name, arguments, directory / f"{name}.log"))
    return cluster


def join(
    directory: Path, name: str, client_port: int, peer_port: int, initial_cluster: str,
    *, program: list[str] | None = None,
) -> Member:
    """A member that joins a running cluster; not started yet."""
    command = program or [sys.executable, "-m", "quorate.cli.serve"]
    return Member(name, client_port, peer_port, directory / name, [
        *command, f"--name={name}", f"--data-dir={directory / name}",
        f"--listen-client-urls=http://127.0.0.1:{client_port}",
        f"--advertise-client-urls=http://127.0.0.1:{client_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-cluster={initial_cluster}", "--initial-cluster-state=existing",
    ], directory / f"{name}.log")


@contextlib.contextmanager
def running_cluster(directory: Path, count: int, **options: Any) -> Iterator[Cluster]:
    """A started cluster with a leader; killed at the end."""
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    cluster = make_cluster(directory, count, **options)
    try:
        cluster.start()
        cluster.leader()
        yield cluster
    finally:
        cluster.stop()
