"""The second half of the script: locks, elections, mirrors, upkeep, members, users.

Users come last: while authentication is on, stock etcd serves nobody without a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from etcdctl_run import ALL, FORMATS, Step, each, every

SESSION = ("session",)
STATUS = ("size", "index", "columns")
SAVED = ("unfinished", "took", "size")
NOWHERE = "--endpoints=127.0.0.1:1 --command-timeout=300ms --dial-timeout=300ms"
MEMBER = 7
"""Raises alarms that end by hand only: no such member has room."""


def locks() -> Iterator[Step]:
    """lock and elect: held until interrupted, waited for, run under."""
    held = tuple(each("get l/ --prefix", "lease list -w json", own=("session", "lease")))
    yield Step("lock l", until="l/", during=held, own=SESSION)
    yield Step("lock l --ttl=20 -w json", until='"kvs"', own=("lease", "key"))
    yield Step("get l/ --prefix")
    yield from each(
        "lock l -- sh -c 'echo $ETCD_LOCK_KEY $ETCD_LOCK_REV'", "lock l --ttl=60 echo under",
        "lock l false", "lock l -- sh -c 'exit 7'", "lock l --ttl=x true", own=SESSION)
    yield Step("lock l true", at="m2")
    waits = Step("lock q echo mine", own=("interrupted",), during=(
        Step("watch q --prefix --rev={rev-1}", until="PUT\nq/", then="\n\nPUT", own=SESSION),))
    yield Step("lock q", until="q/", during=(waits,), own=SESSION)
    yield Step("lock")
    heard = tuple(each("elect -l e", until="first", own=SESSION))
    yield Step("elect e first", until="first", during=heard, own=SESSION)
    yield Step("elect e second", until="second", own=SESSION, at="m3")
    yield Step("elect e second -w json", until="c2Vjb25k", own=("lease", "key"))
    yield Step("get e/ --prefix")
    yield from each("elect", "elect e", "elect -l", "elect -l e x")


def mirrors() -> Iterator[Step]:
    """make-mirror: of what is there, until it has arrived."""
    def arrived(key: str) -> tuple[Step, ...]:
        return (Step(f"watch {key} --rev={{rev-2}}", until="2"),)
    yield from each("put m/1 1", "put m/2 2", "put other 3")
    yield Step("make-mirror {m1:c} --prefix=m/ --dest-prefix=copy/", during=arrived("copy/2"))
    yield Step("make-mirror {m1:c} --prefix=m/ --no-dest-prefix", during=arrived("2"))
    yield Step("make-mirror {m2:c} --prefix=m/2 --dest-prefix=again", during=arrived("again"))
    yield Step("get copy/ --prefix -w json")
    yield from each("make-mirror", "make-mirror {m1:c} --prefix=m/ --dest-prefix=x "
                    "--no-dest-prefix")


def endpoints() -> Iterator[Step]:
    """endpoint: one, all, those of the list, one that does not answer."""
    for where in ("", " --cluster"):
        at = "m1" if where else ALL
        yield from every(f"endpoint status{where}", at=at, own=STATUS)
        yield from every(f"endpoint health{where}", at=at, own=("took", "width"), unordered=True)
        yield from every(f"endpoint hashkv{where}", at=at, own=("hash", "width"))
    yield Step("endpoint hashkv --rev={rev-10} -w json", own=("hash",))
    yield from each("endpoint hashkv --rev={rev+10}", "endpoint hashkv --rev=1", at=ALL)
    for command in ("status", "health", "hashkv"):
        yield Step(f"endpoint {command} --endpoints=127.0.0.1:1,{{m2:c}} --command-timeout=1s",
                   own=(*STATUS, "hash", "took", "balancer"), unordered=True)
        yield Step(f"endpoint {command} {NOWHERE} -w json", own=("took", "balancer"))
    yield Step("endpoint status --endpoints=http://{m3:c}", own=STATUS)
    yield Step("endpoint")


def upkeeps() -> Iterator[Step]:
    """alarm, defrag, snapshot, move-leader, version."""
    full = {"action": "ACTIVATE", "memberID": str(MEMBER), "alarm": "NOSPACE"}
    own = ("panic", "revision")
    yield from every("alarm list", own=own)
    yield from every("alarm disarm", own=("panic",))
    yield Step("", post=("/v3/maintenance/alarm", full))
    yield from every("alarm list", ("simple", "json", "table"), own=own)
    yield from each("put a full", "lease grant 60", "get a", "del none", "put a full -w json")
    yield Step("txn", "\nput a 1\n\n\n")
    yield Step("endpoint status -w json", own=STATUS)
    yield Step("endpoint status -w simple", own=STATUS)
    yield Step("endpoint health", own=("took",))
    yield Step("alarm disarm -w json")
    yield from each("alarm list", "put a room", "alarm list extra", "alarm disarm extra")
    yield from every("defrag")
    yield from each("defrag", "defrag --cluster", at=ALL)
    yield Step(f"defrag {NOWHERE}", own=("balancer",))
    yield from every("snapshot save saved.db", FORMATS[:1], own=SAVED, unordered=True)
    yield from every("snapshot status saved.db", own=("hash", "size", "width"))
    yield Step("snapshot restore saved.db --data-dir=restored --skip-hash-check", own=SAVED,
               unordered=True)
    yield Step("snapshot restore saved.db --data-dir=restored")
    yield Step("snapshot save all.db", at=ALL)
    yield from each("snapshot save", "snapshot status none.db", "snapshot status", "version",
                    "version -w json")
    yield from each("move-leader {m2}", "move-leader {m1}", at="m3")
    yield Step("move-leader {m2}", at="m1")
    yield Step("endpoint status -w fields", at=ALL, own=STATUS)
    yield Step("move-leader {m1} -w json", at=ALL)
    yield from each("move-leader {m1}", "move-leader 123", "move-leader xyz", "move-leader")


def members() -> Iterator[Step]:
    """member: more of it in test_members.py."""
    new = "http://127.0.0.1:1"
    own = ("founders", "width")
    yield from every("member list")
    yield Step("member list", at="m3")
    yield from every(f"member add x --learner --peer-urls={new}", FORMATS[:1], own=own,
                     keep="new", find=r"Member +([0-9a-f]+) added")
    yield from every("member list", own=("width",), unordered=True)
    yield Step("member promote {new}")
    yield Step(f"member add y --peer-urls={new},http://127.0.0.1:4")
    yield Step(f"member add y --learner --peer-urls={new}0")
    yield from every("member update {new} --peer-urls=http://127.0.0.1:2", FORMATS[:1], own=own)
    yield Step("member update {new} --peer-urls=http://127.0.0.1:3 -w json", unordered=True)
    yield Step("member remove {new}", own=own)
    yield from each("member remove {new}", "member promote {new}",
                    f"member update {{new}} --peer-urls={new}", own=own)
    yield Step(f"member add x --learner --peer-urls={new}1 -w json", keep="newer",
               find=r'"member":\{"ID":(?P<ten>\d+)', unordered=True)
    yield Step("member remove {newer} -w json", unordered=True)
    yield from each(
        "member add", "member add x", "member add x --peer-urls=nonsense", "member remove",
        "member add x --peer-urls=http://{m1:p}", "member remove xyz", "member promote",
        "member update {m1}", "member update", "member promote {m1}", "member list extra")


def _users() -> Iterator[Step]:
    """user, role and auth; until authentication is on."""
    yield from every("user list")
    yield from every("user add root:secret")
    yield Step("user add reader --new-user-password=pw")
    yield Step("user add fed --interactive=false", "pw\n")
    yield Step("user add --no-password badge")
    yield from each("user add root:secret", "user add ''", "user get nobody", "user delete nobody")
    yield from every("role add reads")
    yield from each("role add reads", "role add root", "role get none", "role delete none")
    yield from every("role grant-permission reads read a")
    yield from each(
        "role grant-permission reads readwrite k/ --prefix", "role grant-permission reads fly a",
        "role grant-permission reads write w x", "role grant-permission none read a",
        "role grant-permission reads read z --from-key")
    yield from every("role get reads")
    yield from every("role list")
    yield from every("user grant-role reader reads")
    yield from each("user grant-role root root", "user grant-role reader none")
    yield from every("user get reader")
    yield from each("user get reader --detail", "user list", "auth disable", "auth enable")


def guarded() -> Iterator[Step]:
    """Requests with and without a password while authentication is on."""
    root, reader = "--user=root:secret", "--user reader --password=pw"
    yield from each(
        "get a", "put t 1", f"get a {reader}", f"put t 1 {reader}", f"get b {reader}",
        f"put k/5 1 {reader}", f"get a {root}", f"user list {root}", "get a --user=root:wrong",
        f"user list {reader}", f"user delete root {root}", f"role delete root {root}",
        f"member list {reader}", f"lease grant 60 {reader}", own=("lease",))
    yield Step(f"user passwd fed --interactive=false {root}", "new\n")
    yield from each(f"del k/5 {root}", f"auth disable {root}")


def after() -> Iterator[Step]:
    """Everything is taken back."""
    yield from each("role revoke-permission reads w x", "role revoke-permission reads none",
                    "user revoke-role reader reads", "user revoke-role reader reads",
                    "role delete reads", "user delete reader", "role list", "get a")


def users() -> Iterator[Step]:
    """user, role and auth."""
    yield from _users()
    yield from (replace(step, note="authentication on") for step in guarded())
    yield from after()


def upkeep() -> Iterator[Step]:
    """All of the second half."""
    for part in (locks, mirrors, endpoints, upkeeps, members, users):
        yield from part()
