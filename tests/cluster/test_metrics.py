"""Every series that a member exports moves when what it counts happens."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import (
    Cluster, ErrorAnswer, JsonClient, b64, free_ports, join, running_cluster,
)
from scrape import Page, fetch, scrape

QUOTA = 1 << 30

CONSTANT = {
    "etcd_server_id", "etcd_server_version", "etcd_cluster_version",
    "etcd_server_quota_backend_bytes", "process_max_fds", "os_fd_limit",
    "process_virtual_memory_max_bytes",
}
"""What a member is, and what it was told, which the second test looks at."""

IN_UNIT_TESTS = {
    "etcd_server_slow_apply_total", "etcd_server_snapshot_apply_in_progress_total",
    "etcd_network_snapshot_send_inflights_total", "etcd_network_snapshot_send_failures",
    "etcd_network_snapshot_receive_inflights_total", "etcd_network_snapshot_receive_failures",
    "quorate_log_lines_dropped_total",
}
"""What would need luck here, and may have it: see tests/unit/member/test_measures.py, which moves
each."""


class Watching:
    """What the pages of some members have shown, each series with all its values."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[Any, set[float]]] = {}
        self.kinds: dict[str, str] = {}

    def look(self, cluster: Cluster) -> dict[str, Page]:
        """Scrape all that answer."""
        pages = {}
        for member in cluster.members:
            with contextlib.suppress(OSError):
                pages[member.name] = page = scrape(member.client_port)
                self.kinds |= page.kinds
                for family, series in page.series.items():
                    for key, value in series.items():
                        self._seen.setdefault(family, {}).setdefault(
                            (member.name, *key), set()).add(value)
        return pages

    def unmoved(self) -> set[str]:
        """Families none of whose series has had two values, or began above zero."""
        return {family for family, series in self._seen.items() if not any(
            len(values) > 1 or (self.kinds[family] == "counter" and max(values) > 0)
            for values in series.values())}


def use(client: JsonClient) -> None:
    """Whatever clients do."""
    lease = client.call("/v3/lease/grant", {"TTL": "600"})["ID"]
    client.call("/v3/kv/put", {"key": b64("k"), "value": b64("v"), "lease": lease})
    client.call("/v3/lease/keepalive", {"ID": lease})
    client.call("/v3/kv/txn", {"success": [
        {"requestPut": {"key": b64("a"), "value": b64("1")}},
        {"requestRange": {"key": b64("k")}}]})
    revision = client.call("/v3/kv/deleterange", {"key": b64("a")})["header"]["revision"]
    client.call("/v3/kv/compaction", {"revision": revision})
    client.call("/v3/lease/revoke", {"ID": lease})
    client.call("/v3/lease/grant", {"TTL": "2"})  # and nobody renews it
    client.call("/v3/maintenance/defragment", {})


@contextlib.contextmanager
def stopped_reader(port: int, revision: int) -> Iterator[None]:
    """A watch of history whose client does not read."""
    body = json.dumps({"create_request": {
        "key": b64("big"), "range_end": b64("bih"), "start_revision": revision}})
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall((f"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
                            f"\r\n\r\n{body}").encode())
        time.sleep(0.5)
        yield


