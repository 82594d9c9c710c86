"""Histories that others recorded, read into operations for the search judge.

Two notations. A register log has lines `... <process> TAB :invoke|:ok|:fail|:info TAB
:read|:write|:cas TAB <value>`; a key log has lines `{:process 0, :type :invoke|:ok, :f
:get|:put|:append, :key "0", :value "x"}`. The place in the file is the time.

Rules: `:fail` of a CAS says that it was compared and refused, `:fail` of anything else that it did
not happen; `:info`, and a call without any answer, that nobody knows.

Not here: what the operations mean (registers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from quorate.check.linearizability import NEVER, Model, Operation
from quorate.check.registers import REGISTER, STRINGS, Act, Ask, Told

Recorded = Operation[Ask, Told]
Line = tuple[str, str, str, str, str]
"""Process, type, function, key and value, as written."""

_REGISTER = re.compile(
    r"(?:^|\s)(?P<process>\d+)\s+:(?P<type>invoke|ok|fail|info)\s+"
    r":(?P<f>read|write|cas)\s+(?P<value>.*?)\s*$")
_STRINGS = re.compile(
    r'\{:process (?P<process>\d+), :type :(?P<type>\w+), :f :(?P<f>get|put|append), '
    r':key "(?P<key>[^"]*)", :value (?P<value>nil|"(?:[^"\\]|\\.)*")\}')
_ACTS = {"read": Act.READ, "get": Act.READ, "write": Act.WRITE, "put": Act.WRITE,
         "cas": Act.CAS, "append": Act.APPEND}


class NotAHistory(ValueError):
    """The text says which line is in neither notation, or makes no sense where it is."""


def parse(text: str) -> tuple[list[Recorded], Model[Ask, Told, str | None] | Model[Ask, Told, str]]:
    """The operations of one file and the model that judges them; raises NotAHistory."""
    lines = text.splitlines()
    strings = any(line.lstrip().startswith("{") for line in lines)
    pattern, model = (_STRINGS, STRINGS) if strings else (_REGISTER, REGISTER)
    return list(_operations(lines, pattern)), model


def _operations(lines: list[str], pattern: re.Pattern[str]) -> Iterator[Recorded]:
    calls: dict[str, Recorded] = {}
    for at, line in enumerate(lines):
        found = pattern.search(line)
        if found is None:
            if line.strip() and (pattern is _STRINGS or ":invoke" in line or ":ok" in line):
                raise NotAHistory(f"line {at + 1} is in neither notation: {line!r}")
            continue
        parts = found.groupdict()
        process, kind = parts["process"], parts["type"]
        if kind == "invoke":
            if process in calls:
                raise NotAHistory(f"line {at + 1}: process {process} has a call under way")
            calls[process] = Operation(process, at, NEVER, _ask(parts), None)
            continue
        call = calls.pop(process, None)
        if call is None:
            raise NotAHistory(f"line {at + 1}: process {process} has no call under way")
        if kind == "ok":
            yield replace(call, returned=at, output=_told(call.input, parts["value"]))
        elif kind == "info":
            yield call
        elif call.input.act is Act.CAS and parts["value"] != ":timed-out":
            yield replace(call, returned=at, output=Told(swapped=False))
    yield from calls.values()


def _ask(parts: dict[str, str]) -> Ask:
    act, value, key = _ACTS[parts["f"]], parts["value"], parts.get("key", "")
    if act is Act.CAS:
        expected, new = value.strip("[]").split()
        return Ask(act, key, _value(new), _value(expected))
    return Ask(act, key, _value(value))


def _told(ask: Ask, value: str) -> Told:
    return Told(_value(value)) if ask.act is Act.READ else Told()


def _value(text: str) -> str | None:
    return None if text == "nil" else text[1:-1] if text.startswith('"') else text
