"""Stock etcdctl 3.4 in its v2 mode, against stock etcd and quorate: the same output.

Compared are stdout, stderr and exit code, but for ids and ports, and for what is in
docs/divergence.md: `createdIndex`, and the indexes of directories. Users and roles are not here
yet.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from harness import Member, free_ports, running_cluster

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)

pytestmark = pytest.mark.cluster

STEP_S_MAX = 20.0
CONNECTED_S = 5.5
"""A little longer than all voters must have been connected before a member is added."""
STARTED_S = 0.3
"""After which a watch should be under way."""
OTHER_PEER, NEW_PEER = (f"http://127.0.0.1:{port}" for port in free_ports(2))

COMMANDS = f"""
set /a 1
set /a 2
set --ttl 100 /a 3
set --swap-with-value 3 /a 4
set --swap-with-value no /a 4
set --swap-with-index 3 /a 5
set --swap-with-value x /none 5
set --ttl x /a 5
set a/b 1
set / 1
set /e ''
set
set /a
get /a
get a
get /none
get --quorum /a
get /e
get /
mk /a 1
mk /b 1
mk /b/c 1
mk --ttl 100 /t 1
mk --in-order /q 1
mk --in-order /q 2 --ttl 50
mk --in-order /b 2
mkdir /d
mkdir /d
mkdir --ttl 100 /d/e
mkdir /b
mkdir
setdir /d
setdir /s
setdir --ttl 50 /s
updatedir --ttl 70 /d
updatedir --ttl 70 /none
updatedir /d
update /a 9
update --ttl 50 /a 9
update /none 9
update /d 9
set /d/e/f 1
set /d/g 2
set /d/_hidden 2
ls
ls /
ls /d
ls -p /d
ls -r /d
ls -r -p --sort /
ls --sort --quorum /d
ls /none
ls /a
get /d
get /d/e/f
rm /d
rm --dir /d
rm --with-value 9 /d/e/f
rm --with-index 3 /d/e/f
rm --with-value 1 /d/e/f
rm /d/g
rm /none
rmdir /d/e
rmdir /d
rmdir /none
rmdir /a
set /d/h 1
rm -r /d
rm -r /d
rm --dir /b
rm
watch /a <<< set /a 1
watch --recursive /w <<< set /w/x/y 1
watch --recursive /w <<< rm /w/x/y
watch --after-index %I /a <<< set /a 1
member list
member add m9 {OTHER_PEER}
member add m9 {OTHER_PEER}
member update %M {NEW_PEER}
member update abc {NEW_PEER}
member update xyz {NEW_PEER}
member remove %M
member remove %M
member remove abc
member list
cluster-health
cluster-health --forever=x
nonsense
set /j 1
"""
"""`%I` is the newest index, `%M` the member that was added; after `<<<` is what is done to whom
watches."""

IN_FORMS = ("set /a 1", "set --ttl 100 /a 2", "set --swap-with-value 2 /a 3", "get /a", "get /d",
            "get /none", "mk /f 1", "mkdir /d2", "mk --in-order /d2 1", "setdir /d3",
            "update /a 4", "updatedir --ttl 9 /d3", "ls /d2", "ls --sort -r /", "rm /a",
            "rm -r /d2", "rm --with-value 1 /a", "member list")


def invocations() -> Iterator[str]:
    """All of them."""
    yield from COMMANDS.split("\n")[1:-1]
    for form in ("simple", "extended", "json"):
        for command in IN_FORMS:
            yield f"-o {form} {command}"
        yield from ("rm -r /d3", "rm /f")


SHOWN: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\b[0-9a-f]{13,16}\b(?!\d)", "<id>"),
    (r"error #\d: (.*)<m\d client>", r"error: \1<one>"),
    (r"isLeader=\w+", "isLeader=<one>"),
    (r"(?<=/0{15})\d{5}", "<n>"),
    (r'((?:Index|Term): |"(?:modified|created)Index":|TTL: |"ttl":|!= )\d+', r"\1<n>"),
    (r'"expiration":"[^"]*"', "<time>"),
    (r"\[\d+\]$", "[<n>]"),
    (r'(?<=ETCD_INITIAL_CLUSTER=")[^"]*', lambda found: ",".join(sorted(found[0].split(",")))),
)
"""Patterns of what is each server's own, and what takes its place."""


@dataclass
class Asked:
    """Three members of one server, the first of which is asked, and what it has told."""

    members: list[Member]
    added: str = "none"

    def run(self, line: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr), comparable."""
        words, _, meanwhile = line.partition(" <<< ")
        words = words.replace("%M", self.added).replace("%I", self._etcdctl(
            "-o", "extended", "get", "/a").stdout.partition("Etcd-Index: ")[2].partition("\n")[0])
        with ThreadPoolExecutor() as threads:
            running = threads.submit(self._shell, words)
            while meanwhile and not running.done():  # again, if it was too early for the watch
                time.sleep(STARTED_S)
                self._shell(meanwhile)
            done = running.result()
        if words.startswith("member add") and done.returncode == 0:
            self.added = done.stdout.rpartition("ID ")[2].split()[0]
        return done.returncode, *(
            self._shown(text, in_order="--sort" in line) for text in (done.stdout, done.stderr))

    def _etcdctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._do(["etcdctl", *words])

    def _shell(self, words: str) -> subprocess.CompletedProcess[str]:
        return self._do(["sh", "-c", f"etcdctl {words}"])

    def _do(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=STEP_S_MAX, stdin=subprocess.DEVNULL,
            env=os.environ | {"ETCDCTL_API": "2", "ETCDCTL_ENDPOINTS":
                              f"http://127.0.0.1:{self.members[0].client_port}"})

    def _shown(self, text: str, *, in_order: bool) -> str:
        """Lines are in any order unless it was asked for."""
        for member in self.members:
            text = text.replace(f"127.0.0.1:{member.client_port}", f"<{member.name} client>")
            text = text.replace(f"127.0.0.1:{member.peer_port}", f"<{member.name} peer>")
        for pattern, shown in SHOWN:
            text = re.sub(pattern, shown, text, flags=re.MULTILINE)
        return text if in_order else "\n".join(sorted(text.splitlines()))


def test_etcdctl_cannot_tell_quorate_from_etcd(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In every command that needs no users, and every form of output."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    wrong = []
    lines = list(invocations())
    with contextlib.ExitStack() as stack:
        quorate = stack.enter_context(running_cluster(ours, 3))
        etcd = stack.enter_context(running_cluster(
            theirs, 3, program=["etcd"], extra=("--log-level=error", "--enable-v2")))
        time.sleep(CONNECTED_S)
        both = [Asked(cluster.members) for cluster in (quorate, etcd)]
        with ThreadPoolExecutor(2) as threads:
            told = list(threads.map(lambda one: [one.run(line) for line in lines], both))
    for line, got, expected in zip(lines, *told, strict=True):
        if got != expected:
            wrong.append(f"{line}\n  ours   {got}\n  theirs {expected}")
    assert not wrong, f"{len(wrong)} of {len(lines)}\n" + "\n".join(wrong)
