"""Reading recorded histories: the two notations, and what is in neither."""

import pytest

from quorate.check.linearizability import NEVER
from quorate.check.recorded import NotAHistory, parse
from quorate.check.registers import REGISTER, STRINGS, Act, Told


def log(*lines: str) -> str:
    """Lines of a register log."""
    return "\n".join("INFO  jepsen.util - " + line.replace(" ", "\t") for line in lines)


def test_a_register_log_becomes_operations() -> None:
    """Answers belong to the call that their process has under way."""
    operations, model = parse(log("0 :invoke :read nil", "1 :invoke :write 4",
                                  "0 :ok :read nil", "1 :ok :write 4"))

    assert model is REGISTER
    assert [(o.client, o.input.act, o.invoked, o.returned) for o in operations] == [
        ("0", Act.READ, 0, 2), ("1", Act.WRITE, 1, 3)]


def test_failed_unknown_and_unanswered_calls() -> None:
    """A failed read or write did not happen, a refused CAS was compared, the rest is unknown."""
    operations, _ = parse(log(
        "0 :invoke :read nil", "0 :fail :read :timed-out", "1 :invoke :write 4",
        "1 :fail :write 4", "2 :invoke :write 5", "2 :info :write :timed-out",
        "4 :invoke :write 6") + "\nINFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\n"
        "INFO  jepsen.util - 3\t:fail\t:cas\t[1 2]")

    assert [(o.client, o.returned, o.output) for o in operations] == [
        ("2", NEVER, None), ("3", 8, Told(swapped=False)), ("4", NEVER, None)]


def test_a_key_log_becomes_operations() -> None:
    """Values keep their spaces; nil is no value."""
    operations, model = parse(
        '{:process 0, :type :invoke, :f :append, :key "8", :value "x 0 0 y"}\n'
        '{:process 0, :type :ok, :f :append, :key "8", :value "x 0 0 y"}\n'
        '{:process 0, :type :invoke, :f :get, :key "8", :value nil}\n'
        '{:process 0, :type :ok, :f :get, :key "8", :value "x 0 0 y"}\n')

    assert model is STRINGS
    assert [(o.input.act, o.input.key, o.input.value) for o in operations] == [
        (Act.APPEND, "8", "x 0 0 y"), (Act.READ, "8", None)]
    assert operations[1].output == Told("x 0 0 y")


@pytest.mark.parametrize(("text", "says"), [
    (log("0 :ok :read 1"), "no call under way"),
    (log("0 :invoke :read nil", "0 :invoke :read nil"), "has a call under way"),
    (log("0 :invoke :increment 1"), "neither notation"),
])
def test_a_line_that_makes_no_sense_is_named(text: str, says: str) -> None:
    """Nothing is skipped silently."""
    with pytest.raises(NotAHistory, match=says):
        parse(text)
