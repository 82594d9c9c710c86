"""Runs a client's test program against three members, and kills members when it asks for it.

Run by scripts/clients, which makes the clients' environments; tests/interop/test_clients.py is the
same in the test run. A program is told the members' addresses, the leader's first, in MEMBERS. On
its standard output it writes a line for each check, and `! kill N` or `! start N` when it wants a
member killed with -9 or started again; `done` on its standard input answers. It ends with an error
at the first check that fails. What it expects is the same for every server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from harness import Cluster, Member, running_cluster

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get(
    "QUORATE_CLIENTS", HERE.parents[1] / ".run" / "clients")).absolute()
COMMANDS = {
    "etcd3-python": ["bin/python", "etcd3_python.py"],
    "etcd2-python": ["bin/python", "etcd2_python.py"],
    "aetcd": ["bin/python", "aetcd_client.py"],
    "etcd3-node": ["node", "etcd3_node.mjs"],
}
"""Client → interpreter (a path is one in the client's environment) and program."""

PROGRAM_S_MAX = 120.0
"""Several times what the slowest takes; a watch that never goes on must not hang the run."""


class Broken(Exception):
    """A check failed, or the program ended otherwise; the text is all it wrote."""


def servers() -> list[str]:
    """What can be shown here."""
    return ["quorate", *(["etcd"] if shutil.which("etcd") else [])]


def three_members(server: str, directory: Path) -> AbstractContextManager[Cluster]:
    """A started cluster of `server`."""
    if server == "etcd":
        return running_cluster(directory, 3, program=["etcd"], extra=(
            "--log-level=error", "--enable-v2"))
    return running_cluster(directory, 3)


def obey(order: str, members: list[Member]) -> None:
    """`kill N` or `start N`."""
    verb, number = order.split()
    member = members[int(number)]
    if verb == "kill":
        member.kill()
    else:
        member.start()


def environment(client: str, members: list[Member]) -> dict[str, str]:
    """Without what would let the program see the product, or another server."""
    kept = {name: value for name, value in os.environ.items()
            if name != "PYTHONPATH" and not name.startswith("ETCD")}
    return kept | {
        "MEMBERS": ",".join(f"127.0.0.1:{member.client_port}" for member in members),
        "CLIENT_ENVIRONMENT": str(ENVIRONMENTS / client), "NO_PROXY": "127.0.0.1"}


def play(client: str, cluster: Cluster) -> list[str]:
    """The names of the checks that passed; raises Broken."""
    interpreter, program = COMMANDS[client]
    if "/" in interpreter:
        interpreter = str(ENVIRONMENTS / client / interpreter)
    leader = cluster.leader()
    members = [leader, *(member for member in cluster.members if member is not leader)]
    written: list[str] = []
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            [interpreter, str(HERE / program)], env=environment(client, members), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdin is not None and process.stdout is not None
        watchdog = threading.Timer(PROGRAM_S_MAX, process.kill)
        watchdog.daemon = True
        watchdog.start()
        for line in process.stdout:
            if line.startswith("! "):
                obey(line[2:], members)
                process.stdin.write("done\n")
                process.stdin.flush()
            else:
                written.append(line.rstrip())
        code = process.wait()
        watchdog.cancel()
        errors.seek(0)
        if code != 0 or not written or written[-1] != "all passed":
            raise Broken("\n".join([*written, f"exit code {code}", errors.read()[-4000:]]))
    return [line.removeprefix("ok ") for line in written[:-1]]


def main(clients: list[str]) -> int:
    """All `clients` against all servers; the exit code."""
    for server in servers():
        with tempfile.TemporaryDirectory() as directory, three_members(
                server, Path(directory)) as cluster:
            for client in clients:
                try:
                    for check in play(client, cluster):
                        print(f"{server} {client}: {check}", flush=True)
                except Broken as broken:
                    print(f"{server} {client}:\n{broken}", flush=True)
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(COMMANDS)))
