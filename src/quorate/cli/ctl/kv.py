"""put, get, del, txn, compaction.

Not here: what answers look like (printer.py), the language of transactions (txn.py).
"""

from __future__ import annotations

from quorate.cli.ctl.flags import BAD_ARGUMENTS, BAD_FEATURE, ERROR, Exit, Words, integer, lease_id
from quorate.cli.ctl.printer import say
from quorate.cli.ctl.shell import EMPTY_KEY, Shell, as_bytes, prefix_end, read_input
from quorate.client.methods import COMPACT, DELETE_RANGE, PUT, RANGE
from quorate.wire._generated import rpc_pb2 as rpc

ORDERS = {"": rpc.RangeRequest.NONE, "ASCEND": rpc.RangeRequest.ASCEND,
          "DESCEND": rpc.RangeRequest.DESCEND}
TARGETS = {"": rpc.RangeRequest.KEY, "CREATE": rpc.RangeRequest.CREATE,
           "KEY": rpc.RangeRequest.KEY, "MODIFY": rpc.RangeRequest.MOD,
           "VALUE": rpc.RangeRequest.VALUE, "VERSION": rpc.RangeRequest.VERSION}


async def put(shell: Shell) -> None:
    """put KEY [VALUE]; without a value, standard input."""
    request = put_request(shell.words, shell.words.all, from_input=True)
    shell.printer.put(await shell.ask(PUT, request))


async def get(shell: Shell) -> None:
    """get KEY [RANGE_END]."""
    words = shell.words
    request = get_request(words, words.all)
    shell.printer.values_only = words.on("print-value-only")
    if words.on("print-value-only") and shell.printer.form != "simple":
        raise Exit(BAD_ARGUMENTS, "print-value-only is only for `--write-out=simple`")
    shell.printer.get(await shell.ask(RANGE, request))


async def delete(shell: Shell) -> None:
    """del KEY [RANGE_END]."""
    request = delete_request(shell.words, shell.words.all)
    shell.printer.delete(await shell.ask(DELETE_RANGE, request))


async def compaction(shell: Shell) -> None:
    """compaction REVISION."""
    args = shell.words.all
    if len(args) != 1:
        raise Exit(BAD_ARGUMENTS, "compaction command needs 1 argument")
    try:
        revision = integer(args[0])
    except ValueError as wrong:
        raise Exit(ERROR, str(wrong)) from None
    await shell.ask(COMPACT, rpc.CompactionRequest(
        revision=revision, physical=shell.words.on("physical")))
    say(f"compacted revision {revision}")


def put_request(words: Words, args: list[str], *, from_input: bool) -> rpc.PutRequest:
    """Raises Exit."""
    if not args:
        raise Exit(BAD_ARGUMENTS, "put command needs 1 argument and input from stdin or 2 "
                                  "arguments")
    request = rpc.PutRequest(
        key=as_bytes(args[0]), prev_kv=words.on("prev-kv"),
        ignore_value=words.on("ignore-value"), ignore_lease=words.on("ignore-lease"))
    if request.ignore_value:
        if len(args) > 1:
            raise Exit(BAD_ARGUMENTS,
                       "put command needs only 1 argument when 'ignore-value' is set")
    elif len(args) > 1:
        request.value = as_bytes(args[1])
    elif not from_input or not (value := read_input()):
        raise Exit(BAD_ARGUMENTS, "put command needs 1 argument and input from stdin or 2 "
                                  "arguments")
    else:
        request.value = value
    request.lease = lease_id(words.text("lease"), "lease ID")
    return request


def get_request(words: Words, args: list[str]) -> rpc.RangeRequest:
    """Raises Exit."""
    key, end = key_range(words, args, "get")
    request = rpc.RangeRequest(
        key=key, range_end=end, limit=words.number("limit"), keys_only=words.on("keys-only"))
    if words.number("rev") > 0:
        request.revision = words.number("rev")
    if words.text("consistency") not in ("l", "s"):
        raise Exit(BAD_FEATURE, f'unknown consistency flag "{words.text("consistency")}"')
    request.serializable = words.text("consistency") == "s"
    order, target = words.text("order").upper(), words.text("sort-by").upper()
    if order not in ORDERS:
        raise Exit(BAD_FEATURE, f"bad sort order {words.text('order')}")
    if target not in TARGETS:
        raise Exit(BAD_FEATURE, f"bad sort target {words.text('sort-by')}")
    request.sort_order, request.sort_target = ORDERS[order], TARGETS[target]
    if target and not order:
        request.sort_order = rpc.RangeRequest.ASCEND
    return request


def delete_request(words: Words, args: list[str]) -> rpc.DeleteRangeRequest:
    """Raises Exit."""
    if len(args) not in (1, 2):
        raise Exit(BAD_ARGUMENTS, "del command needs one argument as key and an optional argument "
                                  "as range_end")
    key, end = key_range(words, args, "del")
    return rpc.DeleteRangeRequest(key=key, range_end=end, prev_kv=words.on("prev-kv"))


def key_range(words: Words, args: list[str], command: str) -> tuple[bytes, bytes]:
    """Key and range_end of a command with --prefix and --from-key; raises Exit."""
    if not args:
        raise Exit(BAD_ARGUMENTS, f"{command} command needs one argument as key and an optional "
                                  f"argument as range_end")
    prefix, from_key = words.on("prefix"), words.on("from-key")
    if prefix and from_key:
        raise Exit(BAD_ARGUMENTS, "`--prefix` and `--from-key` cannot be set at the same time, "
                                  "choose one")
    if (prefix or from_key) and len(args) > 1:
        raise Exit(BAD_ARGUMENTS, "too many arguments, only accept one argument when `--prefix` or "
                                  "`--from-key` is set")
    key = as_bytes(args[0])
    if prefix:
        return (key, prefix_end(key)) if key else (EMPTY_KEY, EMPTY_KEY)
    if from_key:
        return key or EMPTY_KEY, EMPTY_KEY
    return key, as_bytes(args[1]) if len(args) > 1 else b""
