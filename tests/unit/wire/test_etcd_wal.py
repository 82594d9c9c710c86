"""Which changes of etcd's log a database does not hold."""

from __future__ import annotations

from hypothesis import given, strategies as st

from quorate.wire._generated import raft_internal_pb2 as internal, raft_pb2, rpc_pb2 as rpc
from quorate.wire.etcd_wal import changes_after

PUT = internal.InternalRaftRequest(ID=1, put=rpc.PutRequest(key=b"a", value=b"b" * 200))
OTHER = internal.InternalRaftRequest(ID=1, alarm=rpc.AlarmRequest())


def frame(kind: int, data: bytes) -> bytes:
    """One record, padded to 8 bytes as etcd does."""
    size = bytes((len(data) & 127 | 128, len(data) >> 7)) if len(data) > 127 else bytes(
        (len(data),))
    record = bytes((1 << 3, kind, 2 << 3, 0xff, 0x01, 3 << 3 | 2)) + size + data
    padding = -len(record) % 8
    head = len(record) | (0x80 | padding) << 56 if padding else len(record)
    return head.to_bytes(8, "little") + record + bytes(padding)


def entry(index: int, request: internal.InternalRaftRequest, kind: int = 0) -> bytes:
    """An entry's record."""
    return frame(2, raft_pb2.Entry(
        Term=2, Index=index, Type=kind,  # type: ignore[arg-type]  # a number is an enum's
        Data=request.SerializeToString()).SerializeToString())


def test_changes_behind_the_database_are_found() -> None:
    """Over several segments; what changes neither keys nor leases does not count."""
    first = frame(1, b"metadata") + entry(1, PUT) + entry(2, PUT) + bytes(64)
    second = frame(4, b"") + entry(3, OTHER) + entry(4, PUT) + frame(3, b"state") + bytes(512)

    assert changes_after(1, [first, second]) == {2, 4}
    assert changes_after(4, [first, second]) == set()


def test_an_entry_supersedes_those_behind_it() -> None:
    """A leader's that were never committed."""
    log = entry(1, PUT) + entry(2, PUT) + entry(3, PUT) + entry(2, OTHER)

    assert changes_after(0, [log]) == {1}


def test_a_torn_tail_ends_the_log() -> None:
    """What is there counts."""
    log = entry(1, PUT) + entry(2, PUT)

    assert changes_after(0, [log[:-20]]) == {1}


@given(st.binary(max_size=200))
def test_other_bytes_do_no_harm(data: bytes) -> None:
    """It only counts."""
    changes_after(0, [data, entry(1, PUT) + data])
