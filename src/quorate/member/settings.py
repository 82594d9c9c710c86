"""Settings as people write them, and what they mean: numbers, times, URLs, choices.

Wrong input is a `ConfigError`. Not here: which settings there are (config.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit


class ConfigError(Exception):
    """A sentence for the person who started the member. `usage`: exit 2 instead of 1."""

    def __init__(self, sentence: str, *, usage: bool = False) -> None:
        super().__init__(sentence)
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Url:
    """An http URL with host and port."""

    host: str
    port: int
    text: str

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


class Settings:
    """Values by flag name, with where each came from, for sentences."""

    def __init__(self, values: dict[str, str], sources: dict[str, str]) -> None:
        self._values = values
        self._sources = sources

    def given(self, name: str) -> bool:
        """Whether it was set at all, to something."""
        return self._values.get(name, "") != ""

    @property
    def names(self) -> frozenset[str]:
        """Everything that was set to something."""
        return frozenset(name for name, value in self._values.items() if value)

    def get(self, name: str, default: str = "") -> str:
        """Its value."""
        return self._values.get(name, "") or default

    def shown(self, name: str) -> str:
        """The setting as the person wrote it."""
        return self._sources.get(name, f"--{name}")

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds; raises ConfigError."""
        text = self.get(name, str(default))
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ConfigError(
                f"{self.shown(name)} {text!r} is not a whole number from {low} to {high}. "
                f"Leave it out for the default, {default}.")
        return int(text)

    def milliseconds(self, name: str, default: int) -> int:
        """A time in ms, as a bare number or like `100ms`, `1.5s`; raises ConfigError."""
        text = self.get(name, str(default))
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text)
        factor = {"": 1, "ms": 1, "s": 1000, "m": 60_000}
        value = float(match[1]) * factor[match[2]] if match else 0
        if value < 1 or value != int(value):
            raise ConfigError(
                f"{self.shown(name)} {text!r} is not a time in milliseconds. Write a whole "
                f"number such as {default}, or a duration such as {default}ms.")
        return int(value)

    def choice(self, name: str, *allowed: str) -> str:
        """One of some words, the first by default; raises ConfigError."""
        text = self.get(name, allowed[0])
        if text not in allowed:
            raise ConfigError(f"{self.shown(name)} {text!r} is none of {', '.join(allowed)}. "
                              f"Leave it out for {allowed[0]}.")
        return text

    def urls(self, name: str, default: str) -> tuple[Url, ...]:
        """A comma-separated list of URLs; raises ConfigError."""
        return parse_urls(self.get(name, default), self.shown(name))


def parse_urls(text: str, shown: str) -> tuple[Url, ...]:
    """URLs with scheme http, host and port and nothing else; raises ConfigError."""
    return tuple(parse_url(part.strip(), shown) for part in text.split(","))


def parse_url(text: str, shown: str) -> Url:
    parts = urlsplit(text)
    example = "Write it like http://10.0.0.1:2380."
    if parts.scheme == "https":
        raise ConfigError(
            f"{shown} {text!r}: TLS is not in this release. Use http:// and a network that you "
            f"trust, or wait for the release with TLS.")
    if parts.scheme != "http":
        raise ConfigError(f"{shown} {text!r} is not an http URL. {example}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        raise ConfigError(f"{shown} {text!r} needs a host and a port. {example}")
    if parts.path not in ("", "/") or parts.query:
        raise ConfigError(f"{shown} {text!r} must not have a path. {example}")
    return Url(parts.hostname, port, text.rstrip("/"))
