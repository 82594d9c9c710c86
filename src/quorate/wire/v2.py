"""The v2 API's forms: what a request asks, and answers as JSON.

Forms are read as Go reads them (etcd-surface.md §6.2): parameters of the body before those of the
query, booleans in six spellings each, an error for the first that cannot be read. JSON is written
as Go writes it. Paths and values are bytes; JSON shows what is not UTF-8 as U+FFFD.

Not here: what requests do (state/v2.py), errors other than of forms (api/errors.py).
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from quorate.wire._generated import v2_pb2 as v2

TRUE = frozenset((b"1", b"t", b"T", b"TRUE", b"true", b"True"))
FALSE = frozenset((b"0", b"f", b"F", b"FALSE", b"false", b"False"))
INDEX_MAX = 2**64 - 1
TTL_S_MAX = 2**63 - 1
KEYS_KEPT = 512
"""Keys whose form in JSON is remembered; requests limit how long they are."""

Form = dict[str, list[bytes]]


class BadForm(Exception):
    """A form that cannot be read: etcd's error code, and the cause."""

    def __init__(self, code: int, cause: str) -> None:
        super().__init__(code, cause)
        self.code = code
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request on a key asks. `change` is of PUT, POST and DELETE."""

    path: bytes
    recursive: bool = False
    wait: bool = False
    stream: bool = False
    quorum: bool = False
    silent: bool = False
    """Answer without nodes (`noValueOnSuccess`)."""
    wait_index: int = 0
    change: v2.V2Request | None = None


def unescape(text: bytes, *, plus: bool = True) -> bytes:
    """What was percent-encoded, in a form with plus for space; raises BadForm."""
    if b"%" not in text and b"+" not in text:
        return text
    if plus:
        text = text.replace(b"+", b" ")
    first, *rest = text.split(b"%")
    out = bytearray(first)
    for part in rest:
        try:
            out += bytes.fromhex(part[:2].decode("ascii").ljust(2, "x")) + part[2:]
        except ValueError:
            found = json.dumps("%" + part[:2].decode("latin-1"))
            raise BadForm(210, f"invalid URL escape {found}") from None
    return bytes(out)


def parse_form(*sources: bytes) -> Form:
    """The parameters of a body and a query, in this order; raises BadForm."""
    form: Form = {}
    for source in filter(None, sources):
        if (only := _ONLY_VALUE.fullmatch(source)) is not None:  # most of them
            form.setdefault("value", []).append(only[1])
            continue
        for piece in filter(None, source.split(b"&")):
            if b";" in piece:
                raise BadForm(210, "invalid semicolon separator in query")
            name, _, value = piece.partition(b"=")
            key = unescape(name).decode("latin-1")
            form.setdefault(key, []).append(unescape(value))
    return form


_ONLY_VALUE = re.compile(rb"value=([^&;%+]*)")


def clean(path: bytes) -> bytes:
    """As Go's path.Clean: one slash first, none last, no empty or dotted segments."""
    if path[:1] == b"/" and b"//" not in path and b"/." not in path and path[-1:] != b"/":
        return path
    return posixpath.normpath(b"/" + path.lstrip(b"/"))


def read(method: str, path: bytes, form: Form) -> Asked:
    """What is asked; raises BadForm for the first parameter that is wrong, in etcd's order."""
    if method == "PUT" and len(form) == 1 and "value" in form:  # most of them
        return Asked(path, change=v2.V2Request(path=path, value=form["value"][0]))
    prev_index = _index(form, "prevIndex")
    wait_index = _index(form, "waitIndex")
    recursive = _flag(form, "recursive")
    _flag(form, "sorted")  # everything is
    wait = _flag(form, "wait")
    directory = _flag(form, "dir")
    quorum = _flag(form, "quorum")
    stream = _flag(form, "stream")
    if wait and method != "GET":
        raise BadForm(209, '"wait" can only be used with GET requests')
    prev_value = form.get("prevValue", [b""])[0]
    if "prevValue" in form and not prev_value:
        raise BadForm(201, '"prevValue" cannot be empty')
    silent = _flag(form, "noValueOnSuccess")
    ttl = _number(form, "ttl", 202, TTL_S_MAX) if form.get("ttl", [b""])[0] else None
    prev_exist = _flag(form, "prevExist", "prevExist") if "prevExist" in form else None
    value = form.get("value", [b""])[0]
    refresh = _flag(form, "refresh", "refresh")
    if refresh and value:
        raise BadForm(211, "A value was provided on a refresh")
    if refresh and ttl is None:
        raise BadForm(212, "No TTL value set")
    change = None
    if (kind := _METHODS.get(method)) is not None:
        change = v2.V2Request(
            method=kind, path=path, value=value, dir=directory, recursive=recursive,
            refresh=refresh, ttl=ttl, prev_exist=prev_exist, prev_value=prev_value,
            prev_index=prev_index)
    return Asked(path, recursive, wait, stream, quorum, silent and method in ("PUT", "POST"),
                 wait_index, change)


