from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Notice(_message.Message):
    __slots__ = ("term", "sequence", "lease_renew", "lease_renew_ack", "lease_forward", "lease_forwarded", "lease_ages_ask", "lease_ages")
    TERM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LEASE_RENEW_FIELD_NUMBER: _ClassVar[int]
    LEASE_RENEW_ACK_FIELD_NUMBER: _ClassVar[int]
    LEASE_FORWARD_FIELD_NUMBER: _ClassVar[int]
    LEASE_FORWARDED_FIELD_NUMBER: _ClassVar[int]
    LEASE_AGES_ASK_FIELD_NUMBER: _ClassVar[int]
    LEASE_AGES_FIELD_NUMBER: _ClassVar[int]
    term: int
    sequence: int
    lease_renew: LeaseRenew
    lease_renew_ack: LeaseRenewAck
    lease_forward: LeaseForward
    lease_forwarded: LeaseForwarded
    lease_ages_ask: LeaseAgesAsk
    lease_ages: LeaseAges
    def __init__(self, term: _Optional[int] = ..., sequence: _Optional[int] = ..., lease_renew: _Optional[_Union[LeaseRenew, _Mapping]] = ..., lease_renew_ack: _Optional[_Union[LeaseRenewAck, _Mapping]] = ..., lease_forward: _Optional[_Union[LeaseForward, _Mapping]] = ..., lease_forwarded: _Optional[_Union[LeaseForwarded, _Mapping]] = ..., lease_ages_ask: _Optional[_Union[LeaseAgesAsk, _Mapping]] = ..., lease_ages: _Optional[_Union[LeaseAges, _Mapping]] = ...) -> None: ...

class LeaseRenew(_message.Message):
    __slots__ = ("ids", "gaps")
    IDS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    gaps: int
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., gaps: _Optional[int] = ...) -> None: ...

class LeaseRenewAck(_message.Message):
    __slots__ = ("late", "gaps")
    LATE_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    late: bool
    gaps: int
    def __init__(self, late: _Optional[bool] = ..., gaps: _Optional[int] = ...) -> None: ...

class LeaseForward(_message.Message):
    __slots__ = ("id", "time_to_live")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    id: int
    time_to_live: bool
    def __init__(self, id: _Optional[int] = ..., time_to_live: _Optional[bool] = ...) -> None: ...

class LeaseForwarded(_message.Message):
    __slots__ = ("outcome", "ttl_s", "remaining_s")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OK: _ClassVar[LeaseForwarded.Outcome]
        NOT_LEADER: _ClassVar[LeaseForwarded.Outcome]
    OK: LeaseForwarded.Outcome
    NOT_LEADER: LeaseForwarded.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    REMAINING_S_FIELD_NUMBER: _ClassVar[int]
    outcome: LeaseForwarded.Outcome
    ttl_s: int
    remaining_s: int
    def __init__(self, outcome: _Optional[_Union[LeaseForwarded.Outcome, str]] = ..., ttl_s: _Optional[int] = ..., remaining_s: _Optional[int] = ...) -> None: ...

class LeaseAgesAsk(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: int
    def __init__(self, question: _Optional[int] = ...) -> None: ...

class LeaseAges(_message.Message):
    __slots__ = ("ids", "ages_ms", "uptime_ms", "question", "gaps")
    IDS_FIELD_NUMBER: _ClassVar[int]
    AGES_MS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    ages_ms: _containers.RepeatedScalarFieldContainer[int]
    uptime_ms: int
    question: int
    gaps: int
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., ages_ms: _Optional[_Iterable[int]] = ..., uptime_ms: _Optional[int] = ..., question: _Optional[int] = ..., gaps: _Optional[int] = ...) -> None: ...
