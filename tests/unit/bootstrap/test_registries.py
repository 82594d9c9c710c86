"""Registries: the requests that are made, and what becomes of each kind of answer."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import scripted

from quorate.bootstrap import registries
from quorate.bootstrap.asking import RegistryDown
from quorate.bootstrap.registries import Entry, Look, V2Registry, V3Registry
from quorate.member.config_discovery import Discovery
from quorate.member.settings import ConfigError


@pytest.fixture
def server() -> Iterator[Any]:
    """See scripted.py."""
    with scripted() as script:
        yield script


def node(key: str, value: str, created: int) -> dict[str, object]:
    """As v2 has it."""
    return {"key": key, "value": value, "createdIndex": created, "modifiedIndex": created}


def told(**content: object) -> bytes:
    """JSON."""
    return json.dumps(content).encode()


def v2(server: Any, proxy: str = "") -> V2Registry:
    """One whose URL has a slash too many."""
    return V2Registry(Discovery(f"http://127.0.0.1:{server.port}/v2/keys/t/", proxy))


def b64(text: str) -> str:
    """As v3 has it in JSON."""
    return b64encode(text.encode()).decode()


def v3(server: Any) -> V3Registry:
    """One of two endpoints, of which the first is nobody."""
    return V3Registry(Discovery(token="t", endpoints=(
        "http://127.0.0.1:1", f"http://127.0.0.1:{server.port}")))


SIZE = (200, told(action="get", node=node("/t/_config/size", "3", 4)))


def test_v2_is_read_as_etcd_reads_it(server: Any) -> None:
    """The size, then the directory, without its configuration."""
    server.answers = [SIZE, (200, told(action="get", node={"key": "/t", "dir": True, "nodes": [
        node("/t/b2", "b=http://b:1", 6), node("/t/a1", "a=http://a:1", 5),
        {"key": "/t/_config", "dir": True, "createdIndex": 4}]}), {"X-Etcd-Index": "7"})]

    assert v2(server).look() == Look("3", (
        Entry("b2", "b=http://b:1", 6), Entry("a1", "a=http://a:1", 5)), 7)
    assert server.asked == ["GET /v2/keys/t/_config/size", "GET /v2/keys/t"]


def test_v2_without_an_index_cannot_be_waited_for(server: Any) -> None:
    """It would be asked without end."""
    server.answers = [SIZE, (200, told(action="get", node={"key": "/t", "dir": True}))]

    with pytest.raises(ConfigError, match="answers without X-Etcd-Index"):
        v2(server).look()


@pytest.mark.parametrize("nodes", [{"a": 1}, [1], [{"key": "/t/a"}], [{"createdIndex": 1}]])
def test_nodes_of_another_shape_are_told(server: Any, nodes: object) -> None:
    """In a sentence."""
    server.answers = [SIZE, (200, told(node={"nodes": nodes}), {"X-Etcd-Index": "7"})]

    with pytest.raises(ConfigError, match="does not answer as a v2 store does"):
        v2(server).look()


def test_v2_registers_what_is_not_there_yet(server: Any) -> None:
    """As a form, like etcd."""
    server.answers = [(201, told(action="create", node=node("/t/a1", "a=b", 5))),
                      (412, told(errorCode=105, message="Key already exists", cause="/t/a1"))]

    assert v2(server).create("a1", "a=http://a:1,a=http://b:1")
    assert not v2(server).create("a1", "a=http://a:1")
    assert server.asked[0] == ("PUT /v2/keys/t/a1?prevExist=false "
                               "value=a%3Dhttp%3A%2F%2Fa%3A1%2Ca%3Dhttp%3A%2F%2Fb%3A1")


def test_v2_waits_by_a_watch(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over with an event, with a history that is gone, and after a while without either."""
    monkeypatch.setattr(registries, "WAIT_S_MAX", 0.05)
    server.answers = [(200, told(action="create", node=node("/t/a1", "a=b", 8))),
                      (400, told(errorCode=401, message="outdated", cause="")), (200, None)]

    for _ in range(3):
        v2(server).wait(7)
    assert server.asked == ["GET /v2/keys/t?recursive=true&wait=true&waitIndex=8"] * 3


