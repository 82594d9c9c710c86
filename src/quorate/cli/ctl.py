"""`quorate ctl member ...`: the members of a running cluster, from the command line.

Speaks JSON to the first endpoint that can be reached; the output is etcdctl's simple form. A
request whose outcome is unknown is not sent again: look at the list first. Not here: everything
else that etcdctl does, which works on quorate as it is.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

DEFAULT_ENDPOINTS = "http://127.0.0.1:2379"
TIMEOUT_S = 10.0
"""Above what a member takes to answer or refuse: 7 s."""


class Failed(Exception):
    """A sentence for the person at the terminal."""


class Gateway:
    """The client ports of a cluster."""

    def __init__(self, endpoints: str) -> None:
        self._endpoints = [
            e if "://" in e else f"http://{e}" for e in endpoints.split(",") if e]

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of the first endpoint that takes a connection; raises Failed."""
        failures: list[str] = []
        for endpoint in self._endpoints:
            connection = self._connect(endpoint, failures)
            if connection is not None:
                try:
                    return self._ask(connection, endpoint, path, body)
                finally:
                    connection.close()
        raise Failed(f"no endpoint can be reached: {'; '.join(failures)}. Name the client URLs of "
                     f"running members with --endpoints.")

    def at_leader(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The same at the leader, by the client URLs that the members have published."""
        leader = self.call("maintenance/status", {}).get("leader", "0")
        for member in self.members():
            if member.get("ID") == leader and member.get("clientURLs"):
                return Gateway(",".join(member["clientURLs"])).call(path, body)
        raise Failed("there is no leader now, or it has no client URL. Try again when "
                     "`quorate ctl member list` works.")

    def members(self) -> list[dict[str, Any]]:
        """The members as a quorum knows them."""
        answer = self.call("cluster/member/list", {"linearizable": True})
        return list(answer.get("members", ()))

    def _connect(
        self, endpoint: str, failures: list[str]
    ) -> http.client.HTTPConnection | None:
        try:
            parts = urlsplit(endpoint)
            port = parts.port or 2379
        except ValueError:
            raise Failed(f"--endpoints {endpoint!r} is no URL. Write it like "
                         f"{DEFAULT_ENDPOINTS}.") from None
        if parts.scheme != "http" or not parts.hostname:
            raise Failed(f"--endpoints {endpoint!r} is no http URL. Write it like "
                         f"{DEFAULT_ENDPOINTS}.")
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
        try:
            connection.connect()
        except OSError as failure:
            failures.append(f"{endpoint}: {failure}")
            return None
        return connection

    def _ask(
        self, connection: http.client.HTTPConnection, endpoint: str, path: str,
        body: dict[str, Any],
    ) -> dict[str, Any]:
        try:
            connection.request("POST", f"/v3/{path}", json.dumps(body),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as failure:
            raise Failed(f"{endpoint} did not answer: {failure}. The change may have been made; "
                         f"see `quorate ctl member list`.") from failure
        if not isinstance(answer, dict):
            raise Failed(f"{endpoint} does not answer like a member: {answer!r}.")
        if response.status != 200:
            raise Failed(str(answer.get("message", answer)))
        return answer


# Commands.


def _list(gateway: Gateway, _words: argparse.Namespace) -> None:
    for member in gateway.members():
        print(", ".join((
            _hex(member), "started" if member.get("name") else "unstarted",
            member.get("name", ""), ",".join(member.get("peerURLs", ())),
            ",".join(member.get("clientURLs", ())),
            "true" if member.get("isLearner") else "false")))


def _add(gateway: Gateway, words: argparse.Namespace) -> None:
    answer = gateway.call("cluster/member/add", {
        "peerURLs": words.peer_urls.split(","), "isLearner": words.learner})
    member = answer["member"]
    print(f"Member {_hex(member)} added to cluster {_cluster(answer)}\n")
    named = [f"{words.name if m['ID'] == member['ID'] else m.get('name') or _hex(m)}={url}"
             for m in answer["members"] for url in m["peerURLs"]]
    print(f'ETCD_NAME="{words.name}"\nETCD_INITIAL_CLUSTER="{",".join(named)}"\n'
          f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{",".join(member["peerURLs"])}"\n'
          f'ETCD_INITIAL_CLUSTER_STATE="existing"')


def _remove(gateway: Gateway, words: argparse.Namespace) -> None:
    answer = gateway.call("cluster/member/remove", {"ID": words.id})
    print(f"Member {int(words.id):x} removed from cluster {_cluster(answer)}")


def _promote(gateway: Gateway, words: argparse.Namespace) -> None:
    answer = gateway.call("cluster/member/promote", {"ID": words.id})
    print(f"Member {int(words.id):x} promoted in cluster {_cluster(answer)}")


def _update(gateway: Gateway, words: argparse.Namespace) -> None:
    answer = gateway.call("cluster/member/update", {
        "ID": words.id, "peerURLs": words.peer_urls.split(",")})
    print(f"Member {int(words.id):x} updated in cluster {_cluster(answer)}")


def _swap(gateway: Gateway, words: argparse.Namespace) -> None:
    new = [{"peerURLs": urls.split(","), "isLearner": learner}
           for learner, listed in ((False, words.add), (True, words.add_learner))
           for urls in listed]
    answer = gateway.call("cluster/reconfigure", {
        "add": new, "promote": words.promote, "demote": words.demote, "remove": words.remove})
    for member in answer.get("added", ()):
        print(f"Member {_hex(member)} added: {','.join(member['peerURLs'])}")
    for done in ("promote", "demote", "remove"):
        for id_ in getattr(words, done):
            print(f"Member {int(id_):x} {done.rstrip('e')}ed")
    print(f"{len(answer.get('members', ()))} members in cluster {_cluster(answer)}")


def _move_leader(gateway: Gateway, words: argparse.Namespace) -> None:
    gateway.at_leader("maintenance/transfer-leadership", {"targetID": words.id})
    print(f"Leadership transferred to {int(words.id):x}")


def _hex(member: dict[str, Any]) -> str:
    return f"{int(member['ID']):x}"


def _cluster(answer: dict[str, Any]) -> str:
    return f"{int(answer['header']['cluster_id']):x}"


def _id(text: str) -> str:
    """A member id in hexadecimal, as `member list` prints it; decimal, as JSON has it."""
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 < value < 1 << 64:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no member id; `quorate ctl member list` shows them")
    return str(value)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="quorate ctl", description=__doc__.partition("\n")[0])
    top.add_argument("--endpoints", default=os.environ.get(
        "ETCDCTL_ENDPOINTS", DEFAULT_ENDPOINTS), help="client URLs, separated by commas")
    member = top.add_subparsers(required=True, metavar="member").add_parser(
        "member").add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[Gateway, argparse.Namespace], None], text: str
    ) -> argparse.ArgumentParser:
        added = member.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("list", _list, "print id, state, name, URLs, and whether it is a learner")
    add = command("add", _add, "add a member, which then is started with the printed settings")
    add.add_argument("name")
    add.add_argument("--peer-urls", required=True)
    add.add_argument("--learner", action="store_true", help="without a vote, until promoted")
    for name, run, text in (
            ("remove", _remove, "remove a member for good"),
            ("promote", _promote, "give a learner that is up to date a vote"),
            ("move-leader", _move_leader, "make another voter the leader")):
        command(name, run, text).add_argument("id", type=_id)
    update = command("update", _update, "change the peer URLs of a member")
    update.add_argument("id", type=_id)
    update.add_argument("--peer-urls", required=True)
    swap = command("swap", _swap, "change several members in one step; each flag can be repeated")
    for flag in ("--add", "--add-learner"):
        swap.add_argument(flag, action="append", default=[], metavar="PEER_URLS")
    for flag in ("--promote", "--demote", "--remove"):
        swap.add_argument(flag, action="append", default=[], type=_id, metavar="ID")
    return top


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    words = parser().parse_args(argv)
    try:
        words.run(Gateway(words.endpoints), words)
    except Failed as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return 1
    return 0
