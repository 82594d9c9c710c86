"""The door out and the door in: snapshots of either side are the beginning of the other.

Stock etcdctl saves and restores; stock etcd starts on what quorate wrote, quorate on what etcd
wrote. Equal HashKV means equal changes, byte for byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness import (
    Cluster, JsonClient, Member, Unanswered, b64, make_cluster, running_cluster,
)

from quorate.wire._generated import rpc_pb2 as rpc

if shutil.which("etcd") is None or shutil.which("etcdctl") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server etcd-client",
                allow_module_level=True)

LEASES = {7: 600, 2**62: 3600, -9: 900}
KEYS = 10_000
ETCD: dict[str, Any] = {"program": ["etcd"], "extra": ("--log-level=error",)}
INITIAL = ("--name=", "--data-dir=", "--initial-")
"""Flags that `etcdctl snapshot restore` and `quorate import` share."""


def etcdctl(*arguments: object) -> str:
    """Standard output of stock etcdctl."""
    return subprocess.run(
        ["etcdctl", *map(str, arguments)], env={**os.environ, "ETCDCTL_API": "3"}, check=True,
        capture_output=True, text=True, timeout=60).stdout


def import_(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`quorate import`."""
    return subprocess.run(
        [sys.executable, "-m", "quorate.cli.main", "import", str(source), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True, text=True, timeout=60, check=False)


def initial(member: Member) -> list[str]:
    """What says which member it is."""
    return [word for word in member.arguments if word.startswith(INITIAL)]


def fill(client: JsonClient, count: int) -> None:
    """A history with everything that a snapshot has to hold."""
    for lease, ttl in LEASES.items():
        client.call("/v3/lease/grant", {"ID": str(lease), "TTL": ttl})
    for start in range(0, count, 100):
        client.call("/v3/kv/txn", {"success": [
            {"request_put": {"key": b64(f"k/{n:06}"), "value": b64("v" * (n % 300))}}
            for n in range(start, start + 100)]})
    for n, lease in enumerate(LEASES):
        for _ in range(3):
            client.call("/v3/kv/put", {
                "key": b64(f"leased/{n}"), "value": b64("x"), "lease": str(lease)})
    client.put("large", "x" * 300_000)
    client.call("/v3/kv/deleterange", {"key": b64("k/000010"), "range_end": b64("k/000020")})
    client.call("/v3/kv/compaction", {"revision": 12})
    client.put("k/000011", "again")
    client.call("/v3/kv/deleterange", {"key": b64("k/000005")})


def content(client: JsonClient) -> dict[str, Any]:
    """All that must be the same on the other side."""
    found = client.call("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0")})
    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        hash_ = channel.unary_unary(  # stock 3.4 has it under another path in its gateway
            "/etcdserverpb.Maintenance/HashKV",
            request_serializer=rpc.HashKVRequest.SerializeToString,
            response_deserializer=rpc.HashKVResponse.FromString)(rpc.HashKVRequest(), timeout=30)
    out = {"hash": hash_.hash, "compacted": hash_.compact_revision, "kvs": found["kvs"],
           "revision": found["header"]["revision"]}
    for lease in LEASES:
        one = client.call("/v3/lease/timetolive", {"ID": str(lease), "keys": True})
        assert int(one["TTL"]) > int(one["grantedTTL"]) - 60
        out[str(lease)] = one["grantedTTL"], one["keys"]
    return out


def client_of(cluster: Cluster, member: int = 0) -> contextlib.closing[JsonClient]:
    """Of a member, when it serves."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", cluster.members[member].client_port)).close()
            break
        except OSError:
            assert time.monotonic() < deadline, f"member {member} does not serve"
            time.sleep(0.05)
    return contextlib.closing(cluster.members[member].client(30.0))


def endpoint(cluster: Cluster) -> str:
    """As etcdctl wants it."""
    return f"--endpoints=127.0.0.1:{cluster.members[0].client_port}"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A member of quorate with a history."""
    with running_cluster(tmp_path_factory.mktemp("ours"), 1) as cluster:
        with client_of(cluster) as client:
            fill(client, KEYS)
        yield cluster


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """(snapshot, data directory of the stopped member, content) of stock etcd."""
    directory = tmp_path_factory.mktemp("theirs")
    with running_cluster(directory, 1, **ETCD) as cluster:
        with client_of(cluster) as client:
            fill(client, 1000)
            etcdctl(endpoint(cluster), "snapshot", "save", directory / "saved.db")
            found = content(client)
        refused = import_(cluster.members[0].data_dir, f"--data-dir={directory / 'no'}")
        assert "in use by a running etcd" in refused.stderr
        cluster.members[0].signal(signal.SIGTERM)
        cluster.members[0].wait()
        return directory / "saved.db", cluster.members[0].data_dir, found


