"""The state machine: revisions, ranges, transactions, leases, compaction (surface §1, §4)."""

import random

import pytest

from quorate.disk.memory_backend import MemoryBackend
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Applied, Machine
from quorate.wire._generated import raft_internal_pb2 as internal, rpc_pb2 as rpc

C = rpc.Compare
R = rpc.RangeRequest


class Store:
    """A machine with the shortest way to say things."""

    def __init__(self) -> None:
        self.machine = Machine(MemoryBackend())

    def apply(self, *, term: int = 1, **command: object) -> Applied:
        """Apply one command."""
        return self.machine.apply(
            term, internal.InternalRaftRequest(**command))  # type: ignore[arg-type]

    def put(self, key: str, value: str = "v", **options: object) -> Applied:
        """Put one key."""
        return self.apply(put=rpc.PutRequest(
            key=key.encode(), value=value.encode(), **options))  # type: ignore[arg-type]

    def delete(self, key: str, end: str = "", **options: object) -> Applied:
        """Delete an interval."""
        return self.apply(delete_range=rpc.DeleteRangeRequest(
            key=key.encode(), range_end=end.encode(), **options))  # type: ignore[arg-type]

    def keys(self, key: str = "\0", end: str = "\0", **options: object) -> list[str]:
        """Keys of a range."""
        found = self.machine.range(R(
            key=key.encode(), range_end=end.encode(), **options))  # type: ignore[arg-type]
        return [kv.key.decode() for kv in found.kvs]

    def value(self, key: str, revision: int = 0) -> str | None:
        """A key's value."""
        kvs = self.machine.range(R(key=key.encode(), revision=revision)).kvs
        return kvs[0].value.decode() if kvs else None


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store()


def problem(applied: Applied) -> Problem | None:
    """What was wrong."""
    return applied.result.problem if isinstance(applied.result, Refused) else None


def test_revisions_begin_at_one_and_count_changes(store: Store) -> None:
    """A write that changes nothing is no revision."""
    assert store.machine.revision == 1
    assert store.put("a").revision == 2
    assert store.delete("missing").revision == 2
    assert store.delete("a").revision == 3


def test_a_key_knows_its_history(store: Store) -> None:
    """Create and mod revision and version begin anew after a deletion."""
    store.put("a", "1")
    store.put("a", "2")
    kv = store.machine.range(R(key=b"a")).kvs[0]
    assert (kv.create_revision, kv.mod_revision, kv.version) == (2, 3, 2)
    store.delete("a")
    store.put("a", "3")

    kv = store.machine.range(R(key=b"a")).kvs[0]

    assert (kv.create_revision, kv.mod_revision, kv.version) == (5, 5, 1)
    assert [store.value("a", r) for r in (2, 3, 4, 5)] == ["1", "2", None, "3"]


def test_ranges_have_every_option(store: Store) -> None:
    """Limit, count, more, order, target, filters, keys only, past revisions."""
    for key, value in (("b", "3"), ("a", "9"), ("c", "5")):
        store.put(key, value)
    store.put("a", "1")

    assert store.keys() == ["a", "b", "c"]
    assert store.keys("a", "c") == ["a", "b"]
    assert store.keys("b", "\0") == ["b", "c"]
    assert store.keys(limit=2) == ["a", "b"]
    assert store.keys(sort_order=R.DESCEND) == ["c", "b", "a"]
    assert store.keys(sort_target=R.VALUE) == ["a", "b", "c"]
    assert store.keys(sort_target=R.MOD) == ["b", "c", "a"]
    assert store.keys(sort_target=R.CREATE, sort_order=R.DESCEND) == ["c", "a", "b"]
    assert store.keys(sort_target=R.VERSION, sort_order=R.DESCEND, limit=1) == ["a"]
    assert store.keys(min_mod_revision=4) == ["a", "c"]
    assert store.keys(max_create_revision=2) == ["b"]
    assert store.keys(revision=3) == ["a", "b"]
    found = store.machine.range(R(key=b"\0", range_end=b"\0", limit=1, keys_only=True))
    assert (found.more, found.count, found.kvs[0].value) == (True, 3, b"")
    found = store.machine.range(R(key=b"\0", range_end=b"\0", count_only=True))
    assert (found.count, len(found.kvs)) == (3, 0)


@pytest.mark.parametrize(("request_", "wanted"), [
    (R(), Problem.EMPTY_KEY),
    (R(key=b"a", revision=99), Problem.FUTURE_REVISION),
    (R(key=b"a", range_end=b"z", revision=99), Problem.FUTURE_REVISION),
    (R(key=b"a", range_end=b"z", revision=2), Problem.COMPACTED),
    (R(key=b"a", revision=2), Problem.COMPACTED),
    (R(key=b"a", sort_order=9), Problem.INVALID_SORT_OPTION),
])
def test_ranges_that_cannot_be_served(
    store: Store, request_: rpc.RangeRequest, wanted: Problem
) -> None:
    """Each with its own problem."""
    for _ in range(4):
        store.put("a")
    store.apply(compaction=rpc.CompactionRequest(revision=4))

    with pytest.raises(Refused) as refused:
        store.machine.range(request_)

    assert refused.value.problem is wanted


