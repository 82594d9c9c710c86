"""The same JSON requests to stock etcd and to quorate get the same answers.

The corpus is what users of the gateway send, right and wrong. Compared are HTTP status and the
whole JSON, but for ids and terms, which are each cluster's own. Known differences are in
docs/divergence.md, and named here where the corpus meets them.
"""

import http.client
import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Cluster, b64, running_cluster

if shutil.which("etcd") is None:
    pytest.skip("stock etcd is not installed: apt-get install etcd-server",
                allow_module_level=True)

HEADLESS = "maintenance/alarm"
"""Its answers have a header since 3.5 only."""

OWN = {"cluster_id", "member_id", "raft_term"}
LEASE = 7587848390337471
STATUS = {412: 400}
"""HTTP status of the gateway of 3.4 → that of 3.5, for FAILED_PRECONDITION."""

K = {name: b64(f"k/{name}") for name in "abcdef"}
ALL = {"key": b64("k/"), "range_end": b64("k0")}


def put(name: str, value: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """A put of the corpus."""
    return "kv/put", {"key": K[name], "value": b64(value), **more}


def compare(name: str, target: str, result: str, **value: Any) -> dict[str, Any]:
    """A compare of the corpus."""
    return {"key": K[name], "target": target, "result": result, **value}


def op(kind: str, **request: Any) -> dict[str, Any]:
    """An operation of a transaction."""
    return {kind: request}


CORPUS: list[tuple[str, Any]] = [
    ("kv/range", {"key": K["a"]}),
    put("a", "1"), put("b", "2"), put("c", "3"), put("a", "4"),
    put("a", "5", prev_kv=True), put("d", "6", prevKv=True), put("e", ""),
    ("kv/range", {"key": K["a"]}), ("kv/range", ALL), ("kv/range", {**ALL, "limit": "2"}),
    ("kv/range", {**ALL, "limit": 1, "keys_only": True}), ("kv/range", {**ALL, "count_only": True}),
    ("kv/range", {**ALL, "sort_order": "DESCEND", "sort_target": "VALUE"}),
    ("kv/range", {**ALL, "sortOrder": "ASCEND", "sortTarget": "MOD"}),
    ("kv/range", {**ALL, "sort_order": 2, "sort_target": 1, "limit": 2}),
    ("kv/range", {**ALL, "sort_target": "VERSION"}), ("kv/range", {**ALL, "revision": 3}),
    ("kv/range", {"key": K["a"], "revision": "2"}), ("kv/range", {**ALL, "serializable": True}),
    ("kv/range", {**ALL, "min_mod_revision": 4}), ("kv/range", {**ALL, "max_create_revision": "3"}),
    ("kv/range", {**ALL, "min_create_revision": 3, "limit": 1}),
    ("kv/range", {"key": b64("\0"), "range_end": b64("\0")}),
    ("kv/range", {"key": K["b"], "range_end": b64("\0"), "keysOnly": True}),
    ("kv/range", {"key": K["c"], "range_end": K["a"]}),
    ("kv/range", {"key": K["a"], "range_end": K["a"]}),
    ("kv/range", {**ALL, "revision": 1000}), ("kv/range", {}), ("kv/range", {"key": ""}),
    ("kv/put", {}), ("kv/put", {"value": b64("x")}), ("kv/put", {"key": K["f"]}),
    put("a", "", ignore_value=True), put("a", "x", ignore_value=True),
    ("kv/put", {"key": K["a"], "ignore_value": True}),
    ("kv/put", {"key": b64("none"), "ignore_value": True}),
    ("kv/put", {"key": K["a"], "value": b64("7"), "ignore_lease": True}),
    ("kv/put", {"key": b64("none"), "value": b64("7"), "ignore_lease": True}),
    put("a", "8", lease="12345"), put("a", "8", lease=12345, ignore_lease=True),
    ("lease/grant", {"TTL": "60", "ID": str(LEASE)}), ("lease/grant", {"TTL": 60, "ID": LEASE}),
    ("lease/grant", {"TTL": "9000000001", "ID": "9"}),
    put("b", "9", lease=str(LEASE)), put("c", "10", lease=LEASE),
    ("kv/range", {"key": K["b"]}), put("b", "11", ignore_lease=True), ("kv/range", ALL),
    ("lease/keepalive", {"ID": str(LEASE)}), ("lease/keepalive", {"ID": "404"}),
    ("lease/timetolive", {"ID": "404"}), ("kv/lease/timetolive", {"ID": "404", "keys": True}),
    ("lease/leases", {}),
    ("kv/deleterange", {"key": K["f"]}), ("kv/deleterange", {"key": K["f"]}),
    ("kv/deleterange", {"key": K["e"], "prev_kv": True}), ("kv/deleterange", {}),
    ("kv/txn", {}),
    ("kv/txn", {"compare": [compare("a", "VERSION", "GREATER", version="0")],
                "success": [op("requestRange", key=K["a"])]}),
    ("kv/txn", {"compare": [compare("a", "VALUE", "EQUAL", value=b64("no"))],
                "success": [op("request_put", key=K["a"], value=b64("t"))],
                "failure": [op("request_range", **ALL),
                            op("request_put", key=K["d"], value=b64("12"), prev_kv=True)]}),
    ("kv/txn", {"compare": [compare("f", "CREATE", "EQUAL", create_revision="0")],
                "success": [op("request_put", key=K["f"], value=b64("new")),
                            op("request_delete_range", key=K["a"], prev_kv=True)]}),
    ("kv/txn", {"compare": [compare("b", "LEASE", "EQUAL", lease=str(LEASE)),
                            compare("b", "MOD", "LESS", mod_revision=1000),
                            compare("b", "VERSION", "NOT_EQUAL", version=77)],
                "success": [op("request_txn", compare=[compare("a", "MOD", "EQUAL")],
                               failure=[op("request_range", key=K["b"])])]}),
    ("kv/txn", {"compare": [{**compare("a", "CREATE", "GREATER", create_revision=0),
                             "range_end": b64("k0")}],
                "success": [op("request_range", **ALL, count_only=True)]}),
    ("kv/txn", {"success": [op("request_put", key=K["a"], value=b64("1")),
                            op("request_put", key=K["a"], value=b64("2"))]}),
    ("kv/txn", {"success": [op("request_put", key=K["a"], value=b64("1")),
                            op("request_delete_range", **ALL)]}),
    ("kv/txn", {"success": [op("request_put", value=b64("1"))]}),
    ("kv/txn", {"compare": [compare("b", "VALUE", "EQUAL", value=b64("x"))],
                "success": [op("request_put", key=K["b"], value=b64("x"), lease=4711)]}),
    ("kv/txn", {"success": [op("request_put", key=K["b"], value=b64("x"), lease=4711)]}),
    ("kv/txn", {"success": [op("request_range", key=K["b"], revision=9999)]}),
    ("kv/txn", {"success": [op("request_range", key=b64(str(n))) for n in range(129)]}),
    ("kv/range", ALL),
    ("lease/revoke", {"ID": str(LEASE)}), ("kv/lease/revoke", {"ID": str(LEASE)}),
    ("kv/range", ALL),
    ("kv/compaction", {"revision": "5"}), ("kv/compaction", {"revision": "5"}),
    ("kv/compaction", {"revision": "1000000"}), ("kv/range", {**ALL, "revision": 4}),
    ("kv/range", {**ALL, "revision": 5}), ("kv/compaction", {"revision": 6, "physical": True}),
    ("kv/deleterange", ALL), ("kv/range", ALL),
    ("kv/put", {"key": b64("big"), "value": "A" * (2 << 20)}),
    ("auth/authenticate", {"name": "root", "password": "x"}),
    ("maintenance/alarm", {}),
    ("maintenance/alarm", {"action": "ACTIVATE", "memberID": "7", "alarm": "NOSPACE"}),
    ("maintenance/alarm", {"action": 1, "memberID": "7", "alarm": 1}),
    ("maintenance/alarm", {"alarm": "CORRUPT"}), ("maintenance/alarm", {}),
    put("a", "full"), ("kv/txn", {"success": [op("request_put", key=K["a"], value=b64("x"))]}),
    ("kv/txn", {"success": [op("request_delete_range", key=K["a"])]}),
    ("lease/grant", {"TTL": "60", "ID": "5"}), ("kv/range", ALL), ("kv/deleterange", ALL),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "8", "alarm": "NOSPACE"}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "7", "alarm": "NOSPACE"}),
    put("a", "room"), ("maintenance/defragment", {}),
    ("maintenance/alarm", {"action": "ACTIVATE", "memberID": "7", "alarm": "CORRUPT"}),
    put("a", "corrupt"), ("kv/range", ALL), ("kv/range", {**ALL, "serializable": True}),
    ("kv/compaction", {"revision": 7}), ("lease/revoke", {"ID": "5"}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "7", "alarm": "CORRUPT"}),
    put("a", "fine"),
]


