"""What a node is told once: identity, times in ticks, limits, and which rules are relaxed.

Defaults are what a member uses; scenario files relax them to show what the rules are for.
Not here: anything that changes while the node runs (core.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from quorate.raft.log import NO_LIMIT
from quorate.raft.types import InFlightLimits, Storage

CAMPAIGN_TRANSFER = b"CampaignTransfer"
"""Context of vote requests that a leader asked for: they override leader stickiness."""


class ReadOnly(Enum):
    """How linearizable reads are confirmed."""

    SAFE = "safe"
    LEASE_BASED = "lease-based"


class Campaign(Enum):
    """Why a node asks for votes."""

    PRE_ELECTION = 1
    ELECTION = 2
    TRANSFER = 3


@dataclass(slots=True)
class NodeConfig:
    """`random_timeout` gets the election tick and returns a timeout in [tick, 2 · tick)."""

    id: int
    storage: Storage
    random_timeout: Callable[[int], int]
    election_tick: int = 10
    heartbeat_tick: int = 1
    applied: int = 0
    async_storage: bool = True
    max_bytes_per_message: int = NO_LIMIT
    max_committed_bytes_per_ready: int = NO_LIMIT
    max_uncommitted_bytes: int = NO_LIMIT
    in_flight: InFlightLimits = InFlightLimits()
    check_quorum: bool = True
    pre_vote: bool = True
    read_only: ReadOnly = ReadOnly.SAFE
    step_down_on_removal: bool = True
    disable_proposal_forwarding: bool = False
    disable_conf_change_validation: bool = False
