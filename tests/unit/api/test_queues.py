"""Places in a queue: who gets a turn, when, and what a waiter who gives up leaves behind."""

from __future__ import annotations

import pytest
from store import Store

from quorate.api.queues import Contender, Held
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import rpc_pb2 as rpc


class Caller:
    """One call that waits for its turn."""

    def __init__(
        self, store: Store, lease: int, value: bytes | None = None, name: bytes = b"q"
    ) -> None:
        self.told: list[Held | Refused] = []
        self._contender = Contender(  # type: ignore[arg-type]  # a Service as far as it is used
            store, name, value, Problem.LOCK_SESSION_EXPIRED, self.told.append)
        self._contender.start(lease)
        self.cancel = self._contender.cancel

    @property
    def won(self) -> bool:
        """Whether its turn has come."""
        return any(isinstance(one, Held) for one in self.told)

    @property
    def refused(self) -> Problem | None:
        """What it was told otherwise."""
        return next((one.problem for one in self.told if isinstance(one, Refused)), None)


@pytest.fixture
def store() -> Store:
    """With three leases: 0x11, 0x12, 0x13."""
    store = Store()
    store.grant(0x11, 0x12, 0x13)
    return store


def contend(store: Store, *leases: int) -> list[Caller]:
    """One after the other."""
    callers = []
    for lease in leases:
        callers.append(Caller(store, lease))
        store.turn()
    return callers


def test_the_first_gets_it_at_once(store: Store) -> None:
    """The key is the name, a slash and the lease in hex; the header is that of the transaction."""
    [one] = contend(store, 0x11)

    [held] = one.told
    assert isinstance(held, Held)
    assert (held.key, held.create_revision, held.lease) == (b"q/11", 2, 0x11)
    assert held.won.revision == 2
    assert store.watchers() == 0


def test_turns_come_in_the_order_of_places(store: Store) -> None:
    """Each waits for the next older place only; none stays behind as a watch."""
    one, two, three = contend(store, 0x11, 0x12, 0x13)
    assert (one.won, two.won, three.won) == (True, False, False)

    store.delete(b"q/11")
    assert (two.won, three.won) == (True, False)
    store.delete(b"q/12")
    assert three.won
    assert store.watchers() == 0


def test_a_gap_in_the_queue_is_closed(store: Store) -> None:
    """Who waits behind one who gives up waits for the one before."""
    one, two, three = contend(store, 0x11, 0x12, 0x13)
    two.cancel()
    store.turn()
    assert not three.won

    store.delete(b"q/11")
    assert three.won
    assert one.won
    assert two.told == []


def test_no_lease_is_a_new_one(store: Store) -> None:
    """Of a minute."""
    [caller] = contend(store, 0)

    [held] = caller.told
    assert isinstance(held, Held)
    assert held.key == b"q/%x" % held.lease
    assert held.lease in set(store.machine.leases.ids())


def test_a_lease_that_does_not_exist(store: Store) -> None:
    """Its text is passed on under Unknown; no key is left."""
    [caller] = contend(store, 0x99)

    assert caller.refused is Problem.RELAYED
    assert "requested lease not found" in str(caller.told[0])
    assert store.keys() == []


def test_the_same_lease_holds_already(store: Store) -> None:
    """Its place is taken as it is."""
    first, second = contend(store, 0x11, 0x11)

    assert first.won
    assert second.won
    assert store.keys() == [b"q/11"]


def test_a_campaign_of_the_same_lease_changes_the_value(store: Store) -> None:
    """And keeps its create revision."""
    Caller(store, 0x11, b"a")
    store.turn()
    caller = Caller(store, 0x11, b"b")
    store.turn()

    [held] = caller.told
    assert isinstance(held, Held)
    assert (held.create_revision, store.machine.revision) == (2, 3)


@pytest.mark.parametrize("turns", [0, 1])
def test_who_gives_up_leaves_no_key(store: Store, turns: int) -> None:
    """Whether its place was taken yet, or not."""
    contend(store, 0x11)
    caller = Caller(store, 0x12)
    for _ in range(turns):
        store.turn()
    caller.cancel()
    store.turn()

    assert store.keys() == [b"q/11"]
    assert caller.told == []
    assert store.watchers() == 0


def test_a_waiter_whose_place_is_gone_is_told_at_once(store: Store) -> None:
    """Even while others hold: it could wait for ever."""
    _, waiter = contend(store, 0x11, 0x12)
    store.lease_revoke(0x12)

    assert waiter.refused is Problem.LOCK_SESSION_EXPIRED
    assert store.watchers() == 0


def test_both_places_gone_at_once_is_no_turn(store: Store) -> None:
    """The waiter's session ends in the revision in which its turn would come."""
    _, waiter = contend(store, 0x11, 0x12)
    store.delete(b"q/", b"q0")

    assert waiter.refused is Problem.LOCK_SESSION_EXPIRED
    assert not waiter.won


def test_a_place_of_another_life_is_not_its_own(store: Store) -> None:
    """Deleted and taken again with the same lease, before the waiter looks: a younger place."""
    _, waiter = contend(store, 0x11, 0x12)
    store.delete_range(rpc.DeleteRangeRequest(key=b"q/12"), lambda _: None)
    store.txn(rpc.TxnRequest(success=[rpc.RequestOp(
        request_put=rpc.PutRequest(key=b"q/12", lease=0x12))]), lambda _: None)
    store.turn()

    assert waiter.refused is Problem.LOCK_SESSION_EXPIRED
    assert b"q/12" in store.keys()  # noqa: SIM118 -- not a mapping


def test_without_consensus_the_turn_is_not_announced(store: Store) -> None:
    """The last look is linearizable; its refusal is passed on."""
    _, waiter = contend(store, 0x11, 0x12)
    store.delete_range(
        rpc.DeleteRangeRequest(key=b"q/11"),
        lambda _: setattr(store, "refuse", Problem.NO_LEADER))
    store.turn()

    assert waiter.refused is Problem.RELAYED
    assert "no leader" in str(waiter.told[0])


def test_names_do_not_touch_each_other(store: Store) -> None:
    """`q` is not `q0` nor `q/x`."""
    callers = [Caller(store, 0x11), Caller(store, 0x12, name=b"q0"),
               Caller(store, 0x13, name=b"p")]
    store.turn()

    assert all(caller.won for caller in callers)
