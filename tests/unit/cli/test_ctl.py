"""The command line of `quorate ctl`: how words are read, and what is printed from what is
answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gateways import Answer, Gateway, gateways

from quorate.cli.ctl import forms
from quorate.cli.ctl.check import LOADS, judged
from quorate.cli.ctl.flags import Exit, Flag, duration, integer, lease_id, member_id, read
from quorate.cli.ctl.main import main, split

MEMBERS = [
    {"ID": "10", "name": "a", "peerURLs": ["http://a:2380"], "clientURLs": ["http://a:2379"]},
    {"ID": "11", "peerURLs": ["http://b:2380"], "isLearner": True}]


@contextmanager
def serving(answer: Callable[[str, Any], Answer]) -> Iterator[Gateway]:
    """A gateway in a thread: the command has a loop of its own."""
    started, stop, found = threading.Event(), threading.Event(), []

    async def run() -> None:
        async with gateways(answer) as [one]:
            found.append(one)
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    started.wait()
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join()


def members(path: str, _body: Any) -> Answer:
    """Every answer that a command about members needs."""
    return 200, {"header": {"cluster_id": "255", "member_id": "10"}, "members": MEMBERS,
                 "member": MEMBERS[1], "added": [MEMBERS[1]],
                 "leader": "10"} if "list" not in path else {"members": MEMBERS}


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables of whoever runs the tests, and with the signals as they are."""
    for name in ("ENDPOINTS", "WRITE_OUT", "WATCH_KEY", "WATCH_RANGE_END"):
        monkeypatch.delenv(f"ETCDCTL_{name}", raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)


