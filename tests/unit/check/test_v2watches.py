"""What a v2 watch is blamed for: one file that is put twice and deleted, and a directory."""

from __future__ import annotations

from quorate.check.keyvalue import Change
from quorate.check.v2 import MARKER
from quorate.check.v2watches import Told, V2Watched, judge_v2_watch
from quorate.wire._generated import kv_pb2


def put(key: bytes, value: bytes) -> Change:
    """Of the log."""
    return Change(key, kv_pb2.KeyValue(key=key, value=value))


LOG = [(2, [put(MARKER + b"/d", b""), put(b"/d/a", b"1")]), (3, [put(b"/d/a", b"1")]),
       (4, [put(b"/d/_h", b"2")]), (5, [Change(b"/d/a", None)]),
       (6, [Change(MARKER + b"/d", None), Change(b"/d/_h", None)])]
ALL = [Told(2, b"/d/a", b"1"), Told(5, b"/d/a", None), Told(6, b"/d", None)]


def judge(*told: Told, since: int = 2, complete: int = 6, path: bytes = b"/",
          recursive: bool = True) -> int:
    """How many things are wrong."""
    return len(judge_v2_watch(
        V2Watched("c", path, recursive, since, list(told), complete), LOG))


def test_what_must_be_told_and_what_may() -> None:
    """A refresh may be told, what is hidden is not, and the end of a directory may be."""
    assert judge(*ALL) == 0
    assert judge(ALL[0], Told(3, b"/d/a", b"1"), ALL[1]) == 0
    assert judge(ALL[0], Told(6, b"/d", None)) == 1  # not told of 5


def test_twice_out_of_order_and_never() -> None:
    """Each is one thing wrong."""
    assert judge(ALL[0], ALL[0], ALL[1]) == 1
    assert judge(ALL[1], ALL[0]) == 1
    assert judge(*ALL, Told(6, b"/d/a", b"9")) == 1
    assert judge(*ALL, since=3) == 2  # told of 2, which is before its beginning
    assert judge(since=7) == 0


def test_only_what_it_asked_for_is_owed() -> None:
    """A hidden file to who asks for it, and nothing after the end."""
    assert judge(path=b"/d/_h", recursive=False) == 1
    assert judge(Told(4, b"/d/_h", b"2"), path=b"/d/_h", recursive=False) == 0
    assert judge(path=b"/e") == 0
    assert judge(ALL[0], complete=4) == 0
