"""Locks: what etcd's lock service says."""

from __future__ import annotations

from typing import Any

from store import Store

from quorate.api.locks import Locks
from quorate.state.errors import Problem
from quorate.wire._generated import lock_pb2 as lock


def ask(store: Store, method: str, request: Any) -> list[Any]:
    """Where the answer will be."""
    told: list[Any] = []
    locks = Locks(store)  # type: ignore[arg-type]  # a Service as far as it is used
    getattr(locks, method)(request, told.append)
    store.turn()
    return told


def test_a_lock_is_handed_over() -> None:
    """The key of the next one, with the revision in which the first let go."""
    store = Store()
    store.grant(1, 2)
    [first] = ask(store, "lock", lock.LockRequest(name=b"l", lease=1))
    second = ask(store, "lock", lock.LockRequest(name=b"l", lease=2))
    assert second == []

    ask(store, "unlock", lock.UnlockRequest(key=first.key))
    [response] = second
    assert (response.key, response.header.revision) == (b"l/2", 4)


def test_unlocking_what_is_not_locked_is_no_error() -> None:
    """As in etcd."""
    [response] = ask(Store(), "unlock", lock.UnlockRequest(key=b"l/1"))

    assert response.header.revision == 1


def test_unlocking_nothing_is_refused() -> None:
    """What the store says, under Unknown."""
    store = Store()
    store.refuse = Problem.EMPTY_KEY
    [refused] = ask(store, "unlock", lock.UnlockRequest())

    assert (refused.problem, refused.detail) == (
        Problem.RELAYED, "etcdserver: key is not provided")
