"""lock and elect: held under a lease that is renewed until the command ends, or is interrupted.

Not here: how locks and elections work (api/locks.py, api/elections.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from quorate.cli.ctl.flags import BAD_ARGUMENTS, ERROR, Exit
from quorate.cli.ctl.printer import complain
from quorate.cli.ctl.shell import Shell, as_bytes, sentence
from quorate.client.client import Client
from quorate.client.errors import ClientError
from quorate.client.methods import (
    CAMPAIGN, LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, LOCK, OBSERVE, RANGE, RESIGN, UNLOCK,
)
from quorate.wire._generated import (
    election_pb2 as election, lock_pb2 as lock_pb, rpc_pb2 as rpc,
)

SESSION_TTL_S = 60
T = TypeVar("T")


async def lock(shell: Shell) -> None:
    """lock NAME [COMMAND ...]."""
    args = shell.words.all
    if not args:
        raise Exit(BAD_ARGUMENTS,
                   "lock takes a lock name argument and an optional command to execute")
    interrupted = _interrupts()
    async with _session(shell, shell.words.number("ttl")) as (lease, lost):
        held = await _unless(interrupted, _waiting(shell, LOCK, lock_pb.LockRequest(
            name=as_bytes(args[0]), lease=lease)))
        try:
            if len(args) > 1:
                await _run(args[1:], held.key, held.header.revision)
            else:
                await _show(shell, held.key)
                await _until(interrupted, lost)
        finally:
            with suppress(Exit):
                await shell.ask(UNLOCK, lock_pb.UnlockRequest(key=held.key))


async def elect(shell: Shell) -> None:
    """elect NAME PROPOSAL, or elect -l NAME."""
    args, listens = shell.words.all, shell.words.on("listen")
    if len(args) not in (1, 2):
        raise Exit(BAD_ARGUMENTS,
                   "elect takes one election name argument and an optional proposal argument")
    if len(args) == 1 and not listens:
        raise Exit(BAD_ARGUMENTS, "no proposal argument but -l not set")
    if len(args) == 2 and listens:
        raise Exit(BAD_ARGUMENTS, "proposal given but -l is set")
    interrupted, name = _interrupts(), as_bytes(args[0])
    if listens:
        following = asyncio.ensure_future(_follow(shell, name))
        await asyncio.wait({following, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        return
    async with _session(shell, SESSION_TTL_S) as (lease, lost):
        won = await _unless(interrupted, _waiting(shell, CAMPAIGN, election.CampaignRequest(
            name=name, lease=lease, value=as_bytes(args[1]))))
        try:
            await _show(shell, won.leader.key)
            await _until(interrupted, lost)
        finally:
            with suppress(Exit):
                await shell.ask(RESIGN, election.ResignRequest(leader=won.leader))


async def _follow(shell: Shell, name: bytes) -> None:
    async for answer in shell.stream(OBSERVE, election.LeaderRequest(name=name)):
        shell.printer.get(rpc.RangeResponse(header=answer.header, kvs=[answer.kv], count=1))


async def _show(shell: Shell, key: bytes) -> None:
    shell.printer.get(await shell.ask(RANGE, rpc.RangeRequest(key=key)))


def _interrupts() -> asyncio.Future[None]:
    """Done when the command is interrupted: then what it holds is given back first."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def interrupted() -> None:
        if not future.done():
            future.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    return future


async def _unless(interrupted: asyncio.Future[None], work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    waited: set[asyncio.Future[Any]] = {task, interrupted}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        raise Exit(ERROR, "context canceled")
    return task.result()


async def _until(interrupted: asyncio.Future[None], lost: asyncio.Future[None]) -> None:
    await asyncio.wait({interrupted, lost}, return_when=asyncio.FIRST_COMPLETED)
    if not interrupted.done():
        raise Exit(ERROR, "session expired")


async def _waiting(shell: Shell, method: Any, request: Any) -> Any:
    """A call that may wait for ever, on a connection of its own."""
    client = Client(shell.client.endpoints, dial_timeout_s=shell.dial_timeout_s)
    try:
        return await client.call(method, request)
    except ClientError as failure:
        raise Exit(ERROR, sentence(failure)) from None
    finally:
        client.close()


@asynccontextmanager
async def _session(shell: Shell, ttl_s: int) -> AsyncIterator[tuple[int, asyncio.Future[None]]]:
    """A lease that is renewed meanwhile, and a future that is done if it ends."""
    granted = await shell.ask(LEASE_GRANT, rpc.LeaseGrantRequest(TTL=ttl_s))
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    renewing = asyncio.ensure_future(_renew(shell, granted.ID, granted.TTL, lost))
    try:
        yield granted.ID, lost
    finally:
        renewing.cancel()
        with suppress(Exit):
            await shell.ask(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=granted.ID))


async def _renew(shell: Shell, lease: int, ttl_s: int, lost: asyncio.Future[None]) -> None:
    client = Client(shell.client.endpoints, dial_timeout_s=shell.dial_timeout_s)
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + ttl_s
    try:
        while True:
            await asyncio.sleep(min(ttl_s / 3, max(0.1, ends_at - loop.time())))
            with suppress(ClientError):
                answer = await shell.tried(
                    LEASE_KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=lease), client)
                ends_at = loop.time() + answer.TTL
            if loop.time() >= ends_at and not lost.done():
                complain("session expired")
                lost.set_result(None)
                return
    finally:
        client.close()


async def _run(command: list[str], key: bytes, revision: int) -> None:
    try:
        process = await asyncio.create_subprocess_exec(*command, env={
            **os.environ, "ETCD_LOCK_KEY": key.decode("utf-8", "surrogateescape"),
            "ETCD_LOCK_REV": str(revision)})
    except OSError as failure:
        raise Exit(ERROR, f"the command {command[0]!r} cannot be run: {failure}") from None
    if code := await process.wait():
        raise Exit(ERROR, f"exit status {code}")


