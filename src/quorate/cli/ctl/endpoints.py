"""endpoint health, status, hashkv: each endpoint is asked for itself.

Not here: the forms of tables (printer.py, forms.py).
"""

from __future__ import annotations

import asyncio
import time

from quorate.cli.ctl.flags import BAD_FEATURE, ERROR, Exit
from quorate.cli.ctl.forms import quoted, size, table, took, value_of
from quorate.cli.ctl.printer import complain, header, say
from quorate.cli.ctl.shell import LATE, Shell
from quorate.client.errors import ClientError, Unreachable
from quorate.client.methods import HASH_KV, RANGE, STATUS
from quorate.wire._generated import rpc_pb2 as rpc


def _why(failure: ClientError) -> str:
    return LATE if isinstance(failure, Unreachable) else str(failure)


async def health(shell: Shell) -> None:
    """endpoint health: a linearizable read at each."""
    if shell.printer.form == "protobuf":
        raise Exit(BAD_FEATURE, "protobuf not supported as output format")

    async def one(endpoint: str) -> tuple[str, bool, str, str]:
        began = time.monotonic()
        async with shell.at(endpoint) as client:
            try:
                await shell.tried(RANGE, rpc.RangeRequest(key=b"health"), client)
                wrong = ""
            except ClientError as failure:
                wrong = _why(failure)
        return endpoint, not wrong, took(time.monotonic() - began), wrong

    found = await asyncio.gather(*map(one, await shell.each_endpoint()))

    def fields() -> None:
        for endpoint, healthy, seconds, wrong in found:
            say(f'"Endpoint" : {quoted(endpoint)}')
            say(f'"Health" : {str(healthy).lower()}')
            say(f'"Took" : {seconds}')
            say(f'"Error" : {wrong}')
            say("")

    if shell.printer.form == "simple":
        for endpoint, healthy, seconds, wrong in found:
            complain(f"{endpoint} is healthy: successfully committed proposal: took = {seconds}"
                     if healthy else
                     f"{endpoint} is unhealthy: failed to commit proposal: {wrong}")
    elif shell.printer.form == "table":
        say(table(["endpoint", "health", "took", "error"],
                  [[e, str(h).lower(), t, w] for e, h, t, w in found])[:-1])
    else:
        shell.printer.rows([], [], fields, [
            {"endpoint": e, "health": h, "took": t, **({"error": w} if w else {})}
            for e, h, t, w in found])
    if not all(healthy for _, healthy, _, _ in found):
        raise Exit(ERROR, "unhealthy cluster")


async def status(shell: Shell) -> None:
    """endpoint status."""
    found: list[tuple[str, rpc.StatusResponse]] = []
    failed = False
    for endpoint in await shell.each_endpoint():
        async with shell.at(endpoint) as client:
            try:
                found.append((endpoint, await shell.tried(STATUS, rpc.StatusRequest(), client)))
            except ClientError as failure:
                failed = True
                complain(f"Failed to get the status of endpoint {endpoint} ({_why(failure)})")
    rows = [[endpoint, f"{s.header.member_id:x}", s.version, size(s.dbSize),
             str(s.leader == s.header.member_id).lower(), str(s.isLearner).lower(),
             str(s.raftTerm), str(s.raftIndex), str(s.raftAppliedIndex), ", ".join(s.errors)]
            for endpoint, s in found]

    def fields() -> None:
        for endpoint, s in found:
            header(s.header)
            say(f'"Version" : {quoted(s.version)}')
            say(f'"DBSize" : {s.dbSize}')
            say(f'"Leader" : {s.leader}')
            say(f'"IsLearner" : {str(s.isLearner).lower()}')
            say(f'"RaftIndex" : {s.raftIndex}')
            say(f'"RaftTerm" : {s.raftTerm}')
            say(f'"RaftAppliedIndex" : {s.raftAppliedIndex}')
            say(f'"Errors" : [{" ".join(map(quoted, s.errors))}]')
            say(f'"Endpoint" : {quoted(endpoint)}')
            say("")

    shell.printer.rows(
        ["endpoint", "ID", "version", "db size", "is leader", "is learner", "raft term",
         "raft index", "raft applied index", "errors"], rows, fields,
        [{"Endpoint": endpoint, "Status": value_of(s)} for endpoint, s in found])
    if failed:
        raise Exit(ERROR)


async def hash_kv(shell: Shell) -> None:
    """endpoint hashkv."""
    found: list[tuple[str, rpc.HashKVResponse]] = []
    wrong = ""
    request = rpc.HashKVRequest(revision=shell.words.number("rev"))
    for endpoint in await shell.each_endpoint():
        async with shell.at(endpoint) as client:
            try:
                found.append((endpoint, await shell.tried(HASH_KV, request, client)))
            except ClientError as failure:
                wrong = _why(failure)
                complain(f"Failed to get the hash of endpoint {endpoint} ({wrong})")

    def fields() -> None:
        for endpoint, answer in found:
            header(answer.header)
            say(f'"Endpoint" : {quoted(endpoint)}')
            say(f'"Hash" : {answer.hash}')
            say("")

    shell.printer.rows(
        ["endpoint", "hash"], [[endpoint, str(answer.hash)] for endpoint, answer in found], fields,
        [{"Endpoint": endpoint, "HashKV": value_of(answer)} for endpoint, answer in found])
    if wrong:
        raise Exit(ERROR, wrong)
