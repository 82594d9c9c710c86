"""Members as the log has them: removed ids never come back."""

import pytest

from quorate.disk.memory_backend import MemoryBackend
from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
)
from quorate.state.errors import Problem, Refused
from quorate.state.members import Member, Members
from quorate.state.reconfiguration import permitted

ADD, LEARN, REMOVE = (
    ConfChangeType.ADD_NODE, ConfChangeType.ADD_LEARNER_NODE, ConfChangeType.REMOVE_NODE)


def _members() -> Members:
    """1 and 2 are members, 3 was one."""
    members = Members(MemoryBackend())
    for member_id in (1, 2, 3):
        members.add(Member(member_id, f"m{member_id}", (f"http://m{member_id}:2380",)))
    members.apply_conf_change(ConfChange(REMOVE, 3), ConfState(voters=(1, 2)))
    return members


@pytest.mark.parametrize("kind", [ADD, LEARN])
def test_a_removed_member_is_not_added_or_promoted(kind: ConfChangeType) -> None:
    """The change becomes void, and whoever asked is told."""
    change, refused = permitted(_members(), ConfChange(kind, 3))

    assert change == ConfChange(kind, 0)
    assert isinstance(refused, Refused)
    assert refused.problem is Problem.MEMBER_NOT_FOUND


def test_a_swap_that_brings_a_removed_member_back_is_void_as_a_whole() -> None:
    """Half of it would remove somebody for nobody."""
    steps = (ConfChangeSingle(ADD, 3), ConfChangeSingle(REMOVE, 1))

    change, refused = permitted(
        _members(), ConfChangeV2(ConfChangeTransition.AUTO, steps))

    assert isinstance(change, ConfChangeV2)
    assert [step.node_id for step in change.changes] == [0, 0]
    assert refused is not None


@pytest.mark.parametrize("change", [
    ConfChange(ADD, 4), ConfChange(LEARN, 4), ConfChange(REMOVE, 2),
    ConfChangeV2(ConfChangeTransition.AUTO, ())])
def test_everything_else_is_permitted(change: ConfChange | ConfChangeV2) -> None:
    """New ids, removals, and leaving a joint configuration."""
    assert permitted(_members(), change) == (change, None)
