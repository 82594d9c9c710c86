"""What the transport needs from the member it carries messages for.

Not here: sockets (transport.py, server.py, stream.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from quorate.raft.types import Message


@dataclass(frozen=True, slots=True)
class LocalMember:
    """Who this end is."""

    cluster_id: int
    member_id: int
    peer_urls: tuple[str, ...]
    version: str


class SnapshotSink(Protocol):
    """Takes the image of a snapshot that is being received."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None:
        """The image is complete: make it durable, then step the message."""
        ...

    def abort(self) -> None: ...


class PeerHandler(Protocol):
    """Called on the loop's thread. Must not raise."""

    def on_message(self, message: Message) -> None: ...

    def on_unreachable(self, member_id: int, dropped: list[Message]) -> None:
        """These messages to the member did not leave."""
        ...

    def on_lost(self, member_id: int) -> None:
        """The member's end closed or reset a connection: its process may be gone."""
        ...

    def on_snapshot_sent(self, member_id: int, ok: bool) -> None: ...

    def open_snapshot(self, message: Message) -> tuple[Message, Iterator[bytes]]:
        """The message with the image that is sent with it."""
        ...

    def receive_snapshot(self, message: Message) -> SnapshotSink: ...

    def members_json(self) -> bytes: ...

    def on_post(self, path: str, body: bytes, respond: Callable[[int, bytes], None]) -> bool:
        """Another member asks this one to decide something; False if the path is unknown."""
        ...

    def accepts(self, member_id: int) -> bool:
        """Whether an unknown member of this cluster may be talked to: this one may not have heard
        of it yet, or of anybody."""
        ...

    def is_removed(self, member_id: int) -> bool: ...

    def on_refused(self, member_id: int) -> None:
        """The peer refuses this member because it was removed."""
        ...
