"""`quorate import`: what it refuses, and that it leaves nothing behind then."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from quorate.cli import import_cluster
from quorate.disk.datadir import DataDir
from quorate.disk.lmdb_backend import LmdbBackend
from quorate.disk.recover import recover
from quorate.state.machine import Machine
from quorate.state.revision import revision_key
from quorate.wire._generated import kv_pb2, raft_internal_pb2 as internal, raft_pb2, rpc_pb2 as rpc
from quorate.wire.bbolt import Writer

CLUSTER = ("--name=a", "--initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
           "--initial-advertise-peer-urls=http://10.0.0.1:2380")


def database(count: int = 50, **more: dict[bytes, bytes]) -> bytes:
    """A database of etcd's without its hash."""
    buckets = {
        b"key": {revision_key(n, 0): kv_pb2.KeyValue(
            key=b"k%d" % n, create_revision=n, mod_revision=n, version=1).SerializeToString()
            for n in range(2, 2 + count)},
        b"meta": {b"consistent_index": (40).to_bytes(8, "big")},
        **{name.encode(): pairs for name, pairs in more.items()}}
    writer = Writer()
    pages = [page for name in sorted(buckets)
             for page in writer.bucket(name, sorted(buckets[name].items()))]
    pages += writer.finish()
    return writer.head() + b"".join(pages)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """As `etcdctl snapshot save` writes it."""
    path = tmp_path / "saved.db"
    path.write_bytes(database() + sha256(database()).digest())
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Where the member is to be."""
    yield tmp_path / "deep" / "data"


def run(source: Path, target: Path, *more: str) -> int:
    """The exit code."""
    return import_cluster.main([str(source), f"--data-dir={target}", *CLUSTER, *more])


def test_a_member_begins_with_what_was_there(
    snapshot: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys under their revisions, both members, and a log that follows."""
    assert run(snapshot, target) == 0

    assert "50 changes, 0 leases, revision 51" in capsys.readouterr().out
    directory = DataDir(str(target))
    identity = directory.inspect()
    assert identity is not None and identity.name == "a"
    recovered = recover(directory)
    machine = Machine(recovered.backend)
    assert machine.revision == 51
    assert [member.name for member in machine.members.all()] in (["a", "b"], ["b", "a"])
    found = machine.range(rpc.RangeRequest(key=b"k7"))
    assert [kv.mod_revision for kv in found.kvs] == [7]
    assert recovered.backend.applied.conf_state.voters == tuple(
        member.id for member in machine.members.all())
    recovered.wal.close()
    recovered.backend.close()


def test_only_members_with_the_same_content_belong_together(
    snapshot: Path, target: Path, tmp_path: Path
) -> None:
    """The cluster's id is that of the content, wherever it came from."""
    other = tmp_path / "other.db"
    other.write_bytes(database(51))
    bare = tmp_path / "bare.db"
    bare.write_bytes(database())
    ids = {}
    for name, source, more in (
            ("whole", snapshot, ()), ("bare", bare, ()), ("other", other, ()),
            ("raised", bare, ("--bump-revision=1", "--mark-compacted"))):
        assert run(source, target / name, *more) == 0
        identity = DataDir(str(target / name)).inspect()
        assert identity is not None
        ids[name] = identity.cluster_id

    assert ids["whole"] == ids["bare"]
    assert len(set(ids.values())) == 3


