"""make-mirror: copies keys to another cluster, first all there are, then each change.

Not here: copying on where another run ended; as with etcdctl, it begins anew.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from quorate.cli.ctl.flags import BAD_ARGUMENTS, ERROR, Exit
from quorate.cli.ctl.printer import say
from quorate.cli.ctl.shell import EMPTY_KEY, Shell, as_bytes, prefix_end, sentence
from quorate.client.client import Client
from quorate.client.errors import ClientError
from quorate.client.methods import DELETE_RANGE, PUT, RANGE
from quorate.client.watching import Watching
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

PAGE_KEYS = 1000
TELL_S = 30.0


async def make_mirror(shell: Shell) -> None:
    """make-mirror DESTINATION."""
    words = shell.words
    if len(words.all) != 1:
        raise Exit(BAD_ARGUMENTS, "make-mirror takes one destination argument")
    if words.on("no-dest-prefix") and words.text("dest-prefix"):
        raise Exit(BAD_ARGUMENTS,
                   "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, "
                   "choose one")
    for flag in ("dest-cert", "dest-key", "dest-cacert"):
        if words.text(flag):
            raise Exit(BAD_ARGUMENTS, f"--{flag}: TLS is not in this release")
    try:
        target = Client(words.all[0].split(","), dial_timeout_s=shell.dial_timeout_s)
    except ClientError as wrong:
        raise Exit(BAD_ARGUMENTS, str(wrong)) from None
    mirror = _Mirror(shell, target)
    telling = asyncio.ensure_future(mirror.tell())
    try:
        await mirror.follow(await mirror.copy())
    except ClientError as failure:
        raise Exit(ERROR, sentence(failure)) from None
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        target.close()


class _Mirror:
    def __init__(self, shell: Shell, target: Client) -> None:
        words = shell.words
        self._shell = shell
        self._target = target
        self._prefix = as_bytes(words.text("prefix"))
        self._to = None if not (words.on("no-dest-prefix") or words.text("dest-prefix")) else (
            as_bytes(words.text("dest-prefix")))
        self._copied = 0

    @property
    def _range(self) -> tuple[bytes, bytes]:
        return (self._prefix, prefix_end(self._prefix)) if self._prefix else (EMPTY_KEY, EMPTY_KEY)

    async def tell(self) -> None:
        """How much was copied, every half a minute."""
        while True:
            await asyncio.sleep(TELL_S)
            say(str(self._copied))

    async def copy(self) -> int:
        """All keys, as of one revision; that."""
        start, end = self._range
        revision, more = 0, True
        while more:
            page = await self._shell.ask(RANGE, rpc.RangeRequest(
                key=start, range_end=end, revision=revision, limit=PAGE_KEYS))
            revision = revision or page.header.revision
            for kv in page.kvs:
                await self._put(kv)
                start = kv.key + b"\0"
            more = page.more
        return revision

    async def follow(self, revision: int) -> None:
        """Each change after it."""
        start, end = self._range
        async for answer in self._shell.watched(Watching(
                self._shell.client, rpc.WatchCreateRequest(
                    key=start, range_end=end, start_revision=revision + 1))):
            if answer.canceled:
                raise Exit(ERROR, "the changes since the copy were compacted; begin anew")
            for event in answer.events:
                if event.type == kv_pb2.Event.PUT:
                    await self._put(event.kv)
                else:
                    await self._shell.tried(DELETE_RANGE, rpc.DeleteRangeRequest(
                        key=self._name(event.kv.key)), self._target)

    async def _put(self, kv: kv_pb2.KeyValue) -> None:
        await self._shell.tried(PUT, rpc.PutRequest(
            key=self._name(kv.key), value=kv.value), self._target)
        self._copied += 1

    def _name(self, key: bytes) -> bytes:
        return key if self._to is None else self._to + key[len(self._prefix):]