@pytest.mark.parametrize(("answer", "sentence"), [
    ((404, b"404 page not found\n"), "stock etcd needs --enable-v2"),
    ((200, b"<html>welcome</html>"), "does not answer as a v2 store does: status 200"),
    ((200, told(action="get")), "an answer without a node"),
    ((401, told(errorCode=110, message="The request requires user authentication", cause="x")),
     "refused GET with status 401: The request requires user authentication"),
    ((302, b"", {"Location": "http://elsewhere/"}), "has moved to 'http://elsewhere/'"),
])
def test_v2_answers_that_will_not_change_are_sentences(
    server: Any, answer: Any, sentence: str
) -> None:
    """Each names the URL."""
    server.answers = [answer]

    with pytest.raises(ConfigError, match="--discovery 'http://127") as wrong:
        v2(server).look()
    assert sentence in str(wrong.value)


@pytest.mark.parametrize("answer", [
    (500, told(errorCode=300, message="Raft Internal Error", cause="timed out")),
    (503, b"Service Unavailable"), (429, b"slow down"), (200, b""),
])
def test_v2_answers_that_may_change_are_asked_for_again(server: Any, answer: Any) -> None:
    """As is a server that does not answer."""
    server.answers = [answer]

    with pytest.raises(RegistryDown):
        v2(server).look()


def test_a_token_that_nobody_made_has_no_size(server: Any) -> None:
    """Nothing more is asked."""
    server.answers = [(404, told(errorCode=100, message="Key not found", cause="/t"))]

    assert v2(server).look().size is None


def test_v3_is_read_at_one_revision(server: Any) -> None:
    """Size and members in one request, to the first endpoint that answers."""
    prefix = "/_etcd/registry/t/"
    server.answers = [(200, told(header={"revision": "9"}, kvs=[
        {"key": b64(prefix + "_config/size"), "value": b64("3"), "create_revision": "2"},
        {"key": b64(prefix + "members/a1"), "value": b64("a=http://a:1"),
         "create_revision": "5"}]))]

    assert v3(server).look() == Look("3", (Entry("a1", "a=http://a:1", 5),), 9)
    request = json.loads(server.asked[0].removeprefix("POST /v3/kv/range "))
    assert b64decode(request["key"]).decode() == prefix
    assert b64decode(request["range_end"]).decode() == "/_etcd/registry/t0"


def test_v3_registers_what_is_not_there_yet(server: Any) -> None:
    """By a transaction."""
    server.answers = [(200, told(header={}, succeeded=True)), (200, told(header={}))]

    assert v3(server).create("a1", "a=http://a:1")
    assert not v3(server).create("a1", "a=http://a:1")
    request = json.loads(server.asked[0].removeprefix("POST /v3/kv/txn "))
    put = request["success"][0]["request_put"]
    assert b64decode(put["key"]).decode() == "/_etcd/registry/t/members/a1"
    assert request["compare"][0]["create_revision"] == "0"


def test_v3_waits_by_a_watch(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line says that it began; the next one ends it, as do a compaction and silence."""
    monkeypatch.setattr(registries, "WAIT_S_MAX", 0.05)
    created, event = told(result={"created": True}), told(result={"events": [{}]})
    compacted = told(result={"created": True, "canceled": True, "compact_revision": "9"})
    server.answers = [(200, created + b"\n" + event), (200, compacted), (200, None)]

    for _ in range(3):
        v3(server).wait(7)
    request = json.loads(server.asked[0].removeprefix("POST /v3/watch "))
    assert request["create_request"]["start_revision"] == "8"


def test_v3_watches_that_break_are_begun_again_later(server: Any) -> None:
    """Before anything has happened."""
    server.answers = [(200, told(result={"created": True}))]

    with pytest.raises(RegistryDown, match="the watch ended"):
        v3(server).wait(7)


@pytest.mark.parametrize(("answer", "sentence"), [
    ((404, b"404 page not found\n"), "does not answer as a v3 store does: status 404"),
    ((200, told(kvs=[{}], header={"revision": "1"})), "do not answer as a v3 store does"),
    ((200, told()), "do not answer as a v3 store does: KeyError"),
    ((401, told(code=16, message="etcdserver: user name is empty")), "Users are not in this"),
])
def test_v3_answers_that_will_not_change_are_sentences(
    server: Any, answer: Any, sentence: str
) -> None:
    """Each names the endpoint."""
    server.answers = [answer]

    with pytest.raises(ConfigError, match="--discovery-endpoints") as wrong:
        v3(server).look()
    assert sentence in str(wrong.value)


def test_v3_endpoints_that_do_not_answer_are_all_named(server: Any) -> None:
    """Each with its reason."""
    server.answers = [(503, told(code=14, message="etcdserver: no leader"))]

    with pytest.raises(RegistryDown, match=r"127\.0\.0\.1:1: .*refused; .*no leader"):
        v3(server).look()
