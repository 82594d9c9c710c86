"""The planted bugs of tests/mutations fit the sources: each text is there exactly once."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_planted_bug_can_be_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "mutations"))
    catalogue = importlib.import_module("catalogue").CATALOGUE

    unfit = [bug.name for bug in catalogue
             if (ROOT / "src" / "quorate" / bug.module).read_text().count(bug.old) != 1]

    assert unfit == []
    assert len({bug.name for bug in catalogue}) == len(catalogue)
