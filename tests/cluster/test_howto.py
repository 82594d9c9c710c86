"""The how-to (docs/howto): every command block is run, in order, and prints what stands under it.

A block of `sh` runs to its end; `sh server=` stays, under a name; `kill=` and `start=` name
members, `file=` where a block is written to. Addresses and paths are put elsewhere and back; `…` in
what is expected stands for anything.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
BLOCK = re.compile(r"^```(\w+)(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READY = "ready to serve client requests"
START_S_MAX = 20.0
NOTICED_S_MAX = 15.0
"""A member that was killed is missed within elections, one that comes back is found."""

pytestmark = pytest.mark.cluster


@dataclass
class Reader:
    """Somebody who types what is in the pages."""

    home: Path
    net: str = field(default_factory=lambda: ".".join(
        ["127", *(str(random.randrange(1, 255)) for _ in range(2))]))
    servers: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    exports: str = ""
    """What was exported so far, as in a shell that stays open."""
    _waiting: bool = False

    def follow(self, page: str, **variables: str) -> None:
        """Do all that a page says."""
        blocks = BLOCK.findall((HOWTO / page).read_text())
        for number, (language, info, text) in enumerate(blocks):
            after = blocks[number + 1] if number + 1 < len(blocks) else ("", "", "")
            expected = after[2] if after[0] == "text" else None
            options = dict(word.partition("=")[::2] for word in info.split())
            if "file" in options:
                path = Path(self.moved(options["file"]))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.moved(text))
            elif "server" in options:
                name = options["server"]
                self.servers[name] = self.moved(text)
                self.start(name, variables)
            elif language == "sh":
                self.run(self.moved(text), expected, options, variables)

    def moved(self, text: str) -> str:
        """To where it can be tried."""
        return re.sub(r"(?<![\w/.])/(etc|var)/", rf"{self.home}/\1/", text).replace(
            "10.0.0.", self.net + ".").replace("127.0.0.1:", f"{self.net}.1:")

    def shown(self, text: str) -> str:
        """As it is in the pages."""
        return text.replace(self.net + ".", "10.0.0.").replace(str(self.home), "")

    def start(self, name: str, variables: dict[str, str]) -> None:
        """Start a member, or start it again."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["bash", "-c", self.servers[name]], cwd=self.home, env=self._environment(variables),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.starts[name] += 1
        self._waiting = True

    def stop(self, name: str) -> None:
        """Kill a member."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run(self, text: str, expected: str | None, options: dict[str, str],
            variables: dict[str, str]) -> None:
        """A block that ends. After a member was killed or started it may have to be repeated."""
        self._wait()
        for name in filter(None, options.get("kill", "").split(",")):
            self.stop(name)
        for name in filter(None, options.get("start", "").split(",")):
            self.start(name, variables)
        self._wait()
        deadline = time.monotonic() + (NOTICED_S_MAX if {"kill", "start"} & options.keys() else 0)
        while True:
            done = subprocess.run(
                ["bash", "-euc", self.exports + text], cwd=self.home, text=True, timeout=60,
                env=self._environment(variables), stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, check=False)
            told = self.shown(done.stdout)
            if done.returncode == 0 and (expected is None or _fits(told, expected)):
                self.exports += "".join(re.findall(r"^export .*\n", text, re.MULTILINE))
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(0.2)
        raise AssertionError(
            f"{self.shown(text)}\nprinted\n{told}\nand is said to print\n{expected}")

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("ETCD", "http", "HTTP"))}
        return kept | {"PATH": f"{self.home / 'bin'}:{os.environ['PATH']}"} | {
            name: self.moved(value) for name, value in variables.items()}

    def _wait(self) -> None:
        """Until every member that was started serves."""
        deadline = time.monotonic() + START_S_MAX
        while self._waiting and time.monotonic() < deadline:
            self._waiting = not all(
                (self.home / f"{name}.log").read_text().count(READY) == starts
                for name, starts in self.starts.items())
            time.sleep(0.05)


def _fits(told: str, expected: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, told.strip()) is not None


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """With `quorate` on the path."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "quorate"
    command.write_text(f"#!/bin/sh\nPYTHONPATH={HOWTO.parents[1]}/src exec {sys.executable} "
                       f'-m quorate.cli.main "$@"\n')
    command.chmod(0o755)
    one = Reader(tmp_path)
    try:
        yield one
    finally:
        for name in list(one.processes):
            one.stop(name)


def test_one_member(reader: Reader) -> None:
    """As it is after installing: with etcd's ports, which may be taken here."""
    client, peer = "http://10.0.0.1:2379", "http://10.0.0.1:2380"
    reader.follow(
        "1-one-member.md", ETCD_LISTEN_CLIENT_URLS=client, ETCD_ADVERTISE_CLIENT_URLS=client,
        ETCD_LISTEN_PEER_URLS=peer, ETCD_INITIAL_ADVERTISE_PEER_URLS=peer,
        ETCD_INITIAL_CLUSTER=f"default={peer}", ETCDCTL_ENDPOINTS="10.0.0.1:2379")


def test_three_members(reader: Reader) -> None:
    """One page after the other, on one cluster."""
    for page in ("2-three-members.md", "4-health.md", "5-patroni.md"):
        reader.follow(page)


def test_discovery(reader: Reader) -> None:
    """The members go on without the registry."""
    reader.follow("3-discovery.md")


def test_every_page_is_tried() -> None:
    """And listed in the first."""
    pages = sorted(path.name for path in HOWTO.glob("[0-9]*.md"))
    assert pages == re.findall(r"\((\d.*?\.md)\)", (HOWTO / "README.md").read_text())
    assert all(f'"{page}"' in Path(__file__).read_text() for page in pages)