@pytest.mark.parametrize(("words", "path", "body", "out"), [
    ("list", "cluster/member/list", {"linearizable": True},
     "a, started, a, http://a:2380, http://a:2379, false\n"
     "b, unstarted, , http://b:2380, , true\n"),
    ("add b --learner --peer-urls=http://b:2380", "cluster/member/add",
     {"peerURLs": ["http://b:2380"], "isLearner": True},
     'Member                b added to cluster               ff\n\nETCD_NAME="b"\n'
     'ETCD_INITIAL_CLUSTER="a=http://a:2380,b=http://b:2380"\n'
     'ETCD_INITIAL_ADVERTISE_PEER_URLS="http://b:2380"\n'
     'ETCD_INITIAL_CLUSTER_STATE="existing"\n'),
    ("remove a", "cluster/member/remove", {"ID": "10"},
     "Member                a removed from cluster               ff\n"),
    ("swap --add http://b:2380 --promote c --demote d --remove e", "cluster/reconfigure",
     {"add": [{"peerURLs": ["http://b:2380"]}], "promote": ["12"], "demote": ["13"],
      "remove": ["14"]},
     "Member b added: http://b:2380\nMember c promoted\nMember d demoted\nMember e removed\n"
     "2 members in cluster ff\n"),
    ("move-leader b", "maintenance/transfer-leadership", {"targetID": "11"},
     "Leadership transferred from a to b\n"),
])
def test_members(
    words: str, path: str, body: Any, out: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is asked, and what is printed."""
    with serving(members) as gateway:
        assert main(["member", *words.split(), "--endpoints", gateway.endpoint]) == 0
        assert gateway.asked[-1] == (f"/v3/{path}", body)
    assert capfd.readouterr().out == out


def test_a_write_in_doubt_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """And is sent once."""
    with serving(lambda *_: None) as gateway:
        assert main(["--endpoints", gateway.endpoint, "put", "k", "v"]) == 1
        assert len(gateway.asked) == 1
    assert "whether the request was carried out is not known" in capfd.readouterr().err


@pytest.mark.parametrize(("words", "code", "text"), [
    (["--endpoints", "127.0.0.1:1", "get", "a"], 1, "no endpoint can be reached"),
    (["--endpoints", "https://a:1", "get", "a"], 128, "TLS is not in this release"),
    (["--cacert=x", "get", "a"], 128, "not in this release"),
    (["member", "remove", "zz"], 128, "expecting ID in Hex"),
    (["member", "swap"], 128, "name what to do"),
    (["fly"], 1, "unknown command"), (["user", "list"], 1, "come with a later release"),
    (["get", "a", "-w", "yaml"], 4, "unsupported output format"),
    (["get", "a", "--fast"], 1, "unknown flag: --fast"),
    (["snapshot", "restore", "x"], 1, "quorate import"),
])
def test_errors_are_sentences(
    words: list[str], code: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With etcdctl's exit codes, and nothing on standard output."""
    assert main(words) == code
    told = capfd.readouterr()
    assert text in told.err and told.out == ""


@pytest.mark.parametrize("words", [[], ["help"], ["endpoint"], ["get", "--help"], ["put", "-h"]])
def test_help(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Of all, of a group, of a command."""
    assert main(words) == 0
    assert "--endpoints" in capfd.readouterr().out


def test_words() -> None:
    """Flags may be anywhere; what follows `--` is taken as it is."""
    flags = (Flag("prefix", bool, "false"), Flag("rev", int, "0"), Flag("write-out", short="w"),
             Flag("wait", float, "1s"), Flag("one", many=True))
    line = "a -w json --rev=3 b --prefix --one 1 --one=2 --wait 2ms -- --rev c"
    words = read(line.split(), flags, {"ETCDCTL_REV": "9", "ETCDCTL_WAIT": "5s"})
    assert (words.args, words.rest, words.all) == (["a", "b"], ["--rev", "c"],
                                                   ["a", "b", "--rev", "c"])
    assert (words.text("write-out"), words.number("rev"), words.on("prefix")) == ("json", 3, True)
    assert (words.seconds("wait"), words.lists["one"]) == (0.002, ["1", "2"])
    assert read([], flags, {"ETCDCTL_REV": "9"}).number("rev") == 9
    assert not read(["--prefix=false"], flags, {}).on("prefix")
    for wrong in (["--rev=x"], ["--rev"], ["--prefix=maybe"], ["--wait=5"], ["-x"], ["--no"]):
        with pytest.raises(Exit):
            read(wrong, flags, {})


@pytest.mark.parametrize(("words", "name", "rest"), [
    ("get a -w json", "get", "a -w json"),
    ("--endpoints x -w json lease list", "lease list", "--endpoints x -w json"),
    ("--endpoints=x lease --hex grant 5", "lease grant", "--endpoints=x --hex 5"),
    ("lock l get", "lock", "l get"), ("move-leader a", "move-leader", "a"),
])
def test_commands_are_found(words: str, name: str, rest: str) -> None:
    """Of one word or two, wherever flags are."""
    assert split(words.split()) == (name, rest.split())


def test_numbers_and_durations() -> None:
    """As Go reads them."""
    assert [duration(text) for text in ("0", "1h2m3.5s", "-1.5ms", "100µs")] == pytest.approx(
        [0, 3723.5, -0.0015, 0.0001])
    assert (integer("-12"), integer("ff", 16), lease_id("77"), member_id("8e9e05c52164694d")) == (
        -12, 255, 0x77, 0x8E9E05C52164694D)
    for wrong in ("", "1", "s", "1d", "1s2"):
        with pytest.raises(ValueError, match="no duration"):
            duration(wrong)
    for wrong in ("", "x", "1.0", "9" * 19, "0x1"):
        with pytest.raises(ValueError, match="strconv"):
            integer(wrong)
    with pytest.raises(Exit):
        member_id("-1")


def test_forms() -> None:
    """As Go prints them."""
    assert forms.quoted(b'a"\n\x00\xff\xd0\xba') == '"a\\"\\n\\x00\\xffк"'
    assert [forms.size(n) for n in (0, 9, 10, 999, 1000, 20_480, 1_500_000)] == [
        "0 B", "9 B", "10 B", "999 B", "1.0 kB", "20 kB", "1.5 MB"]
    assert [forms.took(s) for s in (2.5, 0.0123, 0.0000015)] == ["2.5s", "12.3ms", "1.5µs"]
    assert forms.go_json({"a": "<&>"}) == '{"a":"\\u003c\\u0026\\u003e"}'
    assert forms.table(["a", "name"], [["1", "x"]]) == (
        "+---+------+\n| A | NAME |\n+---+------+\n| 1 |    x |\n+---+------+\n")


def test_perf_is_judged(capfd: pytest.CaptureFixture[str]) -> None:
    """Rate, slowest, spread, errors."""
    assert judged(LOADS["s"], [0.01] * 150, [], 1.0)
    assert not judged(LOADS["s"], [0.01] * 150, ["no leader"], 1.0)
    assert not judged(LOADS["s"], [0.01] * 100, [], 1.0)
    assert not judged(LOADS["s"], [0.01] * 149 + [0.6], [], 1.0)
    assert capfd.readouterr().out.count("FAIL") == 3
