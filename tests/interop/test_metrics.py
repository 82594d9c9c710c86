"""Metrics of stock etcd and of quorate: what has the same name is of the same kind, with the same
labels and bucket edges, and what is missing is missing for a reason."""

import shutil
from pathlib import Path

import pytest
from harness import Cluster, JsonClient, b64, running_cluster
from scrape import Page, fetch, scrape

if shutil.which("etcd") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server",
                allow_module_level=True)

MISSING = {
    # bbolt's parts of a commit, which LMDB has not, and files that quorate does not write.
    "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
    "etcd_debugging_disk_backend_commit_spill_duration_seconds",
    "etcd_debugging_disk_backend_commit_write_duration_seconds",
    "etcd_debugging_snap_save_marshalling_duration_seconds",
    "etcd_debugging_snap_save_total_duration_seconds",
    "etcd_snap_db_fsync_duration_seconds", "etcd_snap_db_save_total_duration_seconds",
    "etcd_snap_fsync_duration_seconds", "etcd_disk_defrag_inflight",
    # Parts of a compaction, which goes in steps of a millisecond.
    "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
    "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
    "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
    # Durations inside of what has no clock.
    "etcd_mvcc_hash_duration_seconds", "etcd_mvcc_hash_rev_duration_seconds",
    "etcd_mvcc_db_open_read_transactions",
    # Of programs that quorate is not.
    "etcd_grpc_proxy_cache_hits_total", "etcd_grpc_proxy_cache_keys_total",
    "etcd_grpc_proxy_cache_misses_total", "etcd_grpc_proxy_events_coalescing_total",
    "etcd_grpc_proxy_watchers_coalescing_total", "etcd_server_go_version",
    "promhttp_metric_handler_requests_in_flight", "promhttp_metric_handler_requests_total",
    # Not in this release: users, the v2 protocol.
    "etcd_debugging_auth_revision", "etcd_debugging_store_expires_total",
    "etcd_debugging_store_reads_total", "etcd_debugging_store_watch_requests_total",
    "etcd_debugging_store_watchers", "etcd_debugging_store_writes_total",
    "etcd_server_learner_promote_successes",
}
"""All but those of Go's runtime (`go_*`)."""


def used(cluster: Cluster) -> Page:
    """The page of a leader after some requests."""
    leader = cluster.leader()
    client = leader.client()
    client.put("a", "b")
    use(client)
    client.close()
    assert fetch(leader.client_port, "/health")[0] == 200
    return scrape(leader.client_port)


def use(client: JsonClient) -> None:
    """Counted requests."""
    client.get("a")
    lease = client.call("/v3/lease/grant", {"TTL": "600"})["ID"]
    client.call("/v3/lease/keepalive", {"ID": lease})
    client.call("/v3/kv/txn", {"success": [
        {"requestPut": {"key": b64("a"), "value": b64("1")}},
        {"requestRange": {"key": b64("a")}}]})
    client.call("/v3/kv/deleterange", {"key": b64("a")})
    client.call("/v3/lease/revoke", {"ID": lease})


def test_as_stock_etcd_tells_them(tmp_path: Path) -> None:
    """Kinds, labels, edges; and what the same requests count."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "stock").mkdir()
    options = ("--metrics=extensive",)
    with running_cluster(tmp_path / "stock", 3, program=["etcd"], extra=options) as cluster:
        stock = used(cluster)
    with running_cluster(tmp_path / "ours", 3, extra=options) as cluster:
        ours = used(cluster)

    missing = {name for name in stock.kinds.keys() - ours.kinds.keys() if name[:3] != "go_"}
    assert missing == MISSING
    for name in stock.kinds.keys() & ours.kinds.keys():
        assert ours.kinds[name] == stock.kinds[name], name
        assert ours.labels(name) == stock.labels(name), name
        assert ours.edges(name) == stock.edges(name), name
    for name in ("etcd_mvcc_put_total", "etcd_mvcc_delete_total", "etcd_mvcc_txn_total",
                 "etcd_debugging_mvcc_keys_total", "etcd_debugging_mvcc_current_revision",
                 "etcd_debugging_mvcc_compact_revision", "etcd_server_has_leader",
                 "etcd_debugging_mvcc_total_put_size_in_bytes", "etcd_server_health_success",
                 "etcd_debugging_lease_granted_total", "etcd_debugging_lease_renewed_total",
                 "etcd_debugging_lease_revoked_total", "etcd_debugging_lease_ttl_total",
                 "etcd_server_quota_backend_bytes", "etcd_server_proposals_failed_total"):
        assert ours.value(name) == stock.value(name), name
    for method in ("Put", "Txn", "DeleteRange", "LeaseGrant", "LeaseRevoke", "LeaseKeepAlive"):
        for name in ("grpc_server_started_total", "grpc_server_msg_received_total",
                     "grpc_server_msg_sent_total", "grpc_server_handling_seconds"):
            assert ours.value(name, grpc_method=method) == stock.value(
                name, grpc_method=method), f"{name} of {method}"
        assert ours.value("grpc_server_handled_total", grpc_method=method, grpc_code="OK") == (
            stock.value("grpc_server_handled_total", grpc_method=method, grpc_code="OK")), method
