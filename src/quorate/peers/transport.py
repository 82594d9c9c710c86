"""Member-to-member transport: one outgoing and one incoming stream per peer, snapshots beside.

Each end opens the stream on which it receives. What cannot be sent is dropped and reported, Raft
repeats it. A broken stream is opened again at once, then with growing pauses.

Invariants: messages to one peer arrive in order or not at all; everything queued for a peer that
does not read is bounded; a lost connection is reported once.

Not here: what messages mean (member/), frames (stream.py), the listening side (server.py).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from quorate.net.connections import Connections
from quorate.net.http1 import Exchange, Http1Protocol
from quorate.peers.ask import post
from quorate.peers.counts import PeerCounts
from quorate.peers.handler import LocalMember, PeerHandler
from quorate.peers.probe import PROBE_S, round_trip_s
from quorate.peers.server import STREAM_PATH, PeerServer, identity_headers
from quorate.peers.snapshot import send_snapshot
from quorate.peers.stream import LIVE_S, LIVE_S_MAX, StreamClient, frame
from quorate.raft.types import Message, MessageType
from quorate.wire.raft import encode_message

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 16 << 20
"""Bytes that wait for a peer: beyond it appends are dropped, and at twice this everything."""

RETRY_S_MIN = 0.02
RETRY_S_MAX = 1.0
"""Pause before a stream is opened again; grows by half, with jitter."""

CONNECT_S_MAX = 1.0

STRANGERS_MAX = 16
"""Unknown members that are talked to at once; more than any cluster should have."""


class Peer:
    """One other member."""

    def __init__(self, transport: PeerTransport, member_id: int, urls: tuple[str, ...]) -> None:
        self.id = member_id
        self.urls = urls
        self.counts = transport.counts[member_id]
        self._owner = transport
        self._out: Exchange | None = None
        self._in: StreamClient | None = None
        self.active_since: float | None = None
        self._ended = asyncio.Event()
        self._task = transport.loop.create_task(self._receive())
        self._complained = ""
        self._aside: set[asyncio.Task[None]] = set()
        """Snapshots and probes under way."""
        self._probe_at = transport.loop.time()

    # Sending.

    def attach(self, exchange: Exchange) -> None:
        """The peer opened the stream on which it receives."""
        if self._out is not None and not self._out.done:
            self._out.abort()
        self._out = exchange
        exchange.on_disconnected = lambda: self._detached(exchange)

    def _detached(self, exchange: Exchange) -> None:
        if self._out is exchange:
            self._out = None
            self._owner.lost(self)

    def send(self, messages: list[Message]) -> None:
        """Send in order; drop what cannot be sent."""
        out = self._out
        parts, dropped = [], []
        backlog = out.buffered() if out is not None else 0
        for position, message in enumerate(messages):
            if message.type is MessageType.SNAP:
                self._start(self._snapshot(message))
                continue
            append = message.type is MessageType.APP
            if append and not message.entries and _overtaken(message, messages[position + 1:]):
                continue
            bulky = append and bool(message.entries)
            if out is None or backlog > QUEUE_BYTES_MAX * (1 if bulky else 2):
                dropped.append(message)
                continue
            data = encode_message(message)
            backlog += len(data)
            parts.append(frame(data))
        if parts and out is not None:
            data = b"".join(parts)
            self.counts.sent_bytes += len(data)
            self.counts.sent_messages += len(parts)
            out.write(data)
            out.flush()
        if dropped:
            self.counts.send_failures += len(dropped)
            self._owner.handler.on_unreachable(self.id, dropped)

    def live(self) -> None:
        """Send a sign of life, and look for the peer's."""
        now = self._owner.loop.time()
        if now >= self._probe_at and self.active_since is not None:
            self._probe_at = now + PROBE_S
            self._start(self._probe())
        if self._out is not None:
            self._out.write(frame(b""))
        # Something that only accepts connections, such as a proxy of a dead member, must not
        # keep the member's place: an answer has to come as soon as a connection has to.
        limit_s = LIVE_S_MAX if self.active_since is not None else CONNECT_S_MAX
        if self._in is not None and now - self._in.heard > limit_s:
            self._in.close(f"nothing heard for {limit_s:.0f} s")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._owner.loop.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _probe(self) -> None:
        # Whether the member can be reached at all is told by its streams.
        with suppress(OSError, TimeoutError, ValueError):
            self.counts.round_trips.took(await round_trip_s(self.urls[0]))

    async def _snapshot(self, message: Message) -> None:
        transfers, began = self.counts.sent, self._owner.loop.time()
        transfers.under_way += 1
        ok = False
        try:
            await send_snapshot(self._owner.local, self.urls, message, self._owner.handler)
            ok = True
        except (OSError, TimeoutError, ValueError) as failure:
            log.warning("snapshot to member %x failed: %s", self.id, failure)
        finally:
            transfers.ended(ok, self._owner.loop.time() - began)
        self._owner.handler.on_snapshot_sent(self.id, ok)

    # Receiving.

    async def _receive(self) -> None:
        pause_s = RETRY_S_MIN
        turn = 0
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            started = self._owner.loop.time()
            self._ended.clear()
            try:
                await self._open(url)
                await self._ended.wait()
            except (OSError, TimeoutError) as failure:
                self._complain(f"{url}: {failure}")
            if self._owner.loop.time() - started > RETRY_S_MAX:
                pause_s = RETRY_S_MIN
            await asyncio.sleep(pause_s * self._owner.rng.uniform(0.5, 1.0))
            pause_s = min(RETRY_S_MAX, pause_s * 1.5)

    async def _open(self, url: str) -> None:
        parts = urlsplit(url)
        local = self._owner.local
        request = (
            f"GET {STREAM_PATH}{local.member_id:x} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"{identity_headers(local, self.id)}\r\n").encode()
        async with asyncio.timeout(CONNECT_S_MAX):
            _, self._in = await self._owner.loop.create_connection(
                lambda: StreamClient(request, self._owner.handler.on_message,
                                     self._stream_ended, self._established, self.counts),
                parts.hostname or "", parts.port or 0)

    def _established(self) -> None:
        self.active_since = self._owner.loop.time()
        self._complained = ""

    def _stream_ended(self, why: str, lost: bool) -> None:
        if self._in is not None and self._in.refused_as_removed:
            self._owner.handler.on_refused(self.id)
        self._in = None
        self.counts.disconnects += self.active_since is not None
        self.active_since = None
        self._ended.set()
        if lost:
            self._owner.lost(self)
        else:
            self._complain(why)

    def _complain(self, text: str) -> None:
        """Say it once, not at every attempt."""
        if text != self._complained:
            self._complained = text
            log.warning("no stream from member %x: %s", self.id, text)

    async def stop(self) -> None:
        """Close everything."""
        tasks = [self._task, *self._aside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._in is not None:
            self._in.close("stopping")
        if self._out is not None:
            self._out.abort()


def _overtaken(message: Message, later: list[Message]) -> bool:
    """Whether an append without entries only tells a commit index that one behind it tells, too:
    what was committed and what was proposed in the same turn then is one message."""
    return any(other.type is MessageType.APP and other.term == message.term
               and other.commit >= message.commit and other.index >= message.index
               for other in later)


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname and parts.port)
    except ValueError:
        return False


class PeerTransport:
    """All peers of one member, and the peer port."""

    def __init__(
        self, local: LocalMember, handler: PeerHandler, rng: random.Random
    ) -> None:
        self.local = local
        self.handler = handler
        self.rng = rng
        self.loop = asyncio.get_running_loop()
        self.counts: defaultdict[int, PeerCounts] = defaultdict(PeerCounts)
        self._peers: dict[int, Peer] = {}
        self._connections = Connections(self.loop)
        self._strangers: dict[int, tuple[str, ...]] = {}
        """Members that have called and are not in the state of this one yet."""
        self._server = PeerServer(
            local, handler, self._peers.__contains__, self._attach, self._meet,
            self.counts.__getitem__, self.loop.time)
        self._listeners: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> None:
        """Serve the peer port; raises OSError."""
        self._listeners.append(await self.loop.create_server(
            lambda: Http1Protocol(self._server, self._connections, self.loop), host, port))
        if self._timer is None:
            self._timer = self.loop.call_later(LIVE_S, self._live)

    def set_peers(self, peers: Iterable[tuple[int, tuple[str, ...]]]) -> None:
        """Exactly these are the other members now, but for those not heard of yet."""
        known = dict(peers)
        self._strangers = {i: urls for i, urls in self._strangers.items()
                           if i not in known and self.handler.accepts(i)}
        wanted = self._strangers | known
        for member_id, peer in list(self._peers.items()):
            if wanted.get(member_id) != peer.urls:
                del self._peers[member_id]
                task = self.loop.create_task(peer.stop())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for member_id, urls in wanted.items():
            if member_id not in self._peers:
                self._peers[member_id] = Peer(self, member_id, urls)

    def send(self, messages: Iterable[Message]) -> None:
        """Send each to its member."""
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for member_id, batch in by_peer.items():
            peer = self._peers.get(member_id)
            if peer is not None:
                peer.send(batch)

    def active(self) -> set[int]:
        """Members whose stream to this one is open."""
        return {i for i, peer in self._peers.items() if peer.active_since is not None}

    def lost(self, peer: Peer) -> None:
        """A connection with the peer broke at its end."""
        if self._peers.get(peer.id) is peer:
            self.handler.on_lost(peer.id)

    async def stop(self) -> None:
        """Close everything."""
        if self._timer is not None:
            self._timer.cancel()
        for listener in self._listeners:
            listener.close()
        peers, self._peers = list(self._peers.values()), {}
        await asyncio.gather(*(peer.stop() for peer in peers))
        self._connections.close()

    def active_since(self, member_id: int) -> float | None:
        """When the stream from the member was opened, by the loop's clock, if it is open."""
        peer = self._peers.get(member_id)
        return peer.active_since if peer is not None else None

    def post(
        self, urls: tuple[str, ...], to: int, path: str, body: bytes,
        respond: Callable[[int, bytes], None],
    ) -> None:
        """Ask another member to decide something; status 0 if none of its URLs answers."""

        async def ask() -> None:
            respond(*await post(self.local, urls, to, path, body))

        task = self.loop.create_task(ask())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _meet(self, member_id: int, urls: tuple[str, ...]) -> bool:
        """An unknown member calls. Whoever has been away for long, or joins, knows nobody who
        could send it the state; so it talks to them until the state tells (etcd: AddRemote)."""
        if len(self._strangers) >= STRANGERS_MAX or not (
                all(map(_is_usable, urls)) and urls and self.handler.accepts(member_id)):
            return False
        self._strangers[member_id] = urls
        self._peers[member_id] = Peer(self, member_id, urls)
        return True

    def _attach(self, member_id: int, exchange: Exchange) -> None:
        self._peers[member_id].attach(exchange)

    def _live(self) -> None:
        for peer in self._peers.values():
            peer.live()
        self._timer = self.loop.call_later(LIVE_S, self._live)