_METHODS = {"PUT": v2.V2Request.SET, "POST": v2.V2Request.CREATE_IN_ORDER,
            "DELETE": v2.V2Request.DELETE}


def _flag(form: Form, name: str, shown: str = "") -> bool:
    if name not in form:
        return False
    if (value := form[name][0]) in TRUE:
        return True
    if value in FALSE:
        return False
    quoted = f'"{name}"'
    raise BadForm(209, f"invalid value for {shown or quoted}")


def _index(form: Form, name: str) -> int:
    return _number(form, name, 203, INDEX_MAX)


def _number(form: Form, name: str, code: int, most: int) -> int:
    if name not in form:
        return 0
    value = form[name][0]
    if not value.isdigit() or int(value) > most:
        raise BadForm(code, f'invalid value for "{name}"')
    return int(value)


# Answers.


def answer(response: v2.V2Response, now_s: float, *, silent: bool = False) -> bytes:
    """An answer or an event as a line of JSON; `now_s` is seconds of Unix time."""
    parts = [f'{{"action":"{response.action}"']
    if not silent:
        parts.append(f',"node":{_node(response.node, now_s)}')
        if response.HasField("prev_node"):
            parts.append(f',"prevNode":{_node(response.prev_node, now_s)}')
    return "".join((*parts, "}\n")).encode()


def quoted(value: bytes) -> str:
    """A string of JSON as Go writes it."""
    if _PLAIN.fullmatch(value):
        return f'"{value.decode("ascii")}"'
    text = json.dumps(value.decode(errors="replace"), ensure_ascii=False)
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], found[0]), text)


_quoted_key = lru_cache(KEYS_KEPT)(quoted)
"""The same keys are told again and again, twice in most answers."""

_ESCAPES = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029\ufffd"} | {
    "\\b": "\\u0008", "\\f": "\\u000c"}
_SPECIAL = re.compile(r"\\.|[<>&\u2028\u2029\ufffd]")
_PLAIN = re.compile(rb"[ !#-%'-;=?-\[\]-~]*")
"""Nothing that is escaped, not even without need."""


def _node(node: v2.V2Node, now_s: float) -> str:
    if node.lease == 0 and node.key and not node.dir and node.HasField("value"):  # most of them
        return (f'{{"key":{_quoted_key(node.key)},"value":{quoted(node.value)},'
                f'"modifiedIndex":{node.modified_index},"createdIndex":{node.created_index}}}')
    parts = []
    if node.key:
        parts.append(f'"key":{_quoted_key(node.key)}')
    if node.HasField("value"):
        parts.append(f'"value":{quoted(node.value)}')
    if node.dir:
        parts.append('"dir":true')
    if node.HasField("left_ms"):
        parts.append(f'"expiration":"{_time(now_s + node.left_ms / 1000)}"')
        if node.left_ms > 0:
            parts.append(f'"ttl":{-(-node.left_ms // 1000)}')
    if node.nodes:
        parts.append(f'"nodes":[{",".join(_node(child, now_s) for child in node.nodes)}]')
    if node.modified_index:
        parts.append(f'"modifiedIndex":{node.modified_index}')
    if node.created_index:
        parts.append(f'"createdIndex":{node.created_index}')
    return "{" + ",".join(parts) + "}"


def _time(at_s: float) -> str:
    """RFC 3339 as Go has it: no zeros at the end of a fraction."""
    try:
        whole = datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError):  # beyond the year 9999, which RFC 3339 cannot say
        return "9999-12-31T23:59:59Z"
    fraction = f"{at_s % 1:.6f}"[1:].rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"
