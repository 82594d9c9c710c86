"""What all kinds of nonsense have in common: attempts, mutations, methods to aim at.

An attempt is what one client sends once. Everything follows from a random generator that the
caller seeds for each attempt, so any single one can be sent again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message as Proto

from quorate.wire._generated import kv_pb2, lock_pb2, rpc_pb2 as rpc


@dataclass(frozen=True, slots=True)
class Attempt:
    """One malformed request."""

    data: bytes
    must_end: bool = False
    """HTTP/2: the stream must end. HTTP/1.1: a response must come."""
    cut: bool = False
    """Nothing can be answered: the rest is missing."""
    fresh: bool = False
    """It is all that its connection carries."""


Make = Callable[[random.Random, int], Attempt]
"""Makes an attempt, on this stream if it is one of HTTP/2."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of nonsense."""

    name: str
    door: str
    make: Make
    batch: int
    """How many are sent at once at most; one where most attempts end their connection."""
    share: int = 1
    """One of so many is sent, for kinds that cost much."""


INTERESTING = (0, 1, 4, 5, 8, 127, 128, 255, 256, 16384, 16385, 65535, 65536, 2**24 - 1, 2**31 - 1,
               2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64)


def mutate(rng: random.Random, data: bytes, times: int = 3) -> bytes:
    """The data with some damage."""
    out = bytearray(data)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(8):
            case 0 | 1 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 2 if at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x0D, 0x20, 0x22))
            case 3:
                del out[at:at + rng.randint(1, 8)]
            case 4:
                out[at:at] = out[at:at + rng.randint(1, 16)] * rng.randint(1, 4)
            case 5:
                out[at:at] = rng.randbytes(rng.randint(1, 8))
            case 6:
                del out[at:]
            case _:
                number = rng.choice(INTERESTING)
                width = max(1, (number.bit_length() + 7) // 8)
                out[at:at + width] = number.to_bytes(width, "big")
    return bytes(out)


def log_uniform(rng: random.Random, most: int) -> int:
    """Small ones and large ones alike."""
    return int(2 ** rng.uniform(0, most.bit_length() - 1))


def _bytes(rng: random.Random) -> bytes:
    return rng.choice((b"", b"\0", b"/service/batman/leader", rng.randbytes(rng.randint(1, 40))))


def _put(rng: random.Random) -> Proto:
    return rpc.PutRequest(key=_bytes(rng), value=rng.randbytes(rng.randint(0, 100)))


def _range(rng: random.Random) -> Proto:
    return rpc.RangeRequest(key=_bytes(rng), range_end=_bytes(rng), limit=rng.randint(0, 9),
                            revision=rng.choice((0, 1, 2**62)))


def _txn(rng: random.Random) -> Proto:
    operations = [rpc.RequestOp(request_put=_put(rng)), rpc.RequestOp(request_range=_range(rng)),
                  rpc.RequestOp(request_txn=rpc.TxnRequest())]
    return rpc.TxnRequest(
        compare=[rpc.Compare(target=rpc.Compare.VERSION, key=_bytes(rng), version=1)],
        success=rng.choices(operations, k=rng.randint(0, 3)),
        failure=rng.choices(operations, k=rng.randint(0, 3)))


@dataclass(frozen=True, slots=True)
class Method:
    """Where to, and a valid request. `harmless`: a mutation that is valid after all does nothing
    that the rest of the run would not survive."""

    path: str
    gateway: str
    valid: Callable[[random.Random], Proto]
    harmless: bool = True


_P = "etcdserverpb"
METHODS = (
    Method(f"{_P}.KV/Range", "kv/range", _range),
    Method(f"{_P}.KV/Put", "kv/put", _put),
    Method(f"{_P}.KV/Txn", "kv/txn", _txn),
    Method(f"{_P}.KV/DeleteRange", "kv/deleterange",
           lambda rng: rpc.DeleteRangeRequest(key=_bytes(rng), prev_kv=True)),
    Method(f"{_P}.KV/Compact", "kv/compaction", lambda _: rpc.CompactionRequest(revision=1)),
    Method(f"{_P}.Lease/LeaseGrant", "lease/grant",
           lambda rng: rpc.LeaseGrantRequest(TTL=2, ID=rng.getrandbits(40))),
    Method(f"{_P}.Lease/LeaseRevoke", "lease/revoke", lambda _: rpc.LeaseRevokeRequest(ID=7)),
    Method(f"{_P}.Lease/LeaseTimeToLive", "lease/timetolive",
           lambda _: rpc.LeaseTimeToLiveRequest(ID=7, keys=True)),
    Method(f"{_P}.Maintenance/HashKV", "maintenance/hashkv",
           lambda _: rpc.HashKVRequest(revision=1)),
    Method(f"{_P}.Maintenance/Alarm", "maintenance/alarm",
           lambda _: rpc.AlarmRequest(memberID=3), harmless=False),
    Method(f"{_P}.Maintenance/MoveLeader", "maintenance/transfer-leadership",
           lambda _: rpc.MoveLeaderRequest(targetID=3), harmless=False),
    Method(f"{_P}.Cluster/MemberAdd", "cluster/member/add",
           lambda _: rpc.MemberAddRequest(peerURLs=["http://h:1"]), harmless=False),
    Method(f"{_P}.Cluster/MemberRemove", "cluster/member/remove",
           lambda _: rpc.MemberRemoveRequest(ID=3), harmless=False),
    Method(f"{_P}.Cluster/MemberUpdate", "cluster/member/update",
           lambda _: rpc.MemberUpdateRequest(ID=3, peerURLs=["http://h:1"]), harmless=False),
    Method("v3lockpb.Lock/Lock", "lock/lock",
           lambda _: lock_pb2.LockRequest(name=b"l", lease=7), harmless=False),
)
"""Watches and renewals are streams, and have attempts of their own."""

KEY_VALUE = kv_pb2.KeyValue(key=b"k", value=b"v", mod_revision=3).SerializeToString()