def ask(port: int, path: str, body: Any) -> tuple[int, Any]:
    """(status, decoded answer) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", f"/v3/{path}", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def comparable(answer: Any) -> Any:
    """Without what is each cluster's own."""
    if isinstance(answer, dict):
        return {name: comparable(value) for name, value in answer.items() if name not in OWN}
    if isinstance(answer, list):
        return [comparable(value) for value in answer]
    return answer


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """One member of each, both empty."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with running_cluster(ours, 1) as quorate, running_cluster(
            theirs, 1, program=["etcd"], extra=("--log-level=error",)) as etcd:
        yield quorate, etcd


def test_the_same_requests_get_the_same_answers(both: tuple[Cluster, Cluster]) -> None:
    """Every answer of the corpus, in one history, is stock etcd's."""
    quorate, etcd = (cluster.members[0].client_port for cluster in both)
    wrong = []
    for number, (path, body) in enumerate(CORPUS):
        ours, theirs = (ask(port, path, body) for port in (quorate, etcd))
        theirs = STATUS.get(theirs[0], theirs[0]), theirs[1]
        if path == HEADLESS:
            ours[1].pop("header", None)
        if (ours[0], comparable(ours[1])) != (theirs[0], comparable(theirs[1])):
            wrong.append(f"{number} {path} {str(body)[:200]}\n  ours   {ours}\n  theirs {theirs}")
    assert not wrong, "\n".join(wrong)
