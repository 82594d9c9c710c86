"""Scenario files of etcd's raft library, where they are at hand."""

import os
from pathlib import Path

import pytest

from quorate.cli.conformance import run_file

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("QUORATE_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
FILES = sorted((DATA / "raft").rglob("*.txt"))


@pytest.mark.skipif(not FILES, reason=f"no scenario files under {DATA}; set QUORATE_CONFORMANCE")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_scenario(path: Path) -> None:
    """Every directive gives what etcd's library gives, and no invariant breaks."""
    wrong = [f"{directive.line}: {problem}" for directive, problem in run_file(path) if problem]

    assert wrong == []
