"""Other people's clients, unmodified, on three members: their test programs pass.

`scripts/clients` shows the same on stock etcd, too. Skips only if what a client needs is not there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "clients"))

from conductor import COMMANDS, play, three_members

SCRIPT = Path(__file__).parents[2] / "scripts" / "clients"
UNAVAILABLE = 75
"""Exit code of `--prepare`: nothing can be shown here."""


@pytest.mark.parametrize("client", COMMANDS)
def test_a_client_works_unmodified(client: str, tmp_path: Path) -> None:
    """Every check of its program; members are killed meanwhile."""
    prepared = subprocess.run([SCRIPT, "--prepare", client],
                              capture_output=True, text=True, check=False)
    if prepared.returncode == UNAVAILABLE:
        pytest.skip(f"{client}: {prepared.stderr.strip() or 'cannot be installed here'}")
    assert prepared.returncode == 0, prepared.stderr

    with three_members("quorate", tmp_path) as cluster:
        assert play(client, cluster)
