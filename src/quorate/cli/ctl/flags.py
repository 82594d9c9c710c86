"""Command lines as etcdctl reads them: flags anywhere, `--flag=value` or `--flag value`, `-w json`,
switches without a value, and what follows `--` taken as it is.

Not here: which commands and flags there are (main.py and the modules of commands).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BAD_ARGUMENTS = 128
ERROR, BAD_CONNECTION, INVALID_INPUT, BAD_FEATURE, INTERRUPTED = 1, 2, 3, 4, 5
"""Exit codes of etcdctl."""


class Exit(Exception):
    """The command ends with this code, and this sentence unless it is empty."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Flag:
    """`kind` is bool, int, str or float (seconds, written as Go's durations); `many` values may be
    given."""

    name: str
    kind: type = str
    default: str = ""
    help: str = ""
    short: str = ""
    many: bool = False


@dataclass(slots=True)
class Words:
    """A command line that was read: `args` and, of these, those after `--`."""

    values: dict[str, str]
    lists: dict[str, list[str]]
    args: list[str] = field(default_factory=list)
    rest: list[str] | None = None

    def text(self, name: str) -> str:
        """A value as it was written."""
        return self.values[name]

    def on(self, name: str) -> bool:
        """A switch."""
        return self.values[name] == "true"

    def number(self, name: str) -> int:
        """A whole number."""
        return int(self.values[name], 0)

    def seconds(self, name: str) -> float:
        """A duration."""
        return duration(self.values[name])

    @property
    def all(self) -> list[str]:
        """All that is no flag."""
        return self.args + (self.rest or [])


def read(words: Sequence[str], flags: Sequence[Flag], environ: Mapping[str, str]) -> Words:
    """Read a command line; a global flag may also come from the environment. Raises Exit."""
    known = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    out = Words({flag.name: flag.default for flag in flags},
                {flag.name: [] for flag in flags if flag.many})
    for flag in flags:
        variable = "ETCDCTL_" + flag.name.upper().replace("-", "_")
        if environ.get(variable):
            out.values[flag.name] = _checked(flag, environ[variable], flag.name)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            out.rest = list(words[at:])
            break
        if not word.startswith("-") or word == "-":
            out.args.append(word)
            continue
        flag, shown, value = _flag(word, known, short)
        if value is None and flag.kind is bool:
            value = "true"
        elif value is None:
            if at == len(words):
                raise Exit(ERROR, f"flag needs an argument: {shown}")
            value = words[at]
            at += 1
        value = _checked(flag, value, shown)
        out.values[flag.name] = value
        if flag.many:
            out.lists[flag.name].append(value)
    return out


def _flag(
    word: str, known: Mapping[str, Flag], short: Mapping[str, Flag]
) -> tuple[Flag, str, str | None]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if name not in known:
            raise Exit(ERROR, f"unknown flag: --{name}")
        return known[name], f"--{name}", value if equals else None
    letter, value = word[1], word[2:].removeprefix("=")
    if letter not in short:
        raise Exit(ERROR, f"unknown shorthand flag: '{letter}' in {word}")
    flag = short[letter]
    return flag, f"-{letter}, --{flag.name}", value or None


def _checked(flag: Flag, value: str, shown: str) -> str:
    try:
        if flag.kind is bool:
            return {"true": "true", "t": "true", "1": "true",
                    "false": "false", "f": "false", "0": "false"}[value.lower()]
        if flag.kind is int:
            integer(value)
        elif flag.kind is float:
            duration(value)
    except (ValueError, KeyError):
        name = shown.rpartition(" ")[2]
        why = {bool: "strconv.ParseBool", int: "strconv.ParseInt"}.get(flag.kind)
        reason = f'{why}: parsing "{value}": invalid syntax' if why else (
            f"time: invalid duration {value}")
        raise Exit(ERROR, f'invalid argument "{value}" for "{name}" flag: {reason}') from None
    return value


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it; raises ValueError."""
    if text == "0":
        return 0.0
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"no duration: {text!r}; write it like 5s or 300ms")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def integer(text: str, base: int = 10) -> int:
    """A whole number of 64 bits as Go reads it; raises ValueError."""
    digits = "0-9a-fA-F" if base == 16 else "0-9"
    if not re.fullmatch(f"[+-]?[{digits}]+", text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text, base)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def lease_id(text: str, what: str = "lease ID arg") -> int:
    """In hexadecimal; raises Exit."""
    try:
        return integer(text, 16)
    except ValueError as wrong:
        raise Exit(BAD_ARGUMENTS, f"bad {what} ({wrong}), expecting ID in Hex") from None


def member_id(text: str) -> int:
    """In hexadecimal, unsigned; raises Exit."""
    if not re.fullmatch("[0-9a-fA-F]+", text) or int(text, 16) >= 1 << 64:
        raise Exit(BAD_ARGUMENTS, f'bad member ID arg (strconv.ParseUint: parsing "{text}": '
                                  f"invalid syntax), expecting ID in Hex")
    return int(text, 16)
