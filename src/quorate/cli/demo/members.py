"""The store's members in the demo, and a plain client of their JSON gateway.

Not here: PostgreSQL (postgres.py), what happens to them (play.py).
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from quorate.cli.demo.links import Links
from quorate.cli.demo.processes import Process, Workspace, free_ports


class NoAnswer(Exception):
    """A member refused, or did not answer."""


def b64(text: str) -> str:
    """As the gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode()


def call(port: int, path: str, body: dict[str, Any], timeout_s: float = 1.0) -> dict[str, Any]:
    """POST to a member; raises NoAnswer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as failure:
        raise NoAnswer(str(failure)) from failure
    finally:
        connection.close()
    if response.status >= 400:
        raise NoAnswer(f"{response.status}: {answer}")
    return dict(answer)


@dataclass
class StoreMember:
    """One member."""

    name: str
    port: int
    process: Process

    def status(self) -> dict[str, Any] | None:
        """Its StatusResponse, None if it does not answer."""
        try:
            return call(self.port, "/v3/maintenance/status", {}, 0.5)
        except NoAnswer:
            return None


class Store:
    """Three members whose links can be cut."""

    def __init__(self, workspace: Workspace, command: list[str], count: int = 3) -> None:
        ports = free_ports(3 * count)
        names = [f"m{n}" for n in range(1, count + 1)]
        clients, inner, public = ports[:count], ports[count:2 * count], ports[2 * count:]
        self.links = Links({n: (public[i], inner[i]) for i, n in enumerate(names)})
        cluster = ",".join(f"{n}=http://127.0.0.1:{public[i]}" for i, n in enumerate(names))
        self.members: list[StoreMember] = []
        for i, name in enumerate(names):
            workspace.directory("dcs")
            client, peer = f"http://127.0.0.1:{clients[i]}", f"http://127.0.0.1:{public[i]}"
            arguments = [
                *command, f"--name={name}", f"--data-dir={workspace.path / 'dcs' / name}",
                f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
                f"--listen-peer-urls=http://127.0.0.1:{inner[i]}",
                f"--initial-advertise-peer-urls={peer}", f"--initial-cluster={cluster}",
                "--initial-cluster-token=demo"]
            self.members.append(
                StoreMember(name, clients[i], Process(workspace, name, arguments)))

    @property
    def hosts(self) -> str:
        """For Patroni's `etcd3` section."""
        return ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def start(self) -> None:
        """Start all and wait for a leader; raises TimeoutError."""
        for member in self.members:
            member.process.start()
        self.leader(20)
        for member in self.members:
            status = member.status()
            if status is not None:
                self.links.learn(int(status["header"]["member_id"]), member.name)

    def leader(self, timeout_s: float = 10) -> StoreMember:
        """The member that leads; raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            best: tuple[int, StoreMember] | None = None
            for member in self.members:
                status = member.status()
                if status and status.get("leader") == status["header"]["member_id"]:
                    term = int(status["raftTerm"])
                    if best is None or term > best[0]:
                        best = (term, member)
            if best is not None:
                return best[1]
            time.sleep(0.05)
        logs = "\n".join(f"{m.name}: {m.process.tail(4)}" for m in self.members)
        raise TimeoutError(f"the store has had no leader for {timeout_s:.0f} s\n{logs}")

    def get(self, key: str) -> str | None:
        """A key's value, by whoever answers; raises NoAnswer."""
        for member in self.members:
            try:
                answer = call(member.port, "/v3/kv/range", {"key": b64(key)})
            except NoAnswer:
                continue
            kvs = answer.get("kvs", [])
            return base64.b64decode(kvs[0].get("value", "")).decode() if kvs else None
        raise NoAnswer("no member answers")

    def stop(self) -> None:
        """End all."""
        for member in self.members:
            member.process.kill()
        self.links.close()