def test_every_series_moves(tmp_path: Path) -> None:
    """Three members are used, lose their leader and their quorum, and a fourth joins."""
    seen = Watching()
    options = ("--metrics=extensive", f"--quota-backend-bytes={QUOTA}", "--snapshot-count=100",
               "--snapshot-catchup-entries=10")
    with running_cluster(tmp_path, 3, extra=options) as cluster:
        seen.look(cluster)
        leader = cluster.leader()
        other = next(m for m in cluster.members if m is not leader)
        client = leader.client()
        use(client)
        first = client.put("big0", "x" * 100_000)
        for number in range(1, 150):
            client.put(f"big{number}", "x" * 100_000)
        with stopped_reader(leader.client_port, first):
            seen.look(cluster)
        assert fetch(leader.client_port, "/v3/maintenance/snapshot", b"{}")[0] == 200
        for path in ("/health", "/readyz", "/livez"):
            assert fetch(leader.client_port, path)[0] == 200
        seen.look(cluster)

        other.kill()
        for number in range(400):
            client.put(f"k{number}", "x")
        other.start()
        wait_for(lambda: seen.look(cluster)[leader.name].value(
            "etcd_network_snapshot_send_success") > 0)
        join_as_learner(cluster, client, tmp_path)
        seen.look(cluster)
        learner = cluster.members[-1].client()
        member_id = learner.status()["header"]["member_id"]
        wait_for(lambda: done(client, "promote", {"ID": member_id}))
        learner.close()
        leader.signal(signal.SIGSTOP)
        time.sleep(0.4)
        leader.signal(signal.SIGCONT)
        time.sleep(6)  # long enough for a probe of each peer
        seen.look(cluster)
        without_a_quorum(cluster, seen)
        client.close()

        assert seen.unmoved() - IN_UNIT_TESTS == CONSTANT


def join_as_learner(cluster: Cluster, client: JsonClient, directory: Path) -> None:
    """A fourth member joins, and is promoted when it has the state."""
    client_port, peer_port = free_ports(2)
    url = f"http://127.0.0.1:{peer_port}"
    wait_for(lambda: done(client, "add", {"peerURLs": [url], "isLearner": True}))
    initial = ",".join([*(f"{m.name}=http://127.0.0.1:{m.peer_port}" for m in cluster.members),
                        f"m4={url}"])
    member = join(directory, "m4", client_port, peer_port, initial)
    cluster.members.append(member)
    member.start()
    wait_for(lambda: answers(client_port))


def without_a_quorum(cluster: Cluster, seen: Watching) -> None:
    """Two voters of three are stopped: what the third is asked fails."""
    voters = [member for member in cluster.members if member.name != "m4"]
    left, *gone = sorted(voters, key=lambda member: member is not cluster.leader())
    for member in gone:
        member.signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as threads:
        for path in ("put", "range"):
            threads.submit(fetch, left.client_port, f"/v3/kv/{path}", b'{"key":"aw=="}')
        time.sleep(0.7)  # they wait, and the leader does not know yet that it is alone
        seen.look(Cluster([left]))
    for path in ("/health", "/readyz"):
        assert fetch(left.client_port, path)[0] == 503
    seen.look(Cluster([left]))
    for member in gone:
        member.kill()
    wait_for(lambda: seen.look(Cluster([left]))[left.name].value("quorate_quorum_margin") < 0)


def done(client: JsonClient, what: str, request: dict[str, Any]) -> bool:
    """Whether the cluster did that; it waits for members to be connected, and to catch up."""
    try:
        client.call(f"/v3/cluster/member/{what}", request)
    except ErrorAnswer as refused:
        assert "unhealthy cluster" in str(refused) or "can only promote" in str(refused)
        return False
    return True


def answers(port: int) -> bool:
    """Whether somebody serves there."""
    with contextlib.suppress(OSError):
        scrape(port)
        return True
    return False


def wait_for(condition: Any, timeout_s: float = 30.0) -> None:
    """Until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_a_port_for_metrics_only(tmp_path: Path) -> None:
    """--listen-metrics-urls serves pages about the member and nothing else."""
    [port] = free_ports(1)
    with running_cluster(tmp_path, 1, extra=(
            f"--listen-metrics-urls=http://127.0.0.1:{port}",
            f"--quota-backend-bytes={QUOTA}")) as cluster:
        page = scrape(port)
        assert page.value("etcd_server_quota_backend_bytes") == QUOTA
        assert page.value("etcd_server_version", server_version="3.5.21") == 1
        assert fetch(port, "/health") == (200, '{"health":"true","reason":""}')
        assert fetch(port, "/readyz?verbose") == (
            200, "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n"
                 "[+]non_learner ok\nok\n")
        assert fetch(port, "/v3/kv/range", b"{}")[0] == fetch(port, "/version")[0] == 404

        assert scrape(cluster.members[0].client_port).kinds.keys() == page.kinds.keys() | {
            "etcd_server_healthcheck", "etcd_server_healthchecks_total"}
