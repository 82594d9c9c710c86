"""Locks and elections of stock etcd and of quorate: the same story is told in the same words.

The story is told over the JSON gateway and over gRPC. Leases have ids of the client's choice, so
whole answers can be compared.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message as Proto
from harness import Cluster, b64, running_cluster

from quorate.wire._generated import election_pb2 as election, lock_pb2 as lock, rpc_pb2 as rpc

if shutil.which("etcd") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server",
                allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
stock = importlib.import_module("test_stock_etcd")

MODULES = {"v3electionpb.Election": election, "v3lockpb.Lock": lock, "etcdserverpb.Lease": rpc,
           "etcdserverpb.KV": rpc}
GATEWAY = {"v3electionpb.Election": "election", "v3lockpb.Lock": "lock",
           "etcdserverpb.Lease": "lease", "etcdserverpb.KV": "kv"}
METHODS = {"LeaseGrant": "grant", "LeaseRevoke": "revoke"}
WAIT_S = 0.3
"""For as long somebody is seen to wait."""

Ask = Callable[[int, str, dict[str, Any]], Any]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """One member of each, both empty."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with running_cluster(ours, 1) as quorate, running_cluster(
            theirs, 1, program=["etcd"], extra=("--log-level=error",)) as etcd:
        yield quorate, etcd


def by_gateway(port: int, path: str, body: dict[str, Any]) -> Any:
    """(status, answer) of a POST."""
    service, _, method = path.partition("/")
    status, answer = stock.ask(
        port, f"{GATEWAY[service]}/{METHODS.get(method, method.lower())}", body)
    return stock.STATUS.get(status, status), stock.comparable(answer)


def by_grpc(port: int, path: str, body: dict[str, Any]) -> Any:
    """(code, text or answer) of a call."""
    service, _, method = path.partition("/")
    names = MODULES[service]
    request: Proto = ParseDict(body, getattr(names, f"{method}Request")())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = channel.unary_unary(
                f"/{path}", request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=getattr(names, f"{method}Response").FromString)(
                    request, timeout=10)
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", stock.comparable(MessageToDict(answer, preserving_proto_field_name=True))


class Waiter(threading.Thread):
    """Somebody who asks for what is not his turn yet."""

    def __init__(self, ask: Ask, port: int, path: str, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._call = lambda: ask(port, path, body)
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        """Ask."""
        self.outcome = self._call()

    def told(self) -> Any:
        """What it was told in the end."""
        self.join(10)
        return self.outcome


def story(port: int, ask: Ask, name: str) -> list[Any]:
    """Three sessions contend for a lock, two for an election."""
    told: list[Any] = []

    def say(path: str, **body: Any) -> Any:
        told.append((path, ask(port, path, body)))
        return told[-1][1]

    base = 100 * (1 + (ask is by_grpc))
    lease = {n: str(base + n) for n in (1, 2, 3)}
    for one in lease.values():
        say("etcdserverpb.Lease/LeaseGrant", ID=one, TTL="60")
    where = b64(f"{name}/lock")
    say("v3lockpb.Lock/Lock", name=where, lease=lease[1])
    say("v3lockpb.Lock/Lock", name=where, lease=lease[1])
    second = Waiter(ask, port, "v3lockpb.Lock/Lock", {"name": where, "lease": lease[2]})
    time.sleep(WAIT_S)
    third = Waiter(ask, port, "v3lockpb.Lock/Lock", {"name": where, "lease": lease[3]})
    time.sleep(WAIT_S)
    told.append((second.outcome, third.outcome))
    say("v3lockpb.Lock/Unlock", key=b64(f"{name}/lock/{int(lease[1]):x}"))
    told.append(second.told())
    say("etcdserverpb.Lease/LeaseRevoke", ID=lease[2])
    told.append(third.told())
    say("v3lockpb.Lock/Unlock", key=b64("nobody has this"))
    say("v3lockpb.Lock/Lock", name=where, lease="999")

    who = b64(f"{name}/election")
    say("v3electionpb.Election/Leader", name=who)
    leader = say("v3electionpb.Election/Campaign", name=who, lease=lease[1], value=b64("one"))
    again = Waiter(ask, port, "v3electionpb.Election/Campaign",
                   {"name": who, "lease": lease[3], "value": b64("three")})
    time.sleep(WAIT_S)
    say("v3electionpb.Election/Leader", name=who)
    won = leader[1]["leader"]
    say("v3electionpb.Election/Proclaim", leader=won, value=b64("uno"))
    say("v3electionpb.Election/Proclaim", leader={**won, "rev": "1"}, value=b64("no"))
    say("v3electionpb.Election/Proclaim", value=b64("who"))
    say("v3electionpb.Election/Leader", name=who)
    say("v3electionpb.Election/Resign", leader=won)
    say("v3electionpb.Election/Resign", leader=won)
    say("v3electionpb.Election/Resign")
    told.append(again.told())
    say("v3electionpb.Election/Campaign", name=who, lease="999", value=b64("x"))
    for one in (lease[1], lease[3]):
        say("etcdserverpb.Lease/LeaseRevoke", ID=one)
    say("v3electionpb.Election/Leader", name=who)
    return told


@pytest.mark.parametrize("ask", [by_gateway, by_grpc])
def test_the_same_story(both: tuple[Cluster, Cluster], ask: Ask) -> None:
    """Every answer, refusals' words included."""
    ours, theirs = (story(c.members[0].client_port, ask, ask.__name__) for c in both)

    wrong = [f"ours   {one}\ntheirs {other}" for one, other in zip(ours, theirs, strict=True)
             if one != other]
    assert not wrong, "\n".join(wrong)