def test_puts_that_keep_something(store: Store) -> None:
    """ignore_value, ignore_lease, prev_kv, and what they need."""
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=7, TTL=10))
    assert problem(store.put("a", ignore_lease=True)) is Problem.KEY_NOT_FOUND
    assert problem(store.put("a", lease=9)) is Problem.LEASE_NOT_FOUND
    store.put("a", "1", lease=7)
    store.put("a", "2", ignore_lease=True)
    assert store.machine.leases.keys(7) == [b"a"]
    done = store.put("a", "", ignore_value=True, prev_kv=True)

    assert isinstance(done.result, rpc.PutResponse)
    assert done.result.prev_kv.value == b"2"
    assert store.value("a") == "2"
    assert store.machine.leases.keys(7) == []
    assert problem(store.put("a", "x", ignore_value=True)) is Problem.VALUE_PROVIDED


@pytest.mark.parametrize("id_", [-1, -5, -2**63, 2**63 - 1])
def test_clients_choose_any_lease_id(store: Store, id_: int) -> None:
    """Negative ones, too, as in etcd: granted, attached, found again, ended."""
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=id_, TTL=10))
    store.put("a", lease=id_)

    assert store.machine.leases.keys(id_) == [b"a"]
    assert store.machine.leases.ids() == [id_]
    done = store.apply(lease_revoke=rpc.LeaseRevokeRequest(ID=id_))
    assert [e.kv.key for e in done.events] == [b"a"]


def test_a_lease_takes_its_keys_along(store: Store) -> None:
    """In order and in one revision."""
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=7, TTL=10))
    for key in ("c", "a", "b"):
        store.put(key, lease=7)
    before = store.machine.revision

    done = store.apply(lease_revoke=rpc.LeaseRevokeRequest(ID=7))

    assert [e.kv.key for e in done.events] == [b"a", b"b", b"c"]
    assert done.revision == before + 1
    assert done.revoked == (7,)
    assert problem(store.apply(lease_revoke=rpc.LeaseRevokeRequest(ID=7))) is (
        Problem.LEASE_NOT_FOUND)


def test_an_expiry_of_another_term_is_void(store: Store) -> None:
    """Whoever proposed it may have been paused (etcd issue 15247)."""
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=7, TTL=10))
    request = internal.LeaseExpireRequest(ids=[7], term=3)

    store.apply(lease_expire=request, term=4)
    assert store.machine.leases.get(7) == 10
    store.apply(lease_expire=request, term=3)

    assert store.machine.leases.get(7) is None


def test_leases_are_granted_once(store: Store) -> None:
    """An id that exists, and a TTL beyond the limit."""
    grant = rpc.LeaseGrantRequest(ID=7, TTL=10)
    assert store.apply(lease_grant=grant).granted == (7,)
    assert problem(store.apply(lease_grant=grant)) is Problem.LEASE_EXISTS
    assert problem(store.apply(lease_grant=rpc.LeaseGrantRequest(ID=8, TTL=10**10))) is (
        Problem.LEASE_TTL_TOO_LARGE)


def test_compaction_has_its_bounds(store: Store) -> None:
    """Revision 1 the first time; nothing twice, nothing in the future."""
    store.put("a")
    for revision, wanted in ((1, None), (1, Problem.COMPACTED), (3, Problem.FUTURE_REVISION)):
        done = store.apply(compaction=rpc.CompactionRequest(revision=revision))
        assert problem(done) is wanted


@pytest.mark.parametrize("seed", range(5))
def test_cleaning_up_changes_nothing_that_can_be_seen(seed: int) -> None:
    """Ranges, events and hash are the same before and after, in any steps."""
    store, rng = Store(), random.Random(seed)
    for _ in range(120):
        key = rng.choice("abcdef")
        if rng.random() < 0.7:
            store.put(key, str(rng.random()))
        else:
            store.delete(key)
    machine = store.machine
    compacted = rng.randrange(2, machine.revision)
    store.apply(compaction=rpc.CompactionRequest(revision=compacted))

    def seen() -> object:
        return (
            [store.keys(revision=r) for r in range(compacted, machine.revision + 1)],
            [(e.type, e.kv.key, e.revision) for e in
             machine.events_since(compacted, b"\0", b"\0", 1000)[0]],
            [machine.hash_kv(r).hash for r in range(compacted + 1, machine.revision + 1)])

    before = seen()
    while machine.scrub(rng.randrange(1, 9)):
        assert seen() == before

    assert seen() == before


def test_a_store_comes_back_as_it_was() -> None:
    """Revision, compaction and leases are found again in the backend."""
    store = Store()
    store.apply(lease_grant=rpc.LeaseGrantRequest(ID=7, TTL=10))
    store.put("a", lease=7)
    store.delete("a")
    store.apply(compaction=rpc.CompactionRequest(revision=3))
    while store.machine.scrub(10):
        pass

    again = Machine(store.machine._store.backend)

    assert (again.revision, again.compact_revision, again.leases.ids()) == (3, 3, [7])


@pytest.mark.parametrize(("ranges", "problem"), [
    ([R(key=b"k", sort_target=99)], Problem.INVALID_SORT_OPTION),  # type: ignore[arg-type]
    ([R()], Problem.EMPTY_KEY),
    ([R(key=b"k")] * 200, Problem.TOO_MANY_OPS)])
def test_a_transaction_that_only_reads_is_checked(
    ranges: list[rpc.RangeRequest], problem: Problem
) -> None:
    """Also when nothing was looked at before it, as for a serializable one."""
    request = rpc.TxnRequest(success=[rpc.RequestOp(request_range=r) for r in ranges])

    with pytest.raises(Refused) as refused:
        Store().machine.txn_read(request)

    assert refused.value.problem is problem
