"""DNS SRV: the peer URLs of a cluster's members, or the client URLs of one that runs.

Members are the targets of `_etcd-server._tcp.DOMAIN`; clients ask `_etcd-client._tcp.DOMAIN`; the
same with `-ssl` are those with TLS. A service name is a suffix: `_etcd-server-NAME._tcp.DOMAIN`.
A member is the target with an address and port of its advertised peer URL, as etcd finds it; its
peer URL is the target's, in all members' eyes alike, and so are the ids. No target is passed over
because its name cannot be resolved just now: the members would disagree about who they are.

Names come with the members, when they start.
Not here: what becomes of the URLs (static.py, join.py).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from quorate.bootstrap.static import StaticCluster, plan_cluster
from quorate.member.config import Config
from quorate.member.settings import ConfigError, Url

LOOKUP_S_MAX = 5.0
"""Of one question to the resolvers of this machine, all attempts together."""


class Target(NamedTuple):
    """Of one record."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """As in a URL."""
        return f"{self.host}:{self.port}"


class LookupFailed(Exception):
    """The resolvers did not say whether there are records; the text says why."""


Lookup = Callable[[str], list[Target]]
"""The targets of a name, none if it has none; raises LookupFailed."""

Resolve = Callable[[str], set[str]]
"""The addresses of a host; raises OSError."""


def find_members(
    config: Config, lookup: Lookup | None = None, resolve: Resolve | None = None
) -> Config:
    """The configuration with --initial-cluster as the records have it, this member's advertised
    URL included; other members' names are their targets. Raises ConfigError."""
    srv, suffix = config.discovery.srv, config.discovery.srv_name
    shown = f"--discovery-srv {srv!r}"
    targets = _targets("etcd-server", srv, suffix, shown, lookup or dns_lookup)
    if len(config.initial_advertise_peer_urls) != 1:
        urls = ",".join(url.text for url in config.initial_advertise_peer_urls)
        raise ConfigError(f"{shown} gives each member one URL, and --initial-advertise-peer-urls "
                          f"has several: {urls}. Advertise the one that is in DNS.")
    own = config.initial_advertise_peer_urls[0]
    mine, unknown = _mine(targets, own, resolve or addresses)
    if len(mine) != 1:
        listed = ", ".join(target.text for target in targets)
        raise ConfigError(
            f"{shown}: {'none' if not mine else 'more than one'} of {listed} is "
            f"--initial-advertise-peer-urls {own.text!r}"
            + (f"; not resolved: {'; '.join(unknown)}" if unknown else "")
            + ". Let exactly one record have this member's host (or a name of its address) and "
              "port.")
    cluster = {
        config.name if target == mine[0] else target.text:
        (Url(target.host, target.port, f"http://{target.text}"),) for target in targets}
    if len(cluster) != len(targets):
        raise ConfigError(f"{shown}: --name {config.name!r} is the target of another member. Use "
                          f"a name of its own.")
    return replace(config, initial_cluster=cluster,
                   initial_advertise_peer_urls=cluster[config.name])


def plan_srv(config: Config) -> StaticCluster:
    """The new cluster of what `find_members` found, without names, which the members do not know
    of each other; raises ConfigError."""
    plan = plan_cluster(config)
    members = tuple(replace(member, name="") for member in plan.members)
    return replace(plan, members=members)


def find_endpoints(
    domain: str, suffix: str, lookup: Lookup | None = None
) -> list[str]:
    """The client URLs of a cluster; raises ConfigError."""
    return [f"http://{target.text}" for target in _targets(
        "etcd-client", domain, suffix, f"--discovery-srv {domain!r}", lookup or dns_lookup)]


def _targets(
    service: str, domain: str, suffix: str, shown: str, lookup: Lookup
) -> list[Target]:
    """Without TLS, in an order that does not change; raises ConfigError."""
    suffix = f"-{suffix}" if suffix else ""
    plain, secure = (f"_{service}{ssl}{suffix}._tcp.{domain}" for ssl in ("", "-ssl"))
    try:
        targets = sorted(set(lookup(plain)))
        only_secure = not targets and bool(lookup(secure))
    except LookupFailed as failure:
        raise ConfigError(f"{shown}: {failure}. Check the domain and the resolvers of this "
                          f"machine (/etc/resolv.conf).") from failure
    if only_secure:
        raise ConfigError(f"{shown}: there are records for {secure} only, and TLS is not in this "
                          f"release. Add records for {plain}.")
    if not targets:
        raise ConfigError(f"{shown}: there are no SRV records for {plain}. Add one for each "
                          f"member, or check the domain and --discovery-srv-name.")
    return targets


def _mine(targets: list[Target], own: Url, resolve: Resolve) -> tuple[list[Target], list[str]]:
    """Which targets are this member, and what kept others from being looked at."""
    candidates = [target for target in targets if target.port == own.port]
    same = [target for target in candidates if target.host == own.host]
    if same:
        return same, []
    unknown: list[str] = []
    found: dict[str, set[str]] = {}
    for host in (own.host, *(target.host for target in candidates)):
        try:
            found[host] = resolve(host)
        except OSError as failure:
            unknown.append(f"{host}: {failure.strerror or failure}")
    ours = found.get(own.host, set())
    return [target for target in candidates if found.get(target.host, set()) & ours], unknown


def addresses(host: str) -> set[str]:
    """Of a host, as this machine resolves it; raises OSError."""
    return {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


def dns_lookup(name: str) -> list[Target]:
    """See Lookup: asks the resolvers of this machine."""
    import dns.exception  # only here: slow to import, and rarely needed
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name + ".", "SRV", lifetime=LOOKUP_S_MAX)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as failure:
        raise LookupFailed(f"{name} cannot be looked up: {failure}") from failure
    return [Target(record.target.to_text(omit_final_dot=True), record.port) for record in answer]
