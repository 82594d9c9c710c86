"""The script: invocations of stock etcdctl over its v3 commands, in the order they are run.

They run against one cluster after the other without looking at each other, so each history is
the same. Left out are `check perf` and `check datascale` (minutes of load), `migrate`,
`completion` and `help` (no server).
"""

from __future__ import annotations

from collections.abc import Iterator

from etcdctl_run import ALL, FORMATS, Step, each, every
from etcdctl_upkeep import upkeep

def puts() -> Iterator[Step]:
    """put: values, flags, leases, refusals."""
    yield from every("put a 1")
    yield from every("put a 2 --prev-kv")
    yield Step("put a 3 -w protobuf", message="PutResponse")
    yield Step("put a 4 --prev-kv -w protobuf", message="PutResponse")
    yield from each(
        "put b 'two words'", "put c ''", "put d -- -dash", "put -- -e 5", "put ключ значение",
        "put k/1 z", "put k/2 y", "put k/3 x", "put k/1 w", "put k/10 v", "put k/2 u --prev-kv",
        "put a 5 --hex", "put a --ignore-value", "put a --ignore-value --prev-kv",
        "put a 1 --ignore-value", "put none --ignore-value", "put none 1 --ignore-lease",
        "put a 1 --lease=77", "put a 1 --lease=xyz", "put a 1 --lease=77 --ignore-lease",
        "put", "put a b c", "put '' 1")
    yield Step("put f", "from stdin\n")
    yield Step("put g", "")
    yield Step("put large", "x" * (1 << 20))
    yield Step("put large", "x" * (1600 << 10))
    yield Step("put large", "x" * (3 << 20))
    yield Step("put a 6", at="m2")
    yield Step("put a 7", at=ALL)
    yield Step("endpoint hashkv", at=ALL)  # of one history: nothing masked
    yield Step("endpoint hashkv --rev=9 -w json", at=ALL)
    yield Step("put a 8", environment=(("ETCDCTL_WRITE_OUT", "json"),))


def gets() -> Iterator[Step]:
    """get: ranges, order, limits, revisions, forms, refusals."""
    yield from every("get a")
    yield from every("get none")
    yield from every("get k/ --prefix")
    yield from every("get k/ --prefix --hex")
    yield from every("get k/ --prefix --keys-only", FORMATS[:3])
    yield from every("get k/ --prefix --limit=2", FORMATS[:3])
    yield Step("get k/ --prefix -w protobuf", message="RangeResponse")
    yield from each(
        "get a --print-value-only", "get k/ --prefix --print-value-only", "get ключ",
        "get ключ --hex", "get a d", "get d a", "get a a", "get k/2 --from-key --limit=3",
        "get '' --prefix --keys-only", "get '' --from-key --keys-only", "get --prefix --limit=3 ''",
        "get k/ --prefix --rev={rev-12}", "get k/ --prefix --rev=1", "get a --rev=3 -w json",
        "get a --rev={rev+1}", "get a --rev=-1", "get a --consistency=s", "get a --consistency=l",
        "get a --consistency=x", "get -- -e", "get c", "get d", "get f", "get g -w json",
        "get k/ --prefix --keys-only --print-value-only", "get k/ --prefix --count-only", "get",
        "get a b c", "get ''", "get large -w json", "del large", "get a --prefix --from-key",
        "get a b --prefix", "get a b --from-key",
        "get a --limit=-1", "get a --limit=x", "get a --order=up", "get a --sort-by=age")
    for order in ("", " --order=ASCEND", " --order=DESCEND"):
        for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"):
            yield Step(f"get k/ --prefix --sort-by={target}{order}")
    yield Step("get k/ --prefix --order=DESCEND --limit=2 -w json")
    yield Step("get k/ --prefix --sort-by=value --order=descend --limit=1")
    yield Step("get a -w json", at="m2")
    yield Step("get a -w json --consistency=s", at="m3")
    yield Step("get a", at=ALL)
    yield Step("get a", at="", environment=(("ETCDCTL_ENDPOINTS", "{m2:c}"),))
    yield Step("get a --command-timeout=1ns")
    yield Step("get a --user=nobody:secret")
    yield Step("get a --endpoints=127.0.0.1:1,{m1:c}")
    yield Step("get a --endpoints=http://{m1:c}")
    yield Step("get a -w yaml")


