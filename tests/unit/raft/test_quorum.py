"""Quorum maths against a second algorithm, and configuration changes against themselves."""

from hypothesis import given, settings, strategies as st

from quorate.raft.confchange import Changer, decode_conf_change, encode_conf_change
from quorate.raft.errors import ConfigError
from quorate.raft.quorum import VoteResult, committed_index, joint_committed_index, vote_result
from quorate.raft.tracker import Tracker
from quorate.raft.types import (
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, EntryType,
    InFlightLimits,
)
from quorate.wire._generated import raft_pb2

IDS = st.integers(1, 9)
VOTERS = st.sets(IDS, min_size=1, max_size=7)
ACKED = st.dictionaries(IDS, st.integers(0, 20))
STEP = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeType), IDS)


@given(VOTERS, ACKED)
def test_the_committed_index_is_the_highest_on_a_majority(
    voters: set[int], acked: dict[int, int]
) -> None:
    """Found by trying every index."""
    quorum = len(voters) // 2 + 1
    slow = max(i for i in range(21) if sum(acked.get(v, 0) >= i for v in voters) >= quorum)

    assert committed_index(voters, acked) == slow


@given(VOTERS, VOTERS, ACKED)
def test_a_joint_index_is_the_lower_one(
    one: set[int], other: set[int], acked: dict[int, int]
) -> None:
    """And does not depend on the order of the halves."""
    joint = joint_committed_index(one, other, acked)

    assert joint == min(committed_index(one, acked), committed_index(other, acked))
    assert joint == joint_committed_index(other, one, acked)


@given(VOTERS, st.dictionaries(IDS, st.booleans()))
def test_a_vote_is_won_lost_or_pending(voters: set[int], votes: dict[int, bool]) -> None:
    """Missing votes decide when they cannot change the result any more."""
    results = {vote_result(voters, {**dict.fromkeys(voters - votes.keys(), rest), **votes})
               for rest in (True, False)}

    expected = results.pop() if len(results) == 1 else VoteResult.PENDING
    assert vote_result(voters, votes) is expected


def _tracker(voters: list[int]) -> Tracker:
    tracker = Tracker(InFlightLimits())
    for voter in voters:
        step = ConfChangeSingle(ConfChangeType.ADD_NODE, voter)
        tracker.switch(*Changer(tracker, 10).simple((step,)))
    return tracker


@settings(max_examples=60)
@given(st.lists(STEP, max_size=6))
def test_a_joint_change_ends_where_single_changes_do(steps: list[ConfChangeSingle]) -> None:
    """Entering and leaving a joint configuration is the same as one step after the other."""
    joint, single = _tracker([1, 2, 3]), _tracker([1, 2, 3])
    try:
        joint.switch(*Changer(joint, 10).enter_joint(steps, auto_leave=True))
        joint.switch(*Changer(joint, 10).leave_joint())
        for step in steps:
            single.switch(*Changer(single, 10).simple((step,)))
    except ConfigError:
        return

    assert joint.config.conf_state() == single.config.conf_state()
    assert joint.ids == single.ids


@given(st.builds(ConfChangeV2, st.sampled_from(ConfChangeTransition),
                 st.lists(STEP, max_size=4).map(tuple), st.binary(max_size=40)))
def test_changes_have_their_protobuf_form(change: ConfChangeV2) -> None:
    """Read by the generated code as what they are, and back by our own."""
    data = encode_conf_change(change)
    oracle = raft_pb2.ConfChangeV2.FromString(data)

    assert [(c.type, c.node_id) for c in oracle.changes] == [
        (int(c.type), c.node_id) for c in change.changes]
    assert oracle.context == change.context
    assert decode_conf_change(EntryType.CONF_CHANGE_V2, data) == change
