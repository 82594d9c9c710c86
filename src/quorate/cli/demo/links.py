"""Links between members that can be cut: a TCP proxy in front of each peer port.

A member advertises its proxy, so all traffic between members passes here. Who opened a connection
is read from the `X-Server-From` header with which every stream begins; a cut drops connections in
both directions and refuses new ones, without root and without touching a member. A link may also be
impaired in one direction: bytes wait (a blocked link), are late, or the connection breaks.

Not here: when links are cut (play.py, torture/).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from dataclasses import dataclass

_FROM = re.compile(rb"X-Server-From: ([0-9a-f]+)")
HEAD_BYTES_MAX = 4096


BLOCKED_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to each piece that goes over a link in one direction."""

    blocked: bool = False
    delay_s: float = 0.0
    """The longest; the shortest is none."""
    reset: float = 0.0
    """Chance that the connection breaks."""


SOUND = Impairment()


class Links:
    """Proxies for all members, in a thread of their own."""

    def __init__(self, ports: dict[str, tuple[int, int]]) -> None:
        """`ports`: name → (public port, the port that the member listens on)."""
        self._ports = ports
        self._names: dict[str, str] = {}
        self._cut: set[str] = set()
        self._impaired: dict[tuple[str, str], Impairment] = {}
        self._random = random.Random()
        self._open: set[tuple[str, str, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)
        self._thread.start()
        self._ready.wait(5)

    def learn(self, member_id: int, name: str) -> None:
        """Whose id that is."""
        self._names[f"{member_id:x}"] = name

    def isolate(self, name: str) -> None:
        """Cut every link of that member."""
        self._loop.call_soon_threadsafe(self._apply, name, True)

    def heal(self, name: str) -> None:
        """Its links work again."""
        self._loop.call_soon_threadsafe(self._apply, name, False)

    def impair(self, source: str, target: str, impairment: Impairment = SOUND) -> None:
        """What members send over that link fares like this from now on."""
        self._loop.call_soon_threadsafe(
            self._impaired.__setitem__, (source, target), impairment)

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def _apply(self, name: str, cut: bool) -> None:
        (self._cut.add if cut else self._cut.discard)(name)
        for source, target, writer in list(self._open):
            if {source, target} & self._cut:
                writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.closing(self._loop):
            servers = [self._loop.run_until_complete(asyncio.start_server(
                lambda r, w, name=name, inner=inner: self._serve(  # type: ignore[misc]
                    name, inner, r, w), "127.0.0.1", public))
                for name, (public, inner) in self._ports.items()]
            self._ready.set()
            self._loop.run_forever()
            for server in servers:
                server.close()
            for _source, _target, writer in self._open:
                writer.transport.abort()
            carried = asyncio.all_tasks(self._loop)
            self._loop.run_until_complete(asyncio.gather(*carried, return_exceptions=True))

    async def _serve(
        self, name: str, inner: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = await reader.read(HEAD_BYTES_MAX)
            found = _FROM.search(head)
            source = self._names.get(found[1].decode(), "") if found else ""
            if not {source, name} & self._cut:
                await self._carry(source, name, inner, head, reader, writer)
        except OSError:
            pass  # the member is down: break the connection as it would
        finally:
            writer.transport.abort()

    async def _carry(
        self, source: str, name: str, inner: int, head: bytes,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", inner)
        entries = {(source, name, writer), (source, name, forth)}
        self._open |= entries
        try:
            forth.write(head)
            await asyncio.gather(self._pump(reader, forth, (source, name)),
                                 self._pump(back, writer, (name, source)))
        finally:
            self._open -= entries
            forth.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: tuple[str, str]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                impairment = self._impaired.get(link, SOUND)
                while impairment.blocked:
                    await asyncio.sleep(BLOCKED_LOOK_S)
                    impairment = self._impaired.get(link, SOUND)
                if impairment.delay_s:
                    await asyncio.sleep(impairment.delay_s * self._random.random())
                if self._random.random() < impairment.reset:
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
