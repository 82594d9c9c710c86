"""watch: events of a key or a range, from the command line or, with -i, from standard input; each
may run a command.

Not here: what events look like (printer.py).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys

from quorate.cli.ctl.flags import (
    BAD_ARGUMENTS, ERROR, INTERRUPTED, INVALID_INPUT, Exit, Words, read,
)
from quorate.cli.ctl.forms import quoted
from quorate.cli.ctl.main import WATCH_FLAGS
from quorate.cli.ctl.printer import complain, event_type, say
from quorate.cli.ctl.shell import EMPTY_KEY, Shell, as_bytes, prefix_end
from quorate.client.errors import ClientError
from quorate.client.watching import Watching
from quorate.wire._generated import rpc_pb2 as rpc


async def watch(shell: Shell) -> None:
    """watch KEY [RANGE_END] [-- COMMAND ...]."""
    if shell.words.on("interactive"):
        return await _interactive(shell)
    create, command = _request(shell.words)
    return await _follow(shell, Watching(shell.client, create, _lost), command)


async def _interactive(shell: Shell) -> None:
    loop = asyncio.get_running_loop()
    running: list[tuple[Watching, asyncio.Task[None]]] = []
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line.endswith("\n"):
            raise Exit(INVALID_INPUT, "Error reading watch request line: EOF")
        words = shlex.split(line)
        if not words or words[0] not in ("watch", "progress"):
            complain(f"Invalid command {line.strip()} (only support watch and progress)")
        elif words[0] == "watch":
            create, command = _request(read(words[1:], WATCH_FLAGS, {}))
            watching = Watching(shell.client, create, _lost)
            running.append((watching, asyncio.create_task(_follow(shell, watching, command))))
        else:
            for watching, _ in running:
                await watching.ask_progress()


def _request(words: Words) -> tuple[rpc.WatchCreateRequest, list[str]]:
    """What to watch, and the command to run; raises Exit."""
    args, command = list(words.args), words.rest or []
    if key := os.environ.get("ETCDCTL_WATCH_KEY"):
        if args:
            raise Exit(BAD_ARGUMENTS, "key and range_end are in the environment; leave them out")
        args = [key, *filter(None, [os.environ.get("ETCDCTL_WATCH_RANGE_END")])]
    if not 1 <= len(args) <= 2:
        raise Exit(BAD_ARGUMENTS, "bad number of arguments")
    if len(args) == 2 and words.on("prefix"):
        raise Exit(BAD_ARGUMENTS, "`range_end` and `--prefix` are mutually exclusive")
    request = rpc.WatchCreateRequest(
        key=as_bytes(args[0]), start_revision=words.number("rev"), prev_kv=words.on("prev-kv"),
        progress_notify=words.on("progress-notify"))
    if len(args) == 2:
        request.range_end = as_bytes(args[1])
    elif words.on("prefix"):
        request.range_end = prefix_end(request.key)
        request.key = request.key or EMPTY_KEY
    return request, command


def _lost(failure: ClientError, revision: int) -> None:
    complain(f"{failure}; the watch goes on from revision {revision}")


async def _follow(shell: Shell, watching: Watching, command: list[str]) -> None:
    if shell.printer.form == "table":
        raise shell.printer.unsupported()
    async for answer in shell.watched(watching):
        if answer.canceled:
            reason = answer.cancel_reason or (
                "etcdserver: mvcc: required revision has been compacted"
                if answer.compact_revision else "watch was canceled")
            complain(f"watch was canceled ({reason})")
            shell.printer.watch(answer)
            raise Exit(INTERRUPTED, "watch is canceled by the server")
        if answer.created:
            continue
        if not answer.events:
            say(f"progress notify: {answer.header.revision}")
        shell.printer.watch(answer)
        if command:
            for event in answer.events:
                await _run(command, answer.header.revision, event_type(event),
                           quoted(event.kv.key), quoted(event.kv.value))


async def _run(command: list[str], revision: int, kind: str, key: str, value: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(*command, env={
            **os.environ, "ETCD_WATCH_REVISION": str(revision),
            "ETCD_WATCH_EVENT_TYPE": quoted(kind), "ETCD_WATCH_KEY": key,
            "ETCD_WATCH_VALUE": value}, stdin=subprocess.DEVNULL)
    except OSError as failure:
        raise Exit(ERROR, f"the command {command[0]!r} cannot be run: {failure}") from None
    code = await process.wait()
    if code:
        raise Exit(ERROR, f"command {' '.join(command)!r} ended with exit status {code}")
