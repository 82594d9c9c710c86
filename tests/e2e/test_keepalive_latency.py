"""What a renewal costs Patroni, measured with Patroni's own client class."""

import statistics
import time
from pathlib import Path

import pytest

pytest.importorskip("patroni", reason="Patroni is not installed; run scripts/patroni")

from harness import running_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

CALLS = 200
MEDIAN_S_MAX = 0.005


def test_a_renewal_takes_less_than_five_milliseconds(tmp_path: Path) -> None:
    """The median of 200 renewals through Patroni's Etcd3Client on loopback."""
    from patroni.dcs.etcd import DnsCachingResolver
    from patroni.dcs.etcd3 import Etcd3Client

    with running_cluster(tmp_path, 1) as cluster:
        port = cluster.members[0].client_port
        client = Etcd3Client(
            {"hosts": [f"http://127.0.0.1:{port}"], "retry_timeout": 10, "ttl": 30, "loop_wait": 10,
             "patronictl": True}, DnsCachingResolver())
        lease = client.lease_grant(30)
        took_s = []
        for _ in range(CALLS):
            started = time.perf_counter()
            assert client.lease_keepalive(lease)
            took_s.append(time.perf_counter() - started)

    median_s = statistics.median(took_s)
    print(f"median {1000 * median_s:.2f} ms over {CALLS} renewals")
    assert median_s < MEDIAN_S_MAX
