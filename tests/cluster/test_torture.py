"""Real members tormented for a quarter of a minute; and that the judgement can fail."""

import random
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from quorate.check.keyvalue import Change
from quorate.check.leases import Hold, LeaseHistory, Renewal
from quorate.check.revisions import Call
from quorate.cli.torture.nemesis import KINDS, strokes
from quorate.cli.torture.verdict import History, judge
from quorate.cli.torture.workload import Holder, Writer
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc


@pytest.mark.cluster
def test_a_short_torture_finds_nothing() -> None:
    """Three members, 15 s of faults, everything judged."""
    done = subprocess.run(
        [sys.executable, "-m", "quorate.cli.main", "torture", "--minutes", "0.25"],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path),
                                                          "PATH": "/usr/bin:/bin"})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "no violation" in done.stdout


def test_every_kind_of_fault_is_drawn() -> None:
    """In a few hundred strokes there is each."""
    drawn = strokes(random.Random(1))

    assert {next(drawn).kind for _ in range(300)} == set(KINDS)


def _history() -> tuple[History, Writer, Holder]:
    stop = threading.Event()
    writer = Writer("w", [1], random.Random(1), stop)
    holder = Holder("h", [1], random.Random(1), stop)
    kv = kv_pb2.KeyValue(key=b"k", value=b"v", create_revision=2, mod_revision=2, version=1)
    answer = rpc.PutResponse(header=rpc.ResponseHeader(revision=2))
    writer.calls.append(Call("w", 0.0, 1.0, rpc.PutRequest(key=b"k", value=b"v"), answer))
    log = [(2, [Change(b"k", kv)])]
    return History([writer, holder], [log, list(log)], (0.0, 1.0), 9.0), writer, holder


def test_a_right_history_is_right() -> None:
    """The base of the doctored ones."""
    assert judge(_history()[0]) == []


def test_a_lost_write_is_found() -> None:
    """Acknowledged, and in nobody's events."""
    history, writer, _ = _history()
    writer.calls.append(Call(
        "w", 1.0, 2.0, rpc.PutRequest(key=b"k", value=b"lost"),
        rpc.PutResponse(header=rpc.ResponseHeader(revision=3))))

    assert judge(history)


def test_members_that_differ_are_found() -> None:
    """One tells less than the others."""
    history = _history()[0]

    assert judge(replace(history, logs=[history.logs[0], []]))


def test_a_client_that_crashed_is_found() -> None:
    """An answer that cannot be read is a failure, too."""
    history, writer, _ = _history()
    writer.crashed = "ValueError: what is this"

    assert judge(history)


def test_two_holders_of_the_lock_are_found() -> None:
    """Their beliefs overlap."""
    history, _, holder = _history()
    holder.histories.append(LeaseHistory("h", 7, 2, [Renewal(0.0, 0.1, True)]))
    holder.holds += [Hold("a", b"lock", 0.0, 2.0), Hold("b", b"lock", 1.0, 3.0)]

    assert judge(history)
