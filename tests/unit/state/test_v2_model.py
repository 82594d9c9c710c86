"""v2 and v3 over one store, against models of sets and dictionaries, in any order."""

from __future__ import annotations

from both import BothStore
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quorate.state.errors import Refused

NAMES = st.sampled_from(("a", "b", "_h"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
ODD = st.sampled_from(("x", "/", "/a/", "/a//b", "/b/../a", "//", "/a/."))
VALUES = st.sampled_from(("", "1", "2"))


def parents(path: str) -> list[str]:
    """Directories above, but not the root."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(2, len(parts))]


class BothApis(RuleBasedStateMachine):
    """`values` are all keys of v3 but markers, `made` the directories that v2 has made."""

    def __init__(self) -> None:
        super().__init__()
        self.store = BothStore()
        self.values: dict[str, str] = {}
        self.made: set[str] = set()
        self.timed: dict[str, int] = {}
        """Leases of directories."""

    # The model.

    def visible(self) -> set[str]:
        """Keys that v2 can name."""
        return {key for key in self.values if key.startswith("/") and not (
            {"", ".", ".."} & set(key[1:].split("/")))}

    def directories(self) -> set[str]:
        """All there are."""
        return self.made | {above for path in self.visible() | self.made
                            for above in parents(path)}

    def files(self) -> set[str]:
        """What is no directory."""
        return self.visible() - self.directories()

    def may_make(self, path: str) -> bool:
        """Whether no file is in the way."""
        return not self.files() & set(parents(path))

    def make_above(self, path: str) -> None:
        """As v2 does, where there is none."""
        self.made |= set(parents(path)) - self.directories()

    def clear(self, path: str) -> None:
        """Everything in and below a directory, and itself."""
        below = path + "/"
        self.values = {key: value for key, value in self.values.items()
                       if key != path and not key.startswith(below)}
        self.made = {one for one in self.made if one != path and not one.startswith(below)}
        self.timed = {one: lease for one, lease in self.timed.items() if one in self.made}

    def gone(self, path: str) -> None:
        """What v2 has deleted."""
        if path in self.directories():
            self.clear(path)
        else:
            del self.values[path]

    # What happens.

    def change(self, allowed: bool, method: str, path: str, form: str = "") -> bool:
        """A request of v2, which is refused if the model says so."""
        try:
            self.store.v2(method, path, form)
        except Refused:
            assert not allowed, (method, path, form)
            return False
        assert allowed, (method, path, form)
        return True

    @rule(path=PATHS, value=VALUES)
    def set(self, path: str, value: str) -> None:
        """Whatever was there."""
        if self.change(self.may_make(path) and path not in self.directories(), "PUT", path,
                       f"value={value}"):
            self.make_above(path)
            self.values[path] = value

    @rule(path=PATHS, value=VALUES)
    def create(self, path: str, value: str) -> None:
        """Only if nothing was there."""
        free = path not in self.files() | self.directories()
        if self.change(self.may_make(path) and free, "PUT", path,
                       f"value={value}&prevExist=false"):
            self.make_above(path)
            self.values[path] = value

    @rule(path=PATHS, value=VALUES, expected=st.sampled_from(("1", "2")))
    def swap(self, path: str, value: str, expected: str) -> None:
        """Only if it has that value."""
        holds = path in self.files() and self.values[path] == expected
        if self.change(holds, "PUT", path, f"value={value}&prevValue={expected}"):
            self.values[path] = value

    @rule(path=PATHS, timed=st.booleans())
    def make(self, path: str, timed: bool) -> None:
        """A directory, in the place of a file if there is one."""
        free = path not in self.directories()
        if self.change(self.may_make(path) and free, "PUT", path,
                       "dir=true" + "&ttl=5" * timed):
            self.make_above(path)
            self.values.pop(path, None)
            self.made.add(path)
            if timed:
                self.timed[path] = max(self.store.machine.leases.ids())

    @precondition(lambda self: self.timed)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """A directory's time is over."""
        path = data.draw(st.sampled_from(sorted(self.timed)))
        self.store.expire(self.timed[path])
        file = self.values.get(path)
        self.clear(path)
        if file is not None:  # of v3, and not in the directory
            self.values[path] = file

    @rule(path=PATHS)
    def delete(self, path: str) -> None:
        """A file, or an empty directory."""
        below = path + "/"
        full = any(one.startswith(below) for one in self.visible() | self.directories())
        exists = path in self.files() | self.directories()
        if self.change(exists and not full, "DELETE", path, "dir=true"):
            self.gone(path)

    @rule(path=PATHS)
    def delete_all(self, path: str) -> None:
        """With what is in it."""
        if self.change(path in self.files() | self.directories(), "DELETE", path,
                       "recursive=true"):
            self.gone(path)

    @rule(key=PATHS | ODD, value=VALUES)
    def put(self, key: str, value: str) -> None:
        """By v3, which knows no directories."""
        self.store.put(key, value)
        self.values[key] = value

    @rule(key=PATHS | ODD)
    def remove(self, key: str) -> None:
        """By v3."""
        self.store.delete(key)
        self.values.pop(key, None)

    # What must be.

    @invariant()
    def lists_what_the_model_has(self) -> None:
        """Each path once, with what is hidden left out."""
        def shown(path: str) -> bool:
            return not any(name.startswith("_") for name in path.split("/"))

        expected = {path for path in self.files() if shown(path)} | {
            f"{path}/" for path in self.directories() if shown(path)}
        listed = self.store.tree()
        assert len(listed) == len(set(listed))
        assert set(listed) == expected

    @invariant()
    def has_the_keys_that_the_model_has(self) -> None:
        """And a marker for each directory that v2 made."""
        markers = {f"quorate/v2/dir{path}" for path in self.made}
        assert set(self.store.keys()) == set(self.values) | markers

    @invariant()
    def keeps_no_leases_without_directories(self) -> None:
        """One for each that ends."""
        assert sorted(self.store.machine.leases.ids()) == sorted(self.timed.values())


TestBothApis = BothApis.TestCase
TestBothApis.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
