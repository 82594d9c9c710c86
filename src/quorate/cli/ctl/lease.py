"""lease grant, revoke, timetolive, list, keep-alive.

Not here: what answers look like (printer.py).
"""

from __future__ import annotations

import asyncio
import base64

from quorate.cli.ctl.flags import BAD_ARGUMENTS, BAD_CONNECTION, ERROR, Exit, integer, lease_id
from quorate.cli.ctl.forms import value_of
from quorate.cli.ctl.printer import header, say
from quorate.cli.ctl.shell import Shell, sentence
from quorate.client.errors import ClientError
from quorate.client.methods import (
    LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_LEASES, LEASE_REVOKE, LEASE_TIME_TO_LIVE,
)
from quorate.wire._generated import rpc_pb2 as rpc


def _one(shell: Shell, missing: str) -> int:
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, missing)
    return lease_id(args[0])


async def grant(shell: Shell) -> None:
    """lease grant TTL."""
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "lease grant command needs TTL argument")
    try:
        ttl = integer(args[0])
    except ValueError as wrong:
        raise Exit(BAD_ARGUMENTS, f"bad TTL ({wrong})") from None
    try:
        answer = await shell.tried(LEASE_GRANT, rpc.LeaseGrantRequest(TTL=ttl))
    except ClientError as failure:
        raise Exit(ERROR, f"failed to grant lease ({sentence(failure)})") from None
    shell.printer.lease(
        answer, f"lease {answer.ID & _MASK:016x} granted with TTL({answer.TTL}s)",
        (("ID", answer.ID), ("TTL", answer.TTL)),
        {"ID": answer.ID, "TTL": answer.TTL, "Error": answer.error})


async def revoke(shell: Shell) -> None:
    """lease revoke ID."""
    id_ = _one(shell, "lease revoke command needs 1 argument")
    try:
        answer = await shell.tried(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=id_))
    except ClientError as failure:
        raise Exit(ERROR, f"failed to revoke lease ({sentence(failure)})") from None
    shell.printer.lease(answer, f"lease {id_ & _MASK:016x} revoked", (), None)


async def time_to_live(shell: Shell) -> None:
    """lease timetolive ID [--keys]."""
    id_ = _one(shell, "lease timetolive command needs lease ID as argument")
    answer = await shell.ask(LEASE_TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(
        ID=id_, keys=shell.words.on("keys")))
    text = f"lease {id_ & _MASK:016x} already expired"
    if answer.grantedTTL or answer.TTL != -1:
        text = (f"lease {id_ & _MASK:016x} granted with TTL({answer.grantedTTL}s), "
                f"remaining({answer.TTL}s)")
        if shell.words.on("keys"):
            keys = b" ".join(answer.keys).decode("utf-8", "surrogateescape")
            text += f", attached keys([{keys}])"
    shell.printer.lease(
        answer, text,
        (("ID", answer.ID), ("TTL", answer.TTL), ("GrantedTTL", answer.grantedTTL),
         *(("Key", f'"{key.decode("utf-8", "surrogateescape")}"') for key in answer.keys)),
        {"id": answer.ID, "ttl": answer.TTL, "granted-ttl": answer.grantedTTL,
         "keys": [base64.b64encode(key).decode() for key in answer.keys] or None})


async def list_(shell: Shell) -> None:
    """lease list."""
    answer = await shell.ask(LEASE_LEASES, rpc.LeaseLeasesRequest())

    def simple() -> None:
        say(f"found {len(answer.leases)} leases")
        for lease in answer.leases:
            say(f"{lease.ID & _MASK:016x}")

    def fields() -> None:
        header(answer.header)
        for lease in answer.leases:
            say(f'"ID" : {lease.ID}')

    shell.printer.show(answer, simple, fields, {
        **value_of(answer.header), "leases": [{"id": lease.ID} for lease in answer.leases]})


async def keep_alive(shell: Shell) -> None:
    """lease keep-alive ID [--once]: until it ends, or this is interrupted."""
    id_ = _one(shell, "lease keep-alive command needs lease ID as argument")
    request = rpc.LeaseKeepAliveRequest(ID=id_)
    while True:
        try:
            answer = await shell.tried(LEASE_KEEP_ALIVE, request)
        except ClientError as failure:
            if shell.words.on("once"):
                raise Exit(BAD_CONNECTION, sentence(failure)) from None
            await asyncio.sleep(0.5)  # as long as the lease lasts there may be another member
            continue
        if answer.TTL <= 0:
            if shell.words.on("once"):
                raise Exit(BAD_CONNECTION, "etcdserver: requested lease not found")
            return say(f"lease {id_ & _MASK:016x} expired or revoked.")
        shell.printer.lease(
            answer, f"lease {id_ & _MASK:016x} keepalived with TTL({answer.TTL})",
            (("ID", answer.ID), ("TTL", answer.TTL)), {"ID": answer.ID, "TTL": answer.TTL})
        if shell.words.on("once"):
            return None
        await asyncio.sleep(answer.TTL / 3)


_MASK = (1 << 64) - 1
