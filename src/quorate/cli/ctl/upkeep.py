"""alarm, defrag, snapshot, version.

A snapshot is complete, checked and on disk before it has its name. Not here: what is in it
(state/etcd_buckets.py, wire/bbolt.py), restoring one (cli/import_cluster.py).
"""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

import google_crc32c

from quorate.cli.ctl.flags import BAD_ARGUMENTS, ERROR, INTERRUPTED, INVALID_INPUT, Exit
from quorate.cli.ctl.forms import size
from quorate.cli.ctl.printer import complain, header, say
from quorate.cli.ctl.shell import LATE, Shell, sentence
from quorate.client.errors import ClientError, Unreachable
from quorate.client.methods import ALARM, DEFRAGMENT, SNAPSHOT
from quorate.wire import bbolt
from quorate.wire._generated import rpc_pb2 as rpc

HASH_BYTES = 32
"""At the end of a snapshot that was saved: the SHA-256 of the rest."""

VERSION = "3.5.21"
"""The release of etcd whose API this speaks."""


async def alarm_list(shell: Shell) -> None:
    """alarm list."""
    await _alarms(shell, "list", rpc.AlarmRequest.GET)


async def alarm_disarm(shell: Shell) -> None:
    """alarm disarm: all of them."""
    await _alarms(shell, "disarm", rpc.AlarmRequest.DEACTIVATE)


async def _alarms(
    shell: Shell, command: str, action: rpc.AlarmRequest.AlarmAction
) -> None:
    if shell.words.all:
        raise Exit(BAD_ARGUMENTS, f"alarm {command} command accepts no arguments")
    if action == rpc.AlarmRequest.GET:
        answer = await shell.ask(ALARM, rpc.AlarmRequest(action=action))
    else:
        answer = rpc.AlarmResponse()
        raised = await shell.ask(ALARM, rpc.AlarmRequest(action=rpc.AlarmRequest.GET))
        for one in raised.alarms:
            done = await shell.ask(ALARM, rpc.AlarmRequest(
                action=action, memberID=one.memberID, alarm=one.alarm))
            answer.alarms.extend(done.alarms)

    def simple() -> None:
        for one in answer.alarms:
            say(f"memberID:{one.memberID} alarm:{rpc.AlarmType.Name(one.alarm)} ")

    def fields() -> None:
        header(answer.header)
        for one in answer.alarms:
            say(f'"MemberID" : {one.memberID}')
            say(f'"AlarmType" : {rpc.AlarmType.Name(one.alarm)}')
            say("")

    shell.printer.show(answer, simple, fields)


async def defrag(shell: Shell) -> None:
    """defrag: each endpoint says that it is done; on quorate there is nothing to do."""
    failed = False
    for endpoint in await shell.each_endpoint():
        async with shell.at(endpoint) as client:
            try:
                await shell.tried(DEFRAGMENT, rpc.DefragmentRequest(), client)
                say(f"Finished defragmenting etcd member[{endpoint}]")
            except ClientError as failure:
                failed = True
                why = LATE if isinstance(failure, Unreachable) else sentence(failure)
                complain(f"Failed to defragment etcd member[{endpoint}] ({why})")
    if failed:
        raise Exit(ERROR)


async def snapshot_save(shell: Shell) -> None:
    """snapshot save FILE."""
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "snapshot save expects one argument")
    if len(shell.client.endpoints) != 1:
        raise Exit(INTERRUPTED, f"snapshot must be requested to one selected node, not multiple "
                                f"[{' '.join(shell.client.endpoints)}]")
    path, part = Path(args[0]), Path(f"{args[0]}.part")
    digest, tail = hashlib.sha256(), b""
    try:
        with part.open("wb") as file:
            async for piece in shell.stream(SNAPSHOT, rpc.SnapshotRequest()):
                file.write(piece.blob)
                tail += piece.blob
                digest.update(tail[:-HASH_BYTES])
                tail = tail[-HASH_BYTES:]
            file.flush()
            os.fsync(file.fileno())
        if tail != digest.digest():
            raise Exit(ERROR, "the snapshot was cut short or damaged on its way; try again")
        part.rename(path)
    except OSError as failure:
        raise Exit(ERROR, f"{args[0]}: {failure.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    say(f"Snapshot saved at {args[0]}")


async def snapshot_status(shell: Shell) -> None:
    """snapshot status FILE."""
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "snapshot status requires exactly one argument")
    try:
        with Path(args[0]).open("rb") as file, mmap.mmap(
                file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            hash_, revision, keys, total = _contents(data)
    except (OSError, bbolt.Damaged, ValueError) as failure:
        if isinstance(failure, OSError):
            raise Exit(ERROR, f"stat {args[0]}: {str(failure.strerror).lower()}") from None
        raise Exit(INVALID_INPUT, f"{args[0]}: {failure}") from None

    def fields() -> None:
        for name, value in (("Hash", hash_), ("Revision", revision), ("Keys", keys),
                            ("Size", total)):
            say(f'"{name}" : {value}')

    shell.printer.rows(
        ["hash", "revision", "total keys", "total size"],
        [[f"{hash_:x}", str(revision), str(keys), size(total)]], fields,
        {"hash": hash_, "revision": revision, "totalKey": keys, "totalSize": total})


def _contents(data: bbolt.Source) -> tuple[int, int, int, int]:
    """Hash, revision, number of keys, size in pages, as etcdctl counts them."""
    reader, hash_, keys, revision = bbolt.Reader(data), 0, 0, 0
    for name in reader.names:
        hash_ = google_crc32c.extend(hash_, name)
        for key, value in reader.pairs(name):
            hash_ = google_crc32c.extend(google_crc32c.extend(hash_, key), value)
            keys += 1
            if name == b"key":
                revision = int.from_bytes(key[:8], "big")
    total = len(data)
    return hash_, revision, keys, total - total % 512


async def snapshot_restore(_shell: Shell) -> None:
    """snapshot restore: another command's work."""
    raise Exit(ERROR, "use `quorate import FILE` to begin a cluster with a snapshot, or "
                      "etcdutl for one of etcd")


async def version(_shell: Shell) -> None:
    """version."""
    say(f"etcdctl version: {VERSION}\nAPI version: 3.5")
