"""Headers, docstrings, and what must not be in a repository."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [p for p in sorted((ROOT / "src").rglob("*.py")) if "_generated" not in p.parts]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_owns(path: Path) -> None:
    """A header docstring, except in empty package markers."""
    text = path.read_text()

    assert path.name == "__init__.py" or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_says_what_it_shows(path: Path) -> None:
    """One sentence each."""
    missing = [node.name for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
               and not ast.get_docstring(node)]

    assert missing == []


def test_no_todo_without_an_issue() -> None:
    """What is left to do is in the tracker."""
    found = [str(p.relative_to(ROOT)) for p in SOURCES
             if re.search(r"\bTO" + r"DO\b(?!.*#\d)", p.read_text())]

    assert found == []


def test_documents_name_files_that_exist() -> None:
    """Paths in backticks in README and docs are there."""
    missing = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for path in re.findall(r"`((?:docs|scripts|tests|src|benchmarks)/[\w./-]+)`",
                               page.read_text()):
            if not (ROOT / path).exists():
                missing.append(f"{page.relative_to(ROOT)} names {path}")

    assert missing == []
