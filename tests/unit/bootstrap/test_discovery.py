"""Discovery: what follows from what is registered, and when the registry does not answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from quorate.bootstrap.asking import RegistryDown
from quorate.bootstrap.discovery import Next, Own, decide, discover, own_entry
from quorate.bootstrap.registries import Entry, Look
from quorate.bootstrap.static import StaticCluster
from quorate.member.config import Config, load_config
from quorate.member.settings import ConfigError
from quorate.state.members import cluster_id, member_id

TOKEN = "http://10.0.0.9:2379/v2/keys/token"


def config(name: str, *flags: str) -> Config:
    """That of member a, b, c, ..."""
    host = f"10.0.0.{ord(name) - ord('a') + 1}"
    return load_config([
        f"--name={name}", f"--initial-advertise-peer-urls=http://{host}:2380",
        f"--advertise-client-urls=http://{host}:2379", f"--discovery={TOKEN}", *flags], {},
        lambda _: "")


def own(name: str) -> Own:
    """What member a, b, c, ... registers."""
    return own_entry(config(name), TOKEN)


class Registry:
    """In memory. `script` is called before each request, with its name, and may raise; whoever
    waits makes the next of `others` come."""

    name, token, how = f"--discovery {TOKEN!r}", TOKEN, "curl ..."

    def __init__(self, size: str | None = "3", members: str = "", others: str = "") -> None:
        self.size = size
        self.entries: list[Entry] = []
        self.others = list(others)
        self.asked: list[str] = []
        self.script: Callable[[str], None] = lambda _: None
        for name in members:
            self.add(own(name))

    def add(self, entry: Own) -> None:
        """Somebody registers."""
        self.entries.append(Entry(entry.id, entry.value, len(self.entries) + 2))

    def look(self) -> Look:
        """See Registry."""
        self._ask("look")
        return Look(self.size, tuple(reversed(self.entries)), len(self.entries) + 1)

    def create(self, id_: str, value: str) -> bool:
        """See Registry."""
        self._ask("create")
        if any(entry.id == id_ for entry in self.entries):
            return False
        self.add(Own(id_, value))
        return True

    def wait(self, after: int) -> None:
        """See Registry."""
        self._ask("wait")
        if len(self.entries) + 1 <= after:
            self.add(own(self.others.pop(0)))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.script(what)


class Note:
    """In memory."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def has(self, text: str) -> bool:
        """See Note."""
        return self.text == text

    def write(self, text: str) -> None:
        """See Note."""
        self.text = text

    def drop(self) -> None:
        """See Note."""
        self.text = ""


def run(registry: Registry, name: str = "a", note: Note | None = None) -> StaticCluster:
    """One member's start; pauses take no time."""
    return discover(config(name), registry, note or Note(), pause=lambda _: None)


def refused(registry: Registry, name: str = "a", note: Note | None = None) -> str:
    """The sentence."""
    with pytest.raises(ConfigError) as wrong:
        run(registry, name, note)
    return str(wrong.value)


def test_members_that_meet_are_a_cluster_with_etcds_ids() -> None:
    """Ids are made of the peer URLs and the discovery URL."""
    plan = run(Registry(members="b", others="c"))

    ids = {name: member_id([f"http://10.0.0.{n}:2380"], TOKEN, None)
           for n, name in enumerate("abc", 1)}
    assert {member.name: member.id for member in plan.members} == ids
    assert plan.local.name == "a"
    assert plan.cluster_id == cluster_id(ids.values())


def test_a_member_may_have_several_urls() -> None:
    """They are written as etcd writes them, and are one member."""
    urls = ["http://10.0.0.1:2380", "http://10.1.0.1:2380"]
    several = config("a", f"--initial-advertise-peer-urls={urls[1]},{urls[0]}")
    registry = Registry("1")
    plan = discover(several, registry, Note())

    assert registry.entries[0][:2] == (
        f"{member_id(urls, TOKEN, None):x}", f"a={urls[0]},a={urls[1]}")
    assert plan.local.id == member_id(urls, TOKEN, None)


def test_a_cluster_of_one_waits_for_nobody() -> None:
    """It registers and begins."""
    registry = Registry("1")

    assert len(run(registry).members) == 1
    assert registry.asked == ["look", "create", "look"]


def test_whoever_comes_when_the_cluster_is_full_is_told_so() -> None:
    """And does not register."""
    registry = Registry(members="bcd")

    assert "is full: its 3 members are b=http://10.0.0.2:2380, c=" in refused(registry)
    assert registry.asked == ["look"]


def test_whoever_registers_too_late_is_told_so() -> None:
    """Others came between its look and its registration."""
    registry = Registry(members="b")

    def others_come(what: str) -> None:
        if what == "create" and len(registry.entries) == 1:
            registry.add(own("c"))
            registry.add(own("d"))

    registry.script = others_come
    assert "is full: this member registered too late" in refused(registry)


def test_more_registrations_than_members_do_not_disturb_the_first() -> None:
    """The registry's order decides, in everybody's eyes."""
    registry = Registry(members="bacde")
    note = Note(f"{registry.name} {own('a').id} {own('a').value}")

    assert sorted(member.name for member in run(registry, "a", note).members) == ["a", "b", "c"]


def test_an_id_that_somebody_else_registered_is_refused() -> None:
    """It may run, or have run; nothing is noted."""
    note = Note()

    assert "has the member" in refused(Registry(members="ba"), "a", note)
    assert note.text == ""


