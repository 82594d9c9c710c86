"""`quorate ctl` against real members that fail."""

import re
import subprocess
import sys
import time
from pathlib import Path

from harness import Cluster, running_cluster

WAIT_S = 30.0


def ctl(cluster: Cluster, *words: str) -> list[str]:
    """Its command line."""
    endpoints = ",".join(f"127.0.0.1:{member.client_port}" for member in cluster.members)
    return [sys.executable, "-m", "quorate.cli.main", "ctl", f"--endpoints={endpoints}", *words]


def lines_of(path: Path, count: int) -> list[str]:
    """The first lines of a file, once it has so many."""
    deadline = time.monotonic() + WAIT_S
    while len(lines := path.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, f"there are only {lines}"
        time.sleep(0.05)
    return lines[:count]


def test_a_watch_outlives_its_member(tmp_path: Path) -> None:
    """Every change is told once; asked for progress, it tells of it, before and after."""
    out = tmp_path / "out"
    with (out.open("w") as told, running_cluster(tmp_path, 3) as cluster, subprocess.Popen(
            ctl(cluster, "watch", "-i"), stdin=subprocess.PIPE, stdout=told,
            stderr=subprocess.DEVNULL) as watch):
        try:
            assert watch.stdin
            watch.stdin.write(b"watch --rev=1 --prefix k\n")
            watch.stdin.flush()
            client = cluster.members[1].client()
            revision = client.put("k1", "one")
            lines_of(out, 3)
            watch.stdin.write(b"progress\n")
            watch.stdin.flush()
            progress = lines_of(out, 4)[-1]
            cluster.members[0].kill()
            client.put("other", "x")
            client.put("k2", "two")
            lines = lines_of(out, 7)
            client.close()
        finally:
            watch.kill()

    assert progress == f"progress notify: {revision}"
    assert [*lines[:3], *lines[4:]] == ["PUT", "k1", "one", "PUT", "k2", "two"]


def test_memory_for_many_keys(tmp_path: Path) -> None:
    """Is told, and the keys are gone afterwards."""
    with running_cluster(tmp_path, 1) as cluster:
        run = subprocess.run(ctl(cluster, "check", "datascale", "--auto-compact"),
                             capture_output=True, text=True, check=False)
        client = cluster.members[0].client()
        left = client.get("\0", range_end="AA==", count_only=True)
        client.close()

    assert run.returncode == 0, run.stderr
    assert re.search(r"^PASS: Approximate system memory used : \d+\.\d\d MB\.$", run.stdout, re.M)
    assert "count" not in left
