"""What the kernel says of a process: memory, open sockets, CPU, waits for a CPU."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1 << 20


def memory_bytes(pid: int, field: str = "RssAnon") -> int:
    """Resident memory that is the process's own. Pages of its database files, which the kernel
    may take back at any time, are no part of it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    return 0


def sockets(pid: int) -> int:
    """Open sockets."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
        except OSError:  # it was closed meanwhile
            continue
    return count


def cpu_s(pid: int | str) -> float:
    """Seconds that the process has computed, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited_s(pid: int | str) -> float:
    """Seconds that the main thread was ready to run and had to wait for a CPU."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