def test_an_id_that_somebody_else_registers_at_the_same_time_is_refused() -> None:
    """What was noted before the request is forgotten: it was not this member's."""
    registry, note = Registry(members="b"), Note()

    def another_comes(what: str) -> None:
        if what == "create":
            registry.add(own("a"))

    registry.script = another_comes
    assert "use its old directory" in refused(registry, "a", note)
    assert note.text == ""


def test_a_member_that_was_interrupted_finds_itself_again() -> None:
    """Its directory has noted that it registered."""
    registry, note = Registry(members="b", others=""), Note()

    def killed(what: str) -> None:
        if what == "wait":
            raise KeyboardInterrupt

    registry.script = killed
    with pytest.raises(KeyboardInterrupt):
        run(registry, "a", note)
    registry.script = lambda _: None
    registry.others = ["c"]

    assert len(run(registry, "a", note).members) == 3


def test_a_registration_whose_outcome_is_unknown_is_asked_for_again() -> None:
    """The id that is there then is this member's own."""
    registry = Registry("1")

    def answer_lost(what: str) -> None:
        if what == "create" and not registry.entries:
            registry.add(own("a"))
            raise RegistryDown("connection reset")

    registry.script = answer_lost
    assert run(registry).local.name == "a"


def test_a_registry_that_shows_the_registration_late_is_waited_for() -> None:
    """Another of its members was asked."""
    registry = Registry("1")
    looks = []

    class Behind(Registry):
        def look(self) -> Look:
            looks.append(super().look())
            return looks[-1] if len(looks) > 3 else Look("1", (), 1)

    registry = Behind("1")
    assert run(registry).local.name == "a"
    assert registry.asked == ["look", "create", "look", "create", "wait", "look", "create", "wait",
                              "look"]


def test_a_registry_that_does_not_answer_is_asked_ever_more_rarely() -> None:
    """1 s, 2 s, 4 s, ... up to a minute, and from 1 s again once it has answered."""
    registry, pauses = Registry(members="b", others="c"), []
    failures = iter([True] * 8 + [False] * 4 + [True] + [False] * 9)

    def flaky(_what: str) -> None:
        if next(failures):
            raise RegistryDown("connection refused")

    registry.script = flaky
    discover(config("a"), registry, Note(), pause=pauses.append)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]


@pytest.mark.parametrize("size", ["", "0", "-1", "three", "3.0", "9" * 10])
def test_a_size_that_is_no_number_of_members_is_named(size: str) -> None:
    """With the command that sets it."""
    text = refused(Registry(size))

    assert f"has the size {size!r}" in text
    assert "curl ..." in text


def test_a_token_without_a_size_is_told_with_the_command() -> None:
    """It was never made, or it has expired."""
    assert "has no size: the token was never made, or has expired" in refused(Registry(None))


@pytest.mark.parametrize(("entry", "sentence"), [
    (Own(own("b").id, "nonsense"), "'nonsense' is not NAME=URL"),
    (Own(own("b").id, "b=https://10.0.0.2:2380"), "TLS is not in this release"),
    (Own(own("b").id, "x=http://10.0.0.2:2380,y=http://10.0.0.3:2380"), "names several members"),
    (Own("123", "b=http://10.0.0.2:2380"), "another spelling"),
    (Own(own("b").id, "a=http://10.0.0.2:2380"), "the name 'a' is taken"),
    (Own(f"{member_id(['http://10.0.0.1:2380', 'http://10.0.0.2:2380'], TOKEN, None):x}",
         "b=http://10.0.0.1:2380,b=http://10.0.0.2:2380"), "has a URL of another member"),
])
def test_what_cannot_be_a_member_of_the_same_cluster_is_named(entry: Own, sentence: str) -> None:
    """Before this member registers."""
    registry = Registry()
    registry.add(entry)

    assert sentence in refused(registry)
    assert registry.asked == ["look"]


def test_a_member_that_was_renamed_is_told_so() -> None:
    """Its id is that of its URLs, whatever it is called."""
    registry = Registry()
    registry.add(Own(own("a").id, "old=http://10.0.0.1:2380"))

    assert "as 'old=http://10.0.0.1:2380'" in refused(registry)


def test_localhost_is_refused_before_others_rely_on_it() -> None:
    """The classic trap, as in a static cluster."""
    local = load_config(["--name=x", f"--discovery={TOKEN}"], {}, lambda _: "")
    registry = Registry(members="b")

    with pytest.raises(ConfigError, match="is this host only"):
        discover(local, registry, Note())
    assert registry.asked == ["look"]


def test_discovery_is_for_new_clusters() -> None:
    """As with etcd."""
    with pytest.raises(ConfigError, match="is for new clusters"):
        discover(config("a", "--initial-cluster-state=existing"), Registry(), Note())


@given(st.permutations("abcdefg"), st.integers(1, 7), st.integers(0, 7))
def test_all_members_draw_the_same_conclusion(order: list[str], size: int, came: int) -> None:
    """However they come: the first `size` begin with the same cluster, or wait; the others are
    told that it is full as soon as it is."""
    registry = Registry(str(size), members="".join(order[:came]))
    look = registry.look()
    clusters = []
    for place, name in enumerate(order):
        if came >= size and place >= size:
            with pytest.raises(ConfigError, match="is full"):
                decide(look, own(name), registry)
            continue
        step = decide(look, own(name), registry)
        expected = Next.REGISTER if place >= came else (
            Next.BEGIN if came >= size else Next.WAIT)
        assert step.next is expected
        if expected is Next.BEGIN:
            clusters.append(step.cluster)
    assert all(cluster == clusters[0] and set(cluster) == set(order[:size])
               for cluster in clusters)
