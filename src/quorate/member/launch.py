"""Starting and stopping one member: the composition root.

Order of a start: everything that can be wrong is checked, then the directory is locked, created if
need be and recovered, then sockets are opened, then the loop turns. Order of a stop: leadership is
handed over, client listeners close first, what is in flight is finished, then peers, then disk.

Not here: the loop's work (runtime.py), parsing (config.py), what clients see (api/, passed in).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from quorate.bootstrap.discovery import discover
from quorate.bootstrap.join import plan_join
from quorate.bootstrap.registries import registry_of
from quorate.bootstrap.srv import find_members, plan_srv
from quorate.bootstrap.static import StaticCluster, check_ports, plan_cluster
from quorate.disk.datadir import DataDir, Identity, Note
from quorate.disk.recover import Recovered, first_start, recover
from quorate.member.build import build_core, open_log
from quorate.member.config import Config
from quorate.member.settings import ConfigError
from quorate.member.limits import CoreConfig
from quorate.member.measures import Measures
from quorate.member.notify import Notifier
from quorate.member.membership import Rules
from quorate.member.quota import Quota
from quorate.member.requests import RequestIds
from quorate.member.runtime import Removed, Runtime
from quorate.member.serving import MemberService
from quorate.member.snapshots import Snapshots
from quorate.member.stats import Stats
from quorate.member.upkeep import Upkeep
from quorate.net.connections import Connections
from quorate.peers.handler import LocalMember
from quorate.peers.transport import PeerTransport
from quorate.state.errors import Problem, Refused
from quorate.state.members import to_json
from quorate.wire._generated import membership_pb2 as membership

log = logging.getLogger(__name__)

DRAIN_S_MAX = 3.0
"""How long requests under way may take when the member stops."""

OVERHEAD_BYTES_MAX = 1 << 20
"""What a client's message may have beyond the request's own limit, which is told in words."""

PUBLISH_RETRY_S = 0.5

STATE_LOOK_S = 0.02
"""How often a member that joins looks whether it has been sent the state."""

GC_THRESHOLDS = (50_000, 20, 50)
"""Requests leave no cycles behind; the default looks for them several times in each turn."""


class Api(Protocol):
    """What serves the client port."""

    def protocol(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Protocol: ...

    def metrics_protocol(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> asyncio.Protocol: ...

    def end_streams(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A directory that is locked and holds this member."""

    directory: DataDir
    identity: Identity


def prepare(config: Config) -> Prepared:
    """Check everything, then lock and, at a first start, create; raises ConfigError,
    DataDirError."""
    directory = DataDir(config.data_dir, config.wal_dir)
    found = directory.inspect()
    if found is None:
        joins = config.initial_cluster_state == "existing"
        cluster = _find_cluster(config, directory)
        check_ports(config)
        directory.lock()
        identity = Identity(cluster.cluster_id, cluster.local.id, config.name, joins)
        founders = () if joins else cluster.members
        first_start(directory, identity, [(m.id, to_json(m)) for m in founders])
        return Prepared(directory, identity)
    _compare(config, directory, found)
    check_ports(config)
    directory.lock()
    return Prepared(directory, found)


def _find_cluster(config: Config, directory: DataDir) -> StaticCluster:
    """The cluster and this member's place in it, in whichever way the settings name; raises
    ConfigError, DataDirError. Waits for others where members register."""
    if config.discovery.by_registry:
        check_ports(config)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the wait as SIGTERM does
        return discover(config, registry_of(config.discovery), Note(directory))
    if config.discovery.srv:
        config = find_members(config)
    if config.initial_cluster_state == "existing":
        return plan_join(config)
    return plan_srv(config) if config.discovery.srv else plan_cluster(config)


def _compare(config: Config, directory: DataDir, found: Identity) -> None:
    """An existing directory wins over the initial-* settings, unless they were given and say that
    this is somebody else's. They describe the beginning; the members may have changed since, and
    the cluster's id says nothing: an import's is its own."""
    if "name" in config.given:
        directory.expect(found, replace(
            found, member_id=found.member_id if config.name == found.name else 0,
            name=config.name))
    if found.joined or config.initial_cluster_state == "existing":
        return
    if "initial-cluster" in config.given:
        with contextlib.suppress(ConfigError):
            cluster: StaticCluster = plan_cluster(config)
            if cluster.local.id != found.member_id:
                directory.expect(found, Identity(
                    cluster.cluster_id, cluster.local.id, config.name))


