"""`quorate import`: the data directory of a new cluster's member, from what etcd left behind.

The source is a snapshot (`etcdctl snapshot save`), a bare database, or the data directory of a
stopped member. Keys keep their revisions; leases get their whole TTL again; the members are those
of --initial-cluster. To be run for each member, with the same source.

The cluster's id follows from what is imported, too: a member that was started without the import,
or with that of another file, has another one, and is not talked to. Were it the same, two members
could begin at the same index with different keys, and never notice.

Everything is looked at before anything is written; what is wrong is one sentence.
Not here: what is in which bucket (state/etcd_buckets.py).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lmdb

from quorate.bootstrap.static import StaticCluster, plan_cluster
from quorate.disk.datadir import DataDir, DataDirError, Identity
from quorate.disk.etcd_file import FileRefused, open_database
from quorate.disk.lmdb_backend import LmdbBackend
from quorate.disk.recover import first_start
from quorate.member.config import Config, load_config
from quorate.member.settings import ConfigError
from quorate.state.etcd_buckets import Survey, Unusable, from_etcd, survey
from quorate.state.machine import Machine
from quorate.state.members import cluster_id, to_json
from quorate.wire.bbolt import Damaged, Reader
from quorate.wire.etcd_wal import changes_after

CONFIG_FLAGS = ("name", "initial-cluster", "initial-cluster-token", "initial-advertise-peer-urls",
                "data-dir", "wal-dir")
BATCH_RECORDS = 20_000
"""Made durable at a time: what bounds the memory."""

REVISION_MAX = 2**63 - 1
ETCDS_FILE = "etcdctl snapshot save FILE"


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    options = _parser().parse_args(argv)
    try:
        config, cluster = _config(options)
        path = Path(options.source)
        database = _database_of(path)
        reader, hashed = _open(database)
        found = _survey(database, reader)
        directory = _directory(config)
        _check(options, found, path)
        for warning in config.warnings:
            _note(warning)
        if path.is_dir():
            _warn_of_log(path, found)
        if found.alarms:
            _note("alarms are left behind; one is raised again if its reason is still there")
        compacted = found.compacted
        if options.mark_compacted:
            compacted = found.revision + options.bump_revision
        cluster = replace(cluster, cluster_id=cluster_id(
            (member.id for member in cluster.members), found.digest + b"%d" % compacted))
        hash_ = _write(directory, config.name, cluster, lambda backend: _fill(
            backend, reader, compacted))
    except (ConfigError, DataDirError, FileRefused) as wrong:
        print(f"quorate: {wrong} Nothing was written.", file=sys.stderr)
        return 1
    except (OSError, lmdb.Error) as failure:
        print(f"quorate: the import stopped: {failure}. What was written is removed; try again "
              f"when that is mended.", file=sys.stderr)
        return 1
    checked = "its SHA-256 is right" if hashed else "it has no SHA-256 to check"
    print(f"imported {database} ({checked}): {found.changes} changes, {found.leases} leases, "
          f"revision {max(found.revision, compacted)}, hash-kv {hash_}\n"
          f"member {config.name} ({cluster.local.id:x}) of cluster {cluster.cluster_id:x} is in "
          f"{config.data_dir}; start it when all {len(cluster.members)} are imported")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quorate import", allow_abbrev=False,
        description="Make the data directory of a member of a new cluster from a snapshot of "
                    "etcd's, or from the data directory of a stopped etcd.")
    parser.add_argument("source", metavar="FILE|DATA-DIR")
    for name in CONFIG_FLAGS:
        parser.add_argument(f"--{name}", metavar="VALUE", help="as of `quorate serve`")
    parser.add_argument("--bump-revision", type=int, default=0, metavar="N",
                        help="go on N revisions later, so that no revision is given out twice")
    parser.add_argument("--mark-compacted", action="store_true",
                        help="with --bump-revision: end watches that ask for what was before")
    parser.add_argument("--without-auth", action="store_true",
                        help="leave users and roles behind: everybody may do everything")
    return parser


def _config(options: argparse.Namespace) -> tuple[Config, StaticCluster]:
    """Raises ConfigError."""
    given = {name: getattr(options, name.replace("-", "_")) for name in CONFIG_FLAGS}
    config = load_config([f"--{name}={value}" for name, value in given.items()
                          if value is not None], {}, lambda path: Path(path).read_text())
    if options.bump_revision < 0 or (options.bump_revision > 0) != options.mark_compacted:
        raise ConfigError(
            f"--bump-revision {options.bump_revision} and --mark-compacted go together: give both, "
            f"with a number above 0, or neither.")
    # Where clients are is not known yet, and does not matter here.
    return config, plan_cluster(replace(config, advertise_client_urls=()))


def _database_of(path: Path) -> Path:
    """The database in a data directory; raises FileRefused."""
    if not path.is_dir():
        return path
    if (path / "member" / "format").exists():
        raise FileRefused(f"{str(path)!r} is a data directory of quorate. Take a snapshot of the "
                          f"running member instead: {ETCDS_FILE}.")
    database = path / "member" / "snap" / "db"
    if not database.exists():
        raise FileRefused(f"{str(path)!r} is no data directory of etcd: it has no "
                          f"member/snap/db. Name the directory that --data-dir named.")
    return database


def _open(path: Path) -> tuple[Reader, bool]:
    """Raises FileRefused."""
    source, hashed = open_database(path)
    try:
        return Reader(source), hashed
    except Damaged as wrong:
        raise _refused(path, wrong) from wrong


def _survey(path: Path, reader: Reader) -> Survey:
    """Raises FileRefused."""
    try:
        return survey(reader)
    except (Damaged, Unusable) as wrong:
        raise _refused(path, wrong) from wrong


def _refused(path: Path, wrong: Exception) -> FileRefused:
    return FileRefused(f"{str(path)!r} cannot be imported: {wrong}. Take a new snapshot: "
                       f"{ETCDS_FILE}.")


def _check(options: argparse.Namespace, found: Survey, path: Path) -> None:
    """Raises FileRefused."""
    if found.auth_enabled and not options.without_auth:
        raise FileRefused(
            f"{str(path)!r} has authentication enabled with {found.users} users, which this "
            f"release does not import. Everybody could read and write then; if that is what you "
            f"want, say --without-auth.")
    if found.users:
        _note(f"{found.users} users and their roles are left behind")
    if found.revision + options.bump_revision > REVISION_MAX:
        raise FileRefused(f"--bump-revision {options.bump_revision} is too much: the revision is "
                          f"{found.revision} already, {REVISION_MAX} the last there is.")


def _directory(config: Config) -> DataDir:
    """Raises DataDirError unless there is nothing yet."""
    directory = DataDir(config.data_dir, config.wal_dir)
    identity = directory.inspect()
    if identity is not None:
        raise DataDirError(f"--data-dir {config.data_dir!r} has the member {identity.name!r} in "
                           f"it. Name a new directory.")
    for path in (directory.path, directory.wal):
        if path.exists() and any(path.iterdir()):
            raise DataDirError(f"{str(path)!r} is not empty. Name a new directory.")
    return directory


def _warn_of_log(path: Path, found: Survey) -> None:
    """etcd writes its database some time after the log."""
    segments = sorted((path / "member" / "wal").glob("*.wal"))
    if not segments:
        return _note(f"{str(path)!r} has no log in member/wal: whether the database holds the "
                     f"newest changes is not known. {_advice()}")
    missing = changes_after(found.consistent_index, (s.read_bytes() for s in segments))
    if missing:
        _note(f"the newest changes may be missing: the log has {len(missing)} after entry "
              f"{found.consistent_index}, up to which the database goes. {_advice()}")
    return None


def _advice() -> str:
    return (f"If that matters, start that etcd again, take a snapshot ({ETCDS_FILE}), and import "
            f"that.")


def _fill(backend: LmdbBackend, reader: Reader, compacted: int) -> None:
    for count in from_etcd(reader, backend, compacted):
        if count % BATCH_RECORDS == 0:
            _commit(backend)
    _commit(backend)


def _commit(backend: LmdbBackend) -> None:
    batch = backend.freeze()
    if batch is not None:
        backend.write(batch)
        backend.thaw(batch)


def _write(
    directory: DataDir, name: str, cluster: StaticCluster, fill: Callable[[LmdbBackend], None]
) -> int:
    """The hash of the keys that were written; raises OSError, lmdb.Error, and then nothing is left
    behind."""
    made = list(_missing(directory.path))
    directory.lock()
    try:
        first_start(
            directory, Identity(cluster.cluster_id, cluster.local.id, name),
            [(member.id, to_json(member)) for member in cluster.members], fill)
        backend = LmdbBackend(str(directory.db))
        try:
            return int(Machine(backend).hash_kv(0).hash)
        finally:
            backend.close()
    except BaseException:
        shutil.rmtree(directory.member, ignore_errors=True)
        shutil.rmtree(directory.wal, ignore_errors=True)
        for path in made:
            path.rmdir()
        raise
    finally:
        directory.unlock()


def _missing(path: Path) -> Iterator[Path]:
    """Directories that have to be made, the innermost first."""
    while not path.exists():
        yield path
        path = path.parent


def _note(text: str) -> None:
    print(f"quorate: warning: {text}", file=sys.stderr)
