"""Compares what the model did with what was recorded of real Patroni.

Who wins a race is chance, so nodes are renamed in the order in which they change: the model agrees
if each node goes through the same sequence of roles, and every promotion and demotion comes within
`within_s` of the recorded one. Times between, in which a server is down because it restarts, are
the machine's and not compared.

Not here: running the model (scenario.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from quorate.sim.scenario import Change


def differences(
    recorded: Iterable[Change], modelled: Iterable[Change], primary: str, within_s: float
) -> list[str]:
    """In sentences; empty if the model agrees."""
    real, model = _turns(recorded, primary), _turns(modelled, primary)
    if [turn[1:] for turn in real] != [turn[1:] for turn in model]:
        return [f"recorded: {_text(real)}; modelled: {_text(model)}"]
    return [f"{node} is {role} at {at:.1f} s, in the model at {other[0]:.1f} s"
            for (at, node, role), other in zip(real, model, strict=True)
            if abs(at - other[0]) > within_s]


Turn = tuple[float, str, str]


def _turns(changes: Iterable[Change], primary: str) -> list[Turn]:
    """When who became primary, or ceased to be it, with nodes named by their part in it."""
    names, out, now = {primary: "the old primary"}, [], {primary: "primary"}
    for at, node, role in sorted(changes):
        before, now[node] = now.get(node, "replica"), role
        if "primary" in (before, role) and before != role:
            names.setdefault(node, f"the {('first', 'second', 'third')[len(names) - 1]} other")
            out.append((at, names[node], "primary" if role == "primary" else "no primary"))
    return out


def settled(changes: Iterable[Change]) -> dict[str, str]:
    """The last role of each node that changed."""
    ordered = sorted(changes, key=lambda change: (change.node, change.at))
    return {node: list(its)[-1].role for node, its in groupby(ordered, lambda c: c.node)}


def _text(turns: list[Turn]) -> str:
    return ", ".join(f"{node} is {role} at {at:.1f} s" for at, node, role in turns) or "nothing"
