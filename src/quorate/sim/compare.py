"""Compares what the model did with what was recorded of real Patroni.

Who wins a race is chance, so nodes are named by their part: the old primary, the first other that
became primary, and so on. The model agrees if the same parts become primary and cease to be it in
the same order, each within `within_s` of the recorded time, and have the same roles in the end.
How long a server is down between two roles is its machine's affair.

Not here: running the model (scenario.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from quorate.sim.ha import Change

PARTS = ("the first other", "the second other", "the third other")


class Turn(NamedTuple):
    """A promotion, or its end."""

    at: float
    part: str
    role: str


def differences(
    recorded: Iterable[Change], modelled: Iterable[Change], primary: str, within_s: float
) -> list[str]:
    """In sentences; empty if the model agrees. `primary` is who was it at first."""
    (real, real_end), (model, model_end) = _story(recorded, primary), _story(modelled, primary)
    if [turn[1:] for turn in real] != [turn[1:] for turn in model]:
        return [f"recorded: {_text(real)}; modelled: {_text(model)}"]
    wrong = [f"{turn.part} is {turn.role} at {turn.at:.1f} s, in the model at {other.at:.1f} s"
             for turn, other in zip(real, model, strict=True)
             if abs(turn.at - other.at) > within_s]
    return wrong + [f"in the end {part} is {role}, in the model {model_end[part]}"
                    for part, role in real_end.items() if role != model_end[part]]


def _story(changes: Iterable[Change], primary: str) -> tuple[list[Turn], dict[str, str]]:
    """Turns, and each part's last role."""
    parts, turns, now = {primary: "the old primary"}, [], {primary: "primary"}
    for at, node, role in sorted(changes):
        before, now[node] = now.get(node, "replica"), role
        if before != role and "primary" in (before, role):
            parts.setdefault(node, PARTS[len(parts) - 1])
            turns.append(Turn(at, parts[node], "primary" if role == "primary" else "not primary"))
    return turns, {part: now[node] for node, part in parts.items()}


def _text(turns: list[Turn]) -> str:
    return ", ".join(f"{part} is {role} at {at:.1f} s" for at, part, role in turns) or "nothing"
