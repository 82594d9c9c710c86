"""What can be wrong with a request, as values.

One enum member per error that etcd's clients can tell apart; `api/errors.py` is the table that
gives each its gRPC code, text, HTTP status and v2 code. State code raises `Refused`; the member
hands it to the API as the outcome of the request.
"""

from __future__ import annotations

from enum import Enum, auto


class Problem(Enum):
    """Names follow the texts of etcd's rpctypes (etcd-surface.md §3)."""

    EMPTY_KEY = auto()
    KEY_NOT_FOUND = auto()
    VALUE_PROVIDED = auto()
    LEASE_PROVIDED = auto()
    TOO_MANY_OPS = auto()
    DUPLICATE_KEY = auto()
    COMPACTED = auto()
    FUTURE_REVISION = auto()
    INVALID_SORT_OPTION = auto()
    NO_SPACE = auto()
    LEASE_NOT_FOUND = auto()
    LEASE_EXISTS = auto()
    LEASE_TTL_TOO_LARGE = auto()
    MEMBER_NOT_FOUND = auto()
    MEMBER_EXISTS = auto()
    PEER_URL_EXISTS = auto()
    BAD_MEMBER_URLS = auto()
    NOT_ENOUGH_STARTED_MEMBERS = auto()
    UNHEALTHY = auto()
    MEMBER_NOT_LEARNER = auto()
    LEARNER_NOT_READY = auto()
    TOO_MANY_LEARNERS = auto()
    REQUEST_TOO_LARGE = auto()
    TOO_MANY_REQUESTS = auto()
    NO_LEADER = auto()
    NOT_LEADER = auto()
    BAD_LEADER_TRANSFEREE = auto()
    LEADER_CHANGED = auto()
    STOPPED = auto()
    TIMED_OUT = auto()
    TIMED_OUT_LEADER_LOST = auto()
    """The outcome is unknown: the leader it was given to is gone."""
    NOT_SUPPORTED_FOR_LEARNER = auto()
    CORRUPT = auto()
    AUTH_NOT_ENABLED = auto()
    CLUSTER_ID_MISMATCH = auto()
    WATCH_CANCELED = auto()
    MALFORMED = auto()
    """Not etcd's wording: `detail` says what the parser found."""
    UNIMPLEMENTED = auto()
    SNAPSHOT_FAILED = auto()
    """Not etcd's wording: `detail` says what went wrong."""
    ELECTION_NO_LEADER = auto()
    ELECTION_NOT_LEADER = auto()
    ELECTION_LEADER_MISSING = auto()
    ELECTION_OBSERVE_CLOSED = auto()
    LOCK_SESSION_EXPIRED = auto()
    V2_KEY_NOT_FOUND = auto()
    """Of the v2 API; `detail` is what its errors call the cause."""
    V2_COMPARE_FAILED = auto()
    V2_NOT_A_FILE = auto()
    V2_NOT_A_DIRECTORY = auto()
    V2_KEY_EXISTS = auto()
    V2_ROOT_READ_ONLY = auto()
    V2_DIRECTORY_NOT_EMPTY = auto()
    V2_HISTORY_CLEARED = auto()
    RELAYED = auto()
    """`detail` is what a lock or an election was told by what it is built on."""


class Refused(Exception):
    """A request that cannot be served. `detail` replaces the table's text where it is not empty."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(problem, detail)
        self.problem = problem
        self.detail = detail
