"""The settings by which the members of a new cluster find each other, and what they must fit.

At most one way may be given: --initial-cluster, --discovery (a directory in some v2 store),
--discovery-endpoints with --discovery-token (keys in some v3 store), --discovery-srv (DNS).

Not here: the other settings (config.py), what is done with these (bootstrap/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from quorate.member.settings import ConfigError, Settings

WAYS = ("initial-cluster", "discovery", "discovery-endpoints", "discovery-srv")


@dataclass(frozen=True, slots=True)
class Discovery:
    """Empty texts: this way was not chosen."""

    url: str = ""
    proxy: str = ""
    """As an http URL."""
    token: str = ""
    endpoints: tuple[str, ...] = ()
    """As http URLs."""
    dial_timeout_s: float = 2.0
    request_timeout_s: float = 5.0
    srv: str = ""
    """The domain."""
    srv_name: str = ""
    """The suffix of the services' names."""

    @property
    def by_registry(self) -> bool:
        """Whether members register themselves somewhere."""
        return bool(self.url or self.endpoints)


def read_discovery(s: Settings) -> Discovery:
    """Raises ConfigError."""
    ways = [name for name in WAYS if s.given(name)]
    if len(ways) > 1:
        raise ConfigError(
            f"{' and '.join(map(s.shown, ways))} are given together, and each says who the members "
            f"are. Keep one of them.")
    if s.given("discovery-token") != s.given("discovery-endpoints"):
        one, other = "discovery-token", "discovery-endpoints"
        if s.given(other):
            one, other = other, one
        raise ConfigError(f"{s.shown(one)} {s.get(one)!r} is given without --{other}. v3 "
                          f"discovery needs both.")
    if s.given("discovery-proxy") and s.given("discovery-endpoints"):
        raise ConfigError(
            f"{s.shown('discovery-proxy')} {s.get('discovery-proxy')!r} is for --discovery; with "
            f"{s.shown('discovery-endpoints')} there is no proxy. Leave it out.")
    if s.get("discovery-fallback", "exit") != "exit":
        raise ConfigError(
            f"{s.shown('discovery-fallback')} {s.get('discovery-fallback')!r}: there is no proxy "
            f"that could be started instead of a member. Use exit, or leave it out.")
    if s.get("discovery-insecure-transport", "true") == "false":
        raise ConfigError(
            f"{s.shown('discovery-insecure-transport')} 'false': TLS is not in this release. "
            f"Leave it out and use a network that you trust.")
    srv_name = s.get("discovery-srv-name")
    return Discovery(
        _url(s), _proxy(s), _token(s), _endpoints(s),
        _seconds(s, "discovery-dial-timeout", "2s"), _seconds(s, "discovery-request-timeout", "5s"),
        s.get("discovery-srv").rstrip("."), srv_name)


def _url(s: Settings) -> str:
    text = s.get("discovery")
    if not text:
        return ""
    shown = f"{s.shown('discovery')} {text!r}"
    example = "Write it like http://10.0.0.9:2379/v2/keys/discovery/TOKEN."
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{shown} is not an http or https URL of host, port and path. {example}")
    if not parts.path.strip("/"):
        raise ConfigError(f"{shown} names no token: its path is empty. {example}")
    return text


def _proxy(s: Settings) -> str:
    text = s.get("discovery-proxy")
    if not text:
        return ""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{s.shown('discovery-proxy')} {text!r} is not the URL of an HTTP proxy. "
                          f"Write it like http://10.0.0.9:3128.")
    return url


def _token(s: Settings) -> str:
    """As a part of keys, which etcd cleans like a path."""
    text = s.get("discovery-token")
    if not text:
        return ""
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ConfigError(
            f"{s.shown('discovery-token')} {text!r} has empty or dotted parts. Use letters and "
            f"digits, such as the output of uuidgen.")
    return text


def _endpoints(s: Settings) -> tuple[str, ...]:
    out = []
    for text in filter(None, map(str.strip, s.get("discovery-endpoints").split(","))):
        shown = f"{s.shown('discovery-endpoints')} {text!r}"
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            usable = parts.hostname and parts.port and parts.path in ("", "/")
        except ValueError:
            usable = False
        if usable and parts.scheme == "https":
            raise ConfigError(f"{shown}: TLS is not in this release. Use http:// and a network "
                              f"that you trust.")
        if not usable or parts.scheme != "http":
            raise ConfigError(f"{shown} is no endpoint. Write it like http://10.0.0.9:2379.")
        out.append(url.rstrip("/"))
    return tuple(out)


def _seconds(s: Settings, name: str, default: str) -> float:
    """A bare number is in nanoseconds, as etcd's files have it."""
    text = s.get(name, default)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|)", text)
    value = float(match[1]) * {"": 1e-9, "ms": 1e-3, "s": 1.0, "m": 60.0}[match[2]] if match else 0
    if value <= 0:
        raise ConfigError(f"{s.shown(name)} {text!r} is not a duration. Write it like {default}.")
    return value
