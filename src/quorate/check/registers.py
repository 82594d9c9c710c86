"""Two small models for the search judge: one register with compare-and-swap, and strings by key
that can be read, replaced and appended to.

Not here: the search (linearizability.py), reading histories (recorded.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from quorate.check.linearizability import Model


class Act(Enum):
    """What an operation does."""

    READ = "read"
    WRITE = "write"
    CAS = "cas"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Ask:
    """`value` is what is written or appended; `expected` what a CAS compares with."""

    act: Act
    key: str = ""
    value: str | None = None
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The answer: the value that a READ saw, or whether a CAS took place."""

    value: str | None = None
    swapped: bool = True


def _register_step(state: str | None, ask: Ask, told: Told | None) -> tuple[str | None, ...]:
    if ask.act is Act.READ:
        return (state,) if told is None or told.value == state else ()
    if ask.act is Act.WRITE:
        return (ask.value,)
    matches = state == ask.expected
    if told is not None and told.swapped != matches:
        return ()
    return (ask.value if matches else state,)


def _strings_step(state: str, ask: Ask, told: Told | None) -> tuple[str, ...]:
    if ask.act is Act.READ:
        return (state,) if told is None or told.value == state else ()
    if ask.act is Act.WRITE:
        return (ask.value or "",)
    return (state + (ask.value or ""),)


def _reads(ask: Ask, told: Told | None) -> bool:
    return ask.act is Act.READ or (told is not None and not told.swapped)


REGISTER: Model[Ask, Told, str | None] = Model(None, _register_step, _reads)
"""One register, nil at first. A CAS that was refused saw another value: it is an observation."""

STRINGS: Model[Ask, Told, str] = Model("", _strings_step, _reads, lambda ask: ask.key)
"""A string for every key, empty at first."""
