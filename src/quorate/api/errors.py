"""The table of errors: what each problem is called, in every form that a client may see.

Texts and codes are etcd's (surface §3), because clients switch on them. Shapes are those of etcd
3.4 and 3.5 with both `code` and `grpc_code` where those differ from later releases, which every
Patroni understands (patroni-contract §2.5). Two rules keep a primary from being demoted: nothing
that happens to a lease or lock request is code 2 or 8, and a member that cannot serve says 14.

The table is the test data of its test. Not here: when a problem arises (state/, member/).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum

from quorate.state.errors import Problem, Refused


class Code(IntEnum):
    """gRPC status codes."""

    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS: dict[Code, tuple[int, str]] = {
    Code.CANCELED: (408, "Request Timeout"),
    Code.UNKNOWN: (500, "Internal Server Error"),
    Code.INVALID_ARGUMENT: (400, "Bad Request"),
    Code.DEADLINE_EXCEEDED: (504, "Gateway Timeout"),
    Code.NOT_FOUND: (404, "Not Found"),
    Code.ALREADY_EXISTS: (409, "Conflict"),
    Code.PERMISSION_DENIED: (403, "Forbidden"),
    Code.RESOURCE_EXHAUSTED: (429, "Too Many Requests"),
    Code.FAILED_PRECONDITION: (400, "Bad Request"),
    Code.OUT_OF_RANGE: (400, "Bad Request"),
    Code.UNIMPLEMENTED: (501, "Not Implemented"),
    Code.INTERNAL: (500, "Internal Server Error"),
    Code.UNAVAILABLE: (503, "Service Unavailable"),
    Code.DATA_LOSS: (500, "Internal Server Error"),
    Code.UNAUTHENTICATED: (401, "Unauthorized"),
}
"""As grpc-gateway maps them in etcd 3.5."""

_P = Problem
_C = Code
TABLE: dict[Problem, tuple[Code, str]] = {
    _P.EMPTY_KEY: (_C.INVALID_ARGUMENT, "etcdserver: key is not provided"),
    _P.KEY_NOT_FOUND: (_C.INVALID_ARGUMENT, "etcdserver: key not found"),
    _P.VALUE_PROVIDED: (_C.INVALID_ARGUMENT, "etcdserver: value is provided"),
    _P.LEASE_PROVIDED: (_C.INVALID_ARGUMENT, "etcdserver: lease is provided"),
    _P.TOO_MANY_OPS: (_C.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
    _P.DUPLICATE_KEY: (_C.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"),
    _P.INVALID_SORT_OPTION: (_C.INVALID_ARGUMENT, "etcdserver: invalid sort option"),
    _P.BAD_MEMBER_URLS: (_C.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"),
    _P.REQUEST_TOO_LARGE: (_C.INVALID_ARGUMENT, "etcdserver: request is too large"),
    _P.MALFORMED: (_C.INVALID_ARGUMENT, "malformed request"),
    _P.COMPACTED: (
        _C.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
    _P.FUTURE_REVISION: (
        _C.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
    _P.LEASE_TTL_TOO_LARGE: (_C.OUT_OF_RANGE, "etcdserver: too large lease TTL"),
    _P.NO_SPACE: (_C.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    _P.LEASE_NOT_FOUND: (_C.NOT_FOUND, "etcdserver: requested lease not found"),
    _P.MEMBER_NOT_FOUND: (_C.NOT_FOUND, "etcdserver: member not found"),
    _P.LEASE_EXISTS: (_C.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    _P.MEMBER_EXISTS: (_C.FAILED_PRECONDITION, "etcdserver: member ID already exist"),
    _P.PEER_URL_EXISTS: (_C.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists"),
    _P.NOT_ENOUGH_STARTED_MEMBERS: (
        _C.UNKNOWN,
        "etcdserver: re-configuration failed due to not enough started members"),
    _P.MEMBER_NOT_LEARNER: (
        _C.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"),
    _P.LEARNER_NOT_READY: (
        _C.FAILED_PRECONDITION,
        "etcdserver: can only promote a learner member which is in sync with leader"),
    _P.TOO_MANY_LEARNERS: (
        _C.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster"),
    _P.CLUSTER_ID_MISMATCH: (_C.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch"),
    _P.NOT_LEADER: (_C.FAILED_PRECONDITION, "etcdserver: not leader"),
    _P.BAD_LEADER_TRANSFEREE: (_C.FAILED_PRECONDITION, "etcdserver: bad leader transferee"),
    _P.AUTH_NOT_ENABLED: (
        _C.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
    _P.UNHEALTHY: (_C.UNAVAILABLE, "etcdserver: unhealthy cluster"),
    _P.TOO_MANY_REQUESTS: (_C.UNAVAILABLE, "etcdserver: too many requests"),
    _P.NO_LEADER: (_C.UNAVAILABLE, "etcdserver: no leader"),
    _P.LEADER_CHANGED: (_C.UNAVAILABLE, "etcdserver: leader changed"),
    _P.STOPPED: (_C.UNAVAILABLE, "etcdserver: server stopped"),
    _P.TIMED_OUT: (_C.UNAVAILABLE, "etcdserver: request timed out"),
    _P.TIMED_OUT_LEADER_LOST: (
        _C.UNAVAILABLE,
        "etcdserver: request timed out, possibly due to previous leader failure"),
    _P.NOT_SUPPORTED_FOR_LEARNER: (
        _C.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
    _P.CORRUPT: (_C.DATA_LOSS, "etcdserver: corrupt cluster"),
    _P.WATCH_CANCELED: (_C.CANCELED, "etcdserver: watch canceled"),
    _P.SNAPSHOT_FAILED: (_C.INTERNAL, "etcdserver: the snapshot could not be written"),
    _P.UNIMPLEMENTED: (_C.UNIMPLEMENTED, "etcdserver: not implemented"),
    _P.ELECTION_NO_LEADER: (_C.UNKNOWN, "election: no leader"),
    _P.ELECTION_NOT_LEADER: (_C.UNKNOWN, "election: not leader"),
    _P.ELECTION_LEADER_MISSING: (_C.UNKNOWN, '"leader" field must be provided'),
    _P.ELECTION_OBSERVE_CLOSED: (_C.UNKNOWN, "election: observe closed early"),
    _P.LOCK_SESSION_EXPIRED: (_C.UNKNOWN, "mutex: session is expired"),
    _P.RELAYED: (_C.UNKNOWN, "unknown"),
} | dict.fromkeys((
    _P.V2_KEY_NOT_FOUND, _P.V2_COMPARE_FAILED, _P.V2_NOT_A_FILE, _P.V2_NOT_A_DIRECTORY,
    _P.V2_KEY_EXISTS, _P.V2_ROOT_READ_ONLY, _P.V2_DIRECTORY_NOT_EMPTY, _P.V2_HISTORY_CLEARED,
), (_C.INVALID_ARGUMENT, "etcdserver: of the v2 API"))


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """One error as clients see it."""

    code: Code
    text: str

    @property
    def status(self) -> int:
        """HTTP status of a unary reply."""
        return HTTP_STATUS[self.code][0]

    def unary(self) -> bytes:
        """Body of a unary reply."""
        return json.dumps(
            {"error": self.text, "message": self.text, "code": int(self.code)},
            separators=(",", ":")).encode()

    def streaming(self) -> bytes:
        """The line that ends a stream."""
        status, reason = HTTP_STATUS[self.code]
        return json.dumps(
            {"error": {"grpc_code": int(self.code), "code": int(self.code), "http_code": status,
                       "message": self.text, "http_status": reason}},
            separators=(",", ":")).encode() + b"\n"


V2_CODES = {
    _P.V2_KEY_NOT_FOUND: 100, _P.V2_COMPARE_FAILED: 101, _P.V2_NOT_A_FILE: 102,
    _P.V2_NOT_A_DIRECTORY: 104, _P.V2_KEY_EXISTS: 105, _P.V2_ROOT_READ_ONLY: 107,
    _P.V2_DIRECTORY_NOT_EMPTY: 108, _P.V2_HISTORY_CLEARED: 401}
"""Of the v2 API; whatever else happens is 300, with the text above as its cause."""

V2_TABLE: dict[int, tuple[int, str]] = {
    100: (404, "Key not found"),
    101: (412, "Compare failed"),
    102: (403, "Not a file"),
    104: (400, "Not a directory"),
    105: (412, "Key already exists"),
    107: (400, "Root is read only"),
    108: (403, "Directory not empty"),
    201: (400, "PrevValue is Required in POST form"),
    202: (400, "The given TTL in POST form is not a number"),
    203: (400, "The given index in POST form is not a number"),
    209: (400, "Invalid field"),
    210: (400, "Invalid POST form"),
    211: (400, "Value provided on refresh"),
    212: (400, "A TTL must be provided on refresh"),
    300: (500, "Raft Internal Error"),
    401: (400, "The event in requested index is outdated and cleared"),
}
"""Codes of the v2 API: HTTP status and message (surface §6.4)."""

V2_UNANSWERED = frozenset((
    _P.NO_LEADER, _P.NOT_LEADER, _P.LEADER_CHANGED, _P.TIMED_OUT, _P.TIMED_OUT_LEADER_LOST,
    _P.STOPPED, _P.TOO_MANY_REQUESTS, _P.NOT_SUPPORTED_FOR_LEARNER))
"""Ends a v2 client's connection without an answer: Patroni would stay with who answers 300, and
goes to the next member at once when there is no answer (patroni-contract §1)."""


@dataclass(frozen=True, slots=True)
class V2Error:
    """One error of the v2 API as clients see it. `index` is the newest revision, 0 if the form
    could not be read."""

    code: int
    cause: str
    index: int

    @property
    def status(self) -> int:
        """HTTP status."""
        return V2_TABLE[self.code][0]

    def body(self) -> bytes:
        """Of the reply."""
        out: dict[str, object] = {"errorCode": self.code, "message": V2_TABLE[self.code][1]}
        if self.cause:
            out["cause"] = self.cause
        out["index"] = self.index
        text = json.dumps(out, separators=(",", ":"), ensure_ascii=False)
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
        return text.encode() + b"\n"


def v2_form(refused: Refused, index: int) -> V2Error:
    """The form of a refusal."""
    code = V2_CODES.get(refused.problem)
    if code is not None:
        return V2Error(code, refused.detail, index)
    return V2Error(300, form(refused).text, index)


def form(refused: Refused) -> ErrorForm:
    """The form of a refusal."""
    code, text = TABLE[refused.problem]
    return ErrorForm(code, refused.detail or text)


SHUTDOWN = ErrorForm(Code.UNAVAILABLE, "transport is closing")
"""What etcd ends streams with when it stops."""
