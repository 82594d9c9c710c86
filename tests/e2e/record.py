"""Records what real Patroni and PostgreSQL do in scripted faults. Run by `scripts/patroni record`.

    scripts/patroni record [--logs DIRECTORY] [NAME ...]

For each scenario (all without names) a fresh cluster is brought up, left alone until it is quiet
and for a random part of a loop more; then the faults happen, and what each PostgreSQL truly is goes
to tests/sim/patroni/NAME.json. tests/sim/patroni/README.md says what the fields mean. `--logs`
keeps the logs, and what Patroni said beside the role changes, on one clock.

Not here: the scenarios (scenarios.py), the cluster (stage.py), the truth (witness.py).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patroni.version import __version__ as patroni_version
from scenarios import SCENARIOS, Scenario
from stage import LINE, Disturbed, Situation, Stage, wall_s
from witness import Punctuality

from quorate.cli.demo.postgres import find_postgres

TARGET = Path(__file__).parents[1] / "sim" / "patroni"
TRIES = 3
SETTLE_S_MAX = 150
OVERSLEPT_S_MAX = 0.5
"""A machine that wakes us later than that is too busy to record."""


@dataclass
class Recording:
    """One run of a scenario."""

    scenario: Scenario
    stage: Stage
    situation: Situation
    started: float
    """Time 0 on the monotonic clock."""
    wall: float
    """Time 0, s since the epoch."""
    actions: list[dict[str, Any]]
    ended: float = 0.0

    def document(self) -> dict[str, Any]:
        """The file's content."""
        now = self.situation
        orders = self.stage.orders
        return {
            "scenario": self.scenario.name,
            "about": self.scenario.about,
            "store": etcd_version() if self.scenario.etcd else "quorate",
            "driver": self.scenario.driver,
            "versions": {"patroni": patroni_version, "postgresql": postgres_version()},
            "settings": asdict(self.scenario.settings),
            "nodes": [
                {"name": node.name, "role": "primary" if node.name == now.primary else "replica",
                 "loop_age_s": self.loop_age_s(node.name), "member": now.spoken[node.name],
                 "sync_standby": node.name in now.sync_standbys, "hosts": orders[node.name]}
                for node in self.stage.nodes],
            "leader": now.leader,
            "actions": self.actions,
            "roles": self.roles(),
            "observed_s": round(self.ended - self.started, 1),
        }

    def loop_age_s(self, name: str) -> float:
        """How long before time 0 the node's last loop was logged, s."""
        node = next(n for n in self.stage.nodes if n.name == name)
        ends = [t for t in self.stage.loops(node) if t <= self.wall]
        return round(self.wall - ends[-1], 2)

    def roles(self) -> list[dict[str, Any]]:
        """The changes after time 0."""
        return [{"at": round(c.at - self.started, 2), "node": c.node, "role": c.role}
                for c in self.stage.changes if self.started <= c.at <= self.ended]

    def explain(self) -> str:
        """What Patroni said and what was seen, by time."""
        lines = [(a["at"], "ACTION", f"{a['do']} {a['who']}") for a in self.actions]
        lines += [(r["at"], r["node"], f"==> {r['role']}") for r in self.roles()]
        for node in self.stage.nodes:
            for line in node.process.log.read_text(errors="replace").splitlines():
                found = LINE.match(line)
                if found and not found[3].startswith("Lock owner:"):
                    at = wall_s(found[1]) - self.wall
                    if at > -2 * self.scenario.settings.loop_wait:
                        lines.append((at, node.name, f"{found[2]}: {found[3]}"))
        return "".join(f"{at:8.2f} {who:6} {text}\n"
                       for at, who, text in sorted(lines, key=lambda line: line[0]))


def etcd_version() -> str:
    """As `etcd 3.4.23`."""
    said = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
    return "etcd " + said.stdout.split()[2]


