"""What Raft can refuse.

`RaftError` ← `ProposalDropped`, `StepPeerNotFound`, `StepLocalMessage`, `LogLost`, `ConfigError`.
Texts that scenario files compare are those of etcd's raft library. A broken invariant is not an
error but `types.InvariantBroken`.
"""

from __future__ import annotations


class RaftError(Exception):
    """Root of the tree."""


class ProposalDropped(RaftError):
    """No leader, or a leader that cannot take it now; nothing was appended."""

    def __init__(self) -> None:
        super().__init__("raft proposal dropped")


class StepPeerNotFound(RaftError):
    """An answer from somebody who is not in the configuration."""

    def __init__(self) -> None:
        super().__init__("raft: cannot step as peer not found")


class StepLocalMessage(RaftError):
    """A message that only this node may make for itself came from outside."""

    def __init__(self) -> None:
        super().__init__("raft: cannot step raft local message")


class LogLost(RaftError):
    """The leader knows entries to be committed here that this log no longer has (lesson L18)."""

    def __init__(self, commit: int, last_index: int) -> None:
        super().__init__(
            f"entries up to {commit} were committed with this member's help, but its log ends at "
            f"{last_index}: it has lost data; remove the member and add it again empty")
        self.commit = commit
        self.last_index = last_index


class ConfigError(RaftError):
    """A configuration change that cannot be made."""
