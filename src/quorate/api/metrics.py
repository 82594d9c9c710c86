"""The page /metrics: what the member tells, the calls of clients, and the process (surface §9).

Not here: what is counted (member/measures.py, calls.py, health.py), the text
(wire/prometheus.py).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from quorate.wire.prometheus import Family, counter, gauge, render

Source = Callable[[], Iterable[Family]]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class MetricsPage:
    """Of one member."""

    def __init__(self, *sources: Source) -> None:
        self._sources = (*sources, process)

    def text(self) -> bytes:
        """The page as it is now."""
        return render([family for source in self._sources for family in source()])


def process() -> Iterator[Family]:
    """This process, as Prometheus' libraries tell it; what the system does not tell is left
    out."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = resource.getrusage(resource.RUSAGE_SELF)
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    yield counter("process_cpu_seconds_total", "Processor time, in seconds.",
                  used.ru_utime + used.ru_stime)
    yield gauge("process_max_fds", "File descriptors that the process may have.", soft)
    yield gauge("os_fd_limit", "File descriptors that the process may have.", soft)
    yield gauge("process_virtual_memory_max_bytes", "Address space that the process may have; -1 "
                "for any.", -1 if space == resource.RLIM_INFINITY else space)
    try:
        descriptors = len(os.listdir("/proc/self/fd"))
        # What comes after the name, which may have anything in it, even spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        boot = next(line.split()[1] for line in Path("/proc/stat").read_text().splitlines()
                    if line.startswith("btime "))
    except (OSError, StopIteration):
        return
    yield gauge("process_open_fds", "File descriptors that the process has.", descriptors)
    yield gauge("os_fd_used", "File descriptors that the process has.", descriptors)
    yield gauge("process_start_time_seconds", "When the process began, in seconds since 1970.",
                int(boot) + int(fields[19]) / _TICKS)
    yield gauge("process_virtual_memory_bytes", "Address space, in bytes.", int(fields[20]))
    yield gauge("process_resident_memory_bytes", "Resident memory, in bytes.",
                int(fields[21]) * _PAGE)
