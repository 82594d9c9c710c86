"""Recorded histories with verdicts, where they are at hand."""

import json
import os
from pathlib import Path

import pytest

from quorate.cli.conformance import history_problem

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("QUORATE_CONFORMANCE", ROOT.parent / "shared" / "conformance"))
TABLE = DATA / "histories" / "verdicts.json"
VERDICTS = json.loads(TABLE.read_text()) if TABLE.is_file() else {}


@pytest.mark.skipif(not VERDICTS, reason=f"no {TABLE}; set QUORATE_CONFORMANCE")
@pytest.mark.parametrize("name", VERDICTS)
def test_history(name: str) -> None:
    """The search judge comes to the verdict that is known."""
    assert history_problem(TABLE.parent / name, VERDICTS[name]) is None
