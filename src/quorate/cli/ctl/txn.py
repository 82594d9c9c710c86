"""txn: compares and two lists of requests from standard input, each ended by an empty line.

Not here: put, get and del themselves (kv.py).
"""

from __future__ import annotations

import re
import sys

from quorate.cli.ctl.flags import BAD_ARGUMENTS, INVALID_INPUT, Exit, integer, read
from quorate.cli.ctl.kv import delete_request, get_request, put_request
from quorate.cli.ctl.main import DEL_FLAGS, GET_FLAGS, PUT_FLAGS
from quorate.cli.ctl.printer import say
from quorate.cli.ctl.shell import Shell, as_bytes
from quorate.client.methods import TXN
from quorate.wire._generated import rpc_pb2 as rpc

C = rpc.Compare
RESULTS = {"=": C.EQUAL, "!=": C.NOT_EQUAL, ">": C.GREATER, "<": C.LESS}
_COMPARE = re.compile(r"""([^()]+)\(("(?:[^"\\]|\\.)*"|[^)]*)\)\s*(<|>|!=|=)\s*(\S.*)""")
_WORD = re.compile(r"""\s*((?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+)""")


async def txn(shell: Shell) -> None:
    """txn [-i]."""
    if shell.words.all:
        raise Exit(BAD_ARGUMENTS, "txn command does not accept argument")
    asks = shell.words.on("interactive")
    request = rpc.TxnRequest()
    request.compare.extend(_compare(line) for line in _lines("compares:" if asks else ""))
    for what, ops in (("success", request.success), ("failure", request.failure)):
        ops.extend(_operation(line) for line in _lines(
            f"{what} requests (get, put, del):" if asks else ""))
    shell.printer.txn(await shell.ask(TXN, request))


def _lines(title: str) -> list[str]:
    if title:
        say(title)
    out: list[str] = []
    while True:
        line = sys.stdin.readline()
        if not line.endswith("\n"):
            raise Exit(INVALID_INPUT, "EOF")
        if not line.strip():
            return out
        out.append(line.strip())


def _compare(line: str) -> rpc.Compare:
    found = _COMPARE.fullmatch(line)
    if found is None:
        raise Exit(INVALID_INPUT, f"malformed comparison: {line}")
    target, key, result, value = found.groups()
    out = C(key=_unquoted(key), result=RESULTS[result])
    try:
        if target in ("val", "value"):
            out.target, out.value = C.VALUE, _unquoted(value)
        elif target in ("c", "create"):
            out.target, out.create_revision = C.CREATE, _number(value)
        elif target in ("m", "mod"):
            out.target, out.mod_revision = C.MOD, _number(value)
        elif target in ("ver", "version"):
            out.target, out.version = C.VERSION, _number(value)
        elif target == "lease":
            out.target, out.lease = C.LEASE, integer(_unquoted(value).decode(), 16)
        else:
            raise Exit(INVALID_INPUT,
                       f"malformed comparison: {line} (unknown target {target})")
    except ValueError:
        raise Exit(INVALID_INPUT, f"invalid txn compare request: {line}") from None
    return out


def _number(text: str) -> int:
    return integer(_unquoted(text).decode())


def _operation(line: str) -> rpc.RequestOp:
    words = [_plain(found[1]) for found in _WORD.finditer(line)]
    makers = {"put": PUT_FLAGS, "get": GET_FLAGS, "del": DEL_FLAGS}
    if len(words) < 2 or words[0] not in makers:
        raise Exit(INVALID_INPUT, f"invalid txn request: {line}")
    given = read(words[1:], makers[words[0]], {})
    if words[0] == "put":
        return rpc.RequestOp(request_put=put_request(given, given.all, from_input=False))
    if words[0] == "get":
        return rpc.RequestOp(request_range=get_request(given, given.all))
    return rpc.RequestOp(request_delete_range=delete_request(given, given.all))


def _plain(word: str) -> str:
    return _unquoted(word).decode("utf-8", "surrogateescape") if word[:1] == '"' else (
        word[1:-1] if word[:1] == "'" and word != "''" else word)


def _unquoted(text: str) -> bytes:
    """What is between double quotes, with Go's escapes; anything else as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return as_bytes(text)
    return as_bytes(text[1:-1]).decode("unicode_escape").encode(
        "latin-1") if "\\" in text else as_bytes(text[1:-1])
