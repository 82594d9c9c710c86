"""member list, add, remove, update, promote, swap; move-leader.

Not here: what may be done to members (member/membership.py).
"""

from __future__ import annotations

from google.protobuf.message import Message as Proto

from quorate.cli.ctl.flags import BAD_ARGUMENTS, ERROR, Exit, member_id
from quorate.cli.ctl.forms import go_json, value_of
from quorate.cli.ctl.printer import say
from quorate.cli.ctl.shell import Shell, sentence
from quorate.client.errors import ClientError
from quorate.client.methods import (
    MEMBER_ADD, MEMBER_LIST, MEMBER_PROMOTE, MEMBER_REMOVE, MEMBER_UPDATE, MOVE_LEADER,
    RECONFIGURE, STATUS,
)
from quorate.wire._generated import cluster_pb2 as cluster, rpc_pb2 as rpc


async def list_(shell: Shell) -> None:
    """member list."""
    shell.printer.members(await shell.ask(
        MEMBER_LIST, rpc.MemberListRequest(linearizable=True)))


async def add(shell: Shell) -> None:
    """member add NAME --peer-urls=URLS."""
    args = shell.words.all
    if not args:
        raise Exit(BAD_ARGUMENTS, "member name not provided")
    if len(args) > 1:
        raise Exit(BAD_ARGUMENTS, "too many arguments")
    urls = _urls(shell)
    answer = await shell.ask(MEMBER_ADD, rpc.MemberAddRequest(
        peerURLs=urls, isLearner=shell.words.on("learner")))
    _done(shell, answer, f"Member {answer.member.ID:16x} added to cluster "
                         f"{answer.header.cluster_id:16x}")
    if shell.printer.form != "simple":
        return
    names = [f"{args[0] if m.ID == answer.member.ID else m.name or f'{m.ID:x}'}={url}"
             for m in answer.members for url in m.peerURLs]
    say(f'\nETCD_NAME="{args[0]}"\nETCD_INITIAL_CLUSTER="{",".join(names)}"\n'
        f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{",".join(answer.member.peerURLs)}"\n'
        f'ETCD_INITIAL_CLUSTER_STATE="existing"')


async def remove(shell: Shell) -> None:
    """member remove ID."""
    id_ = _id(shell)
    answer = await shell.ask(MEMBER_REMOVE, rpc.MemberRemoveRequest(ID=id_))
    _done(shell, answer, f"Member {id_:16x} removed from cluster {answer.header.cluster_id:16x}")


async def update(shell: Shell) -> None:
    """member update ID --peer-urls=URLS."""
    id_ = _id(shell)
    answer = await shell.ask(MEMBER_UPDATE, rpc.MemberUpdateRequest(ID=id_, peerURLs=_urls(shell)))
    _done(shell, answer, f"Member {id_:16x} updated in cluster {answer.header.cluster_id:16x}")


async def promote(shell: Shell) -> None:
    """member promote ID."""
    id_ = _id(shell)
    answer = await shell.ask(MEMBER_PROMOTE, rpc.MemberPromoteRequest(ID=id_))
    _done(shell, answer, f"Member {id_:16x} promoted in cluster {answer.header.cluster_id:16x}")


async def swap(shell: Shell) -> None:
    """member swap: all of it in one step, or nothing (an extension of quorate)."""
    lists = shell.words.lists
    if not any(lists.values()):
        raise Exit(BAD_ARGUMENTS, "name what to do: --add, --add-learner, --promote, --demote, "
                                  "--remove; each may be repeated")
    ids = {what: [member_id(one) for one in lists[what]]
           for what in ("promote", "demote", "remove")}
    request = cluster.ReconfigureRequest(
        promote=ids["promote"], demote=ids["demote"], remove=ids["remove"])
    for learner, flag in ((False, "add"), (True, "add-learner")):
        for urls in lists[flag]:
            request.add.add(peerURLs=urls.split(","), isLearner=learner)
    answer = await shell.ask(RECONFIGURE, request)
    lines = [f"Member {m.ID:x} added: {','.join(m.peerURLs)}" for m in answer.added]
    lines += [f"Member {id_:x} {what.rstrip('e')}ed" for what, them in ids.items() for id_ in them]
    _done(shell, answer, "\n".join([
        *lines, f"{len(answer.members)} members in cluster {answer.header.cluster_id:x}"]))


async def move_leader(shell: Shell) -> None:
    """move-leader ID: asks the leader, which has to be among the endpoints."""
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "move-leader command needs 1 argument")
    try:
        target = member_id(args[0])
    except Exit as wrong:
        raise Exit(BAD_ARGUMENTS, str(wrong).partition("(")[2].partition(")")[0]) from None
    for endpoint in shell.client.endpoints:
        async with shell.at(endpoint) as client:
            try:
                status = await shell.tried(STATUS, rpc.StatusRequest(), client)
            except ClientError:
                continue
            leader = status.header.member_id
            if status.leader != leader:
                continue  # it would refuse
            try:
                answer = await shell.tried(
                    MOVE_LEADER, rpc.MoveLeaderRequest(targetID=target), client)
            except ClientError as failure:
                raise Exit(ERROR, sentence(failure)) from None
            return _done(shell, answer, f"Leadership transferred from {leader:x} to {target:x}")
    raise Exit(BAD_ARGUMENTS,
               f"no leader endpoint given at [{' '.join(shell.client.endpoints)}]")


def _id(shell: Shell) -> int:
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "member ID is not provided")
    return member_id(args[0])


def _urls(shell: Shell) -> list[str]:
    urls = [url.strip() for url in shell.words.text("peer-urls").split(",") if url.strip()]
    if not urls:
        raise Exit(BAD_ARGUMENTS, "member peer urls not provided")
    for url in urls:
        if url.partition("://")[0] not in ("http", "https", "unix", "unixs"):
            raise Exit(ERROR, f"URL scheme must be http, https, unix, or unixs: {url}")
    return urls


def _done(shell: Shell, answer: Proto, text: str) -> None:
    form = shell.printer.form
    if form == "simple":
        say(text)
    elif form == "json":
        say(go_json(value_of(answer)))
    elif form == "protobuf":
        say(answer.SerializeToString())
    else:
        raise shell.printer.unsupported()
