"""Stock etcdctl 3.4 over its v3 commands, against stock etcd and quorate: the same output.

The invocations are in etcdctl_script.py, the differences with their reasons in
etcdctl_differences.py; all else is equal byte for byte: stdout, stderr and exit code.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)
for program in (["etcd", "--version"], ["etcdctl", "version"]):
    said = subprocess.run(program, env={"ETCDCTL_API": "3"}, capture_output=True, text=True)
    if ": 3.4." not in said.stdout:
        pytest.skip(f"{program[0]} is not of release 3.4, which the differences are listed for: "
                    f"{said.stdout[:40]!r}", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
diff = importlib.import_module("etcdctl_diff")

INVOCATIONS_MIN = 150


def test_etcdctl_cannot_tell_quorate_from_etcd(tmp_path: Path) -> None:
    """But for what is listed; and what is listed is true of every invocation that it names."""
    verdicts = diff.compared(tmp_path)

    wrong = [str(verdict) for verdict in verdicts if verdict.wrong]
    assert not wrong, "\n".join(wrong)
    assert diff.idle([verdict.ours for verdict in verdicts]) == []
    assert len(verdicts) >= INVOCATIONS_MIN


def test_a_listed_difference_that_is_none_is_wrong() -> None:
    """Also one that is another than the list says, and a row that names nothing."""
    table = importlib.import_module("etcdctl_differences")
    new, old, odd = (table.Outcome("endpoint status", 0, f"3.{n}\n", "")
                     for n in ("5.21", "4.23", "6.0"))

    assert [verdict.wrong for verdict in table.judged((new, new, odd), (old, new, old))] == [
        "", "no longer differs: " + table.DIFFERENCES[0].reason, "differs"]
    assert table.idle([new]) == [row.names for row in table.DIFFERENCES[1:]]
