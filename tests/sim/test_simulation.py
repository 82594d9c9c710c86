"""The simulator over the shipped member: fresh seeds, saved ones, and that it can be believed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quorate.sim.plan import KINDS, PROFILES, Fault, Plan, draw, from_json, link_graphs
from quorate.sim.runner import run_plan
from quorate.sim.shrink import shrink

SAVED = sorted((Path(__file__).parent / "seeds").glob("*.json"))
FRESH_MINUTES = os.environ.get("QUORATE_SIM_MINUTES", "1")


def _quorate_sim(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quorate.cli.main", "sim", *arguments], capture_output=True,
        text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)})


def test_promises_hold_for_fresh_seeds() -> None:
    """A minute of seeds that nobody has run; a violation prints the command that replays it."""
    done = _quorate_sim("--minutes", FRESH_MINUTES, "--fresh")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_what_once_failed_holds(path: Path) -> None:
    """Every plan that ever found a bug is a test for ever."""
    outcome = run_plan(from_json(path.read_text()))

    assert outcome.report is not None, outcome.failure


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_runs(profile: str) -> None:
    """Known seeds of each profile hold, and something happens in them."""
    acknowledged = 0
    for seed in range(3):
        plan = draw(seed, profile)
        if profile in ("steady", "long"):
            plan = replace(plan, faults_s=60.0)
        outcome = run_plan(plan)
        assert outcome.report is not None, outcome.failure
        acknowledged += outcome.report.acknowledged
    assert acknowledged > 0


def test_every_graph_of_links_over_three_members() -> None:
    """All 64 sets of directed links: safe while they are cut, alive again afterwards."""
    failures = [o.failure for plan in link_graphs(3) if (o := run_plan(plan)).report is None]

    assert failures == []


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same trace in processes with different hash seeds."""
    traces = {_quorate_sim("--seed", "7", "--quiet", hash_seed=seed).stdout
              for seed in ("1", "2")}

    assert len(traces) == 1
    assert "trace" in traces.pop()


def test_the_timeline_has_a_line_for_every_event() -> None:
    """A replay shows messages, faults and what members do, in order of time."""
    lines: list[str] = []
    plan = replace(draw(4), faults_s=3.0)

    run_plan(plan, lines.append)

    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    assert any("VOTE from" in line for line in lines)


def test_all_kinds_of_faults_are_drawn() -> None:
    """A few hundred seeds have every kind, also those of operators."""
    drawn = {fault.kind for seed in range(300) for profile in ("swarm", "patroni")
             for fault in draw(seed, profile).faults}

    assert drawn == set(KINDS) - {"exact links"}


def test_a_plan_survives_its_file() -> None:
    """What --shrink writes is read back as it was."""
    plan = draw(12)

    assert from_json(plan.to_json()) == plan


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seed": 1, "faults": [{"kind": "x"}]}',
                                  '{"seed": 1, "faults": [], "surprise": 1}'])
def test_a_file_that_is_no_plan_is_refused(text: str) -> None:
    """With a sentence, not with a traceback."""
    with pytest.raises(ValueError, match="not a simulation plan"):
        from_json(text)


def test_shrinking_keeps_what_the_failure_needs() -> None:
    """Of many faults, members and clients only those remain without which nothing fails."""
    plan = draw(3, members=5)
    kill = Fault(1.0, "kill", 1.0, 0.5, 0.5)
    plan = replace(plan, faults=(*plan.faults[:9], kill, *plan.faults[9:]))

    def fails(candidate: Plan) -> bool:
        return kill in candidate.faults and candidate.members >= 2

    smallest = shrink(plan, fails, lambda text: None)

    assert (smallest.faults, smallest.members, smallest.clients) == ((kill,), 2, 1)
