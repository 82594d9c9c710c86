"""The same v2 requests to stock etcd 3.4 and to quorate get the same answers.

Compared are status, headers, error code, message and cause, action, and every field of the nodes,
indexes included: both stores are brought to the same one first. What cannot be the same with one
keyspace is in `comparable`, and in docs/divergence.md.
"""

import contextlib
import http.client
import importlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import running_cluster

if shutil.which("etcd") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
corpus = importlib.import_module("v2_corpus").corpus

HEADERS = ("Content-Type", "Allow", "Location", "X-Etcd-Index", "Access-Control-Allow-Origin")
PRESENT = ("X-Etcd-Cluster-Id", "X-Raft-Index", "X-Raft-Term")
"""Headers of each cluster's own, that are there or not."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Asker:
    """Asks one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.index = 0
        """What the newest answer told."""

    def close(self) -> None:
        """No more questions."""
        self._connection.close()

    def ask(self, line: str) -> tuple[int, dict[str, str], str]:
        """(status, headers, body) of a line of the corpus."""
        method, path, *form = line.replace("%I", str(self.index)).split(" ", 2)
        body = form[0].encode() if form else None
        self._connection.request(method, path, body, FORM if form else {})
        response = self._connection.getresponse()
        headers = dict(response.getheaders())
        self.index = int(headers.get("X-Etcd-Index", self.index))
        return response.status, headers, response.read().decode()


def comparable(status: int, headers: dict[str, str], body: str) -> Any:
    """Without what is each server's own."""
    try:
        value = json.loads(body)
    except ValueError:
        value = body
    return (status, {name: headers.get(name) for name in HEADERS},
            [name in headers for name in PRESENT], _shown(value))


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(map(_shown, value), key=json.dumps)  # etcd's are in any order
    if not isinstance(value, dict):
        return value
    out = {name: _shown(one) for name, one in value.items() if name != "createdIndex"}
    if "expiration" in out:
        out["expiration"] = "sometime"
    if out.get("dir"):
        out.pop("modifiedIndex", None)
    return out


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asker, Asker]]:
    """One member of each."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with contextlib.ExitStack() as stack:
        quorate = stack.enter_context(running_cluster(ours, 1))
        etcd = stack.enter_context(running_cluster(
            theirs, 1, program=["etcd"], extra=("--log-level=error", "--enable-v2")))
        yield (stack.enter_context(contextlib.closing(Asker(quorate.members[0].client_port))),
               stack.enter_context(contextlib.closing(Asker(etcd.members[0].client_port))))


def level(both: tuple[Asker, Asker]) -> None:
    """Bring the stores to the same index."""
    for asker in both:
        asker.ask("PUT /v2/keys/level value=1")
    while both[0].index != both[1].index:
        min(both, key=lambda asker: asker.index).ask("PUT /v2/keys/level value=1")


def test_the_same_requests_get_the_same_answers(both: tuple[Asker, Asker]) -> None:
    """Every answer of the corpus, in one history, is stock etcd's."""
    level(both)
    wrong = []
    for number, line in enumerate(corpus()):
        got, expected = (comparable(*asker.ask(line)) for asker in both)
        if got != expected:
            wrong.append(f"{number} {line}\n  ours   {got}\n  theirs {expected}")
    assert not wrong, f"{len(wrong)} of {number + 1}\n" + "\n".join(wrong)


WAIT_S = 4.0
EXPIRED_S = 3.0
"""After which a TTL of a second has ended everywhere."""


