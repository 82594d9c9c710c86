"""A client that renews a lease every so often over its own connection, as a process of its own.

`python renewer.py PORT PID` grants a lease and renews it. For each line on standard input it
prints, as JSON, what happened since the last one; it ends with its input.

A renewal's time is taken twice: by the clock, and less what the kernel made the member PID and
this process wait for a CPU meanwhile. On a machine that others use too, only the second one is
about the member.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from procfs import waited_s

INTERVAL_S = 0.05
TTL_S = 60


@dataclass
class Renewals:
    """Since the last report."""

    count: int = 0
    failed: int = 0
    longest_ms: float = 0.0
    longest_own_ms: float = 0.0
    """Without waits for a CPU."""


class Lease:
    """A lease and the connection it is renewed on; HTTP/1.1, the path that Patroni uses."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 10.0)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        granted = json.loads(self._call("lease/grant", {"TTL": TTL_S}))
        self._body = {"ID": granted["ID"]}

    def renew(self) -> bool:
        """Whether the lease was there."""
        return b'"TTL":"60"' in self._call("lease/keepalive", self._body)

    def _call(self, path: str, body: dict[str, object]) -> bytes:
        data = json.dumps(body).encode()
        self._sock.sendall(b"POST /v3/%b HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%b" % (
            path.encode(), len(data), data))
        answer = b""
        while not _complete(answer):
            more = self._sock.recv(65536)
            if not more:
                raise OSError("the member closed the connection")
            answer += more
        return answer.partition(b"\r\n\r\n")[2]


def _complete(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:"))
    return len(body) >= size


class Renewer:
    """The process, from outside."""

    def __init__(self, port: int, pid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(port), str(pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def report(self) -> Renewals:
        """What happened since the last report."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Renewals(**json.loads(self._process.stdout.readline()))

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """The process itself."""
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    lease, renewals = Lease(port), Renewals()
    while True:
        waited, began = waited_s(pid) + waited_s("self"), time.perf_counter()
        try:
            renewals.failed += not lease.renew()
        except OSError:
            renewals.failed += 1
            lease = Lease(port)
        took = time.perf_counter() - began
        waited = waited_s(pid) + waited_s("self") - waited
        renewals.count += 1
        renewals.longest_ms = max(renewals.longest_ms, took * 1000)
        renewals.longest_own_ms = max(renewals.longest_own_ms, (took - waited) * 1000)
        if select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(asdict(renewals)), flush=True)
            renewals = Renewals()


if __name__ == "__main__":
    main()
