"""The model of Patroni: that it does what real Patroni did, and that its judges can fail."""

from pathlib import Path

import pytest

from quorate.sim.compare import differences
from quorate.sim.ha import Change
from quorate.sim.plan import HaSettings, Plan
from quorate.sim.postgres import Server
from quorate.sim.process import Program, Steps
from quorate.sim.runner import run_plan
from quorate.sim.scenario import read_recording, repeat
from quorate.sim.world import Violation, World

RECORDINGS = sorted((Path(__file__).parent / "patroni").glob("*.json"))
SEEDS = 5


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_model_does_what_was_recorded(path: Path) -> None:
    """The same roles in the same order, within one loop_wait, whatever the dice."""
    recording = read_recording(path.read_text())

    wrong = {seed: found for seed in range(SEEDS) if (found := differences(
        recording.roles, repeat(recording, seed), recording.primary,
        recording.settings.loop_wait_s))}

    assert wrong == {}


def test_there_are_recordings() -> None:
    """At least the six faults that the model must be shown to know."""
    names = {path.stem for path in RECORDINGS}

    assert names >= {"primary-killed", "majority-lost", "member-paused", "primary-cut",
                     "store-leader-isolated", "rolling-restart"}


def test_a_model_that_did_otherwise_is_found() -> None:
    """Late, in another order, by nobody, or with another end."""
    real = [Change(4.0, "pg1", "down"), Change(6.0, "pg1", "replica"),
            Change(18.0, "pg2", "primary")]

    def found(model: list[Change]) -> bool:
        return bool(differences(real, model, "pg1", 5.0))

    assert not found([real[0], real[1], Change(22.0, "pg3", "primary")])
    assert found([real[0], real[1], Change(24.0, "pg3", "primary")])
    assert found([real[0], real[1]])
    assert found([Change(3.0, "pg2", "primary"), *real[:2]])
    assert found([real[0], real[2]])


def test_two_primaries_at_a_time_are_found() -> None:
    """Whoever promotes them."""
    world = World(Plan(1, "patroni", 1, clients=0, watchers=0, ha=HaSettings()))
    assert world.ha is not None
    for name in ("pg1", "pg2"):
        server = world.ha.nodes[name].server
        server.running = True
        Program(world.clock, _promotion(server)).start()

    with pytest.raises(Violation, match="primaries at the same time"):
        world.clock.run_until(10.0)


def _promotion(server: Server) -> Steps[None]:
    yield from server.promote()


def test_a_lost_row_is_found() -> None:
    """Acknowledged with a synchronous standby, and not there in the end."""
    world = World(Plan(1, "patroni", 3, clients=0, watchers=0, ha=HaSettings(synchronous=True)))
    assert world.ha is not None
    world.begin()
    world.clock.run_until(60.0)
    primary = world.ha.nodes[world.ha.primaries[0]].server

    primary.log = [record for record in primary.log if record.number != 7]

    assert any("acknowledged rows are lost" in text for text in world.ha.judge())


def test_a_quiet_cluster_keeps_its_primary() -> None:
    """No faults: one promotion, every row acknowledged, with either driver."""
    for driver in ("etcd3", "etcd"):
        plan = Plan(1, "patroni", 3, faults_s=120.0, clients=0, watchers=0,
                    ha=HaSettings(driver=driver, synchronous=True))
        report = run_plan(plan).report
        assert report is not None and report.ha is not None
        assert (report.ha.promotions, report.ha.lost) == (1, 0)
        assert report.ha.acknowledged > 100


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {}}'])
def test_a_file_that_is_no_recording_is_refused(text: str) -> None:
    """With a sentence."""
    with pytest.raises(ValueError, match="not a recording"):
        read_recording(text)