def leases() -> Iterator[Step]:
    """lease: ids that the server gives, keys attached, refusals."""
    yield from every("lease grant 600", own=("lease",))
    yield Step("lease grant 600", keep="lease")
    for ttl in ("0", "3", "-- -1"):  # live for the shortest time: gone before they end
        yield Step(f"lease grant {ttl}", keep="short")
        yield Step("lease revoke {short}")
    yield from each("lease grant", "lease grant x", "lease grant 9000000001")
    yield Step("put leased 1 --lease={lease}")
    yield Step("put leased/2 1 --lease={lease} --prev-kv -w json")
    yield Step("put leased 2 --ignore-lease")
    yield Step("put leased --ignore-value")
    yield from every("get leased")
    yield Step("put leased 3 --ignore-lease -w fields --prev-kv")
    yield from every("lease timetolive {lease}", own=("left",))
    yield from every("lease timetolive {lease} --keys", own=("left",))
    yield Step("lease timetolive {lease}", at="m2", own=("left",))
    yield from every("lease timetolive 77")
    yield from each("lease timetolive 77 --keys", "lease timetolive", "lease timetolive xyz")
    yield from every("lease keep-alive --once {lease}")
    yield Step("lease keep-alive --once {lease}", at="m3")
    yield Step("lease keep-alive {lease}", until="keepalived")
    yield from each("lease keep-alive --once 77", "lease keep-alive 77", "lease keep-alive --once")
    yield from every("lease list", own=("lease",), unordered=True)
    yield Step("get leased -w json --hex")
    yield Step("lease revoke {lease}")
    yield from every("lease revoke {lease}")
    yield from each("lease revoke", "lease revoke xyz", "lease revoke 0", "lease timetolive 0")
    yield Step("get leased --prefix -w json")
    yield Step("lease grant 600 -w json", keep="lease", find=r'"ID":(?P<ten>\d+)')
    yield Step("put leased 4 --lease={lease}")
    yield Step("lease revoke {lease} -w fields")
    yield Step("get leased")


def txns() -> Iterator[Step]:
    """txn: each compare, each operation, through standard input."""
    simple = 'value("a") = "8"\n\nput t 1\nget t\n\nget a\n\n'
    yield from every("txn", stdin=simple)
    yield Step("txn -i", simple)
    yield Step("txn --hex", simple)
    yield Step("txn -w protobuf", simple, message="TxnResponse")
    for compare in ('create("a") > "0"', 'c("a") = "0"', 'mod("a") < "3"', 'm("none") = "0"',
                    'version("a") > "2"', 'ver("none") > "0"', 'val("none") = ""',
                    'val("a") < "9"', 'val("a") > "7"'):
        yield Step("txn", f"{compare}\n\nget a\n\nget none\n\n")
    yield Step("txn", "\n\n\n")
    yield Step("txn", "")
    yield Step("txn", 'val("a") = "8"\nmod("none") = "0"\n\nput t 2\ndel t\n\n\n')
    yield from every("txn", stdin='\nput t 3 --prev-kv\ndel k/10 --prev-kv\nget k/ --prefix\n\n\n')
    yield from every("txn", stdin='val("a") = "no"\n\nput t 4\n\ndel none\nput t "x y"\nget t\n\n')
    for wrong in ("\nput t 1\nput t 2\n\n\n", "\nput t 1\ndel t\n\n\n",
                  "\nput t 1 --lease=77\n\n\n",
                  "\nget t --rev=100000\n\n\n", "\nput '' 1\n\n\n", "\nmove t\n\n\n",
                  'size("a") = "1"\n\n\n\n', "\nput t --ignore-value\n\n\n",
                  "\nput nothing --ignore-value\n\n\n", "\nput t\n\n\n",
                  "\n" + "".join(f"put many/{n} 1\n" for n in range(129)) + "\n\n"):
        yield Step("txn", wrong)
    yield Step("txn -w json", "\n" + "".join(f"put many/{n} 1\n" for n in range(128)) + "\n\n")
    yield Step("txn extra")


