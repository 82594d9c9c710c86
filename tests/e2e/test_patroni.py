"""Unmodified Patroni with real PostgreSQL on three members. Run by `scripts/patroni`."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("patroni", reason="Patroni is not installed; run scripts/patroni")
pytest.importorskip("psycopg", reason="psycopg is not installed; run scripts/patroni")

from quorate.cli.demo.members import Store
from quorate.cli.demo.play import FAILOVER_S_MAX
from quorate.cli.demo.postgres import DRIVERS, PostgresCluster, find_postgres, which_patronictl
from quorate.cli.demo.processes import Workspace
from quorate.cli.demo.writers import RowWriter

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

KILLS = 20
DEMOTED = re.compile(r"demot|Demoting|restarting after failure", re.IGNORECASE)


@pytest.fixture(scope="module", params=DRIVERS)
def clusters(request: pytest.FixtureRequest) -> Iterator[tuple[Store, PostgresCluster]]:
    """A store and a PostgreSQL cluster with two streaming replicas, by either driver."""
    workspace = Workspace()
    store = Store(workspace, [sys.executable, "-m", "quorate.cli.serve"])
    postgres = PostgresCluster(workspace, store.hosts, find_postgres("wheel"),
                               dcs=lambda _name: {request.param: {"hosts": store.hosts}})
    try:
        store.start()
        postgres.start()
        postgres.primary(90)
        postgres.wait_for_replicas(2, 90)
        yield store, postgres
    finally:
        postgres.stop()
        store.stop()
        workspace.remove()


def test_twenty_kills_of_the_stores_leader_demote_nobody(
    clusters: tuple[Store, PostgresCluster],
) -> None:
    """At ttl 20, loop_wait 2, retry_timeout 3 the primary goes on through 20 leader kills."""
    store, postgres = clusters
    primary = postgres.primary(10)
    timeline = (primary.rest() or {}).get("timeline")
    rows = RowWriter(postgres)
    rows.start()
    for _ in range(KILLS):
        victim = store.leader()
        victim.process.kill()
        time.sleep(2.5)
        victim.process.start()
        time.sleep(1.5)
        assert primary.role == "primary"
    rows.halt()

    assert (primary.rest() or {}).get("timeline") == timeline
    assert not DEMOTED.search(primary.process.log.read_text())
    assert rows.lost(primary) == set()


def test_changing_the_driver_demotes_nobody(clusters: tuple[Store, PostgresCluster]) -> None:
    """From the one to the other and back, one Patroni after the other, the primary's last, while
    rows are written and without pause mode. A Patroni is killed, because one that is asked to stop
    stops its PostgreSQL, too."""
    store, postgres = clusters
    primary = postgres.primary(10)
    postgres.wait_for_replicas(2, 60)
    timeline = (primary.rest() or {}).get("timeline")
    before = primary.driver
    rows = RowWriter(postgres)
    rows.start()
    for driver in (*(one for one in DRIVERS if one != before), before):
        for node in sorted(postgres.nodes, key=lambda node: node is primary):
            node.use({driver: {"hosts": store.hosts}})
            node.process.kill()
            node.process.start()
            assert node.driver == driver
            time.sleep(5)
            postgres.wait_for_replicas(2, 60)
            assert postgres.primary(10) is primary
    rows.halt()

    assert (primary.rest() or {}).get("timeline") == timeline
    assert not DEMOTED.search(primary.process.log.read_text())
    assert rows.lost(primary) == set()


def test_switchover_by_patronictl(clusters: tuple[Store, PostgresCluster]) -> None:
    """`patronictl switchover` moves the primary, and the old one follows."""
    _store, postgres = clusters
    old = postgres.primary(10)
    postgres.wait_for_replicas(2, 60)

    done = subprocess.run(
        [which_patronictl(), "-c", str(old.config), "switchover", "--leader", old.name,
         "--force"],
        capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    new = postgres.primary(30, other_than=old)
    assert new is not old
    postgres.wait_for_replicas(2, 60)


def test_failover_and_rejoin_with_pg_rewind(clusters: tuple[Store, PostgresCluster]) -> None:
    """A killed primary is replaced within its TTL, comes back and follows; nothing is lost."""
    _store, postgres = clusters
    old = postgres.primary(10)
    postgres.wait_for_replicas(2, 60)
    rows = RowWriter(postgres)
    rows.start()
    time.sleep(2)
    old.kill()

    new = postgres.primary(FAILOVER_S_MAX, other_than=old)
    time.sleep(2)
    old.process.start()
    postgres.wait_for_replicas(2, 90)
    rows.halt()

    deadline = time.monotonic() + 30
    while old.role != "replica" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert old.role == "replica"
    assert rows.lost(new) == set()
