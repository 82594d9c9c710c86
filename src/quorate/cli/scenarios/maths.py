"""Runs the scenario files of quorum maths and of configuration changes.

Not here: the maths (raft/quorum.py, raft/confchange.py).
"""

from __future__ import annotations

from quorate.cli.scenarios.datadriven import Directive
from quorate.raft import describe
from quorate.raft.confchange import Changer, Result
from quorate.raft.errors import ConfigError
from quorate.raft.quorum import joint_committed_index, joint_vote_result
from quorate.raft.tracker import Tracker
from quorate.raft.types import ConfChangeSingle, ConfChangeType, InFlightLimits

STEPS = {
    "v": ConfChangeType.ADD_NODE, "l": ConfChangeType.ADD_LEARNER_NODE,
    "r": ConfChangeType.REMOVE_NODE, "u": ConfChangeType.UPDATE_NODE,
}


def conf_changes(words: str) -> tuple[ConfChangeSingle, ...]:
    """`v1 l2` as steps; raises ValueError."""
    steps = []
    for word in words.split():
        if word[0] not in STEPS or not word[1:].isdigit():
            raise ValueError(f"unknown input: {word}")
        steps.append(ConfChangeSingle(STEPS[word[0]], int(word[1:])))
    return tuple(steps)


class QuorumScenario:
    """`committed` and `vote`; each directive stands alone."""

    def run(self, directive: Directive) -> str:
        """The output of one directive."""
        voters = [int(v) for v in directive.values("cfg") if v]
        joint = bool(directive.values("cfgj"))
        outgoing = [int(v) for v in directive.values("cfgj") if v not in ("", "zero")]
        order = list(dict.fromkeys(voters + outgoing))
        if directive.command == "committed":
            given = directive.values("idx")
        elif directive.command == "vote":
            given = directive.values("votes")
        else:
            return f"unknown command: {directive.command}"
        given = tuple(value for value in given if value)
        if len(given) != len(order):
            return (f"error: mismatched input (explicit or _) for voters "
                    f"[{' '.join(map(str, sorted(order)))}]: [{' '.join(given)}]")
        known = {i: v for i, v in zip(order, given, strict=True) if v != "_"}
        if directive.command == "vote":
            votes = {i: v == "y" for i, v in known.items()}
            return joint_vote_result(voters, outgoing, votes).value
        acked = {i: int(v) for i, v in known.items()}
        index = joint_committed_index(voters, outgoing, acked)
        swapped = joint_committed_index(outgoing, voters, acked)
        note = "" if (joint and swapped == index) or not joint else " <-- via symmetry"
        return describe.quorum(order, acked) + describe.index(index) + note

    def violations(self) -> list[str]:
        """There is no state to look at."""
        return []


class ConfChangeScenario:
    """`simple`, `enter-joint` and `leave-joint` on one configuration."""

    def __init__(self) -> None:
        self._tracker = Tracker(InFlightLimits(10))
        self._last_index = 0

    def run(self, directive: Directive) -> str:
        """The output of one directive."""
        changer = Changer(self._tracker, self._last_index)
        self._last_index += 1
        try:
            result = self._change(changer, directive)
        except (ConfigError, ValueError) as refused:
            return str(refused)
        self._tracker.switch(*result)
        return (describe.config(self._tracker.config) + "\n"
                + describe.progress_map(self._tracker.progress))

    def _change(self, changer: Changer, directive: Directive) -> Result:
        steps = conf_changes(" ".join(directive.input))
        match directive.command:
            case "simple":
                return changer.simple(steps)
            case "enter-joint":
                return changer.enter_joint(
                    steps, auto_leave=directive.value("autoleave", "false") == "true")
            case "leave-joint":
                if steps:
                    raise ValueError("this command takes no input")
                return changer.leave_joint()
        raise ValueError("unknown command")

    def violations(self) -> list[str]:
        """Everybody in the configuration has a progress with match < next."""
        return [f"{i}: match {p.match} is not below next {p.next}"
                for i, p in self._tracker.progress.items() if p.match >= p.next]
