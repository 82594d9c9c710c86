"""The configuration of one member: from flags, environment and file to checked values.

Precedence is etcd's: a flag wins over its variable; with --config-file everything else is ignored.
Wrong input is one `ConfigError`: a sentence with the setting, the value and the remedy.

Not here: the flags (config_flags.py), how values are written (settings.py), what needs the network
or the disk (bootstrap/static.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from quorate.member.autocompact import Retention, parse_retention
from quorate.member.config_discovery import Discovery, read_discovery
from quorate.member.config_flags import FLAGS, Kind, Use
from quorate.member.quota import QUOTA_BYTES
from quorate.member.settings import ConfigError, Settings, Url, parse_url

ELECTION_MS_MAX = 50_000
ELECTION_PER_HEARTBEAT_MIN = 5
REQUEST_BYTES_MAX = 32 << 20
"""Half of what a record of the log, or a frame between members, may have."""

DEFAULT_CLIENT_URL = "http://localhost:2379"
DEFAULT_PEER_URL = "http://localhost:2380"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings that are acted upon; times in milliseconds where etcd has them so."""

    name: str = "default"
    data_dir: str = "default.etcd"
    wal_dir: str = ""
    listen_peer_urls: tuple[Url, ...] = ()
    listen_client_urls: tuple[Url, ...] = ()
    initial_advertise_peer_urls: tuple[Url, ...] = ()
    advertise_client_urls: tuple[Url, ...] = ()
    initial_cluster: Mapping[str, tuple[Url, ...]] = field(default_factory=dict)
    initial_cluster_state: str = "new"
    initial_cluster_token: str = "etcd-cluster"
    discovery: Discovery = Discovery()
    heartbeat_ms: int = 100
    election_ms: int = 1000
    snapshot_count: int = 10_000
    snapshot_catch_up_entries: int = 5_000
    max_request_bytes: int = 1_572_864
    max_txn_ops: int = 128
    auto_compaction: Retention = Retention()
    quota_bytes: int = QUOTA_BYTES
    """0: no quota."""
    max_learners: int = 1
    strict_reconfig_check: bool = True
    log_level: str = "info"
    log_format: str = "console"
    log_outputs: tuple[str, ...] = ("stderr",)
    listen_metrics_urls: tuple[Url, ...] = ()
    metrics_extensive: bool = False
    enable_v2: bool = True
    slow_request_s: float = 0.3
    """A unary request that takes longer is told; 0 for never."""
    warnings: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    """Names of the settings that were given, by whatever means."""


# From the command line, the environment and a file to settings.


def load_config(
    argv: list[str], environ: Mapping[str, str], read_file: Callable[[str], str]
) -> Config:
    """The checked configuration; raises ConfigError."""
    values, sources = parse_flags(argv)
    warnings: list[str] = []
    from_env = _environment(environ, warnings)
    file = values.get("config-file") or from_env.get("config-file", "")
    if file:
        ignored = sorted({*values, *from_env} - {"config-file"})
        if ignored:
            warnings.append(f"--config-file is given, so these are ignored: "
                            f"{', '.join('--' + name for name in ignored)}")
        values = _file(file, read_file)
        sources = {name: f"{name} in {file}" for name in values}
    else:
        for name, value in from_env.items():
            if name not in values:
                values[name] = value
                sources[name] = FLAGS[name].env
    settings = Settings(values, sources)
    _refuse_unsupported(settings, values, warnings)
    return _checked(settings, warnings)


