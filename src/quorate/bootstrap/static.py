"""Static bootstrap: from `--initial-cluster` to the members and ids that everybody computes alike.

Every check here ends in a sentence before anything is written. When the data directory already
holds a member, the initial-* settings are ignored, as etcd does.

Not here: parsing (member/config.py), the data directory (disk/datadir.py), joining a cluster
that runs (join.py).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from quorate.member.config import Config
from quorate.member.settings import ConfigError, Url
from quorate.state.members import Member, cluster_id, member_id


@dataclass(frozen=True, slots=True)
class StaticCluster:
    """A cluster that is about to begin."""

    cluster_id: int
    local: Member
    members: tuple[Member, ...]


def check_local(config: Config) -> None:
    """Raises ConfigError unless --initial-cluster has this member as it advertises itself."""
    cluster = config.initial_cluster
    shown = ",".join(f"{n}={u.text}" for n, urls in cluster.items() for u in urls)
    if config.name not in cluster:
        raise ConfigError(
            f"--initial-cluster {shown!r} has no member called {config.name!r} (--name). Add "
            f"{config.name}=<its peer URL> to --initial-cluster, or use one of the names there: "
            f"{', '.join(cluster)}.")
    advertised = {url.text for url in config.initial_advertise_peer_urls}
    listed = {url.text for url in cluster[config.name]}
    if advertised != listed:
        raise ConfigError(
            f"--initial-advertise-peer-urls {','.join(sorted(advertised))!r} differs from what "
            f"--initial-cluster has for {config.name!r}: {','.join(sorted(listed))!r}. Make them "
            f"the same.")
    _refuse_localhost(config)


def plan_cluster(config: Config) -> StaticCluster:
    """The new cluster that the configuration describes; raises ConfigError."""
    check_local(config)
    cluster = config.initial_cluster
    token = config.initial_cluster_token
    members = []
    for name, urls in cluster.items():
        texts = tuple(url.text for url in urls)
        members.append(Member(member_id(texts, token, None), name, texts))
    members.sort(key=lambda member: member.id)
    local = next(member for member in members if member.name == config.name)
    return StaticCluster(cluster_id([m.id for m in members]), local, tuple(members))


def _refuse_localhost(config: Config) -> None:
    """An advertised localhost is reachable for nobody else; fine while all are on this host."""
    others = [url for name, urls in config.initial_cluster.items() if name != config.name
              for url in urls]
    if not others or all(url.is_loopback for url in others):
        return
    for flag, urls in (("--initial-advertise-peer-urls", config.initial_advertise_peer_urls),
                       ("--advertise-client-urls", config.advertise_client_urls)):
        for url in urls:
            if url.is_loopback:
                raise ConfigError(
                    f"{flag} {url.text!r} is this host only, but other members are elsewhere "
                    f"({others[0].text}). Use an address that they and the clients can reach.")


def check_ports(config: Config) -> None:
    """Raises ConfigError if a port that is to be listened on is taken."""
    for flag, urls in (("--listen-peer-urls", config.listen_peer_urls),
                       ("--listen-client-urls", config.listen_client_urls),
                       ("--listen-metrics-urls", config.listen_metrics_urls)):
        for url in urls:
            _check_port(flag, url)


def _check_port(flag: str, url: Url) -> None:
    try:
        addresses = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM,
                                       flags=socket.AI_PASSIVE)
    except OSError as unknown:
        raise ConfigError(f"{flag} {url.text!r}: the host {url.host!r} is not known: "
                          f"{unknown.strerror}. Use an address of this machine.") from unknown
    for family, kind, protocol, _, address in addresses:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as taken:
                if taken.errno == 97:  # an address family that this machine does not have
                    continue
                raise ConfigError(_port_sentence(flag, url, taken)) from taken


def _port_sentence(flag: str, url: Url, failure: OSError) -> str:
    if failure.errno == 98:
        holder = port_holder(url.port)
        by = f" by {holder}" if holder else ""
        return (f"{flag} {url.text!r}: port {url.port} is in use{by}. Stop that process or "
                f"choose another port.")
    return (f"{flag} {url.text!r} cannot be listened on: {failure.strerror}. Use an address of "
            f"this machine, and a port above 1023 unless you are root.")


def port_holder(port: int) -> str:
    """`name (pid 123)` of the process that listens on the port, if it can be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in list(lines)[1:]:
                    words = line.split()
                    if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                        inodes.add(f"socket:[{words[9]}]")
        except OSError:
            continue
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                        return f"{comm.read().strip()} (pid {pid})"
        except OSError:
            continue
    return ""
