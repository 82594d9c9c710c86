"""A real member at its quota, and one that compacts by itself."""

import time
from pathlib import Path

import pytest
from harness import ErrorAnswer, b64, running_cluster

QUOTA = 4 << 20
VALUE = "x" * 50_000


def test_a_full_store_refuses_writes_until_there_is_room(tmp_path: Path) -> None:
    """Everybody hears of it; deletes, compaction and renewals go on; the alarm ends by itself."""
    with running_cluster(tmp_path, 1, extra=(f"--quota-backend-bytes={QUOTA}",)) as cluster:
        client = cluster.members[0].client()
        lease = client.call("/v3/lease/grant", {"TTL": "600"})["ID"]
        with pytest.raises(ErrorAnswer) as refused:
            for number in range(2 * QUOTA // len(VALUE)):
                client.put(f"k{number}", VALUE)
        assert refused.value.args[1]["message"] == "etcdserver: mvcc: database space exceeded"
        alarms = client.call("/v3/maintenance/alarm", {})["alarms"]
        assert [alarm["alarm"] for alarm in alarms] == ["NOSPACE"]
        assert "alarm:NOSPACE" in client.status()["errors"][0]
        assert client.call("/v3/lease/keepalive", {"ID": lease})["result"]["TTL"] == "600"

        gone = client.call("/v3/kv/deleterange", {"key": b64("k"), "range_end": b64("l")})
        client.call("/v3/kv/compaction", {"revision": gone["header"]["revision"]})
        deadline = time.monotonic() + 30
        while client.call("/v3/maintenance/alarm", {}).get("alarms"):
            assert time.monotonic() < deadline, "the alarm does not end"
            time.sleep(0.5)

        assert client.put("k", "room again") > 0
        client.close()


def test_history_is_compacted_by_time(tmp_path: Path) -> None:
    """To where it was a retention ago."""
    with running_cluster(tmp_path, 1, extra=("--auto-compaction-retention=2s",)) as cluster:
        client = cluster.members[0].client()
        first = client.put("k", "1")
        client.put("k", "2")
        deadline = time.monotonic() + 20
        while True:
            try:
                client.get("k", revision=first)
            except ErrorAnswer as refused:
                assert "has been compacted" in refused.args[1]["message"]
                break
            assert time.monotonic() < deadline, "nothing was compacted"
            time.sleep(0.2)

        assert client.get("k")["count"] == "1"
        client.close()


def test_larger_requests_if_the_members_are_told(tmp_path: Path) -> None:
    """Through a member that does not lead, too; and they are there after a power cut."""
    large = "x" * (12 << 20)
    with running_cluster(
            tmp_path, 3, extra=(f"--max-request-bytes={13 << 20}",)) as cluster:
        leader = cluster.leader()
        other = next(member for member in cluster.members if member is not leader)
        for member in (leader, other):
            client = member.client()
            client.put(f"large/{member.name}", large)
            with pytest.raises(ErrorAnswer, match="request is too large"):
                client.put("more", "x" * (13 << 20))
            client.close()
        for member in cluster.members:
            member.kill()
        cluster.start()
        client = cluster.leader().client()
        found = client.call("/v3/kv/range", {"key": b64("large/"), "range_end": b64("large0")})
        client.close()

    assert [kv["value"] for kv in found["kvs"]] == [b64(large)] * 2
