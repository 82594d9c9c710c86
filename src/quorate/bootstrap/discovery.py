"""Discovery: members that know only a registry's name become a cluster.

The first `size` members that registered are the cluster, in every member's eyes alike, because the
registry orders them. `decide` says what to do about what is registered; `discover` does it, and
asks again for as long as the registry does not answer: others may be waiting already.

A member id that is registered is taken for this member's own only if this directory has noted,
before the request, that it registers it: it was interrupted then, before its cluster began. Any
other member of that id runs, or has run with another directory, whose promises would be forgotten.

Not here: the registries (registries.py), the note (disk/datadir.py), DNS (srv.py).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple, Protocol

from quorate.bootstrap.asking import RegistryDown
from quorate.bootstrap.registries import Entry, Look, Registry
from quorate.bootstrap.static import StaticCluster, check_local, plan_cluster
from quorate.member.config import Config, parse_cluster
from quorate.member.settings import ConfigError, Url
from quorate.state.members import member_id

log = logging.getLogger(__name__)

BACKOFF_S_MAX = 60.0
"""A registry that does not answer is asked again after 1 s, 2 s, 4 s, ... up to this."""

Cluster = Mapping[str, tuple[Url, ...]]
"""Peer URLs by name."""


class Next(Enum):
    """What there is to do."""

    REGISTER = "register"
    WAIT = "wait for the others"
    BEGIN = "begin"


class Step(NamedTuple):
    """`cluster`: the members so far, this one included."""

    next: Next
    cluster: Cluster


@dataclass(frozen=True, slots=True)
class Own:
    """What this member registers."""

    id: str
    value: str


class Note(Protocol):
    """Kept in the data directory: that this member may have registered."""

    def has(self, text: str) -> bool: ...

    def write(self, text: str) -> None:
        """Lock the directory, too; raises DataDirError."""
        ...

    def drop(self) -> None: ...


def discover(
    config: Config, registry: Registry, note: Note, pause: Callable[[float], None] = time.sleep
) -> StaticCluster:
    """The cluster, when all its members have registered; raises ConfigError, DataDirError."""
    if config.initial_cluster_state != "new":
        raise ConfigError(
            f"{registry.name} is for new clusters, and --initial-cluster-state is "
            f"{config.initial_cluster_state!r}. To join a cluster that runs, name its members by "
            f"--initial-cluster, as `etcdctl member add` prints them.")
    own = own_entry(config, registry.token)
    joining = _Joining(own, registry, note)
    failures = 0
    while True:
        try:
            look = registry.look()
            step = decide(look, own, registry)
            here = replace(config, initial_cluster=step.cluster,
                           initial_cluster_token=registry.token)
            check_local(here)
            joining.go_on(look, step)
            if step.next is Next.BEGIN:
                return plan_cluster(here)
            failures = 0
        except RegistryDown as down:
            pause_s = min(2.0 ** failures, BACKOFF_S_MAX)
            failures += 1
            log.warning("%s does not answer: %s; trying again in %g s", registry.name, down,
                        pause_s)
            pause(pause_s)


class _Joining:
    """One step after the other."""

    def __init__(self, own: Own, registry: Registry, note: Note) -> None:
        self._own = own
        self._registry = registry
        self._note = note
        self._text = f"{registry.name} {own.id} {own.value}"
        self._known = note.has(self._text)
        """Whether an entry of this member's id is its own."""
        self._told = ""

    def go_on(self, look: Look, step: Step) -> None:
        """Register or wait; raises ConfigError, RegistryDown."""
        if step.next is not Next.REGISTER and not self._known:
            raise ConfigError(self._duplicate())
        self._note.write(self._text)
        if step.next is Next.REGISTER:
            if not self._register():  # whoever was asked does not show it yet
                self._registry.wait(look.at)
            return
        told = f"{len(step.cluster)} of {look.size} members have registered with " \
               f"{self._registry.name}: {', '.join(step.cluster)}"
        if told != self._told:
            self._told = told
            log.info("%s", told)
        if step.next is Next.WAIT:
            self._registry.wait(look.at)

    def _register(self) -> bool:
        """Whether it was done just now."""
        try:
            created = self._registry.create(self._own.id, self._own.value)
        except RegistryDown:
            self._known = True  # it may have been done
            raise
        if not created and not self._known:
            self._note.drop()
            raise ConfigError(self._duplicate())
        self._known = True
        return created

    def _duplicate(self) -> str:
        return (f"{self._registry.name} has the member {self._own.id} ({self._own.value}) already, "
                f"and this data directory is not the one that it was registered from. If it ran "
                f"before, use its old directory; if it is another one, give each its own "
                f"--initial-advertise-peer-urls; for a new cluster, make a new token.")