def postgres_version() -> str:
    """As `18.4`."""
    said = subprocess.run([find_postgres("wheel") / "postgres", "--version"],
                          capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def perform(stage: Stage, chance: random.Random) -> Recording:
    """Bring up, wait, do the steps, observe; raises Disturbed, TimeoutError."""
    scenario = stage.scenario
    stage.start()
    stage.wait_until_quiet()
    time.sleep(chance.random() * scenario.settings.loop_wait)
    situation = stage.situation()
    wall, started = time.time(), time.monotonic()
    recording = Recording(scenario, stage, situation, started, wall, [])
    hit = {step.who: situation.who(step.who, chance) for step in scenario.steps}
    punctuality = Punctuality()
    punctuality.start()
    for step in scenario.steps:
        time.sleep(max(0.0, started + step.at - time.monotonic()))
        at = 0.0 if not recording.actions else round(time.monotonic() - started, 2)
        recording.actions.append({"at": at, "do": step.do, "who": hit[step.who]})
        stage.do(step.do, hit[step.who])
    observe(stage, time.monotonic())
    recording.ended = time.monotonic()
    punctuality.halt()
    stage.check_punctual(wall)
    if punctuality.latest_s > OVERSLEPT_S_MAX:
        raise Disturbed(f"woken {punctuality.latest_s:.2f} s late")
    print(f"  woken at most {punctuality.latest_s:.3f} s late", flush=True)
    return recording


def observe(stage: Stage, last_action: float) -> None:
    """Wait until the end state has been stable for two loop_waits; raises TimeoutError."""
    settings = stage.settings
    enough_s = settings.retry_timeout + 2 * settings.loop_wait
    while True:
        time.sleep(0.1)
        now = time.monotonic()
        changed = max((change.at for change in stage.changes), default=0.0)
        if (stage.healthy() and now - last_action >= enough_s
                and now - changed >= 2 * settings.loop_wait):
            return
        if now - last_action > SETTLE_S_MAX:
            raise TimeoutError(f"not healthy {SETTLE_S_MAX} s after the last action")


def as_text(document: dict[str, Any]) -> str:
    """JSON with one node, action and role change a line."""
    parts = []
    for key, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list):
            items = ",\n".join(f"    {json.dumps(item)}" for item in value)
            text = f"[\n{items}\n  ]" if items else "[]"
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def record(scenario: Scenario, logs: Path | None) -> bool:
    """Record one scenario, again when disturbed; whether that worked."""
    for turn in range(TRIES):
        chance = random.Random()
        stage = Stage(scenario, chance)
        try:
            recording = perform(stage, chance)
            TARGET.mkdir(exist_ok=True)
            (TARGET / f"{scenario.name}.json").write_text(as_text(recording.document()))
            if logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{scenario.name}.txt").write_text(recording.explain())
            for role in recording.roles():
                print(f"  {role['at']:6.2f} s  {role['node']} {role['role']}", flush=True)
            return True
        except (Disturbed, TimeoutError) as failure:
            print(f"  try {turn + 1}: {failure}", flush=True)
        finally:
            if logs is not None:
                keep_logs(stage, logs / scenario.name)
            stage.stop()
    return False


def keep_logs(stage: Stage, target: Path) -> None:
    """Copy the logs of members and nodes."""
    target.mkdir(parents=True, exist_ok=True)
    for log in stage.workspace.path.glob("*.log"):
        shutil.copyfile(log, target / log.name)


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/patroni record", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=", ".join(s.name for s in SCENARIOS))
    parser.add_argument("--logs", type=Path, metavar="DIRECTORY", help="keep the logs there")
    options = parser.parse_args()
    unknown = set(options.names) - {s.name for s in SCENARIOS}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, _interrupted)
    failed = []
    for scenario in SCENARIOS:
        if not options.names or scenario.name in options.names:
            print(scenario.name, flush=True)
            if not record(scenario, options.logs):
                failed.append(scenario.name)
    if failed:
        print(f"not recorded: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
