"""The short form of snapshots.py."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
snapshots = importlib.import_module("snapshots")
keyspace = importlib.import_module("keyspace")


def test_a_few_thousand_keys_go_both_ways(tmp_path: Path) -> None:
    """Every member that begins with a snapshot has all that the source had."""
    round_ = snapshots.both_ways(tmp_path, 3000)

    assert round_.wrong == []
    assert len(round_.table) > 15


def test_a_difference_would_be_told() -> None:
    """Of each kind: a comparison that sees nothing would show nothing."""
    before = keyspace.Content(9, 3, {4: 1, 9: 2}, 5, "a", {7: (60, (b"k",)), 8: (60, ())})
    after = keyspace.Content(8, 2, {4: 1, 9: 3}, 6, "b", {7: (60, ()), 9: (60, ())})

    assert keyspace.differences(before, before) == []
    assert keyspace.differences(before, after) == [
        "revision 8, not 9", "compacted revision 2, not 3", "number of keys 6, not 5",
        "digest of the keys b, not a", "hash-kv 3 at revision 9, not 2",
        "lease 7 with 60 s and 0 keys, not with 60 s and 1 keys",
        "lease 8 absent, not with 60 s and 0 keys", "lease 9 with 60 s and 0 keys, not absent"]
