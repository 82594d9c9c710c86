"""The container format of scenario files: directives with their expected output.

A directive is a line `command argument key=value key=(a,b)`, optional input lines, a line of four
dashes, and the expected output up to the first blank line (or, after a doubled line of dashes, up
to the next doubled one). `#` begins a comment line.

Not here: what the commands mean (interaction.py, maths.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
_ARGUMENT = re.compile(r"([^\s=()]+)(?:=(\([^)]*\)|\S*))?")
_DASHES = "----"


@dataclass(frozen=True, slots=True)
class Argument:
    """`key`, or `key=value`, or `key=(a,b)`."""

    key: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """One command of a file."""

    line: int
    command: str
    arguments: tuple[Argument, ...]
    input: tuple[str, ...]
    expected: str

    def values(self, key: str) -> tuple[str, ...]:
        """Values of all arguments with that key."""
        return tuple(v for a in self.arguments if a.key == key for v in a.values)

    def value(self, key: str, default: str = "") -> str:
        """The last value with that key."""
        return (*(default,), *self.values(key))[-1]

    @property
    def ids(self) -> tuple[int, ...]:
        """Arguments without a value, as numbers."""
        return tuple(int(a.key) for a in self.arguments if not a.values)

    def having(self, command: str, arguments: tuple[Argument, ...]) -> Directive:
        """The same place, another command."""
        return Directive(self.line, command, arguments, (), self.expected)


def parse_line(line: str) -> tuple[str, tuple[Argument, ...]]:
    """A command line."""
    command, _, rest = line.strip().partition(" ")
    arguments = []
    for match in _ARGUMENT.finditer(rest):
        key, value = match.groups()
        if value is None:
            arguments.append(Argument(key))
        else:
            parts = value.strip("()").split(",")
            arguments.append(Argument(key, tuple(part.strip() for part in parts)))
    return command, tuple(arguments)


def parse(path: Path) -> list[Directive]:
    """All directives of a file; raises ValueError where it is malformed."""
    lines = path.read_text(encoding="utf-8").split("\n")
    directives, at = [], 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        start = at
        command_line = line
        while command_line.endswith("\\"):
            command_line = command_line[:-1] + " " + lines[at].strip()
            at += 1
        given = []
        while at < len(lines) and lines[at].rstrip() != _DASHES:
            given.append(lines[at])
            at += 1
        if at == len(lines):
            raise ValueError(f"{path}:{start}: {command_line!r} has no line of dashes")
        at += 1
        expected, at = _expected(lines, at)
        command, arguments = parse_line(command_line)
        directives.append(Directive(
            start, command, arguments, tuple(x for x in given if x.strip()), expected))
    return directives


def _expected(lines: list[str], at: int) -> tuple[str, int]:
    out = []
    if at < len(lines) and lines[at].rstrip() == _DASHES:
        at += 1
        while lines[at:at + 2] != [_DASHES, _DASHES] and at < len(lines):
            out.append(lines[at])
            at += 1
        return "\n".join(out), at + 2
    while at < len(lines) and lines[at].strip():
        out.append(lines[at])
        at += 1
    return "\n".join(out), at


def without_logs(output: str) -> str:
    """Mode A: the output without log lines and trailing blanks; nothing left means `ok`."""
    kept = [line.rstrip() for line in output.split("\n")
            if not line.strip() or line.split(maxsplit=1)[0] not in LOG_LEVELS]
    return "\n".join(line for line in kept if line) or "ok"
