"""Header blocks of HTTP/2 requests.

`hpack` decodes. Clients repeat themselves: a block that leaves the dynamic table alone means the
same until the table changes, so until then its bytes are the key to what it means.

Invariants: a block is never larger than HEADER_LIST_BYTES_MAX when decoded; what is returned is
well formed (RFC 9113 §8.2, §8.3). Not here: frames (http2.py), what requests mean (grpc.py).
"""

from __future__ import annotations

import hpack
from hpack.table import HeaderTable

HEADER_LIST_BYTES_MAX = 16 << 10
KNOWN_BLOCKS_MAX = 256
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_PSEUDO = frozenset((b":method", b":path", b":scheme", b":authority"))
_REQUIRED = frozenset((b":method", b":path", b":scheme"))


class Unreadable(Exception):
    """The block cannot be decoded: nothing later on the connection can, either."""


class Malformed(Exception):
    """The block can be decoded but is no request; the text says why."""


class Head:
    """A request's headers: the first value of each name, in lower case. The same object serves all
    requests that say the same."""

    __slots__ = ("fields", "get", "method", "path", "plan")

    def __init__(self, method: bytes, path: bytes, fields: dict[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        self.fields = fields
        self.get = fields.get
        self.plan: object = None
        """What the server makes of them, kept for the next request."""


class _Table(HeaderTable):
    """The dynamic table, telling when it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = False

    def add(self, name: bytes, value: bytes) -> None:
        """See `HeaderTable`."""
        self.changed = True
        super().add(name, value)


class HeaderDecoder:
    """All header blocks of one connection, in order."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(HEADER_LIST_BYTES_MAX)
        self._decoder.header_table = self._table = _Table()
        self._known: dict[bytes, Head] = {}

    def request(self, block: bytes) -> Head:
        """What a request's block means; raises Unreadable, Malformed."""
        head = self._known.get(block)
        if head is not None:
            return head
        fields = self.skip(block)
        head = _head(fields)
        if not self._table.changed and len(self._known) < KNOWN_BLOCKS_MAX:
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Decode for the table's sake, e.g. trailers; raises Unreadable."""
        self._table.changed = block[:1] != b"" and block[0] & 0xE0 == 0x20
        try:
            fields = [(bytes(name), bytes(value))
                      for name, value in self._decoder.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError) as wrong:
            raise Unreadable(f"the header block cannot be decoded: {wrong}") from wrong
        if self._table.changed:
            self._known.clear()
        return fields


def _head(fields: list[tuple[bytes, bytes]]) -> Head:
    pseudo: dict[bytes, bytes] = {}
    regular: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name in pseudo or name not in _PSEUDO:
                raise Malformed(f"the header {name.decode('latin-1')} is out of place")
            pseudo[name] = value
        elif not name or name != name.lower() or name in _CONNECTION_SPECIFIC or (
                name == b"te" and value != b"trailers"):
            raise Malformed(f"the header {name.decode('latin-1')!r} is not allowed in HTTP/2")
        else:
            regular.setdefault(name, value)
    if not pseudo.keys() >= _REQUIRED or not pseudo[b":path"]:
        raise Malformed("a request needs :method, :scheme and :path")
    return Head(pseudo[b":method"], pseudo[b":path"], regular)
