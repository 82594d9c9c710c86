"""What can go wrong with a request, by what the caller knows then."""

from __future__ import annotations


class ClientError(Exception):
    """Base of them; the text is for people."""


class Unreachable(ClientError):
    """No connection could be made: nothing was sent."""


class OutcomeUnknown(ClientError):
    """The connection broke after the request was sent: a write may or may not have happened."""


class ServerError(ClientError):
    """The server's answer; `code` is gRPC's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
