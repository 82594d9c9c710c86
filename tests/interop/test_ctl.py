"""`quorate ctl` prints what stock etcdctl 3.4 prints in the same script, but for what is listed."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

if shutil.which("etcdctl") is None:
    pytest.skip("stock etcdctl is not installed: apt-get install etcd-client",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
diff = importlib.import_module("ctl_diff")

LISTED_MAX = 90
"""Most of them are users and roles."""


def test_ctl_prints_what_etcdctl_prints(tmp_path: Path) -> None:
    """In every form, with every exit code; and every row of the list is needed."""
    pairs = diff.compared(tmp_path)
    verdicts = [diff.judged(ours, theirs) for ours, theirs in pairs]

    wrong = [text for text, _ in verdicts if text]
    assert not wrong, "\n".join(wrong)
    assert diff.idle([ours for ours, _ in pairs], (*diff.ROWS, *diff.BLANKED)) == []
    assert sum(bool(reasons) for _, reasons in verdicts) <= LISTED_MAX
