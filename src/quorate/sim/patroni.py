"""Patroni in the model: the HA loop of one node, over a driver and a server.

After Patroni 4.1 (ha.py): each loop the node looks at the cluster, keeps the lock or races for it,
and makes its server what the lock says; when the store cannot be reached a primary demotes itself
unless failsafe mode is on and every member of the cluster agrees. Promotions and starts run beside
the loop, as Patroni's asynchronous executor has them; stopping does not.

The requests of one loop may take longer than the lock lives: /sync and the lease are each tried
for a whole retry timeout. It is the watchdog that keeps such a primary from meeting the next one.

Left out: pause, switchovers, cascading, slots, tags, quorum commit, standby clusters, start-up
timeouts. Not here: requests (drivers.py), which nodes there are (ha.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from quorate.sim.clock import Clock
from quorate.sim.dcs import DcsError
from quorate.sim.drivers import FAILSAFE, STATUS, Driver, View
from quorate.sim.plan import HaSettings
from quorate.sim.postgres import Server
from quorate.sim.process import Pause, Program, Signal, Steps

REST_S = 0.01
"""A request to another node's REST interface."""

REST_TIMEOUT_S = 2.0
SAFETY_MARGIN_S = 5
"""So much before the lock runs out the watchdog resets the node."""

REBOOT_S = 30.0
OVERDUE_S = 0.001


