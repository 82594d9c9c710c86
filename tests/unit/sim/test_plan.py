"""Plans: one seed, one plan; written and read again it is the same."""

import json
from dataclasses import replace

import pytest

from quorate.sim.plan import (
    KINDS, NODE_FAULTS, PROFILES, Fault, HaSettings, Plan, draw, from_json, link_graphs,
)


@pytest.mark.parametrize("profile", PROFILES)
def test_drawing_is_deterministic(profile: str) -> None:
    """And differs from seed to seed."""
    plans = [draw(seed, profile) for seed in range(5)]

    assert plans == [draw(seed, profile) for seed in range(5)]
    assert len({replace(plan, seed=0) for plan in plans}) == 5
    assert {plan.profile for plan in plans} == {profile}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_plan_survives_its_file(profile: str) -> None:
    """To the last field."""
    for seed in range(5):
        plan = draw(seed, profile)

        assert from_json(plan.to_json()) == plan


@pytest.mark.parametrize("profile", PROFILES)
def test_faults_are_known_and_happen_in_time(profile: str) -> None:
    """In order; victims are drawn between 0 and 1; PostgreSQL's only where there is one."""
    for seed in range(20):
        plan = draw(seed, profile)
        moments = [fault.at for fault in plan.faults]

        assert moments == sorted(moments)
        assert all(0.0 <= at <= plan.faults_s for at in moments)
        assert all(0.0 <= f.aim < 1.0 and 0.0 <= f.size < 1.0 for f in plan.faults)
        assert {fault.kind for fault in plan.faults} <= set(KINDS)
        assert plan.ha is not None or not {f.kind for f in plan.faults} & set(NODE_FAULTS)
        assert 1 <= plan.zones <= plan.members


def test_the_number_of_members_can_be_told() -> None:
    """Nothing else changes, but for zones that would be empty."""
    for seed in range(10):
        plan = draw(seed)

        assert draw(seed, members=1) == replace(plan, members=1, zones=1)
        assert draw(seed, members=9) == replace(plan, members=9)


def test_parts_have_dice_of_their_own() -> None:
    """Equal for equal seeds and names, whatever else is drawn; faults do not matter."""
    plan = draw(3)
    one, other, same = (plan.stream(name) for name in ("one", "other", "one"))
    first = one.random()
    other.random()

    assert first == same.random()
    assert first == replace(plan, faults=()).stream("one").random()
    assert len({first, plan.stream("other").random(), draw(4).stream("one").random()}) == 3


def test_link_graphs_are_all_there() -> None:
    """Directed ones over three members, undirected ones over four; each once."""
    assert [len({plan.faults[0].size for plan in link_graphs(members)})
            for members in (1, 2, 3, 4)] == [1, 4, 64, 64]


PLAN = Plan(7, ha=HaSettings(), faults=(Fault(1.0, "cut", 2.0, 0.5, 0.25),))


def written(**changes: object) -> str:
    """A plan's file with some fields changed, or left out where they are None."""
    value = json.loads(PLAN.to_json())
    value.update(changes)
    return json.dumps({name: field for name, field in value.items()
                       if field is not None or name not in changes})


@pytest.mark.parametrize("text", [
    "", "{", "[]", "7", '"text"', "null", "{}",
    written(seed=None), written(faults=None), written(faults=7), written(colour="red"),
    written(faults=[7]), written(faults=[{"at": 1.0}]), written(ha={"colour": "red"}),
])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """With one sentence that says where plans come from."""
    with pytest.raises(ValueError, match=r"not a simulation plan: .*`quorate sim --shrink`"):
        from_json(text)


def test_an_unknown_fault_is_refused() -> None:
    """With the names of those that there are."""
    fault = {"at": 1.0, "kind": "flood", "for_s": 1.0, "aim": 0.0, "size": 0.0}

    with pytest.raises(ValueError, match=r"there is no fault 'flood'; the faults are .*kill"):
        from_json(written(faults=[fault]))


def test_fields_that_are_left_out_have_their_defaults() -> None:
    """So that older files can be read."""
    assert from_json(written(ha=None, steps=None, give_up=None)) == replace(PLAN, ha=None)
