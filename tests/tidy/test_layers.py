"""The rings: who may import whom, and what a pure package may not touch."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "quorate"

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "raft": (),
    "wire": ("raft.types",),
    "state": ("wire", "raft.types"),
    "net": (),
    "disk": ("raft.types", "state.backend", "wire"),
    "peers": ("raft.types", "wire", "net"),
    "bootstrap": ("wire", "raft.types", "state.members", "member.config",
                  "member.config_discovery", "member.settings"),
    "member": ("raft", "wire", "state", "net", "disk", "peers", "bootstrap"),
    "api": ("member.service", "state.errors", "wire", "net"),
    "client": ("wire",),
    "check": ("wire",),
    "sim": ("raft", "wire", "state", "disk", "member", "check"),
    "cli": (
        "raft", "wire", "state", "check", "net", "disk", "peers", "bootstrap", "member", "api",
        "client", "sim"),
}
"""docs/decisions/001-ports.md; every package may import itself."""

PURE = ("raft", "wire", "state", "check", "member/core.py", "member/proposals.py",
        "member/reads.py", "member/removal.py",
        "member/leases.py", "member/leasecalls.py", "member/leasekeeper.py",
        "member/leadership.py", "member/logkeeper.py", "member/watchhub.py",
        "member/watchstream.py", "member/v2watches.py", "member/requests.py",
        "member/effects.py", "member/serving.py",
        "member/membership.py", "member/handover.py")
BANNED = ("asyncio", "threading", "socket", "os", "time", "random", "logging", "select",
          "subprocess", "concurrent")


def modules() -> Iterator[Path]:
    """All modules that people write."""
    return (p for p in sorted(SRC.rglob("*.py")) if "_generated" not in p.parts)


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nobody_imports_outside_its_ring() -> None:
    """Every import of ours is allowed by the table."""
    wrong = []
    for path in modules():
        package = path.relative_to(SRC).parts[0]
        if package not in MAY_IMPORT:
            continue
        allowed = (package, *MAY_IMPORT[package])
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "quorate" or len(parts) < 3:
                continue
            inner = ".".join(parts[1:])
            if not any(inner == a or inner.startswith(a + ".") for a in allowed):
                wrong.append(f"{path.relative_to(SRC)} imports {name}")

    assert wrong == []


def test_pure_modules_touch_nothing_outside() -> None:
    """Time, chance and I/O are arguments there."""
    wrong = [
        f"{path.relative_to(SRC)} imports {name}"
        for path in modules()
        if str(path.relative_to(SRC)).startswith(tuple(
            p if p.endswith(".py") else p + "/" for p in PURE))
        for name in imports(path)
        if name.split(".")[0] in BANNED
    ]

    assert wrong == []


@pytest.mark.parametrize("package", sorted(p.name for p in SRC.iterdir() if p.is_dir()
                                           and not p.name.startswith("__")))
def test_every_package_is_in_the_table(package: str) -> None:
    """A new package has to decide where it belongs."""
    assert package in MAY_IMPORT