def test_stock_etcd_goes_on_from_our_snapshot(ours: Cluster, tmp_path: Path) -> None:
    """Saved, looked at, restored and served by stock programs: same keys, leases and hash."""
    file = tmp_path / "saved.db"
    etcdctl(endpoint(ours), "snapshot", "save", file)
    with client_of(ours) as client:
        before = content(client)
    status = json.loads(etcdctl("snapshot", "status", file, "-w", "json"))
    assert status["revision"] == int(before["revision"])
    assert status["totalSize"] == file.stat().st_size - 32

    stock = make_cluster(tmp_path, 1, **ETCD)
    etcdctl("snapshot", "restore", file, *initial(stock.members[0]))
    try:
        stock.start()
        stock.leader()
        with client_of(stock) as client:
            assert content(client) == before
            client.put("after", "1")
        etcdctl(endpoint(stock), "compaction", before["revision"])
        etcdctl(endpoint(stock), "defrag")
        etcdctl(endpoint(stock), "snapshot", "save", tmp_path / "again.db")
    finally:
        stock.stop()


@pytest.mark.parametrize("form", ["snapshot", "without hash", "directory"])
def test_we_go_on_from_what_stock_etcd_left(
    form: str, theirs: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A snapshot, with or without its hash, and a data directory begin a cluster of three."""
    snapshot, directory, before = theirs
    source = directory if form == "directory" else snapshot
    if form == "without hash":
        source = tmp_path / "bare.db"
        source.write_bytes(snapshot.read_bytes()[:-32])
    cluster = make_cluster(tmp_path, 3)
    for member in cluster.members:
        done = import_(source, *initial(member))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"hash-kv {before['hash']}" in done.stdout
    try:
        cluster.start()
        cluster.leader()
        for member in range(3):
            with client_of(cluster, member) as client:
                assert content(client) == before
        with client_of(cluster) as client:
            client.put("after", "1")
    finally:
        cluster.stop()


def test_revisions_may_be_raised(
    theirs: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A watch from before is told that it has missed something; keys are as they were."""
    snapshot, _, before = theirs
    cluster = make_cluster(tmp_path, 1)
    raised = int(before["revision"]) + 1_000_000
    done = import_(snapshot, *initial(cluster.members[0]), "--bump-revision=1000000",
                   "--mark-compacted")
    assert f"revision {raised}," in done.stdout
    try:
        cluster.start()
        cluster.leader()
        with client_of(cluster) as client:
            found = client.get("\0", range_end=b64("\0"))
            assert found["kvs"] == before["kvs"]
            assert found["header"]["revision"] == str(raised)
            assert client.put("k/000011", "new") == raised + 1
        file = tmp_path / "out.db"
        etcdctl(endpoint(cluster), "snapshot", "save", file)
        status = json.loads(etcdctl("snapshot", "status", file, "-w", "json"))
        assert status["revision"] == raised + 1
    finally:
        cluster.stop()


def messages(port: int) -> list[rpc.SnapshotResponse]:
    """A snapshot as gRPC has it."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return list(channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot",
            request_serializer=rpc.SnapshotRequest.SerializeToString,
            response_deserializer=rpc.SnapshotResponse.FromString)(
                rpc.SnapshotRequest(), timeout=30))


def test_the_stream_has_the_form_that_stock_etcds_has(ours: Cluster, tmp_path: Path) -> None:
    """Pieces of 32 KiB that say what remains, then the hash of all of them."""
    with running_cluster(tmp_path, 1, **ETCD) as stock:
        for cluster in (ours, stock):
            *pieces, last = messages(cluster.members[0].client_port)
            left = total = sum(len(piece.blob) for piece in pieces)
            for piece in pieces:
                left -= len(piece.blob)
                assert (piece.remaining_bytes, piece.HasField("header")) == (left, False)
            assert {len(piece.blob) for piece in pieces[:-1]} == (
                {32 << 10} if len(pieces) > 1 else set())
            assert total % 4096 == 0
            digest = hashlib.sha256(b"".join(piece.blob for piece in pieces)).digest()
            assert (last.blob, last.remaining_bytes) == (digest, 0)


def test_the_gateway_streams_the_same(ours: Cluster) -> None:
    """Lines of JSON; both ways out have the same bytes while nothing changes."""
    port = ours.members[0].client_port
    lines = subprocess.run(
        ["curl", "-sS", "-XPOST", f"http://127.0.0.1:{port}/v3/maintenance/snapshot", "-d", "{}"],
        stdout=subprocess.PIPE, check=True, timeout=30).stdout.splitlines()

    blobs = [json.loads(line)["result"]["blob"] for line in lines]
    keys = [b64(message.blob) for message in messages(port)]
    assert blobs == keys


def test_what_only_the_log_has_is_said(tmp_path: Path) -> None:
    """A member that was killed has newer changes in its log than in its database; one that was
    stopped has not."""
    stock = make_cluster(tmp_path, 1, program=["etcd"], extra=(
        "--log-level=error", "--backend-batch-interval=1h"))
    member = stock.members[0]
    try:
        for how, missing in ((signal.SIGTERM, 0), (signal.SIGKILL, 7)):
            stock.start()
            stock.leader()
            with client_of(stock) as client:
                for n in range(7):
                    client.put(f"{how}/{n}", "x")
            member.signal(how)
            member.wait()
            done = import_(member.data_dir, f"--data-dir={tmp_path / str(missing)}")
            assert done.returncode == 0
            assert (f"the log has {missing} after" in done.stderr) == bool(missing), done.stderr
            assert "revision 8, " in done.stdout
    finally:
        stock.stop()


def unnamed_files(pid: int) -> list[str]:
    """Snapshots that a member has on its disk."""
    found = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in between
            found.append(os.readlink(file))
    return [name for name in found if "/snap/" in name and name.endswith("(deleted)")]


def test_a_client_that_leaves_takes_its_file_along(ours: Cluster) -> None:
    """In the middle of a stream, over gRPC and over JSON; the member serves on."""
    member = ours.members[0]
    assert member.process is not None
    for _ in range(6):
        with grpc.insecure_channel(f"127.0.0.1:{member.client_port}") as channel:
            stream = channel.unary_stream(
                "/etcdserverpb.Maintenance/Snapshot",
                request_serializer=rpc.SnapshotRequest.SerializeToString,
                response_deserializer=rpc.SnapshotResponse.FromString)(rpc.SnapshotRequest())
            next(iter(stream))
            stream.cancel()
        with socket.create_connection(("127.0.0.1", member.client_port)) as raw:
            raw.sendall(b"POST /v3/maintenance/snapshot HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            assert raw.recv(1000).startswith(b"HTTP/1.1 200")

    deadline = time.monotonic() + 10
    while unnamed_files(member.process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(messages(member.client_port)) > 10


def test_a_member_that_was_not_imported_is_not_let_in(
    theirs: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """It would begin at the same index without the keys, and nobody would notice."""
    snapshot, _, before = theirs
    cluster = make_cluster(tmp_path, 3)
    imported = cluster.members[0]
    assert import_(snapshot, *initial(imported)).returncode == 0
    try:
        cluster.start()
        deadline = time.monotonic() + 20
        while "cluster ID mismatch" not in imported.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found: list[dict[str, Any]] = []
        while len(found) < 2:  # a port that is open says nothing of another member's
            assert time.monotonic() < deadline
            with client_of(cluster, len(found)) as client, contextlib.suppress(Unanswered):
                found.append(client.status())
        assert found[0]["header"]["revision"] == before["revision"]
        assert found[0]["errors"] == ["etcdserver: no leader"]
        assert found[0]["header"]["cluster_id"] != found[1]["header"]["cluster_id"]
    finally:
        cluster.stop()
