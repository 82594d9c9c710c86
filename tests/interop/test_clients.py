"""Other people's client libraries, as they come from their registries, against three members.

The programs and what they check are in tests/clients; scripts/clients is the same by hand. Where
stock etcd is installed it has to meet the same expectations at the same time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from conductor import COMMANDS, ENVIRONMENTS, Broken, play, servers, three_members
from harness import Cluster

ROOT = Path(__file__).parents[2]
UNAVAILABLE = 75
"""Exit code of scripts/clients: a registry does not answer. Only then, or without Node, nothing is
shown; an environment that is there, or a lock that does not install, never excuses."""

SET_UP_S_MAX = 300.0

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cluster]]:
    """Three members of each server that is there."""
    with ExitStack() as stack:
        yield {server: stack.enter_context(
            three_members(server, tmp_path_factory.mktemp(server))) for server in servers()}


def prepare(client: str) -> None:
    """Makes the client's environment; skips when that cannot be done here."""
    needed = ("node", "npm") if client == "etcd3-node" else ()
    for command in needed:
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed: apt-get install nodejs npm")
    done = subprocess.run(
        [ROOT / "scripts" / "clients", "--prepare", client], text=True, stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=SET_UP_S_MAX,
        env=os.environ | {"QUORATE_CLIENTS": str(ENVIRONMENTS)})
    if done.returncode == UNAVAILABLE:
        pytest.skip(done.stdout.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("client", COMMANDS)
def test_a_client_library_works_as_with_etcd(client: str, clusters: dict[str, Cluster]) -> None:
    """Keys, transactions, watches over kills, leases, locks, elections and errors."""
    prepare(client)

    def run(server: str) -> str:
        try:
            return str(len(play(client, clusters[server])))
        except Broken as broken:
            return f"{server}:\n{broken}"

    with ThreadPoolExecutor() as threads:
        results = list(threads.map(run, clusters))

    assert all(result.isdigit() for result in results), "\n".join(results)
    assert len(set(results)) == 1