class RunningMember:
    """One member from open sockets to closed files."""

    def __init__(
        self, config: Config, prepared: Prepared,
        make_api: Callable[[MemberService], Api], version: str,
    ) -> None:
        self.config = config
        self._directory = prepared.directory
        self._identity = prepared.identity
        self._loop = asyncio.get_running_loop()
        self._version = version
        self._stopping: asyncio.Future[int] = self._loop.create_future()
        self._connections = Connections(self._loop, config.max_request_bytes + OVERHEAD_BYTES_MAX)
        recovered = recover(prepared.directory)
        if recovered.contents.repaired:
            log.warning("%s", recovered.contents.repaired)
        self.runtime = self._build(recovered)
        self._snapshots = Snapshots(recovered.backend, prepared.directory.snap)
        self.service = MemberService(
            self.runtime.core, self.runtime.wake, version=version,
            request_bytes_max=config.max_request_bytes,
            rules=Rules(config.strict_reconfig_check, config.max_learners), links=self.runtime,
            upkeep=self.runtime.upkeep, snapshots=self._snapshots.open,
            measures=Measures(self.runtime, self._snapshots, version=version,
                              quota_bytes=config.quota_bytes),
            stats=Stats(self.runtime, config.name))
        self.runtime.membership = self.service.membership
        self._api = make_api(self.service)
        self._listeners: list[asyncio.Server] = []
        self._published = self._serving = False
        self._notifier = Notifier(os.environ)
        self._opening: asyncio.Task[None] | None = None

    def _build(self, recovered: Recovered) -> Runtime:
        config, backend = self.config, recovered.backend
        core_config = CoreConfig(
            self._identity.cluster_id, self._identity.member_id,
            tick_s=config.heartbeat_ms / 1000, election_timeout_s=config.election_ms / 1000,
            snapshot_count=config.snapshot_count,
            snapshot_catch_up_entries=config.snapshot_catch_up_entries)
        rng = random.SystemRandom()
        core = build_core(
            core_config, open_log(recovered.contents, backend.durable), backend,
            RequestIds(self._identity.member_id, time.time_ns() // 1_000_000),
            lambda tick: rng.randrange(tick, 2 * tick), self._loop.time(),
            durable=lambda: backend.durable, max_txn_ops=config.max_txn_ops)
        upkeep = Upkeep(core, Quota(config.quota_bytes), config.auto_compaction)
        return Runtime(core, upkeep, recovered.wal, backend, recovered.images,
                       heartbeat_s=core_config.tick_s, failed=self._failed,
                       flush=self._connections.flush)

    async def start(self) -> None:
        """Open the sockets and begin; raises OSError."""
        local = LocalMember(
            self._identity.cluster_id, self._identity.member_id,
            tuple(url.text for url in self.config.initial_advertise_peer_urls), self._version)
        transport = PeerTransport(local, self.runtime, random.Random())
        for url in self.config.listen_peer_urls:
            await transport.listen(url.host, url.port)
        self.runtime.transport = transport
        self.runtime.update_peers()
        self._notifier.tell("STATUS=waits for a leader")
        self._notifier.watch(self.runtime)
        for url in self.config.listen_metrics_urls:
            self._listeners.append(await self._loop.create_server(
                lambda: self._api.metrics_protocol(self._connections, self._loop),
                url.host, url.port))
        if self._is_known():
            await self._open_client_port()
        self.runtime.start()
        self._publish()

    def _is_known(self) -> bool:
        """Whether this member's state has it; one that joins has no state that could be served."""
        return self.runtime.core.machine.members.get(self._identity.member_id) is not None

    async def _open_client_port(self) -> None:
        for url in self.config.listen_client_urls:
            self._listeners.append(await self._loop.create_server(
                lambda: self._api.protocol(self._connections, self._loop),
                url.host, url.port, backlog=1024))
        self._serving = True

    def _wait_for_state(self) -> None:
        if self._is_known():
            self._opening = self._loop.create_task(self._open_client_port())
            self._opening.add_done_callback(self._opened)
        elif not self._stopping.done():
            self._loop.call_later(STATE_LOOK_S, self._wait_for_state)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if opening.cancelled():
            return
        failure = opening.exception()
        if failure is not None:
            self._failed(failure)
        else:
            self._publish()

    async def wait(self) -> int:
        """Until somebody asks to stop, or something is broken; the number of the signal, or 0."""
        return await self._stopping

    def ask_to_stop(self, number: int) -> None:
        """A signal arrived."""
        if not self._stopping.done():
            self._stopping.set_result(number)

    def _failed(self, failure: BaseException) -> None:
        if not self._stopping.done():
            self._stopping.set_exception(failure)

    def _publish(self) -> None:
        """Tell the cluster name and client URLs, and the world that this member is ready."""
        core, config = self.runtime.core, self.config
        known = core.machine.members.get(self._identity.member_id)
        urls = tuple(url.text for url in config.advertise_client_urls)
        if not self._serving:
            self._wait_for_state()
            return
        if known is None or (known.name == self._identity.name and known.client_urls == urls):
            self._wait_for_leader()
            return

        def done(outcome: object) -> None:
            if not isinstance(outcome, Refused):
                self._ready()
            elif not self._stopping.done():
                self._loop.call_later(PUBLISH_RETRY_S, self._publish)

        core.propose(membership.ClusterMemberAttrSetRequest(
            member_ID=self._identity.member_id, member_attributes=membership.Attributes(
                name=self._identity.name, client_urls=urls)), done, own=True)
        self.runtime.wake()

    def _wait_for_leader(self) -> None:
        def done(outcome: object) -> None:
            if outcome is None:
                self._ready()
            elif not self._stopping.done():
                self._loop.call_later(PUBLISH_RETRY_S, self._wait_for_leader)

        self.runtime.core.read(done)
        self.runtime.wake()

    def _ready(self) -> None:
        if self._published:
            return
        self._published = True
        gc.collect()
        gc.freeze()  # what is alive now stays: the collector need not look at it again
        gc.set_threshold(*GC_THRESHOLDS)
        self._notifier.tell("READY=1", f"STATUS={self.runtime.chronicle.status}")
        log.info("published local member to cluster through raft")
        log.info("ready to serve client requests")
        for url in self.config.listen_client_urls:
            log.info("serving client traffic insecurely; this is strongly discouraged! "
                     "address %s:%d", url.host, url.port)

    async def stop(self, *, orderly: bool = True) -> None:
        """See the module's text."""
        self._notifier.tell("STOPPING=1")
        core = self.runtime.core
        for listener in self._listeners:
            listener.close()
        if orderly:
            self._api.end_streams()
            self._connections.drain()
            await self._hand_over()
            await self._until(lambda: core.idle and not len(self._connections), DRAIN_S_MAX)
            core.stop()
            core.fail_pending(Problem.STOPPED, Problem.STOPPED)
            self.runtime.wake()
            await asyncio.sleep(0)
        if self.runtime.transport is not None:
            await self.runtime.transport.stop()
        await self._snapshots.stop()
        await self.runtime.stop()
        self._connections.close()
        self._directory.unlock()

    async def _hand_over(self) -> None:
        """Make the most advanced voter that can be reached the leader."""
        core = self.runtime.core
        transport = self.runtime.transport
        if not core.is_leader or transport is None:
            return
        match = core.node.status().match
        voters = set(core.conf_state.voters) & transport.active()
        if not voters:
            return
        target = max(sorted(voters), key=lambda member_id: match.get(member_id, 0))
        core.node.transfer_leader(target)
        self.runtime.wake()
        await self._until(lambda: core.node.lead not in (0, core.node.id),
                          core.config.election_timeout_s)

    async def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = self._loop.time() + limit_s
        while not done() and self._loop.time() < deadline:
            await asyncio.sleep(0.005)


async def _run(
    config: Config, prepared: Prepared, make_api: Callable[[MemberService], Api], version: str
) -> int:
    member = RunningMember(config, prepared, make_api, version)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, member.ask_to_stop, number)
    await member.start()
    try:
        received = await member.wait()
    except Removed as removed:
        log.warning("%s", removed)
        await member.stop(orderly=False)
        return 0
    except Exception:
        log.exception("the member stops because it cannot go on safely")
        await member.stop(orderly=False)
        return -1
    log.info("stopping on signal %d", received)
    await member.stop()
    return received


def run(config: Config, make_api: Callable[[MemberService], Api], version: str) -> int:
    """Run a member until it is told to stop; the exit code. Dies of the signal that stopped it,
    as etcd does, so that a supervisor sees what happened."""
    import uvloop

    prepared = prepare(config)
    number = uvloop.run(_run(config, prepared, make_api, version))
    logging.shutdown()
    if number > 0:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 1 if number < 0 else 0