class Watch:
    """A watch under way."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()

    def events(self, count: int) -> list[Any]:
        """The next so many, or what there is of them in WAIT_S."""
        found: list[Any] = []
        with contextlib.suppress(TimeoutError):
            while len(found) < count:
                event = _shown(json.loads(self._response.readline()))
                for node in (event["node"], event.get("prevNode", {})):
                    node.pop("ttl", None)
                    node.pop("expiration", None)
                if event not in found[-1:]:  # etcd tells some deletions twice
                    found.append(event)
        return found

    def close(self) -> None:
        """The client goes away."""
        self._response.close()
        self._connection.close()


WATCHES = (
    ("/w/a?wait=true", 1, ["PUT w/b value=0", "PUT w/a value=1", "PUT w/a value=2"]),
    ("/w/a?wait=true&stream=true", 5, [
        "PUT w/a value=1", "PUT w/a value=1&prevExist=true", "PUT w/a value=2&prevValue=1",
        "DELETE w/a", "PUT w/a value=3&prevExist=false"]),
    ("/w/d/e?wait=true", 1, ["DELETE w/d/e?prevValue=1"]),
    ("/w?wait=true&recursive=true&stream=true", 4, [
        "PUT w/a value=1", "PUT w/_h value=1", "PUT w/_h/x value=1", "PUT w/d/e/f value=2",
        "POST w/q value=3", "PUT w/dir dir=true", "DELETE w/d/e/f", "DELETE w/d?recursive=true"]),
    ("/w/_h?wait=true&recursive=true&stream=true", 2, ["PUT w/_h/a value=1", "PUT w/_h/b value=2"]),
    ("/?wait=true&recursive=true&stream=true", 2, ["PUT w/a value=1", "PUT x value=1"]),
    ("/w?wait=true&stream=true", 1, ["PUT w/a value=1", "DELETE w?recursive=true"]),
    ("/w/d/e?wait=true", 1, ["PUT w/d/e value=1&prevExist=true", "DELETE w/d?recursive=true"]),
    ("/w/d?wait=true", 1, ["PUT w/d/e value=1&prevExist=true", "DELETE w?recursive=true"]),
    ("/w/d/e?wait=true&recursive=true", 1, ["DELETE w?recursive=true"]),
    ("/w/d/e/none?wait=true&stream=true", 1, ["DELETE w/d/e", "PUT w/d/e/none value=1"]),
    ("/w/d/e?wait=true&stream=true", 2, [
        "PUT w/d/e refresh=true&ttl=60", "PUT w/d/e value=3&ttl=60",
        "PUT w/d/e refresh=true&ttl=70&prevExist=true", "PUT w/d/e value=4"]),
    ("/w/d/e?wait=true", 1, ["PUT w/d/e dir=true"]),
    ("/w/d/e?wait=true", 1, ["PUT w/d/e value=9&ttl=1"]),
    ("/w/d/e?wait=true&stream=true", 2, ["PUT w/d/e value=9&ttl=1"]),
    ("/w/t/x?wait=true&stream=true", 2, ["PUT w/t dir=true&ttl=1", "PUT w/t/x value=1"]),
    ("/w?wait=true&recursive=true&stream=true", 3, [
        "PUT w/t dir=true&ttl=1", "PUT w/t/x value=1"]),
)
"""What is watched, how many events are to come, and what happens meanwhile."""


@pytest.mark.parametrize("past", [False, True])
def test_watches_tell_the_same(both: tuple[Asker, Asker], *, past: bool) -> None:
    """Of what happens while they wait, and of what had happened before. A stream from the past gets
    one event of etcd, and everything here."""
    wrong = []
    for path, count, lines in WATCHES:
        level(both)
        ours, theirs = (watched(asker, path, count, lines, past=past) for asker in both)
        same = ours[:1] == theirs[:1] if past else ours == theirs
        if not same or len(ours) < count:
            wrong.append(f"{path} {lines}\n  ours   {ours}\n  theirs {theirs}")
        if any("ttl=1" in line for line in lines):
            time.sleep(EXPIRED_S)
    assert not wrong, "\n".join(wrong)


def watched(
    asker: Asker, path: str, count: int, lines: list[str], *, past: bool
) -> list[Any]:
    """What a watch is told of what happens."""
    asker.ask("DELETE /v2/keys/w?recursive=true")
    asker.ask("PUT /v2/keys/w/d/e value=1")
    start = f"/v2/keys{path}" + (f"&waitIndex={asker.index + 1}" if past else "")
    watch = None if past else Watch(asker.port, start)
    for line in lines:
        method, rest = line.split(" ", 1)
        asker.ask(f"{method} /v2/keys/{rest}")
    watch = watch or Watch(asker.port, start)
    with contextlib.closing(watch):
        return watch.events(count)
