"""Changes of the members of bare Raft nodes, as chance has them.

Not here: when they are proposed, and who hears of them (chaos.py).
"""

from __future__ import annotations

import random

from quorate.raft.confchange import encode_conf_change
from quorate.raft.types import (
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Entry, EntryType,
)

NEWCOMERS_MAX = 3


def changes(
    rng: random.Random, state: ConfState, known: tuple[int, ...], members_max: int
) -> tuple[Entry, ...]:
    """One member more or less, or a joint change; perhaps several in one batch, of which no more
    than one may be made. `known`: the nodes that there are; one more may come, up to
    `members_max`."""
    batch: list[Entry] = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if batch and rng.random() < 0.5:
            batch.append(Entry(0, 0, b"batched"))
            continue
        change = _some_change(rng, state, known, members_max)
        kind = (EntryType.CONF_CHANGE if isinstance(change, ConfChange)
                else EntryType.CONF_CHANGE_V2)
        batch.append(Entry(0, 0, encode_conf_change(change), kind))
    rng.shuffle(batch)
    return tuple(batch)


def _some_change(
    rng: random.Random, state: ConfState, known: tuple[int, ...], members_max: int
) -> ConfChange | ConfChangeV2:
    add, learn = ConfChangeType.ADD_NODE, ConfChangeType.ADD_LEARNER_NODE
    if state.voters_outgoing and not state.auto_leave:
        return ConfChangeV2()
    others = [i for i in known if i not in state.members]
    if len(known) < members_max:
        others.append(max(known) + 1)
    if others and (len(state.voters) < 3 or rng.random() < 0.3):
        return ConfChange(learn if rng.random() < 0.3 else add, others[-1])
    if state.learners and (len(state.voters) < 3 or rng.random() < 0.5):
        return ConfChange(add, rng.choice(state.learners))
    if len(state.voters) > 1 and rng.random() < 0.4:
        return ConfChange(ConfChangeType.REMOVE_NODE, rng.choice(state.voters))
    others += state.learners
    came = rng.sample(others, rng.randrange(min(len(others), NEWCOMERS_MAX) + 1))
    gone = rng.sample(state.voters, rng.randrange(len(state.voters) + bool(came)))
    return ConfChangeV2(
        rng.choice((ConfChangeTransition.JOINT_IMPLICIT, ConfChangeTransition.JOINT_EXPLICIT)),
        (*(ConfChangeSingle(add, i) for i in came),
         *(ConfChangeSingle(rng.choice((learn, ConfChangeType.REMOVE_NODE)), i) for i in gone)))
