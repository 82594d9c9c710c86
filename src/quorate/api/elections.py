"""v3electionpb.Election over a `Service`: what etcd's election service does, with its texts
(surface §1.7).

Not here: how one waits for one's turn (queues.py), gRPC and the gateway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import Message as Proto

from quorate.api.queues import (
    Cancel, Contender, Feed, Held, first, places, relayed, release, rewrite, session,
)
from quorate.member.service import Done, Service
from quorate.state.errors import Problem, Refused
from quorate.wire._generated import election_pb2 as election, kv_pb2, rpc_pb2 as rpc


class Elections:
    """Elections of one member's clients."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def campaign(self, request: election.CampaignRequest, done: Done) -> Cancel:
        """Election.Campaign: waits. Who campaigns again only changes its value."""

        def decided(outcome: Held | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(outcome)
            return done(election.CampaignResponse(
                header=outcome.entered, leader=election.LeaderKey(
                    name=request.name, key=outcome.key, rev=outcome.create_revision,
                    lease=outcome.lease)))

        contender = Contender(self._service, request.name, request.value,
                              Problem.ELECTION_NOT_LEADER, decided)
        contender.start(request.lease)
        return contender.cancel

    def proclaim(self, request: election.ProclaimRequest, done: Done) -> None:
        """Election.Proclaim: another value; lease 0 is a new one, as in etcd."""
        if not request.HasField("leader"):
            return done(Refused(Problem.ELECTION_LEADER_MISSING))
        leader = request.leader

        def proclaimed(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(relayed(outcome))
            assert isinstance(outcome, rpc.TxnResponse)
            if not outcome.succeeded:
                return done(Refused(Problem.ELECTION_NOT_LEADER))
            return done(election.ProclaimResponse(header=outcome.header))

        def with_lease(lease: int | Refused) -> None:
            if isinstance(lease, Refused):
                return done(relayed(lease))
            return self._service.txn(
                rewrite(leader.key, leader.rev, request.value, lease), proclaimed)

        return session(self._service, leader.lease, with_lease)

    def leader(self, request: election.LeaderRequest, done: Done) -> None:
        """Election.Leader."""

        def found(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(relayed(outcome))
            assert isinstance(outcome, rpc.RangeResponse)
            if not outcome.kvs:
                return done(Refused(Problem.ELECTION_NO_LEADER))
            return done(election.LeaderResponse(header=outcome.header, kv=outcome.kvs[0]))

        self._service.range(first(request.name), found)

    def resign(self, request: election.ResignRequest, done: Done) -> None:
        """Election.Resign: no error if it was not the leader."""
        if not request.HasField("leader"):
            return done(Refused(Problem.ELECTION_LEADER_MISSING))

        def resigned(outcome: Proto | Refused) -> None:
            if isinstance(outcome, Refused):
                return done(relayed(outcome))
            assert isinstance(outcome, rpc.TxnResponse)
            return done(election.ResignResponse(header=outcome.header))

        return self._service.txn(release(request.leader.key, request.leader.rev), resigned)

    def observe(self, request: election.LeaderRequest, sink: LeaderSink) -> Observer:
        """Election.Observe: each leader and each of its values, from now on."""
        return Observer(self._service, request.name, sink)


class LeaderSink(Protocol):
    """Where the leaders of one Observe call go."""

    def send(self, response: election.LeaderResponse) -> None: ...

    def backlog_bytes(self) -> int:
        """See `WatchSink`."""
        ...

    def fail(self, reason: Refused) -> None:
        """Nothing follows."""
        ...


class Observer:
    """One Observe call. Where there is no leader it waits for the first place that is taken.

    Only the first look needs a leader of the cluster; after it this member's own state is as new
    as what was told."""

    def __init__(self, service: Service, name: bytes, sink: LeaderSink) -> None:
        self._service = service
        self._name = name
        self._sink = sink
        self._feed: Feed | None = None
        self._closed = False
        service.range(first(name), self._found)

    def drained(self) -> None:
        """The client has taken what it was sent."""
        if self._feed is not None:
            self._feed.drained()

    def close(self) -> None:
        """The client is gone."""
        self._closed = True
        if self._feed is not None:
            self._feed.close()

    def _look(self) -> None:
        self._service.range(first(self._name, serializable=True), self._found)

    def _found(self, outcome: Proto | Refused) -> None:
        if self._closed:
            return None
        if isinstance(outcome, Refused):
            return self._lost(outcome)
        assert isinstance(outcome, rpc.RangeResponse)
        if outcome.kvs:
            self._tell(outcome.header, outcome.kvs[0])
            return self._follow(outcome.kvs[0].key, b"", outcome.header.revision, self._led)
        return self._follow(*places(self._name), outcome.header.revision, self._entered)

    def _follow(
        self, key: bytes, end: bytes, revision: int, take: Callable[[rpc.WatchResponse], None]
    ) -> None:
        if self._feed is not None:
            self._feed.close()
        if not self._closed:
            self._feed = Feed(self._service, [(key, end)], revision + 1, take, self._lost,
                              self._sink.backlog_bytes)

    def _entered(self, response: rpc.WatchResponse) -> None:
        """Nobody was there, and somebody came."""
        for event in response.events:
            if event.type == kv_pb2.Event.PUT:
                self._tell(response.header, event.kv, event.kv.mod_revision)
                return self._follow(event.kv.key, b"", event.kv.mod_revision, self._led)
        return self._look() if response.canceled else None

    def _led(self, response: rpc.WatchResponse) -> None:
        """The leader said something, or is gone."""
        for event in response.events:
            if event.type == kv_pb2.Event.DELETE:
                return self._look()
            self._tell(response.header, event.kv, event.kv.mod_revision)
        return self._look() if response.canceled else None

    def _tell(
        self, header: rpc.ResponseHeader, kv: kv_pb2.KeyValue, revision: int = 0
    ) -> None:
        response = election.LeaderResponse(header=header, kv=kv)
        if revision:
            response.header.revision = revision
        self._sink.send(response)

    def _lost(self, _reason: Refused | None) -> None:
        if not self._closed:
            self.close()
            self._sink.fail(Refused(Problem.ELECTION_OBSERVE_CLOSED))
