"""Doors: the TCP proxies through which one node reaches the members, one per node and member.

A node that is cut off from the store meets silence, as when packets are dropped: connections are
accepted, nothing is answered, what was open freezes. What both sides sent meanwhile arrives when
the cut is healed, as if it were retransmitted, unless the side that sent it has gone. The door of a
dead member refuses connections as the member's own port would. A door remembers which member the
node spoke to last.

A door that is shut is a socket that is bound and does not listen: its port refuses, and stays ours.
Not here: links between members (quorate.cli.demo.links), when a node is cut (stage.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

BACKLOG = 128
LOOK_S = 0.02
"""How often a member that starts is tried before its doors open."""
RESET = struct.pack("ii", 1, 0)


class End(asyncio.Protocol):
    """One end of a passage: towards the node, or towards the member."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.transport: asyncio.Transport | None = None
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bytes may flow."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Carry it to the other end."""
        self.passage.carry(self, data)

    def connection_lost(self, _failure: Exception | None) -> None:
        """End the other end too."""
        self.gone = True
        self.passage.flush()


class Passage:
    """One connection of a node to a member."""

    def __init__(self, doors: Doors, node: str, member: str) -> None:
        self.doors = doors
        self.node = node
        self.member = member
        self.inside = End(self)
        self.outside = End(self)
        self.reaching = False
        self._held: list[tuple[End, bytes]] = []

    def carry(self, source: End, data: bytes) -> None:
        """Bytes came in at one end."""
        if source is self.inside:
            self.doors.spoken[self.node] = self.member
        self._held.append((self.outside if source is self.inside else self.inside, data))
        self.flush()

    def flush(self) -> None:
        """Hand over what is held, unless the node is cut off or the member not yet reached."""
        if self.node in self.doors.cut_off:
            return
        if self.inside.gone or self.outside.gone:
            self._close()
        elif self.outside.transport is not None and self.inside.transport is not None:
            for target, data in self._held:
                assert target.transport is not None
                target.transport.write(data)
            self._held.clear()

    def _close(self) -> None:
        self._held.clear()
        for end in (self.inside, self.outside):
            if not end.gone and end.transport is not None:
                end.transport.close()
        if self.inside.gone and (self.outside.gone or not self.reaching):
            self.doors.passages.discard(self)

    async def reach(self, port: int) -> None:
        """Connect to the member; reset the node's connection if it refuses."""
        self.reaching = True
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self.outside, "127.0.0.1", port)
        except OSError:
            self.outside.gone = True
            self.reset()
        self.flush()

    def reset(self) -> None:
        """As when the member refuses."""
        transport = self.inside.transport
        if transport is not None and not self.inside.gone:
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()


class Doors:
    """All doors, served by a thread of their own."""

    def __init__(self, nodes: list[str], members: dict[str, int]) -> None:
        """`members`: name → the port on which it serves clients."""
        self._members = members
        self.cut_off: set[str] = set()
        self.passages: set[Passage] = set()
        self.spoken: dict[str, str] = {}
        """Node → the member to which it last sent something."""
        self._doors: dict[tuple[str, str], socket.socket] = {}
        for node in nodes:
            for member in members:
                self._doors[node, member] = _bound(0)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="doors", daemon=True)
        self._thread.start()
        for member in members:
            self._call(self._open(member))

    def hosts(self, node: str, order: list[str]) -> str:
        """For the node's configuration: its doors in that order of members."""
        return ",".join(
            f"127.0.0.1:{self._doors[node, member].getsockname()[1]}" for member in order)

    def cut(self, node: str) -> None:
        """The node meets silence from now on."""
        self._call(self._cut(node))

    def heal(self, node: str) -> None:
        """The node reaches the members again."""
        self._call(self._heal(node))

    def shut(self, member: str) -> None:
        """The member is dead: its doors refuse."""
        self._call(self._shut(member))

    def open(self, member: str) -> None:
        """The member starts: its doors open as soon as it listens."""
        self._call(self._await(member))

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.closing(self._loop):
            self._loop.run_forever()
            for passage in self.passages:
                for end in (passage.inside, passage.outside):
                    if end.transport is not None:
                        end.transport.abort()
            for task in self._tasks:
                task.cancel()
            self._loop.run_until_complete(
                asyncio.gather(*self._tasks, asyncio.sleep(0), return_exceptions=True))
            for door in self._doors.values():
                door.close()

    def _spawn(self, what: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, member: str) -> None:
        for (node, name), door in self._doors.items():
            if name == member:
                door.listen(BACKLOG)
                self._loop.add_reader(door, self._accept, node, member)

    async def _shut(self, member: str) -> None:
        for (node, name), door in list(self._doors.items()):
            if name == member:
                self._loop.remove_reader(door)
                port = door.getsockname()[1]
                door.close()
                self._doors[node, name] = _bound(port)

    async def _await(self, member: str) -> None:
        self._spawn(self._open_when_ready(member))

    async def _open_when_ready(self, member: str) -> None:
        while True:
            with contextlib.suppress(OSError):
                _reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._members[member])
                writer.close()
                return await self._open(member)
            await asyncio.sleep(LOOK_S)

    def _accept(self, node: str, member: str) -> None:
        with contextlib.suppress(OSError):
            connection, _address = self._doors[node, member].accept()
            self._spawn(self._serve(node, member, connection))

    async def _serve(self, node: str, member: str, connection: socket.socket) -> None:
        passage = Passage(self, node, member)
        self.passages.add(passage)
        await self._loop.connect_accepted_socket(lambda: passage.inside, connection)
        if node not in self.cut_off:
            await passage.reach(self._members[member])

    async def _cut(self, node: str) -> None:
        self.cut_off.add(node)

    async def _heal(self, node: str) -> None:
        self.cut_off.discard(node)
        for passage in [p for p in self.passages if p.node == node]:
            if passage.reaching or passage.inside.gone:
                passage.flush()
            else:
                self._spawn(passage.reach(self._members[passage.member]))


def _bound(port: int) -> socket.socket:
    """A socket that has a port and does not listen yet."""
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    door.setblocking(False)
    return door
