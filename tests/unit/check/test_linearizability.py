"""The search judge on histories small enough to judge by eye. Notation: one line a client call,
`client from-to what = answer`; `?` where nobody knows."""

import pytest

from quorate.check.linearizability import NEVER, Model, Operation, judge
from quorate.check.registers import REGISTER, STRINGS, Act, Ask, Told

Call = Operation[Ask, Told]


def read(client: str, begun: float, ended: float, value: str | None, key: str = "") -> Call:
    """A read that saw `value`."""
    return Operation(client, begun, ended, Ask(Act.READ, key), Told(value))


def write(client: str, begun: float, ended: float, value: str, key: str = "") -> Call:
    """A write; unknown if it ended NEVER."""
    return Operation(client, begun, ended, Ask(Act.WRITE, key, value),
                     None if ended == NEVER else Told())


def cas(client: str, begun: float, ended: float, old: str, new: str, swapped: bool) -> Call:
    """A compare-and-swap; unknown if it ended NEVER."""
    return Operation(client, begun, ended, Ask(Act.CAS, "", new, old),
                     None if ended == NEVER else Told(swapped=swapped))


def append(client: str, begun: float, ended: float, value: str) -> Call:
    """An append."""
    return Operation(client, begun, ended, Ask(Act.APPEND, "", value), Told())


GOOD = {
    "nothing": [],
    "nil before the first write": [read("a", 0, 1, None), write("b", 2, 3, "1")],
    "a read beside a write sees either": [
        write("a", 0, 10, "1"), read("b", 1, 2, None), read("c", 3, 4, "1")],
    "touching intervals overlap": [write("a", 0, 5, "1"), read("b", 5, 6, None)],
    "an unknown write shows late": [
        write("a", 0, NEVER, "1"), read("b", 1, 2, None), read("b", 9, 10, "1")],
    "an unknown write never shows": [write("a", 0, NEVER, "1"), read("b", 8, 9, None)],
    "an unknown cas fits once its value is there": [
        cas("a", 0, NEVER, "1", "2", True), write("b", 1, 2, "1"), read("b", 3, 4, "2")],
    "a refused cas saw another value": [
        write("a", 0, 1, "1"), cas("b", 2, 3, "2", "3", False), read("c", 4, 5, "1")],
}
BAD = {
    "a stale read": [write("a", 0, 1, "1"), read("b", 2, 3, None)],
    "a value from nowhere": [read("a", 0, 1, "7")],
    "two reads disagree on the order": [
        write("a", 0, 10, "1"), read("b", 1, 2, "1"), read("c", 3, 4, None)],
    "an unknown write undoes itself": [
        write("a", 0, NEVER, "1"), read("b", 1, 2, "1"), read("b", 3, 4, None)],
    "a cas that cannot have matched": [write("a", 0, 1, "1"), cas("b", 2, 3, "2", "3", True)],
    "a cas refused though it matched": [write("a", 0, 1, "1"), cas("b", 2, 3, "1", "3", False)],
    "an answer before its question": [read("b", 0, 1, "1"), write("a", 2, NEVER, "1")],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_possible_history_is_linearizable(name: str) -> None:
    """There is an order that explains every answer."""
    assert judge(GOOD[name], REGISTER) is None


@pytest.mark.parametrize("name", BAD)
def test_an_impossible_history_is_not(name: str) -> None:
    """No order explains every answer, and the judge says where it got stuck."""
    stuck = judge(BAD[name], REGISTER)

    assert stuck is not None
    assert stuck.blocked


def test_keys_are_judged_apart() -> None:
    """A wrong key is named, a right one beside it does not hide it."""
    stuck = judge([write("a", 0, 1, "x", "one"), read("b", 2, 3, "x", "one"),
                   write("a", 4, 5, "y", "two"), read("b", 6, 7, "", "two")], STRINGS)

    assert stuck is not None
    assert stuck.part == "two"


def test_appends_may_be_taken_in_another_order_than_they_ended() -> None:
    """The search undoes its first guess."""
    assert judge([append("a", 0, 10, "x"), append("b", 0, 9, "y"), append("c", 0, 8, "z"),
                  read("d", 11, 12, "yzx")], STRINGS) is None


def test_a_model_may_leave_the_next_state_open() -> None:
    """A coin that is thrown may show either side, but keeps it."""
    coin: Model[str, str, str] = Model(
        "?", lambda state, ask, told: ("heads", "tails") if ask == "throw" else
        (state,) if told == state else ())
    throw = Operation("a", 0, 1, "throw", "")

    assert judge([throw, Operation("a", 2, 3, "look", "heads")], coin) is None
    assert judge([throw, Operation("a", 2, 3, "look", "tails")], coin) is None
    assert judge([throw, Operation("a", 2, 3, "look", "heads"),
                  Operation("a", 4, 5, "look", "tails")], coin) is not None
