"""The façade of a member that knows no leader yet: what is answered at once, what has to wait."""

from quorate.disk.memory_backend import MemoryBackend
from quorate.disk.wal import SnapshotMark, WalContents, WalMetadata
from quorate.member.build import build_core, open_log
from quorate.member.limits import CoreConfig
from quorate.member.requests import RequestIds
from quorate.member.serving import MemberService
from quorate.raft.types import ConfState, HardState
from quorate.state.backend import AppliedPoint
from quorate.wire._generated import rpc_pb2 as rpc


def answered_at_once(request: rpc.TxnRequest) -> bool:
    """Whether it needs no consensus."""
    backend, point = MemoryBackend(), AppliedPoint(1, 1, ConfState((1, 2, 3)))
    backend.advance(point)
    contents = WalContents(WalMetadata(9, 1), HardState(1, 0, 1), SnapshotMark(*point), (), None)
    core = build_core(CoreConfig(9, 1), open_log(contents, point), backend, RequestIds(1, 1),
                      lambda ticks: ticks, 0.0, durable=lambda: backend.applied)
    answers: list[object] = []
    MemberService(core, lambda: None, version="", request_bytes_max=1000).txn(
        request, answers.append)
    return bool(answers)


def ranges(*serializable: bool) -> list[rpc.RequestOp]:
    """Of one key each."""
    return [rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k", serializable=how))
            for how in serializable]


def test_a_transaction_is_answered_locally_if_all_of_it_may_be() -> None:
    """As etcd's isTxnSerializable has it."""
    assert answered_at_once(rpc.TxnRequest(success=ranges(True), failure=ranges(True)))
    assert not answered_at_once(rpc.TxnRequest(success=ranges(True), failure=ranges(False)))
    assert not answered_at_once(rpc.TxnRequest())


def test_a_transaction_with_another_within_is_not_answered_locally() -> None:
    """Whatever its own ranges say."""
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(success=ranges(False)))

    assert not answered_at_once(rpc.TxnRequest(success=[*ranges(True), nested]))
