"""Who tells a removed member that it was removed, and how many have to."""

from quorate.disk.memory_backend import MemoryBackend
from quorate.member.removal import Removal
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import ConfChange, ConfChangeType, ConfState, Snapshot
from quorate.state.members import Member, Members, to_json


def removal_of(*voters: int) -> tuple[Removal, Members]:
    """At the first of these members, and its state."""
    storage, members = MemoryStorage(), Members(MemoryBackend())
    storage.apply_snapshot(Snapshot(1, 1, ConfState(voters)))
    return Removal(Node(NodeConfig(
        id=1, storage=storage, applied=1, random_timeout=lambda ticks: ticks)), members), members


def test_a_removed_member_goes_on_until_the_others_can_do_without_it() -> None:
    """Those who know of its removal and itself are a quorum of what it was removed from."""
    removal, _ = removal_of(1, 2, 3, 4, 5)
    assert not removal.dispensable
    removal.told(2)
    removal.told(2)
    assert not removal.dispensable
    removal.told(5)
    assert removal.dispensable


def test_a_member_that_came_and_went_since_the_state_on_disk_is_not_told_yet() -> None:
    """The configuration on disk does not have it, but the state there does not know why."""
    removal, members = removal_of(1)
    two = to_json(Member(2, "two", ("http://two",)))
    members.apply_conf_change(
        ConfChange(ConfChangeType.ADD_NODE, 2, two), ConfState((1, 2)))
    removal.reconfigured(2)
    members.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 2), ConfState((1,)))
    removal.reconfigured(3)

    assert not removal.refuses(2, 1)
    assert not removal.refuses(2, 2)
    assert removal.refuses(2, 3)
    assert not removal.refuses(1, 3)
