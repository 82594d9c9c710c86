"""The command line of `quorate ctl member`, against a gateway that is a table."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.cli import ctl

MEMBERS = [
    {"ID": "10", "name": "a", "peerURLs": ["http://a:2380"], "clientURLs": ["http://a:2379"]},
    {"ID": "11", "peerURLs": ["http://b:2380"], "isLearner": True}]


class Table(ctl.Gateway):
    """Answers from a table, and notes what was asked."""

    asked: list[tuple[str, dict[str, Any]]]

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Gateway.call`."""
        self.asked.append((path, body))
        return {"header": {"cluster_id": "255"}, "members": MEMBERS, "member": MEMBERS[1],
                "added": [MEMBERS[1]], "leader": "10"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What was asked of the table."""
    Table.asked = []
    monkeypatch.setattr(ctl, "Gateway", Table)
    return Table.asked


@pytest.mark.parametrize(("words", "path", "body", "out"), [
    ("list", "cluster/member/list", {"linearizable": True},
     "a, started, a, http://a:2380, http://a:2379, false\n"
     "b, unstarted, , http://b:2380, , true\n"),
    ("add b --learner --peer-urls=http://b:2380", "cluster/member/add",
     {"peerURLs": ["http://b:2380"], "isLearner": True},
     'Member b added to cluster ff\n\nETCD_NAME="b"\n'
     'ETCD_INITIAL_CLUSTER="a=http://a:2380,b=http://b:2380"\n'
     'ETCD_INITIAL_ADVERTISE_PEER_URLS="http://b:2380"\n'
     'ETCD_INITIAL_CLUSTER_STATE="existing"\n'),
    ("remove a", "cluster/member/remove", {"ID": "10"}, "Member a removed from cluster ff\n"),
    ("promote b", "cluster/member/promote", {"ID": "11"}, "Member b promoted in cluster ff\n"),
    ("update b --peer-urls=http://x:1,http://y:1", "cluster/member/update",
     {"ID": "11", "peerURLs": ["http://x:1", "http://y:1"]}, "Member b updated in cluster ff\n"),
    ("swap --add http://b:2380 --promote c --demote d --remove e", "cluster/reconfigure",
     {"add": [{"peerURLs": ["http://b:2380"], "isLearner": False}], "promote": ["12"],
      "demote": ["13"], "remove": ["14"]},
     "Member b added: http://b:2380\nMember c promoted\nMember d demoted\nMember e removed\n"
     "2 members in cluster ff\n"),
    ("move-leader b", "maintenance/transfer-leadership", {"targetID": "11"},
     "Leadership transferred to b\n"),
])
def test_commands(
    words: str, path: str, body: dict[str, Any], out: str,
    asked: list[tuple[str, dict[str, Any]]], capsys: pytest.CaptureFixture[str],
) -> None:
    """What is asked, and what is printed."""
    assert ctl.main(["member", *words.split()]) == 0
    assert asked[-1] == (path, body)
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(("endpoints", "text"), [
    ("http://127.0.0.1:1", "no endpoint can be reached"), ("https://a:1", "is no http URL"),
    ("a:b", "is no URL"), ("", "no endpoint can be reached")])
def test_errors_are_sentences(
    endpoints: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 1."""
    assert ctl.main(["--endpoints", endpoints, "member", "list"]) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("id_", ["zz", "0", "-1", "1" + "0" * 16])
def test_what_is_no_id_is_refused(id_: str) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit):
        ctl.main(["member", "remove", f"--{id_}" if id_.startswith("-") else id_])
