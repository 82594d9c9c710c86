from quorate.wire._generated import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class V2Request(_message.Message):
    __slots__ = ("method", "path", "value", "dir", "recursive", "refresh", "ttl", "prev_exist", "prev_value", "prev_index")
    class Method(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SET: _ClassVar[V2Request.Method]
        CREATE_IN_ORDER: _ClassVar[V2Request.Method]
        DELETE: _ClassVar[V2Request.Method]
    SET: V2Request.Method
    CREATE_IN_ORDER: V2Request.Method
    DELETE: V2Request.Method
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    PREV_EXIST_FIELD_NUMBER: _ClassVar[int]
    PREV_VALUE_FIELD_NUMBER: _ClassVar[int]
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    method: V2Request.Method
    path: bytes
    value: bytes
    dir: bool
    recursive: bool
    refresh: bool
    ttl: int
    prev_exist: bool
    prev_value: bytes
    prev_index: int
    def __init__(self, method: _Optional[_Union[V2Request.Method, str]] = ..., path: _Optional[bytes] = ..., value: _Optional[bytes] = ..., dir: _Optional[bool] = ..., recursive: _Optional[bool] = ..., refresh: _Optional[bool] = ..., ttl: _Optional[int] = ..., prev_exist: _Optional[bool] = ..., prev_value: _Optional[bytes] = ..., prev_index: _Optional[int] = ...) -> None: ...

class V2Get(_message.Message):
    __slots__ = ("path", "recursive", "quorum")
    PATH_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    recursive: bool
    quorum: bool
    def __init__(self, path: _Optional[bytes] = ..., recursive: _Optional[bool] = ..., quorum: _Optional[bool] = ...) -> None: ...

class V2Node(_message.Message):
    __slots__ = ("key", "dir", "value", "nodes", "created_index", "modified_index", "lease", "ttl", "left_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    CREATED_INDEX_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    dir: bool
    value: bytes
    nodes: _containers.RepeatedCompositeFieldContainer[V2Node]
    created_index: int
    modified_index: int
    lease: int
    ttl: int
    left_ms: int
    def __init__(self, key: _Optional[bytes] = ..., dir: _Optional[bool] = ..., value: _Optional[bytes] = ..., nodes: _Optional[_Iterable[_Union[V2Node, _Mapping]]] = ..., created_index: _Optional[int] = ..., modified_index: _Optional[int] = ..., lease: _Optional[int] = ..., ttl: _Optional[int] = ..., left_ms: _Optional[int] = ...) -> None: ...

class V2Response(_message.Message):
    __slots__ = ("header", "action", "node", "prev_node", "refresh")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PREV_NODE_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    action: str
    node: V2Node
    prev_node: V2Node
    refresh: bool
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ..., action: _Optional[str] = ..., node: _Optional[_Union[V2Node, _Mapping]] = ..., prev_node: _Optional[_Union[V2Node, _Mapping]] = ..., refresh: _Optional[bool] = ...) -> None: ...
