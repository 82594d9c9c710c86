"""The peer port: streams and snapshots from other members, and what discovery asks for.

`/raft/stream/message/<id>` (GET, the member <id> receives), `/raft/snapshot` (POST), `/members`,
`/version`, `/raft/probing`, and what members forward to the leader (POST below `/members/`).
Answers to the wrong end: 412 with etcd's texts for another cluster, 404 for a member that is not
known and cannot be met, 410 for one that was removed.

Not here: HTTP itself (net/http1.py), the receiving end of streams (stream.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from quorate.net.http1 import BodySink, Exchange, Request
from quorate.peers.counts import PeerCounts, Transfers
from quorate.peers.handler import LocalMember, PeerHandler, SnapshotSink
from quorate.raft.types import Message, MessageType
from quorate.wire.raft import WireError, decode_message

STREAM_PATH = "/raft/stream/message/"
SNAPSHOT_PATH = "/raft/snapshot"
MESSAGE_BYTES_MAX = 1 << 20
"""The message before a snapshot's image; it holds no entries."""


def identity_headers(local: LocalMember, to: int) -> str:
    """Who speaks, and to whom (surface §13)."""
    return (
        f"X-Server-From: {local.member_id:x}\r\nX-Server-Version: {local.version}\r\n"
        f"X-Min-Cluster-Version: 3.0.0\r\nX-Etcd-Cluster-ID: {local.cluster_id:x}\r\n"
        f"X-Raft-To: {to:x}\r\nX-PeerURLs: {','.join(local.peer_urls)}\r\n")


class PeerServer:
    """A `net.http1.Handler`. `attach` is told of each stream that a peer has opened."""

    def __init__(
        self, local: LocalMember, handler: PeerHandler, knows: Callable[[int], bool],
        attach: Callable[[int, Exchange], None], meet: Callable[[int, tuple[str, ...]], bool],
        counts: Callable[[int], PeerCounts], clock: Callable[[], float],
    ) -> None:
        """`meet` takes a member that is not known, with its URLs, if it may."""
        self._counts = counts
        self._clock = clock
        self._local = local
        self._handler = handler
        self._knows = knows
        self._meet = meet
        self._attach = attach
        self._version = (
            f'{{"etcdserver":"{local.version}","etcdcluster":"{local.version}"}}').encode()

    def streams_body(self, request: Request, exchange: Exchange) -> BodySink | None:
        """Snapshot images are taken in pieces."""
        if request.path != SNAPSHOT_PATH or request.method != "POST":
            return None
        sender, refusal = self._check(request)
        if refusal is not None:
            exchange.respond(*refusal, content_type="text/plain")
            return _Discard()
        return _SnapshotBody(
            self._handler, exchange, sender, self._counts(sender).received, self._clock)

    def on_request(self, request: Request, exchange: Exchange) -> None:
        """Serve one request."""
        path = request.path
        if path.startswith(STREAM_PATH):
            self._stream(request, exchange)
        elif path == "/members":
            exchange.respond(
                200, self._handler.members_json(),
                headers=f"X-Etcd-Cluster-ID: {self._local.cluster_id:x}\r\n".encode())
        elif path == "/version":
            exchange.respond(200, self._version)
        elif path == "/raft/probing":
            exchange.respond(200, b'{"OK":true}')
        elif not (request.method == "POST" and path.startswith("/members/")
                  and self._post(request, exchange)):
            exchange.respond(404, b'{"message":"Not Found"}')

    def _post(self, request: Request, exchange: Exchange) -> bool:
        _, refusal = self._check(request)
        if refusal is not None:
            exchange.respond(*refusal, content_type="text/plain")
            return True
        return self._handler.on_post(request.path, request.body, partial(
            exchange.respond, content_type="application/octet-stream"))

    def _stream(self, request: Request, exchange: Exchange) -> None:
        sender, refusal = self._check(request)
        if refusal is not None:
            exchange.respond(*refusal, content_type="text/plain")
            return
        exchange.start(200, "application/octet-stream")
        self._attach(sender, exchange)

    def _check(self, request: Request) -> tuple[int, tuple[int, bytes] | None]:
        """(sender, None), or what to answer."""
        headers = request.headers
        if headers.get("x-etcd-cluster-id") != f"{self._local.cluster_id:x}":
            return 0, (412, b"cluster ID mismatch")
        try:
            sender = int(headers.get("x-server-from", ""), 16)
        except ValueError:
            return 0, (400, b"X-Server-From is missing")
        if self._handler.is_removed(sender):
            return 0, (410, b"the member has been permanently removed from the cluster")
        if headers.get("x-raft-to") != f"{self._local.member_id:x}":
            return 0, (412, b"member ID mismatch")
        if not self._knows(sender) and not self._meet(
                sender, tuple(filter(None, headers.get("x-peerurls", "").split(",")))):
            return 0, (404, b"unknown member")
        return sender, None


class _Discard:
    """A body that nobody wants."""

    def write(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        pass

    def lost(self) -> None:
        pass


class _SnapshotBody:
    """8-byte length, a SNAP message, then the image."""

    def __init__(
        self, handler: PeerHandler, exchange: Exchange, sender: int, transfers: Transfers,
        clock: Callable[[], float],
    ) -> None:
        self._transfers: Transfers | None = transfers
        self._clock = clock
        self._began = clock()
        transfers.under_way += 1
        self._handler = handler
        self._exchange = exchange
        self._sender = sender
        self._head = bytearray()
        self._sink: SnapshotSink | None = None
        self._failed = False

    def write(self, data: bytes) -> None:
        """A piece."""
        if self._failed:
            return
        if self._sink is not None:
            self._sink.write(data)
            return
        self._head += data
        if len(self._head) < 8:
            return
        length = int.from_bytes(self._head[:8], "big")
        if length > MESSAGE_BYTES_MAX:
            self._fail(b"the message is too large")
        elif len(self._head) >= 8 + length:
            self._begin(bytes(self._head[8:8 + length]), bytes(self._head[8 + length:]))

    def end(self) -> None:
        """The image is complete."""
        if self._sink is not None and not self._failed:
            self._sink.finish()
            self._over(ok=True)
            self._exchange.respond(204, b"", content_type="")
        elif not self._failed:
            self._fail(b"the snapshot is cut short")

    def lost(self) -> None:
        """The connection broke."""
        self._over(ok=False)
        if self._sink is not None:
            self._sink.abort()

    def _begin(self, message: bytes, rest: bytes) -> None:
        decoded: Message | None = None
        try:
            decoded = decode_message(message)
        except WireError as malformed:
            self._fail(str(malformed).encode())
        if decoded is None:
            return
        if decoded.type is not MessageType.SNAP or decoded.from_ != self._sender:
            self._fail(b"a snapshot message of the sender is needed")
            return
        self._sink = self._handler.receive_snapshot(decoded)
        if rest:
            self._sink.write(rest)

    def _over(self, *, ok: bool) -> None:
        if self._transfers is not None:
            self._transfers.ended(ok, self._clock() - self._began)
            self._transfers = None

    def _fail(self, text: bytes) -> None:
        self._over(ok=False)
        self._failed = True
        self._exchange.respond(400, text, content_type="text/plain")
