"""Every kind of wrong input: the sentence, the exit code, and an untouched directory."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import free_ports, running_cluster

ROOT = Path(__file__).parents[2]


def serve(*flags: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """(exit code, what it printed) of the command, which must end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "quorate.cli.serve", *flags], capture_output=True, text=True,
        timeout=20, cwd=cwd, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), **(env or {})})
    return done.returncode, done.stderr + done.stdout


def tree(directory: Path) -> list[tuple[str, bytes]]:
    """Everything in a directory."""
    return sorted((str(p), p.read_bytes() if p.is_file() else b"")
                  for p in directory.rglob("*"))


@dataclass
class Case:
    """Flags (`D` stands for the data directory) and what the sentence must hold."""

    name: str
    flags: list[str]
    sentence: list[str]
    code: int = 1


THREE = "a=http://10.1.1.1:2380,b=http://10.1.1.2:2380,c=http://10.1.1.3:2380"
CASES = [
    Case("name not in initial-cluster", ["--name=d", f"--initial-cluster={THREE}"],
         ["--initial-cluster", "'d'", "--name", "a, b, c"]),
    Case("advertised URL mismatch",
         ["--name=a", f"--initial-cluster={THREE}",
          "--initial-advertise-peer-urls=http://10.9.9.9:2380"],
         ["--initial-advertise-peer-urls", "http://10.9.9.9:2380", "http://10.1.1.1:2380"]),
    Case("localhost advertised to other hosts",
         ["--name=a", "--initial-cluster=a=http://localhost:2380,b=http://10.1.1.2:2380,"
          "c=http://10.1.1.3:2380"],
         ["--initial-advertise-peer-urls", "http://localhost:2380", "10.1.1.2"]),
    Case("localhost advertised to clients",
         ["--name=a", f"--initial-cluster={THREE}",
          "--initial-advertise-peer-urls=http://10.1.1.1:2380"],
         ["--advertise-client-urls", "http://localhost:2379", "clients"]),
    Case("listening without advertising", ["--listen-client-urls=http://127.0.0.1:1"],
         ["--listen-client-urls", "http://127.0.0.1:1", "--advertise-client-urls"]),
    Case("bad duration", ["--election-timeout=fast"], ["--election-timeout", "'fast'", "1000"]),
    Case("election below five heartbeats", ["--heartbeat-interval=300"],
         ["--election-timeout", "1000", "--heartbeat-interval", "300", "3000"]),
    Case("election above the limit", ["--election-timeout=60s"],
         ["--election-timeout", "60000", "50000"]),
    Case("bad number", ["--snapshot-count=many"], ["--snapshot-count", "'many'", "10000"]),
    Case("bad URL", ["--listen-peer-urls=localhost:2380"],
         ["--listen-peer-urls", "localhost:2380", "http://10.0.0.1:2380"]),
    Case("URL without port", ["--listen-peer-urls=http://localhost"],
         ["--listen-peer-urls", "http://localhost", "port"]),
    Case("URL with path", ["--listen-peer-urls=http://localhost:2380/x"],
         ["--listen-peer-urls", "/x", "path"]),
    Case("TLS is not there", ["--cert-file=server.crt"], ["--cert-file", "server.crt", "TLS"]),
    Case("https URL", ["--listen-peer-urls=https://localhost:2380"],
         ["--listen-peer-urls", "https://localhost:2380", "TLS"]),
    Case("bad state", ["--initial-cluster-state=old"], ["--initial-cluster-state", "'old'", "new"]),
    Case("no such flag", ["--lisen-peer-urls=x"], ["--lisen-peer-urls", "--listen-peer-urls"], 2),
    Case("a word that is no flag", ["start"], ["'start'", "--help"], 2),
    Case("missing configuration file", ["--config-file=/does/not/exist"],
         ["--config-file", "/does/not/exist", "No such file"]),
    Case("bad log level", ["--log-level=loud"], ["--log-level", "'loud'", "debug"]),
    Case("the same URL twice", ["--name=a", "--initial-cluster=a=http://h:1,b=http://h:1"],
         ["--initial-cluster", "http://h:1", "'a'", "'b'"]),
    Case("half a member", ["--initial-cluster=a"], ["--initial-cluster", "'a'", "NAME=URL"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_flags_end_in_a_sentence(case: Case, tmp_path: Path) -> None:
    """The setting, its value and the remedy; exit code; nothing is written."""
    code, text = serve(f"--data-dir={tmp_path / 'data'}", *case.flags, cwd=tmp_path)

    assert code == case.code
    assert [part for part in case.sentence if part not in text] == [], text
    assert text.count("\n") <= 2, text
    assert tree(tmp_path) == []


def _foreign(directory: Path) -> None:
    (directory / "holiday.jpg").write_bytes(b"sun")


def _etcd(directory: Path) -> None:
    (directory / "member" / "snap").mkdir(parents=True)
    (directory / "member" / "snap" / "db").write_bytes(b"bolt")


def _damaged(directory: Path) -> None:
    (directory / "member").mkdir()
    (directory / "member" / "format").write_text("{")


def _newer(directory: Path) -> None:
    (directory / "member").mkdir()
    (directory / "member" / "format").write_text(
        '{"version": 99, "cluster_id": "1", "member_id": "2", "name": "default"}')


@pytest.mark.parametrize(("fill", "sentence"), [
    (_foreign, ["--data-dir", "holiday.jpg", "empty"]),
    (_etcd, ["--data-dir", "directory of etcd", "another"]),
    (_damaged, ["format", "damaged", "empty directory"]),
    (_newer, ["--data-dir", "99", "version of quorate"]),
])
def test_a_directory_that_is_not_ours_is_left_alone(
    fill: Callable[[Path], None], sentence: list[str], tmp_path: Path
) -> None:
    """Refused with a sentence, byte for byte as before."""
    data = tmp_path / "data"
    data.mkdir()
    fill(data)
    before = tree(data)
    client, peer = free_ports(2)

    code, text = serve(
        f"--data-dir={data}", f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}", cwd=tmp_path)

    assert code == 1
    assert [part for part in sentence if part not in text] == [], text
    assert tree(data) == before


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """--data-dir that names a file."""
    (tmp_path / "data").write_text("text")

    code, text = serve(f"--data-dir={tmp_path / 'data'}", cwd=tmp_path)

    assert code == 1
    assert "is a file" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's directory can be made by root only")
def test_an_unreadable_directory(tmp_path: Path) -> None:
    """A directory of somebody else: named, with the command that helps."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    code = ("import sys; sys.path.insert(0, sys.argv[1]);"
            "from quorate.disk.datadir import DataDir, DataDirError\n"
            "import os; os.setuid(65534)\n"
            "try: DataDir(sys.argv[2]).inspect()\n"
            "except DataDirError as e: print(e)")
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)

    done = subprocess.run([sys.executable, "-c", code, str(ROOT / "src"), str(data)],
                          capture_output=True, text=True, check=False)

    assert "cannot be read by this user" in done.stdout, done.stderr


def test_a_port_in_use_names_its_holder(tmp_path: Path) -> None:
    """The flag, the port, and the process that holds it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        code, text = serve(
            f"--data-dir={tmp_path / 'data'}", f"--listen-peer-urls=http://127.0.0.1:{port}",
            cwd=tmp_path)

    assert code == 1
    assert f"port {port} is in use by" in text
    assert f"pid {os.getpid()}" in text
    assert tree(tmp_path) == []


def test_the_directory_of_another_member_or_cluster(tmp_path: Path) -> None:
    """A directory that exists is compared with what the flags say."""
    with running_cluster(tmp_path, 1) as cluster:
        member = cluster.members[0]
        flags = list(member.arguments[3:])
        running = serve(*flags, cwd=tmp_path)
        member.kill()
        before = tree(member.data_dir)
        token = serve(*(f for f in flags if "token" not in f),
                      "--initial-cluster-token=other", cwd=tmp_path)
        name = serve(f"--data-dir={member.data_dir}", "--name=other", cwd=tmp_path)

    assert running[0] == 1 and "is in use" in running[1]
    assert token[0] == 1 and "belongs to cluster" in token[1]
    assert name[0] == 1 and "belongs to member 'm1'" in name[1]
    assert tree(member.data_dir) == before


def test_even_sizes_are_warned_of(tmp_path: Path) -> None:
    """Two members survive no more than one."""
    code, text = serve(
        "--name=d", "--initial-cluster=a=http://10.1.1.1:1,b=http://10.1.1.2:1", cwd=tmp_path)

    assert code == 1
    assert "--initial-cluster" in text


def test_a_configuration_file_replaces_flags_and_environment(tmp_path: Path) -> None:
    """What was given besides is named as ignored."""
    file = tmp_path / "quorate.yml"
    file.write_text("name: x\nelection-timeout: fast\n")

    code, text = serve(f"--config-file={file}", "--name=y", cwd=tmp_path,
                       env={"ETCD_DATA_DIR": "/nowhere"})

    assert code == 1
    assert "election-timeout in" in text
