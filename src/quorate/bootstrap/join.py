"""Joining a running cluster (`--initial-cluster-state existing`): who this member is there.

The members named by --initial-cluster are asked for the cluster's list on their peer ports, which
must be the same list: this member was added before, and its id is the one that it was given then.
Every other outcome is a sentence, before anything is written.

Not here: adding the member (member/membership.py), getting the state (raft's snapshot).
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from quorate.bootstrap.static import StaticCluster, check_local
from quorate.member.config import Config
from quorate.member.settings import ConfigError
from quorate.state.members import Member, from_json_list

ASK_S_MAX = 2.0
"""How long one member may take to answer."""

AGREE_S_MAX = 5.0
"""How long the answers may contradict --initial-cluster: who is asked may not know of the addition
yet that another member has confirmed."""

PAUSE_S = 0.2

LIST_BYTES_MAX = 1 << 20

Listing = tuple[int, list[Member]]
"""The cluster's id and its members."""


def plan_join(
    config: Config, *, ask: Callable[[str], Listing] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> StaticCluster:
    """This member's place in the running cluster; raises ConfigError. `ask` gets the listing from
    a peer URL, raising OSError."""
    check_local(config)
    urls = sorted(url.text for name, listed in config.initial_cluster.items()
                  if name != config.name for url in listed)
    if not urls:
        raise ConfigError(
            f"--initial-cluster-state 'existing': --initial-cluster names {config.name!r} only. "
            f"Name the members of the running cluster, too, as `etcdctl member add` prints them.")
    problem = ""
    for attempt in range(round(AGREE_S_MAX / PAUSE_S)):
        if attempt:
            pause(PAUSE_S)
        failures = []
        for url in urls:
            try:
                found, members = (ask or ask_members)(url)
            except OSError as failure:
                failures.append(f"{url}: {failure}")
                continue
            problem = _difference(config, members, url)
            if not problem:
                return _place(config, found, members)
        if len(failures) == len(urls):
            problem = (f"none of the members of --initial-cluster answered "
                       f"({'; '.join(failures)}). Start this member while the cluster runs, and "
                       f"check these URLs.")
    raise ConfigError(f"--initial-cluster-state 'existing': {problem}")


def ask_members(url: str) -> Listing:
    """What the member at a peer URL lists; raises OSError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 0, timeout=ASK_S_MAX)
    try:
        connection.request("GET", "/members")
        response = connection.getresponse()
        body = response.read(LIST_BYTES_MAX)
        if response.status != 200:
            raise OSError(f"it answered with status {response.status}")
        return int(response.headers.get("X-Etcd-Cluster-ID", ""), 16), from_json_list(body)
    except (http.client.HTTPException, ValueError) as wrong:
        raise OSError(f"it does not answer like a member: {wrong}") from wrong
    finally:
        connection.close()


def _difference(config: Config, members: list[Member], url: str) -> str:
    """How the list contradicts the configuration, and what to do; empty if it does not."""
    listed = {frozenset(member.peer_urls): member for member in members}
    named = {frozenset(u.text for u in urls): name for name, urls in config.initial_cluster.items()}
    own = frozenset(u.text for u in config.initial_cluster[config.name])
    shown = ",".join(sorted(own))
    local = listed.get(own)
    if local is None:
        return (f"the cluster at {url} has no member with the peer URLs {shown} of "
                f"{config.name!r}. Add it first: etcdctl member add {config.name} "
                f"--peer-urls={shown}")
    if local.name:
        return (f"the member {shown} has run before, as {local.name!r}, and this data directory "
                f"does not have what it promised then. Use its old directory, or remove member "
                f"{local.id:x} and add it anew.")
    unknown = [f"{named[urls]}={','.join(sorted(urls))}" for urls in named if urls not in listed]
    missing = [",".join(sorted(urls)) for urls in listed if urls not in named]
    if unknown or missing:
        return (f"--initial-cluster and the cluster at {url} differ"
                + (f"; not in the cluster: {', '.join(unknown)}" if unknown else "")
                + (f"; not in --initial-cluster: {', '.join(missing)}" if missing else "")
                + ". Name exactly the cluster's members, as `etcdctl member add` prints them.")
    return ""


def _place(config: Config, cluster_id: int, members: list[Member]) -> StaticCluster:
    own = {u.text for u in config.initial_cluster[config.name]}
    local = next(member for member in members if set(member.peer_urls) == own)
    return StaticCluster(cluster_id, local, tuple(members))