def parse_flags(argv: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Like Go's flag package: one or two dashes, `=` or a space, booleans with or without value;
    raises ConfigError."""
    values: dict[str, str] = {}
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if not word.startswith("-") or word in ("-", "--"):
            raise ConfigError(
                f"unexpected argument {word!r}. Every setting is a flag; see --help.", usage=True)
        name, equals, value = word.lstrip("-").partition("=")
        flag = FLAGS.get(name)
        if flag is None:
            near = difflib.get_close_matches(name, FLAGS, 1)
            hint = f" Did you mean --{near[0]}?" if near else " See --help."
            raise ConfigError(f"there is no flag {word.split('=')[0]}.{hint}", usage=True)
        if not equals:
            if flag.kind is Kind.BOOL:
                value = "true"
            elif at < len(argv):
                value = argv[at]
                at += 1
            else:
                raise ConfigError(f"--{name} needs a value, as in --{name}=VALUE.", usage=True)
        values[name] = _boolean(name, value) if flag.kind is Kind.BOOL else value
    return values, {name: f"--{name}" for name in values}


def _boolean(name: str, value: str) -> str:
    if value.lower() in ("true", "t", "1"):
        return "true"
    if value.lower() in ("false", "f", "0"):
        return "false"
    raise ConfigError(f"--{name}={value} is neither true nor false.", usage=True)


def _environment(environ: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    by_env = {flag.env: name for name, flag in FLAGS.items()}
    out = {}
    for variable in sorted(environ):
        name = by_env.get(variable)
        if name is not None:
            value = environ[variable]
            out[name] = _boolean(name, value) if (
                FLAGS[name].kind is Kind.BOOL and value) else value
        elif variable.startswith("ETCD_") and variable != "ETCD_UNSUPPORTED_ARCH":
            warnings.append(f"the environment variable {variable} is not known and ignored")
    return out


def _file(path: str, read_file: Callable[[str], str]) -> dict[str, str]:
    import yaml  # only here: it is slow to import

    try:
        content = yaml.safe_load(read_file(path)) or {}
    except OSError as failure:
        raise ConfigError(f"--config-file {path!r} cannot be read: {failure.strerror}. Check the "
                          f"path and its permissions.") from failure
    except yaml.YAMLError as malformed:
        raise ConfigError(f"--config-file {path!r} is not YAML: {malformed}") from malformed
    if not isinstance(content, dict):
        raise ConfigError(f"--config-file {path!r} must hold `name: value` lines.")
    by_yaml = {flag.yaml or name: name for name, flag in FLAGS.items()}
    out: dict[str, str] = {}
    for key, value in _flat(content):
        name = by_yaml.get(key)
        if name is None:
            near = difflib.get_close_matches(key, by_yaml, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"--config-file {path!r} has an unknown setting {key!r}.{hint}")
        if value is not None:
            out[name] = value
    return out


def _flat(content: Mapping[object, object], prefix: str = "") -> list[tuple[str, str | None]]:
    out: list[tuple[str, str | None]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out += _flat(value, f"{name}.")
        elif isinstance(value, bool):
            out.append((name, str(value).lower()))
        elif isinstance(value, list):
            out.append((name, ",".join(map(str, value))))
        else:
            out.append((name, None if value is None else str(value)))
    return out


def _refuse_unsupported(
    settings: Settings, values: dict[str, str], warnings: list[str]
) -> None:
    """Raises ConfigError for what must not be ignored; notes what has no effect."""
    for name in sorted(values):
        value, use = values[name], FLAGS[name].use
        if value in ("", "false") or use is Use.ACT:
            continue
        shown = settings.shown(name)
        if use is Use.TLS:
            raise ConfigError(f"{shown} {value!r}: TLS is not in this release. Leave it out and "
                              f"use a network that you trust, or wait for the release with TLS.")
        if use is Use.LATER:
            raise ConfigError(f"{shown} {value!r} is not in this release. Leave it out.")
        warnings.append(f"{shown}: accepted, no effect in this release")


# Checks.


def _checked(s: Settings, warnings: list[str]) -> Config:
    name = s.get("name", "default")
    if s.given("listen-client-urls") and not s.given("advertise-client-urls"):
        raise ConfigError(
            f"{s.shown('listen-client-urls')} {s.get('listen-client-urls')!r} is given without "
            f"--advertise-client-urls. Add --advertise-client-urls with the URL under which "
            f"clients reach this member.")
    heartbeat_ms, election_ms = _times(s)
    advertised_peers = s.get("initial-advertise-peer-urls", DEFAULT_PEER_URL)
    default_cluster = ",".join(f"{name}={url}" for url in advertised_peers.split(","))
    state = s.choice("initial-cluster-state", "new", "existing")
    cluster = parse_cluster(s.get("initial-cluster", default_cluster), s.shown("initial-cluster"))
    if len(cluster) % 2 == 0:
        warnings.append(f"{len(cluster)} members survive no more failures than "
                        f"{len(cluster) - 1}; use an odd number")
    return Config(
        name=name, data_dir=s.get("data-dir", f"{name}.etcd"), wal_dir=s.get("wal-dir"),
        listen_peer_urls=s.urls("listen-peer-urls", DEFAULT_PEER_URL),
        listen_client_urls=s.urls("listen-client-urls", DEFAULT_CLIENT_URL),
        initial_advertise_peer_urls=s.urls("initial-advertise-peer-urls", DEFAULT_PEER_URL),
        advertise_client_urls=s.urls("advertise-client-urls", DEFAULT_CLIENT_URL),
        initial_cluster=cluster, initial_cluster_state=state,
        initial_cluster_token=s.get("initial-cluster-token", "etcd-cluster"),
        discovery=read_discovery(s),
        heartbeat_ms=heartbeat_ms, election_ms=election_ms,
        snapshot_count=s.number("snapshot-count", 10_000, 1, 10**9),
        snapshot_catch_up_entries=s.number(
            "snapshot-catchup-entries",
            s.number("experimental-snapshot-catchup-entries", 5_000, 0, 10**9), 0, 10**9),
        max_request_bytes=s.number("max-request-bytes", 1_572_864, 1024, REQUEST_BYTES_MAX),
        max_txn_ops=s.number("max-txn-ops", 128, 1, 1 << 20),
        auto_compaction=_retention(s), quota_bytes=_quota(s),
        max_learners=s.number("max-learners", s.number(
            "experimental-max-learners", 1, 0, 64), 0, 64),
        strict_reconfig_check=s.get("strict-reconfig-check", "true") == "true",
        log_level=s.choice("log-level", "info", "debug", "warn", "error", "panic", "fatal"),
        log_format=s.choice("log-format", "console", "json"),
        listen_metrics_urls=s.urls("listen-metrics-urls", "") if s.given(
            "listen-metrics-urls") else (),
        enable_v2=s.get("enable-v2", "true") == "true",
        metrics_extensive=s.choice("metrics", "basic", "extensive") == "extensive",
        slow_request_s=_slow_request_s(s),
        log_outputs=tuple(s.get("log-outputs", "stderr").split(",")),
        warnings=tuple(warnings), given=s.names)


def _retention(s: Settings) -> Retention:
    try:
        return parse_retention(s.get("auto-compaction-mode", "periodic"),
                               s.get("auto-compaction-retention", "1h"))
    except ValueError as wrong:
        raise ConfigError(
            f"{s.shown('auto-compaction-mode')} and {s.shown('auto-compaction-retention')}: "
            f"{wrong}. Leave both out to keep an hour of history, or use 0 to keep all.") from wrong


def _quota(s: Settings) -> int:
    quota = s.number("quota-backend-bytes", 0, -(1 << 62), 1 << 62)
    return 0 if quota < 0 else quota or QUOTA_BYTES


def _slow_request_s(s: Settings) -> float:
    name = "warning-unary-request-duration"
    if not s.given(name) and s.given(f"experimental-{name}"):
        name = f"experimental-{name}"
    return 0.0 if s.get(name) in ("0", "0s") else s.milliseconds(name, 300) / 1000


def _times(s: Settings) -> tuple[int, int]:
    heartbeat_ms = s.milliseconds("heartbeat-interval", 100)
    election_ms = s.milliseconds("election-timeout", 1000)
    if election_ms < ELECTION_PER_HEARTBEAT_MIN * heartbeat_ms:
        raise ConfigError(
            f"{s.shown('election-timeout')} {election_ms} must be at least "
            f"{ELECTION_PER_HEARTBEAT_MIN} times {s.shown('heartbeat-interval')} {heartbeat_ms}. "
            f"Use {10 * heartbeat_ms}.")
    if election_ms > ELECTION_MS_MAX:
        raise ConfigError(f"{s.shown('election-timeout')} {election_ms} is above "
                          f"{ELECTION_MS_MAX} ms. Use ten times the round trip, or 1000.")
    return heartbeat_ms, election_ms


def parse_cluster(text: str, shown: str) -> dict[str, tuple[Url, ...]]:
    """Peer URLs by name, from `NAME=URL,NAME=URL`; raises ConfigError."""
    out: dict[str, tuple[Url, ...]] = {}
    for part in text.split(","):
        name, equals, url = part.strip().partition("=")
        if not equals or not name:
            raise ConfigError(f"{shown} {part.strip()!r} is not NAME=URL. Write it like "
                              f"a=http://10.0.0.1:2380,b=http://10.0.0.2:2380.")
        out[name] = (*out.get(name, ()), parse_url(url, f"{shown} {name}"))
    seen: dict[str, str] = {}
    for name, urls in out.items():
        for listed in urls:
            if listed.text in seen:
                raise ConfigError(f"{shown} has {listed.text} for both {seen[listed.text]!r} and "
                                  f"{name!r}. Give every member URLs of its own.")
            seen[listed.text] = name
    return out
