"""Every flag of etcd's server, all releases from 3.4 on (surface §16); all are known here.

`Use` says what is done with a flag. ACT: it is acted upon. TLS and LATER: it asks for something
that this release does not have, and the start is refused, because ignoring it could be dangerous.
NONE: it is accepted, has no effect, and one line says so.

Not here: parsing and defaults (config.py).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """How a value is written."""

    TEXT = "text"
    BOOL = "bool"


class Use(Enum):
    """What becomes of it."""

    ACT = "acted upon"
    TLS = "needs TLS"
    LATER = "comes later"
    NONE = "no effect"


class Flag(NamedTuple):
    """`yaml` is the path in a configuration file where it is not the name."""

    name: str
    kind: Kind
    use: Use
    yaml: str = ""

    @property
    def env(self) -> str:
        """The environment variable."""
        return "ETCD_" + self.name.upper().replace("-", "_")


_T, _B = Kind.TEXT, Kind.BOOL
FLAGS: dict[str, Flag] = {flag.name: flag for flag in (
    Flag("advertise-client-urls", _T, Use.ACT),
    Flag("auth-token", _T, Use.NONE),
    Flag("auth-token-ttl", _T, Use.NONE),
    Flag("auto-compaction-mode", _T, Use.ACT),
    Flag("auto-compaction-retention", _T, Use.ACT),
    Flag("auto-tls", _B, Use.TLS, "client-transport-security.auto-tls"),
    Flag("backend-batch-interval", _T, Use.NONE),
    Flag("backend-batch-limit", _T, Use.NONE),
    Flag("backend-bbolt-freelist-type", _T, Use.NONE),
    Flag("bcrypt-cost", _T, Use.NONE),
    Flag("bootstrap-defrag-threshold-megabytes", _T, Use.NONE),
    Flag("cert-file", _T, Use.TLS, "client-transport-security.cert-file"),
    Flag("cipher-suites", _T, Use.NONE),
    Flag("client-cert-allowed-hostname", _T, Use.TLS,
         "client-transport-security.allowed-hostname"),
    Flag("client-cert-auth", _B, Use.TLS, "client-transport-security.client-cert-auth"),
    Flag("client-cert-file", _T, Use.TLS, "client-transport-security.client-cert-file"),
    Flag("client-crl-file", _T, Use.TLS),
    Flag("client-key-file", _T, Use.TLS, "client-transport-security.client-key-file"),
    Flag("compact-hash-check-time", _T, Use.NONE),
    Flag("compaction-batch-limit", _T, Use.NONE),
    Flag("compaction-sleep-interval", _T, Use.NONE),
    Flag("config-file", _T, Use.ACT),
    Flag("corrupt-check-time", _T, Use.NONE),
    Flag("cors", _T, Use.NONE),
    Flag("data-dir", _T, Use.ACT),
    Flag("debug", _B, Use.NONE),
    Flag("discovery", _T, Use.ACT),
    Flag("discovery-cacert", _T, Use.TLS, "discovery-config.client.secure.cacert"),
    Flag("discovery-cert", _T, Use.TLS, "discovery-config.client.secure.cert"),
    Flag("discovery-dial-timeout", _T, Use.ACT, "discovery-config.client.dial-timeout"),
    Flag("discovery-endpoints", _T, Use.ACT, "discovery-config.client.endpoints"),
    Flag("discovery-fallback", _T, Use.ACT),
    Flag("discovery-insecure-skip-tls-verify", _B, Use.TLS,
         "discovery-config.client.secure.insecure-skip-tls-verify"),
    Flag("discovery-insecure-transport", _B, Use.ACT,
         "discovery-config.client.secure.insecure-transport"),
    Flag("discovery-keepalive-time", _T, Use.NONE, "discovery-config.client.keepalive-time"),
    Flag("discovery-keepalive-timeout", _T, Use.NONE, "discovery-config.client.keepalive-timeout"),
    Flag("discovery-key", _T, Use.TLS, "discovery-config.client.secure.key"),
    Flag("discovery-password", _T, Use.LATER, "discovery-config.client.auth.password"),
    Flag("discovery-proxy", _T, Use.ACT),
    Flag("discovery-request-timeout", _T, Use.ACT, "discovery-config.client.request-timeout"),
    Flag("discovery-srv", _T, Use.ACT),
    Flag("discovery-srv-name", _T, Use.ACT),
    Flag("discovery-token", _T, Use.ACT, "discovery-config.token"),
    Flag("discovery-user", _T, Use.LATER, "discovery-config.client.auth.username"),
    Flag("distributed-tracing-address", _T, Use.NONE),
    Flag("distributed-tracing-instance-id", _T, Use.NONE),
    Flag("distributed-tracing-sampling-rate", _T, Use.NONE),
    Flag("distributed-tracing-service-name", _T, Use.NONE),
    Flag("downgrade-check-time", _T, Use.NONE),
    Flag("election-timeout", _T, Use.ACT),
    Flag("enable-distributed-tracing", _B, Use.NONE),
    Flag("enable-grpc-gateway", _B, Use.NONE),
    Flag("enable-log-rotation", _B, Use.NONE),
    Flag("enable-pprof", _B, Use.NONE),
    Flag("enable-v2", _B, Use.ACT),
    Flag("experimental-backend-bbolt-freelist-type", _T, Use.NONE),
    Flag("experimental-bootstrap-defrag-threshold-megabytes", _T, Use.NONE),
    Flag("experimental-compact-hash-check-enabled", _B, Use.NONE),
    Flag("experimental-compact-hash-check-time", _T, Use.NONE),
    Flag("experimental-compaction-batch-limit", _T, Use.NONE),
    Flag("experimental-compaction-sleep-interval", _T, Use.NONE),
    Flag("experimental-corrupt-check-time", _T, Use.NONE),
    Flag("experimental-distributed-tracing-address", _T, Use.NONE),
    Flag("experimental-distributed-tracing-instance-id", _T, Use.NONE),
    Flag("experimental-distributed-tracing-sampling-rate", _T, Use.NONE),
    Flag("experimental-distributed-tracing-service-name", _T, Use.NONE),
    Flag("experimental-downgrade-check-time", _T, Use.NONE),
    Flag("experimental-enable-distributed-tracing", _B, Use.NONE),
    Flag("experimental-enable-lease-checkpoint", _B, Use.NONE),
    Flag("experimental-enable-lease-checkpoint-persist", _B, Use.NONE),
    Flag("experimental-enable-v2v3", _B, Use.NONE),
    Flag("experimental-initial-corrupt-check", _B, Use.NONE),
    Flag("experimental-memory-mlock", _B, Use.NONE),
    Flag("experimental-peer-skip-client-san-verification", _B, Use.NONE),
    Flag("experimental-snapshot-catchup-entries", _T, Use.ACT),
    Flag("experimental-stop-grpc-service-on-defrag", _B, Use.NONE),
    Flag("experimental-txn-mode-write-with-shared-buffer", _B, Use.NONE),
    Flag("experimental-warning-apply-duration", _T, Use.NONE),
    Flag("experimental-warning-unary-request-duration", _T, Use.ACT),
    Flag("experimental-watch-progress-notify-interval", _T, Use.NONE),
    Flag("feature-gates", _T, Use.NONE),
    Flag("force-new-cluster", _B, Use.LATER),
    Flag("grpc-keepalive-interval", _T, Use.NONE),
    Flag("grpc-keepalive-min-time", _T, Use.NONE),
    Flag("grpc-keepalive-timeout", _T, Use.NONE),
    Flag("heartbeat-interval", _T, Use.ACT),
    Flag("host-whitelist", _T, Use.NONE),
    Flag("initial-advertise-peer-urls", _T, Use.ACT),
    Flag("initial-cluster", _T, Use.ACT),
    Flag("initial-cluster-state", _T, Use.ACT),
    Flag("initial-cluster-token", _T, Use.ACT),
    Flag("initial-election-tick-advance", _B, Use.NONE),
    Flag("key-file", _T, Use.TLS, "client-transport-security.key-file"),
    Flag("listen-client-http-urls", _T, Use.LATER),
    Flag("listen-client-urls", _T, Use.ACT),
    Flag("listen-metrics-urls", _T, Use.ACT),
    Flag("listen-peer-urls", _T, Use.ACT),
    Flag("log-format", _T, Use.ACT),
    Flag("log-level", _T, Use.ACT),
    Flag("log-output", _T, Use.NONE),
    Flag("log-outputs", _T, Use.ACT),
    Flag("log-package-levels", _T, Use.NONE),
    Flag("log-rotation-config-json", _T, Use.NONE),
    Flag("logger", _T, Use.NONE),
    Flag("max-concurrent-streams", _T, Use.NONE),
    Flag("max-learners", _T, Use.ACT),
    Flag("max-request-bytes", _T, Use.ACT),
    Flag("max-snapshots", _T, Use.NONE),
    Flag("max-txn-ops", _T, Use.ACT),
    Flag("max-wals", _T, Use.NONE),
    Flag("memory-mlock", _B, Use.NONE),
    Flag("metrics", _T, Use.ACT),
    Flag("name", _T, Use.ACT),
    Flag("next-cluster-version-compatible", _B, Use.NONE),
    Flag("peer-auto-tls", _B, Use.TLS, "peer-transport-security.auto-tls"),
    Flag("peer-cert-allowed-cn", _T, Use.TLS, "peer-transport-security.allowed-cn"),
    Flag("peer-cert-allowed-hostname", _T, Use.TLS, "peer-transport-security.allowed-hostname"),
    Flag("peer-cert-file", _T, Use.TLS, "peer-transport-security.cert-file"),
    Flag("peer-client-cert-auth", _B, Use.TLS, "peer-transport-security.client-cert-auth"),
    Flag("peer-client-cert-file", _T, Use.TLS, "peer-transport-security.client-cert-file"),
    Flag("peer-client-key-file", _T, Use.TLS, "peer-transport-security.client-key-file"),
    Flag("peer-crl-file", _T, Use.TLS),
    Flag("peer-key-file", _T, Use.TLS, "peer-transport-security.key-file"),
    Flag("peer-skip-client-san-verification", _B, Use.NONE,
         "peer-transport-security.skip-client-san-verification"),
    Flag("peer-trusted-ca-file", _T, Use.TLS, "peer-transport-security.trusted-ca-file"),
    Flag("pre-vote", _B, Use.NONE),
    Flag("proxy", _T, Use.NONE),
    Flag("proxy-dial-timeout", _T, Use.NONE),
    Flag("proxy-failure-wait", _T, Use.NONE),
    Flag("proxy-read-timeout", _T, Use.NONE),
    Flag("proxy-refresh-interval", _T, Use.NONE),
    Flag("proxy-write-timeout", _T, Use.NONE),
    Flag("quota-backend-bytes", _T, Use.ACT),
    Flag("raft-read-timeout", _T, Use.NONE),
    Flag("raft-write-timeout", _T, Use.NONE),
    Flag("self-signed-cert-validity", _T, Use.NONE),
    Flag("snapshot-catchup-entries", _T, Use.ACT),
    Flag("snapshot-count", _T, Use.ACT),
    Flag("socket-reuse-address", _B, Use.NONE, "socket-options.reuse-address"),
    Flag("socket-reuse-port", _B, Use.NONE, "socket-options.reuse-port"),
    Flag("strict-reconfig-check", _B, Use.ACT),
    Flag("tls-max-version", _T, Use.NONE),
    Flag("tls-min-version", _T, Use.NONE),
    Flag("trusted-ca-file", _T, Use.TLS, "client-transport-security.trusted-ca-file"),
    Flag("unsafe-no-fsync", _B, Use.NONE),
    Flag("v2-deprecation", _T, Use.NONE),
    Flag("version", _B, Use.ACT),
    Flag("wal-dir", _T, Use.ACT),
    Flag("warning-apply-duration", _T, Use.NONE),
    Flag("warning-unary-request-duration", _T, Use.ACT),
    Flag("watch-progress-notify-interval", _T, Use.NONE),
)}