def test_large_histories_are_written_in_batches(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost between them."""
    monkeypatch.setattr(import_cluster, "BATCH_RECORDS", 7)
    path = tmp_path / "bare.db"
    path.write_bytes(database(100))
    assert run(path, target) == 0

    backend = LmdbBackend(str(target / "member" / "db"))
    found = Machine(backend).range(rpc.RangeRequest(key=b"k", range_end=b"l", count_only=True))
    backend.close()
    assert found.count == 100


def damaged(data: bytes, kind: str) -> bytes:
    """A file that must not be taken."""
    whole = data[:-32]
    return {
        "hash": data[:-1] + bytes((data[-1] ^ 1,)),
        "content": data[:20_000] + b"!" + data[20_001:],
        "cut short": data[:8192 + 512], "no database": b"x" * 8192, "empty": b"",
        "no etcd's": database(0, meta={}),
        "page": whole[:4096 * 3 + 10] + b"\xff\xff" + whole[4096 * 3 + 12:],
    }[kind]


@pytest.mark.parametrize(
    "kind", ["hash", "content", "cut short", "no database", "empty", "no etcd's", "page"])
def test_a_bad_file_is_refused(
    kind: str, snapshot: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that names it, with nothing written."""
    snapshot.write_bytes(damaged(snapshot.read_bytes(), kind))

    assert run(snapshot, target) == 1
    said = capsys.readouterr().err
    assert str(snapshot) in said
    assert said.endswith(" Nothing was written.\n")
    assert said.count("\n") == 1
    assert not target.parent.exists()


def test_existing_directories_are_left_alone(
    snapshot: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A member's, etcd's, somebody's; also that of the log."""
    assert run(snapshot, target) == 0
    assert run(snapshot, target) == 1
    assert "has the member 'a' in it" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("mine")
    for arguments in ((other,), (tmp_path / "new", f"--wal-dir={other}")):
        assert run(snapshot, *arguments) == 1  # type: ignore[arg-type]  # a path and flags
        assert "is not empty" in capsys.readouterr().err
    assert (other / "file").read_text() == "mine"
    assert not (tmp_path / "new").exists()
    etcds = tmp_path / "etcds"
    (etcds / "member" / "snap").mkdir(parents=True)
    (etcds / "member" / "snap" / "db").write_bytes(database())
    assert run(snapshot, etcds) == 1
    assert "is a data directory of etcd" in capsys.readouterr().err


def test_a_directory_of_etcd_says_what_its_log_has_more(
    target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The import goes on, with a warning."""
    source = tmp_path / "etcd"
    (source / "member" / "snap").mkdir(parents=True)
    (source / "member" / "snap" / "db").write_bytes(database())
    (source / "member" / "wal").mkdir()
    entry = raft_pb2.Entry(Term=2, Index=41, Data=internal.InternalRaftRequest(
        put=rpc.PutRequest(key=b"k")).SerializeToString()).SerializeToString()
    record = bytes((8, 2, 26, len(entry))) + entry
    (source / "member" / "wal" / "0-0.wal").write_bytes(
        len(record).to_bytes(8, "little") + record + bytes(64))

    assert run(source, target) == 0
    said = capsys.readouterr().err
    assert "the log has 1 after entry 40" in said
    assert "etcdctl snapshot save" in said


@pytest.mark.parametrize("source", ["quorate", "nothing"])
def test_a_directory_that_is_not_etcds_is_refused(
    source: str, snapshot: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours, or anything else."""
    directory = tmp_path / source
    directory.mkdir()
    if source == "quorate":
        assert run(snapshot, directory) == 0

    assert run(directory, target) == 1
    assert ("is a data directory of quorate" if source == "quorate"
            else "it has no member/snap/db") in capsys.readouterr().err
    assert not target.exists()


def test_users_are_not_forgotten_in_silence(
    tmp_path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With authentication on, somebody has to say that it may be off."""
    path = tmp_path / "auth.db"
    path.write_bytes(database(auth={b"authEnabled": b"\x01"}, authUsers={b"root": b"x"}))

    assert run(path, target) == 1
    assert "authentication enabled with 1 users" in capsys.readouterr().err
    assert not target.exists()
    assert run(path, target, "--without-auth") == 0
    assert "1 users and their roles are left behind" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "text"), [
    (("--bump-revision=5",), "go together"), (("--mark-compacted",), "go together"),
    (("--bump-revision=-5", "--mark-compacted"), "go together"),
    (("--bump-revision=9223372036854775807", "--mark-compacted"), "too much"),
    (("--name=c",), "has no member called 'c'"),
    (("--initial-advertise-peer-urls=http://10.0.0.9:2380",), "differs from"),
])
def test_flags_that_do_not_fit_are_refused(
    more: tuple[str, ...], text: str, snapshot: Path, target: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In words, with nothing written."""
    assert run(snapshot, target, *more) == 1
    assert text in capsys.readouterr().err
    assert not target.parent.exists()


def test_a_full_disk_leaves_nothing_behind(
    snapshot: Path, target: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither a member nor directories."""
    def full(_self: LmdbBackend, _batch: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LmdbBackend, "write", full)

    assert run(snapshot, target) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not target.parent.exists()