def deletes() -> Iterator[Step]:
    """del: one, ranges, what was there, refusals."""
    yield from each("del t", "del t", "del none -w json", "del a --prev-kv -w fields")
    yield from each("put a 1", "put a 2")
    yield from every("del a --prev-kv")
    yield from each(
        "del many/ --prefix", "del k/1 k/2 --prev-kv", "del k/ --prefix --prev-kv -w json",
        "put z/1 a", "put z/2 b", "del z/ --from-key --prev-kv", "del", "del a b c", "del ''",
        "del a --prefix --from-key", "del a b --prefix", "del z a", "del ключ --prev-kv --hex")
    yield Step("put p 1")
    yield Step("del p --prev-kv -w protobuf", message="DeleteRangeResponse")


def watches() -> Iterator[Step]:
    """watch: from the past until a known event, from the future, with commands, refusals."""
    yield from each("put w/1 a", "put w/2 b", "put w/1 c", "del w/2", "put w/3 end")
    back = "--rev={rev-4}"
    yield from every(f"watch w/ --prefix {back}", FORMATS[:1], until="end")
    yield from every(f"watch w/ --prefix {back}", FORMATS[1:2], until='"end"')
    yield Step(f"watch w/ --prefix {back} -w json", until="ZW5k")
    yield Step(f"watch w/ --prefix {back} -w table")
    yield Step(f"watch w/ --prefix --prev-kv {back}", until="end")
    yield Step(f"watch w/ --prefix --prev-kv {back} -w json", until="ZW5k")
    yield Step(f"watch w/ --prefix --hex {back}", until=r"\x65\x6e\x64")
    yield Step(f"watch w/1 w/3 {back}", until="DELETE\nw/2\n\n")
    yield Step(f"watch w/3 {back}", until="end", at="m2")
    yield Step(f"watch {back}", until="end", environment=(
        ("ETCDCTL_WATCH_KEY", "w/"), ("ETCDCTL_WATCH_RANGE_END", "w0")))
    yield Step(f"watch -i {back}", "watch w/3 --rev={rev-4}\n", until="end")
    yield Step(f"watch w/ --prefix {back} -- sh -c '"
               "echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE "
               "$ETCD_WATCH_REVISION'", until='"PUT" "w/3"')
    yield Step("watch live --rev={rev+1}", during=tuple(each("put live 1")), then="1")
    yield Step("watch l --prefix --prev-kv --rev={rev+2} -w json", at="m3", during=tuple(each(
        "put live 2", "put live last", "lease timetolive 77")), then="bGFzdA==")
    yield from each("watch", "watch a --prefix b", "watch a --rev=x")
    yield from each("watch -i", stdin="get a\n")


def compactions() -> Iterator[Step]:
    """compaction, and what can be read after one."""
    yield from each(
        "compaction 5", "compaction 5", "compaction 4", "compaction {rev+1}", "compaction",
        "compaction x", "compaction -- -1", "compaction 8 --physical", "get a --rev=7",
        "get a --rev=8", "watch a --rev=2", "watch a --rev=2 -w json", "txn -w json")
    yield Step("txn", "\nget a --rev=7\n\n\n")
    yield from every("compaction {rev-50}")
    yield Step("compaction {rev-40} -w json --physical")


def script() -> Iterator[Step]:
    """All of it."""
    for part in (puts, gets, leases, txns, deletes, watches, compactions):
        yield from part()
    yield from upkeep()


SCRIPT = tuple(script())