def own_entry(config: Config, token: str) -> Own:
    """etcd's form."""
    urls = [url.text for url in config.initial_advertise_peer_urls]
    return Own(f"{member_id(urls, token, None):x}",
               ",".join(sorted(f"{config.name}={url}" for url in urls)))


def decide(look: Look, own: Own, registry: Registry) -> Step:
    """What to do about what is registered; raises ConfigError when nothing can come of it."""
    size = _size(look, registry)
    ordered = sorted(look.entries, key=lambda entry: entry.created)
    first = ordered[:size]
    mine = next((entry for entry in first if entry.id == own.id), None)
    if mine is None and len(first) == size:
        late = any(entry.id == own.id for entry in ordered)
        raise ConfigError(
            f"{registry.name} is full: {'this member registered too late, and ' if late else ''}"
            f"its {size} members are {', '.join(entry.value for entry in first)}. Add this member "
            f"to that cluster when it runs (etcdctl member add), or make a token for a new one.")
    if mine is not None and mine.value != own.value:
        raise ConfigError(
            f"{registry.name} has the member {own.id} as {mine.value!r}, but --name and "
            f"--initial-advertise-peer-urls make this one {own.value!r}. Give it the name that it "
            f"registered with, or URLs of its own.")
    if mine is None:
        return Step(Next.REGISTER, _cluster([*first, Entry(own.id, own.value, 0)], registry))
    return Step(Next.BEGIN if len(first) == size else Next.WAIT, _cluster(first, registry))


def _size(look: Look, registry: Registry) -> int:
    if look.size is None:
        raise ConfigError(
            f"{registry.name} has no size: the token was never made, or has expired. Make it with "
            f"the number of members: {registry.how}")
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", look.size):
        raise ConfigError(f"{registry.name} has the size {look.size!r}, which is no number of "
                          f"members. Write it anew: {registry.how}")
    return int(look.size)


def _cluster(entries: Sequence[Entry], registry: Registry) -> Cluster:
    """Raises ConfigError for what cannot be members of one cluster."""
    again = "Mend the settings of that member, and begin with a new token."
    out: dict[str, tuple[Url, ...]] = {}
    urls: set[str] = set()
    for entry in entries:
        shown = f"{registry.name}, member {entry.id}:"
        named = parse_cluster(entry.value, shown)
        if len(named) != 1:
            raise ConfigError(f"{shown} {entry.value!r} names several members. {again}")
        name, listed = next(iter(named.items()))
        texts = {url.text for url in listed}
        id_ = f"{member_id(texts, registry.token, None):x}"
        if id_ != entry.id:
            raise ConfigError(
                f"{shown} {entry.value!r} would be {id_} here: ids are made of the peer URLs and "
                f"of the token as it is written, so it was started with another spelling of it. "
                f"Give all members the same, and begin with a new token.")
        if name in out:
            raise ConfigError(f"{shown} the name {name!r} is taken by another member. Give every "
                              f"member its own --name, and begin with a new token.")
        if urls & texts:
            raise ConfigError(f"{shown} {entry.value!r} has a URL of another member. {again}")
        out[name] = listed
        urls |= texts
    return out
