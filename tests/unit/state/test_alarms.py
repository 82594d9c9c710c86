"""Alarms: what they forbid, and that they last."""

from __future__ import annotations

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import ConfChange, ConfChangeType, ConfState
from quorate.state.errors import Problem, Refused
from quorate.state.machine import Machine
from quorate.state.members import Member
from quorate.wire._generated import rpc_pb2 as rpc

ACTION = rpc.AlarmRequest.AlarmAction
PUT = rpc.PutRequest(key=b"k")
TXN = rpc.TxnRequest(failure=[rpc.RequestOp(request_txn=rpc.TxnRequest(
    success=[rpc.RequestOp(request_put=PUT)]))])
DELETES = rpc.TxnRequest(success=[rpc.RequestOp(
    request_delete_range=rpc.DeleteRangeRequest(key=b"k"))])


def alarm(machine: Machine, action: int, kind: int = rpc.AlarmType.NOSPACE, member: int = 1) -> int:
    """How many alarms the answer has."""
    result = machine.apply_command(rpc.AlarmRequest(
        action=action, memberID=member, alarm=kind), 1).result  # type: ignore[arg-type]
    assert isinstance(result, rpc.AlarmResponse)
    return len(result.alarms)


def problem(machine: Machine, request: object) -> Problem | None:
    """Why it is refused."""
    result = machine.apply_command(request, 1).result  # type: ignore[arg-type]
    return result.problem if isinstance(result, Refused) else None


def test_no_space_forbids_what_takes_space() -> None:
    """Nothing else; until the last one has it no more."""
    machine = Machine(MemoryBackend())
    alarm(machine, ACTION.ACTIVATE)
    alarm(machine, ACTION.ACTIVATE, member=2)
    refused = [problem(machine, r) for r in (PUT, TXN, rpc.LeaseGrantRequest(ID=1, TTL=9))]
    taken = [problem(machine, r) for r in (
        DELETES, rpc.DeleteRangeRequest(key=b"k"), rpc.CompactionRequest(revision=1))]
    assert (refused, taken) == ([Problem.NO_SPACE] * 3, [None] * 3)
    alarm(machine, ACTION.DEACTIVATE)
    assert problem(machine, PUT) is Problem.NO_SPACE
    alarm(machine, ACTION.DEACTIVATE, member=2)

    assert problem(machine, PUT) is None


def test_corrupt_forbids_keys_and_leases() -> None:
    """Changes, that is: stock etcd answers reads."""
    machine = Machine(MemoryBackend())
    alarm(machine, ACTION.ACTIVATE, rpc.AlarmType.CORRUPT)

    assert problem(machine, rpc.DeleteRangeRequest(key=b"k")) is Problem.CORRUPT
    assert machine.range(rpc.RangeRequest(key=b"k")).count == 0


def test_alarms_are_counted_and_last() -> None:
    """An alarm is raised once; what is not there cannot be ended; a restart finds them."""
    backend = MemoryBackend()
    machine = Machine(backend)
    assert [alarm(machine, ACTION.ACTIVATE), alarm(machine, ACTION.ACTIVATE)] == [1, 1]
    assert alarm(machine, ACTION.ACTIVATE, rpc.AlarmType.CORRUPT, 3) == 1
    again = Machine(backend)

    assert alarm(again, ACTION.GET, rpc.AlarmType.NONE, 0) == 2
    assert alarm(again, ACTION.GET, rpc.AlarmType.CORRUPT, 0) == 1
    assert alarm(again, ACTION.DEACTIVATE, member=9) == 0
    assert [alarm(again, ACTION.DEACTIVATE), alarm(again, ACTION.GET)] == [1, 0]


def test_a_removed_member_has_no_alarm_for_space() -> None:
    """It could never end it; nor does one come that was on its way. That it was corrupt stays."""
    machine = Machine(MemoryBackend())
    for member in (1, 2):
        machine.members.add(Member(member, f"m{member}", ()))
    alarm(machine, ACTION.ACTIVATE, member=2)
    alarm(machine, ACTION.ACTIVATE, rpc.AlarmType.CORRUPT, member=2)
    machine.reconfigured(ConfChange(ConfChangeType.REMOVE_NODE, 2), ConfState((1,)))

    assert alarm(machine, ACTION.ACTIVATE, member=2) == 0
    assert [one.alarm for one in machine.alarms.raised(rpc.AlarmType.NONE)] == [
        rpc.AlarmType.CORRUPT]
    assert alarm(machine, ACTION.ACTIVATE, member=1) == 1