@dataclass(slots=True, eq=False)
class Node:
    """One Patroni and its server. `peers` are all nodes by name, this one included; `note` gets
    lines for the timeline."""

    name: str
    clock: Clock
    settings: HaSettings
    driver: Driver
    server: Server
    peers: dict[str, Node]
    woken: Signal
    note: Callable[[str], None]
    known: View = View()
    up: bool = False
    loop_began: float = 0.0
    next_loop: float = 0.0
    realign: float | None = None
    """When the next loop but one is to begin, for runs that repeat a recording."""
    _known_members: tuple[str, ...] = ()
    _failsafe_until: float = 0.0
    _failsafe_leader: str = ""
    _is_leader: bool = False
    _programs: list[Program] = field(default_factory=list)
    _watchdog_at: float | None = None
    _action: Program | None = None
    _action_name: str = ""

    # Life.

    def start(self) -> None:
        """The node boots: Patroni begins, its server does not run."""
        if not self.up:
            self.up = True
            self.driver.start()
            self._programs = [Program(self.clock, self._run())]
            self._programs[0].start()

    def kill(self) -> None:
        """Patroni and PostgreSQL are gone, as when the host dies."""
        self.up = self._is_leader = False
        self._failsafe_until = 0.0
        self.driver.stop()
        for program in (*self._programs, *([self._action] if self._action else ())):
            program.stop()
        self._action = self._watchdog_at = None
        self.server.crash()

    def turn_to(self, member_id: int) -> None:
        """Talk to that member from now on."""
        self.driver.client.base = member_id
        self.driver.client.switched()

    # The loop.

    def _run(self) -> Steps[None]:
        while True:
            self.loop_began = self.clock.now
            yield from self._cycle()
            self.next_loop += self.settings.loop_wait_s
            if self.realign is not None:
                self.next_loop, self.realign = self.realign, None
            nap_s = self.next_loop - self.clock.now
            if nap_s <= 0:
                self.next_loop = self.clock.now
                yield Pause(OVERDUE_S)
                continue
            follows = not self._busy and self.known.leader not in ("", self.name)
            if (yield from self.driver.watch(self.known, nap_s, follows=follows)):
                self.next_loop = self.clock.now

    def _cycle(self) -> Steps[None]:
        try:
            yield from self._look()
            if self.name not in self.known.members:
                yield from self.driver.touch_member(self.known)
            yield from self._act()
        except DcsError as failure:
            yield from self._store_failed(failure)
            return
        if self._is_leader:
            self._failsafe_until = 0.0
        yield from self.driver.touch_member(self.known)

    def _look(self) -> Steps[None]:
        known = yield from self.driver.get_cluster()
        if known.leader or not self._known_members:
            self._known_members = known.members
        if not known.leader and self.settings.failsafe and self._failsafe_active:
            known = known._replace(leader=self._failsafe_leader)
        self.known = known
        if known.leader != self.name:
            self._is_leader = False

    def _act(self) -> Steps[None]:
        if self._busy:
            yield from self._act_beside()
        elif not self.server.running:
            yield from self._recover()
        elif not self.known.leader:
            yield from self._race()
        elif self.known.leader == self.name:
            yield from self._lead()
        else:
            yield from self._follow("it does not have the lock")

    # With the lock.

    def _keep_lock(self) -> Steps[bool]:
        """And tell how far the log is, and who is there."""
        self._is_leader = False
        kept = yield from self.driver.update_leader(self.known)
        if kept:
            yield from self.driver.write(STATUS, len(self.server.log))
            if self.settings.failsafe and set(self.known.failsafe) != set(self._topology()):
                yield from self.driver.write(FAILSAFE, self._topology())
        self._is_leader = kept
        if kept and self._watchdog_at is not None:
            self._keep_watchdog()
        return kept

    def _topology(self) -> tuple[str, ...]:
        return tuple(sorted({*self.known.members, self.name}))

    def _lead(self) -> Steps[None]:
        if not (yield from self._keep_lock()):
            if self.server.primary:
                yield from self._demote("it failed to update the lock")
        elif self.server.primary:
            yield from self._synchronise()
        else:
            yield from self._promote()

    def _promote(self) -> Steps[None]:
        self._keep_watchdog()
        if self.settings.synchronous:
            version = yield from self.driver.write_sync(
                (self.name,), self.known.sync_version)
            if not version:
                return
        self._failsafe_until = 0.0
        self.note("promotes its server")
        self._beside("promote", self._finish_promotion())

    def _finish_promotion(self) -> Steps[None]:
        yield from self.server.promote()

    def _synchronise(self) -> Steps[None]:
        """Who is synchronous: out of /sync before it is waited for no more, into it after."""
        if not self.settings.synchronous:
            return
        streaming = [n.server for n in self.peers.values() if n.server.upstream == self.name
                     and n.server.streaming]
        current = self.server.standby
        picked = current if any(s.name == current for s in streaming) else (
            max(streaming, key=lambda s: (len(s.log), s.name)).name if streaming else "")
        said = self.known.sync
        if picked != current or said[:1] != (self.name,) or said[1:] not in ((), (picked,)):
            version = yield from self.driver.write_sync((self.name,), self.known.sync_version)
            if not version:
                return
            self.server.standby = picked
            self.server.confirm()
            self.known = self.known._replace(sync=(self.name,), sync_version=version)
        if picked and self.known.sync != (self.name, picked):
            yield from self.driver.write_sync((self.name, picked), self.known.sync_version)

    # Without it.

    def _race(self) -> Steps[None]:
        if not (yield from self._is_healthiest()):
            yield from self._follow("it is not the healthiest")
        elif (yield from self.driver.acquire()):
            self._is_leader = True
            self.note("has taken the lock")
            yield from self._look()
            if self.server.primary:
                yield from self._synchronise()
            else:
                yield from self._promote()
        else:
            yield from self._look()
            yield from self._follow("it did not get the lock")

    def _is_healthiest(self) -> Steps[bool]:
        if self.server.primary:
            return True
        sync = self.known.sync if self.settings.synchronous else ()
        others = {*self._known_members, *self.known.members} - {self.name}
        if self.settings.failsafe and self.known.failsafe:
            if self.name not in self.known.failsafe:
                return False
            others |= {*self.known.failsafe} - {self.name}
        if sync:
            if self.name not in sync:
                return False
            others &= {*sync}
        answers = yield from self._ask_peers(sorted(others))
        for peer in filter(None, answers.values()):
            if peer.server.writable:
                return False
            ahead = peer.server.running and len(peer.server.log) > len(self.server.log)
            if ahead and not (sync and peer.name == sync[0]):
                return False
        return True

    def _ask_peers(self, names: list[str]) -> Steps[dict[str, Node | None]]:
        """All at once over REST; None for who does not answer."""
        answers: dict[str, Node | None] = {}
        wait_s = REST_S if names else 0.0
        for name in names:
            peer = self.peers.get(name)
            linked = peer is not None and self.server.linked(self.name, name)
            answers[name] = peer if peer is not None and linked and peer.up else None
            if not linked:
                wait_s = REST_TIMEOUT_S
        yield Pause(wait_s)
        return answers

    def _follow(self, why: str) -> Steps[None]:
        if self.server.primary:
            yield from self._demote(why)
            return
        leader = self.peers.get(self.known.leader)
        if leader is None or leader is self:
            return
        if leader.server.writable and self.server.diverged(leader.server):
            self._beside("rewind", self._rewind(leader.server))
        else:
            self.server.follow(leader.name)

    def _rewind(self, leader: Server) -> Steps[None]:
        yield from self.server.stop()
        yield from self.server.rewind(leader)
        yield from self.server.start(leader.name)

    def _demote(self, why: str) -> Steps[None]:
        """At once, without asking; the server starts again beside the loop."""
        self.note(f"demotes its server: {why}")
        yield from self._stop_server()
        self._beside("start", self.server.start(self._upstream()))

    def _stop_server(self) -> Steps[None]:
        yield from self.server.stop()
        self._is_leader, self._watchdog_at = False, None

    def _upstream(self) -> str:
        return "" if self.known.leader == self.name else self.known.leader

    def _recover(self) -> Steps[None]:
        """The server does not run: start it, as a replica whoever it was."""
        if self.known.leader == self.name:
            yield from self._keep_lock()
            yield from self._look()
        leader = self.peers.get(self._upstream())
        if leader is not None and leader.server.writable and self.server.diverged(leader.server):
            self._beside("rewind", self._rewind(leader.server))
        else:
            self._beside("start", self.server.start(self._upstream()))

    # The watchdog.

    def _keep_watchdog(self) -> None:
        """Activate it, or say that all is well."""
        if not self.settings.watchdog:
            return
        at = self._watchdog_at = self.clock.now + self.settings.ttl_s - SAFETY_MARGIN_S

        def due() -> None:
            if self._watchdog_at == at:
                self.note("is reset by its watchdog")
                self.kill()
                self.clock.after(REBOOT_S, self.start)

        self.clock.after(self.settings.ttl_s - SAFETY_MARGIN_S, due)

    # Beside the loop.

    @property
    def _busy(self) -> bool:
        return self._action is not None and self._action.running

    def _beside(self, name: str, steps: Steps[None]) -> None:
        def run() -> Steps[None]:
            yield from steps
            self.woken.set()

        self._action_name = name
        self._action = Program(self.clock, run()).start()

    def _act_beside(self) -> Steps[None]:
        """Something is under way: keep the lock meanwhile; without it nothing may promote."""
        if self.known.leader == self.name and (yield from self._keep_lock()):
            return
        if self._action is not None and self._action_name == "promote":
            self._action.stop()
            self.note("gives up promoting")
        if self.server.primary:
            yield from self._demote("it lost the lock meanwhile")

    # Without the store.

    @property
    def _failsafe_active(self) -> bool:
        return self._failsafe_until > self.clock.now

    def failsafe(self, leader: str) -> bool:
        """POST /failsafe: the leader asks whether it may go on."""
        if self.server.writable:
            return False
        self._failsafe_leader = leader
        self._failsafe_until = self.clock.now + self.settings.ttl_s
        return True

    def _store_failed(self, failure: DcsError) -> Steps[None]:
        if not self.server.writable:
            return
        if self.settings.failsafe and (yield from self._all_agree()):
            self.note("goes on as primary without the store: all members agree")
            self._is_leader = True
            self._keep_watchdog()
            self._failsafe_leader = ""
            self._failsafe_until = self.clock.now + self.settings.ttl_s
            return
        self._failsafe_until = 0.0
        self.note(f"demotes its server: {failure}")
        yield from self._stop_server()
        yield from self.server.start("")

    def _all_agree(self) -> Steps[bool]:
        if self.name not in self.known.failsafe:
            return False
        others = sorted({*self.known.failsafe} - {self.name})
        answers = yield from self._ask_peers(others)
        agreed = [peer is not None and peer.failsafe(self.name) for peer in answers.values()]
        return all(agreed)  # and everybody was asked
