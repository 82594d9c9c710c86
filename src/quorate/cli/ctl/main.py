"""The command line of `quorate ctl`: which commands there are, and how one is run.

Each command's module is imported when it is used. Not here: commands.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import NamedTuple

from quorate.cli.ctl.flags import BAD_ARGUMENTS, ERROR, Exit, Flag, Words, read

GLOBAL_FLAGS = (
    Flag("cacert", help="TLS, not in this release"),
    Flag("cert", help="TLS, not in this release"),
    Flag("command-timeout", float, "5s", "how long a command may take"),
    Flag("debug", bool, "false", "no effect"),
    Flag("dial-timeout", float, "2s", "how long a connection may take"),
    Flag("discovery-srv", help="a domain whose SRV records name the endpoints", short="d"),
    Flag("discovery-srv-name", help="the suffix of the service that these records are of"),
    Flag("endpoints", str, "127.0.0.1:2379", "client URLs of members, separated by commas"),
    Flag("help", bool, "false", "this", "h"),
    Flag("hex", bool, "false", "print keys and values as hex strings"),
    Flag("insecure-discovery", bool, "true", "no effect"),
    Flag("insecure-skip-tls-verify", bool, "false", "no effect"),
    Flag("insecure-transport", bool, "true", "no effect"),
    Flag("keepalive-time", float, "2s", "no effect"),
    Flag("keepalive-timeout", float, "6s", "no effect"),
    Flag("key", help="TLS, not in this release"),
    Flag("password", help="no effect without users"),
    Flag("user", help="no effect without users"),
    Flag("write-out", str, "simple", "simple, fields, json, protobuf, table", "w"),
)
REFUSED = ("cacert", "cert", "key")
"""Ignoring them could be dangerous."""

_PREV, _PREFIX = Flag("prev-kv", bool, "false"), Flag("prefix", bool, "false")
_FROM_KEY, _REV = Flag("from-key", bool, "false"), Flag("rev", int, "0")
_TTL, _CLUSTER = Flag("ttl", int, "10"), Flag("cluster", bool, "false")
PUT_FLAGS = (Flag("lease", str, "0"), _PREV, Flag("ignore-value", bool, "false"),
             Flag("ignore-lease", bool, "false"))
GET_FLAGS = (Flag("consistency", str, "l"), Flag("order"), Flag("sort-by"), Flag("limit", int, "0"),
             _PREFIX, _FROM_KEY, _REV, Flag("keys-only", bool, "false"),
             Flag("print-value-only", bool, "false"))
DEL_FLAGS = (_PREFIX, _PREV, _FROM_KEY)
WATCH_FLAGS = (Flag("interactive", bool, "false", short="i"), _PREFIX, _REV, _PREV,
               Flag("progress-notify", bool, "false"))
_PEERS = Flag("peer-urls")


class Command(NamedTuple):
    """`run` is a function of the module of that name; `what` says what it does."""

    run: str
    arguments: str
    what: str
    flags: tuple[Flag, ...] = ()


COMMANDS: dict[str, Command] = {
    "put": Command("kv.put", "KEY [VALUE]", "set a key", PUT_FLAGS),
    "get": Command("kv.get", "KEY [RANGE_END]", "print keys", GET_FLAGS),
    "del": Command("kv.delete", "KEY [RANGE_END]", "delete keys", DEL_FLAGS),
    "txn": Command("txn.txn", "", "run a transaction that standard input describes",
                   (Flag("interactive", bool, "false", short="i"),)),
    "compaction": Command("kv.compaction", "REVISION", "forget what was before a revision",
                          (Flag("physical", bool, "false"),)),
    "watch": Command("watch.watch", "KEY [RANGE_END] [-- COMMAND ...]", "print what changes",
                     WATCH_FLAGS),
    "lease grant": Command("lease.grant", "TTL", "make a lease"),
    "lease revoke": Command("lease.revoke", "ID", "end a lease, with its keys"),
    "lease timetolive": Command("lease.time_to_live", "ID", "print what is left of a lease",
                                (Flag("keys", bool, "false"),)),
    "lease list": Command("lease.list_", "", "print all leases"),
    "lease keep-alive": Command("lease.keep_alive", "ID", "renew a lease until interrupted",
                                (Flag("once", bool, "false"),)),
    "lock": Command("sessions.lock", "NAME [COMMAND ...]", "hold a lock, or run a command under it",
                    (_TTL,)),
    "elect": Command("sessions.elect", "NAME [PROPOSAL]", "lead an election, or follow one (-l)",
                     (Flag("listen", bool, "false", short="l"),)),
    "make-mirror": Command("mirror.make_mirror", "DESTINATION", "copy keys to another cluster", (
        Flag("prefix"), Flag("dest-prefix"), Flag("no-dest-prefix", bool, "false"),
        Flag("dest-cert"), Flag("dest-key"), Flag("dest-cacert"),
        Flag("dest-insecure-transport", bool, "true"))),
    "member list": Command("members.list_", "", "print the members"),
    "member add": Command("members.add", "NAME --peer-urls=URLS", "add a member, which then is "
                          "started with the printed settings",
                          (_PEERS, Flag("learner", bool, "false"))),
    "member remove": Command("members.remove", "ID", "remove a member for good"),
    "member update": Command("members.update", "ID --peer-urls=URLS",
                             "change the peer URLs of a member", (_PEERS,)),
    "member promote": Command("members.promote", "ID", "give a learner a vote"),
    "member swap": Command("members.swap", "[FLAGS]", "change several members in one step", (
        Flag("add", many=True), Flag("add-learner", many=True), Flag("promote", many=True),
        Flag("demote", many=True), Flag("remove", many=True))),
    "member move-leader": Command("members.move_leader", "ID", "make another voter the leader"),
    "move-leader": Command("members.move_leader", "ID", "make another voter the leader"),
    "endpoint health": Command("endpoints.health", "", "ask each endpoint for a read", (_CLUSTER,)),
    "endpoint status": Command("endpoints.status", "", "print what each endpoint says of itself",
                               (_CLUSTER,)),
    "endpoint hashkv": Command("endpoints.hash_kv", "", "print the hash of each endpoint's history",
                               (_CLUSTER, _REV)),
    "alarm list": Command("upkeep.alarm_list", "", "print alarms"),
    "alarm disarm": Command("upkeep.alarm_disarm", "", "end all alarms"),
    "defrag": Command("upkeep.defrag", "", "free space: on quorate there is nothing to do",
                      (_CLUSTER, Flag("data-dir"))),
    "snapshot save": Command("upkeep.snapshot_save", "FILE", "write a snapshot of one endpoint"),
    "snapshot status": Command("upkeep.snapshot_status", "FILE", "print what a snapshot holds"),
    "snapshot restore": Command("upkeep.snapshot_restore", "FILE", "see `quorate import`", (
        Flag("data-dir"), Flag("skip-hash-check", bool, "false"), Flag("name"),
        Flag("initial-cluster"), Flag("initial-cluster-token"),
        Flag("initial-advertise-peer-urls"), Flag("wal-dir"))),
    "check perf": Command("check.perf", "", "write at a rate for a minute, and judge", (
        Flag("load", str, "s"), Flag("prefix", str, "/etcdctl-check-perf/"),
        Flag("auto-compact", bool, "false"), Flag("auto-defrag", bool, "false"))),
    "check datascale": Command(
        "datascale.datascale", "", "put many keys, and tell how much memory they take", (
            Flag("load", str, "s"), Flag("prefix", str, "/etcdctl-check-datascale/"),
            Flag("auto-compact", bool, "false"), Flag("auto-defrag", bool, "false"))),
    "version": Command("upkeep.version", "", "print the version"),
}
LATER = ("auth", "user", "role")


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # but for those that have something to give back
    try:
        return _run(argv)
    except Exit as end:
        if str(end):
            print(f"Error: {end}", file=sys.stderr)
        return end.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR


def _run(argv: list[str]) -> int:
    name, words = split(argv)
    if name in LATER:
        raise Exit(ERROR, f"users and roles come with a later release; `{name}` has nothing to do")
    command = COMMANDS.get(name)
    if command is None:
        if name not in ("", "help") and not any(c.startswith(f"{name} ") for c in COMMANDS):
            raise Exit(ERROR, f'unknown command "{name}"; `quorate ctl help` lists them')
        print(usage(name))
        return 0
    given = read(words, (*GLOBAL_FLAGS, *command.flags), os.environ)
    if given.on("help"):
        print(usage(name))
        return 0
    for flag in REFUSED:
        if given.text(flag):
            raise Exit(BAD_ARGUMENTS, f"--{flag} {given.text(flag)!r}: not in this release; leave "
                                      f"it out and use a network that you trust")
    module, _, function = command.run.partition(".")
    run = getattr(import_module(f"quorate.cli.ctl.{module}"), function)
    from quorate.cli.ctl.printer import Printer
    from quorate.cli.ctl.shell import Shell
    from quorate.client.client import Client
    from quorate.client.errors import ClientError

    endpoints = _endpoints(given)

    async def inner() -> None:
        try:
            client = Client(endpoints, dial_timeout_s=given.seconds("dial-timeout"))
        except ClientError as wrong:
            raise Exit(BAD_ARGUMENTS, str(wrong)) from None
        try:
            done: Callable[[Shell], Awaitable[None]] = run
            await done(Shell(
                client, Printer(given.text("write-out"), hexadecimal=given.on("hex")), given,
                given.seconds("command-timeout"), given.seconds("dial-timeout")))
        finally:
            client.close()

    asyncio.run(inner())
    return 0


def _endpoints(given: Words) -> list[str]:
    """Those of DNS, if they are asked for; raises Exit."""
    domain = given.text("discovery-srv")
    if not domain:
        return [one.strip() for one in given.text("endpoints").split(",") if one]
    from quorate.bootstrap.srv import find_endpoints
    from quorate.member.settings import ConfigError

    try:
        return find_endpoints(domain, given.text("discovery-srv-name"))
    except ConfigError as wrong:
        raise Exit(ERROR, str(wrong)) from None


def split(argv: list[str]) -> tuple[str, list[str]]:
    """The command's name, of one word or two, and all words but those; flags may come first."""
    takes_value = {f"--{flag.name}" for flag in GLOBAL_FLAGS if flag.kind is not bool} | {
        "-w", "-d"}
    places: list[int] = []
    at = 0
    while at < len(argv) and len(places) < 2 and argv[at] != "--":
        if not argv[at].startswith("-"):
            places.append(at)
        elif argv[at] in takes_value:
            at += 1
        at += 1
    for count in (2, 1):
        name = " ".join(argv[place] for place in places[:count])
        if len(places) >= count and (name in COMMANDS or (count == 1)):
            return name, [word for at, word in enumerate(argv) if at not in places[:count]]
    return "", argv


def usage(name: str = "") -> str:
    """What `help` prints: of one command, of a group, or of all."""
    command = COMMANDS.get(name)
    if command is not None:
        lines = [f"quorate ctl {name} {command.arguments}".rstrip(), f"  {command.what}", ""]
        flags = (*command.flags, *GLOBAL_FLAGS)
    else:
        lines = ["quorate ctl COMMAND ... [FLAGS]", ""]
        lines += [f"  {one:<18} {it.what}" for one, it in COMMANDS.items()
                  if not name or name == "help" or one.startswith(f"{name} ")]
        lines.append("")
        flags = GLOBAL_FLAGS
    for flag in flags:
        short = f"-{flag.short}, " if flag.short else "    "
        default = f" ({flag.default})" if flag.default not in ("", "false") else ""
        lines.append(f"  {short}--{flag.name:<26} {flag.help}{default}".rstrip())
    lines += ["", "Each global flag may also be set by its variable, such as ETCDCTL_ENDPOINTS."]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
