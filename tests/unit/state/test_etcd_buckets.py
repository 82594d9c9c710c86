"""The state as etcd's buckets and back: the same keys, revisions, leases and hash."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfState
from quorate.state.backend import AppliedPoint, Bucket
from quorate.state.etcd_buckets import Survey, Unusable, from_etcd, survey, to_etcd
from quorate.state.machine import Machine
from quorate.state.members import REMOVED, Member, to_json
from quorate.state.revision import revision_key
from quorate.wire._generated import kv_pb2, lease_pb2, rpc_pb2 as rpc
from quorate.wire.bbolt import Reader, Writer

POINT = AppliedPoint(77, 5, ConfState((1,)))
LEASE = 9


class View:
    """What a backend has now."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self.applied = backend.applied

    def scan(self, bucket: Bucket, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """See `etcd_buckets.View`."""
        return self._backend.scan(bucket, b"", None, reverse=reverse)


class Few(dict[bytes, list[tuple[bytes, bytes]]]):
    """Buckets by hand."""

    def pairs(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See `etcd_buckets.Buckets`."""
        return iter(self.get(name, []))


def machine() -> tuple[Machine, MemoryBackend]:
    """An empty one, somewhere in a log."""
    backend = MemoryBackend()
    backend.advance(POINT)
    return Machine(backend), backend


def exported(backend: MemoryBackend) -> Reader:
    """As a file."""
    writer = Writer()
    pages = [page for name, pairs in to_etcd(View(backend)) for page in writer.bucket(name, pairs)]
    pages += writer.finish()
    return Reader(writer.head() + b"".join(pages))


def imported(reader: Reader, compacted: int | None = None) -> tuple[Machine, MemoryBackend]:
    """Into an empty one."""
    backend = MemoryBackend()
    found = survey(reader)
    for _ in from_etcd(reader, backend, found.compacted if compacted is None else compacted):
        pass
    return Machine(backend), backend


def everything(backend: MemoryBackend) -> dict[Bucket, list[tuple[bytes, bytes]]]:
    """All buckets of keys and leases."""
    return {bucket: list(backend.scan(bucket, b"", None)) for bucket in (
        Bucket.KEY, Bucket.LATEST, Bucket.PAST, Bucket.LEASE, Bucket.LEASE_KEY, Bucket.META)}


PUT = st.builds(
    lambda key, value, lease: rpc.PutRequest(key=key, value=value, lease=lease),
    st.binary(min_size=1, max_size=2), st.binary(max_size=3), st.sampled_from((0, LEASE)))
DELETE = st.builds(
    lambda key, wide: rpc.DeleteRangeRequest(key=key, range_end=b"\0" if wide else b""),
    st.binary(min_size=1, max_size=2), st.booleans())
COMPACT = st.builds(lambda n: rpc.CompactionRequest(revision=n), st.integers(1, 30))
TXN = st.lists(st.binary(min_size=1, max_size=2), unique=True, max_size=3).map(
    lambda keys: rpc.TxnRequest(success=[
        rpc.RequestOp(request_put=rpc.PutRequest(key=key)) for key in keys]))
HISTORY = st.lists(st.one_of(PUT, PUT, PUT, DELETE, TXN, COMPACT), max_size=40)


@settings(max_examples=200, deadline=None)
@given(HISTORY, st.integers(0, 30), st.booleans())
def test_out_and_in_again_is_the_same_state(
    history: list[object], scrubbed: int, revoked: bool
) -> None:
    """Whatever happened, and however far the clean-up of compacted revisions had come."""
    ours, backend = machine()
    ours.apply_command(rpc.LeaseGrantRequest(ID=LEASE, TTL=60), 1)
    for command in history:
        ours.apply_command(command, 1)  # type: ignore[arg-type]  # all are commands
    if revoked:
        ours.apply_command(rpc.LeaseRevokeRequest(ID=LEASE), 1)
    ours.scrub(scrubbed)
    reader = exported(backend)

    other, copy = imported(reader)

    assert survey(reader).revision == other.revision == ours.revision
    assert other.hash_kv(0) == ours.hash_kv(0)
    assert everything(copy) == everything(backend)


def test_the_buckets_are_those_that_etcd_has() -> None:
    """Members under hex ids, removed ones apart, the point of the log in `meta`."""
    ours, backend = machine()
    ours.members.add(Member(0xab, "a", ("http://a:2380",)))
    backend.put(Bucket.MEMBER, (0x1).to_bytes(8, "big"), REMOVED)
    for n in range(3):
        ours.apply_command(rpc.PutRequest(key=b"%d" % n), 1)
    ours.apply_command(rpc.CompactionRequest(revision=3), 1)
    reader = exported(backend)

    assert reader.names == [b"alarm", b"auth", b"authRoles", b"authUsers", b"cluster", b"key",
                            b"lease", b"members", b"members_removed", b"meta"]
    member = Member(0xab, "a", ("http://a:2380",))
    assert list(reader.pairs(b"members")) == [(b"ab", to_json(member))]
    assert list(reader.pairs(b"members_removed")) == [(b"1", REMOVED)]
    assert list(reader.pairs(b"meta")) == [
        (b"consistent_index", (77).to_bytes(8, "big")),
        (b"scheduledCompactRev", revision_key(3, 0)), (b"term", (5).to_bytes(8, "big"))]


def test_a_raised_revision_goes_out_as_a_finished_compaction() -> None:
    """No change says how far revisions have come then."""
    ours, backend = machine()
    ours.apply_command(rpc.PutRequest(key=b"a"), 1)
    raised, copy = imported(exported(backend), compacted=1000)
    copy.advance(POINT)

    assert raised.revision == raised.compact_revision == 1000
    assert dict(exported(copy).pairs(b"meta"))[b"finishedCompactRev"] == revision_key(1000, 0)
    assert imported(exported(copy))[0].revision == 1000
    assert raised.apply_command(rpc.PutRequest(key=b"a"), 1).revision == 1001


def test_what_an_import_is_told() -> None:
    """Counted by looking at everything."""
    few = Few({
        b"key": [(revision_key(5, 0), kv_pb2.KeyValue(key=b"k").SerializeToString())],
        b"meta": [(b"consistent_index", b"\0\0\0\0\0\0\0\x09"),
                  (b"finishedCompactRev", revision_key(3, 0))],
        b"lease": [(b"\0\0\0\0\0\0\0\x07", lease_pb2.Lease(ID=7).SerializeToString())],
        b"auth": [(b"authEnabled", b"\x01")], b"authUsers": [(b"root", b"")],
        b"alarm": [(b"x", b"")]})

    found = survey(few)
    assert found == Survey(5, 3, 1, 1, 9, True, 1, 1, found.digest)
    few[b"lease"] = [(b"\0\0\0\0\0\0\0\x07", lease_pb2.Lease(ID=7, TTL=1).SerializeToString())]
    assert survey(few).digest != found.digest


@pytest.mark.parametrize(("few", "text"), [
    (Few(), "neither keys nor"),
    (Few({b"key": [(b"x" * 17, b"")]}), "no revision"),
    (Few({b"key": [(revision_key(5, 0) + b"x", b"")]}), "no revision"),
    (Few({b"key": [(revision_key(5, 0), b"\xff")]}), "no key-value"),
    (Few({b"meta": [(b"consistent_index", b""), (b"scheduledCompactRev", b"1")]}), "no revision"),
    (Few({b"meta": [(b"consistent_index", b"")], b"lease": [(b"1", b"")]}), "calls itself"),
    (Few({b"meta": [(b"consistent_index", b"")], b"lease": [(b"1", b"\xff")]}), "no lease"),
])
def test_what_etcd_cannot_have_written_is_refused(few: Few, text: str) -> None:
    """In words."""
    with pytest.raises(Unusable, match=text):
        survey(few)


def test_a_change_of_no_key_is_kept_but_not_found() -> None:
    """etcd's own way to raise a revision leaves one."""
    few = Few({b"key": [
        (revision_key(2, 0), kv_pb2.KeyValue(
            key=b"a", create_revision=2, mod_revision=2, version=1).SerializeToString()),
        (revision_key(900, 0), b"")]})
    backend = MemoryBackend()
    for _ in from_etcd(few, backend, 900):
        pass
    ours = Machine(backend)

    assert ours.revision == 900
    found = ours.range(rpc.RangeRequest(key=b"\0", range_end=b"\0"))
    assert [kv.key for kv in found.kvs] == [b"a"]
