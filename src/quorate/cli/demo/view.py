"""The live view of the demo: members, nodes, lock, writers, narration and timeline.

A thread plays; this one looks every quarter of a second and draws. Looking never blocks the play:
what does not answer is shown as such. Not here: the scenes (play.py).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from quorate.cli.demo.members import NoAnswer, Store, call
from quorate.cli.demo.play import Failed, Play
from quorate.cli.demo.postgres import SCOPE, PostgresCluster

REFRESH_S = 0.25
NARRATION_LINES = 6

COLOURS = {"leader": "bold green", "primary": "bold green", "follower": "cyan",
           "replica": "cyan", "sync_standby": "cyan", "down": "bold red", "cut off": "yellow"}


@dataclass
class Scene:
    """What is going on, shared between the two threads."""

    narration: deque[str] = field(default_factory=lambda: deque(maxlen=NARRATION_LINES))
    timeline: list[tuple[float, str, bool]] = field(default_factory=list)
    title: str = ""
    failed: str = ""
    done: bool = False
    summary: str = ""


class View:
    """Draws one performance."""

    def __init__(self, store: Store, postgres: PostgresCluster, play: Play, scene: Scene) -> None:
        self._store = store
        self._postgres = postgres
        self._play = play
        self._scene = scene

    def render(self) -> Layout:
        """The whole screen."""
        layout = Layout()
        layout.split_column(
            Layout(Panel(Text(self._scene.title, style="bold"), title="quorate demo"), size=3),
            Layout(name="state", size=7),
            Layout(self._narration(), size=NARRATION_LINES + 2),
            Layout(self._timeline()))
        layout["state"].split_row(Layout(self._members()), Layout(self._nodes()),
                                  Layout(self._figures()))
        return layout

    def _members(self) -> Panel:
        table = Table.grid(padding=(0, 2))
        for member in self._store.members:
            status = member.status() if member.process.running else None
            if status is None:
                state, detail = "down", ""
            else:
                leads = status.get("leader") == status["header"]["member_id"]
                state = "leader" if leads else "follower"
                if member is self._play.cut:
                    state = "cut off"
                detail = f"term {status['raftTerm']}  revision {status['header']['revision']}"
            table.add_row(member.name, Text(state, style=COLOURS[state]), detail)
        return Panel(table, title="store")

    def _nodes(self) -> Panel:
        table = Table.grid(padding=(0, 2))
        for node in self._postgres.nodes:
            role = node.role if node.process.running else "down"
            table.add_row(node.name, Text(role, style=COLOURS.get(role, "white")))
        return Panel(table, title="Patroni")

    def _figures(self) -> Panel:
        holder, left = self._lock()
        rows, keys = self._play.rows, self._play.keys
        table = Table.grid(padding=(0, 2))
        table.add_row("lock", f"{holder}" + (f", {left} s left" if left else ""))
        table.add_row("rows acknowledged", f"{len(rows.acknowledged)}")
        table.add_row("store writes", f"{keys.count}")
        pause = time.monotonic() - keys.last_at if keys.is_alive() else 0.0
        table.add_row("last store write", f"{pause:.1f} s ago" if pause > 0.5 else "now")
        return Panel(table, title="lock and writers")

    def _lock(self) -> tuple[str, str]:
        try:
            holder = self._store.get(f"/service/{SCOPE}/leader")
        except NoAnswer:
            return "unknown: no majority", ""
        if holder is None:
            return "nobody", ""
        return holder, self._left()

    def _left(self) -> str:
        from quorate.cli.demo.members import b64

        for member in self._store.members:
            try:
                found = call(member.port, "/v3/kv/range",
                             {"key": b64(f"/service/{SCOPE}/leader"), "serializable": True}, 0.3)
                lease = found.get("kvs", [{}])[0].get("lease", "")
                return str(call(member.port, "/v3/lease/timetolive", {"ID": lease},
                                0.3).get("TTL", ""))
            except (NoAnswer, IndexError):
                continue
        return ""

    def _narration(self) -> Panel:
        return Panel(Group(*(Text(line) for line in self._scene.narration)), title="what happens")

    def _timeline(self) -> Panel:
        lines = [Text(f"{at:6.1f} s  {'ok ' if ok else 'BAD'} {text}",
                      style="" if ok else "bold red")
                 for at, text, ok in self._scene.timeline]
        if self._scene.summary:
            lines.append(Text(self._scene.summary, style="bold"))
        return Panel(Group(*lines), title="timeline")


def perform(store: Store, postgres: PostgresCluster) -> bool:
    """Play with the live view; whether something failed."""
    scene = Scene()
    play = Play(store, postgres, scene.narration.append)
    started = time.monotonic()

    def run() -> None:
        try:
            for title, act in play.scenes():
                scene.title = title
                seen = act()
                scene.timeline.append((time.monotonic() - started, f"{title}: {seen}", True))
            scene.summary = play.summary()
        except (Failed, TimeoutError) as failure:
            scene.failed = str(failure)
            scene.timeline.append((time.monotonic() - started, str(failure), False))
        finally:
            scene.done = True

    view = View(store, postgres, play, scene)
    thread = threading.Thread(target=run, name="play", daemon=True)
    console = Console()
    try:
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            thread.start()
            while not scene.done:
                live.update(view.render(), refresh=True)
                time.sleep(REFRESH_S)
            live.update(view.render(), refresh=True)
            time.sleep(3 if console.is_terminal else 0)
    except KeyboardInterrupt:
        scene.failed = "interrupted"
    finally:
        play.stop()
    for at, text, ok in scene.timeline:
        console.print(f"{at:6.1f} s  {'ok ' if ok else 'BAD'} {text}")
    console.print(scene.summary or scene.failed)
    return bool(scene.failed)
