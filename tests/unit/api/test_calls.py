"""Counts of calls, over gRPC and over the gateway, and slow requests in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from quorate.api.calls import CLIENT_VERSIONS_MAX, SLOW_LINES_MAX, Calls, Served, SlowLog, Type
from quorate.wire.prometheus import Histogram

PUT = "etcdserverpb.KV/Put"


def told(calls: Calls, name: str, **labels: str) -> list[Any]:
    """Values above zero of the series with these labels."""
    found = [sample.value for family in calls.families() if family.name == name
             for sample in family.samples if labels.items() <= sample.labels.items()]
    return [value for value in found if isinstance(value, Histogram) or value]


def test_a_call_is_counted_from_beginning_to_end() -> None:
    """By service, method, type and code."""
    calls = Calls()
    put = calls.of(PUT)
    put.began(b"3.5")
    put.received(10)
    assert told(calls, "grpc_server_started_total", grpc_method="Put") == [1]
    assert told(calls, "grpc_server_handled_total") == []
    put.sent(20)
    put.ended(0, 0.1, "")
    put.began(None)
    put.ended(14, 0.1, "")

    labels = {"grpc_service": "etcdserverpb.KV", "grpc_method": "Put", "grpc_type": "unary"}
    assert told(calls, "grpc_server_handled_total", grpc_code="OK", **labels) == [1]
    assert told(calls, "grpc_server_handled_total", grpc_code="Unavailable", **labels) == [1]
    assert told(calls, "grpc_server_msg_received_total", **labels) == [1]
    assert told(calls, "grpc_server_msg_sent_total", **labels) == [1]
    assert told(calls, "etcd_network_client_grpc_received_bytes_total") == [10]
    assert told(calls, "etcd_network_client_grpc_sent_bytes_total") == [20]
    assert told(calls, "etcd_server_client_requests_total",
                client_api_version="3.5", type="unary") == [1]
    assert told(calls, "etcd_server_client_requests_total",
                client_api_version="unknown", type="unary") == [1]


def test_durations_are_kept_only_if_asked_for() -> None:
    """As `--metrics=extensive` does."""
    plain, extensive = Calls(), Calls(extensive=True)
    for calls in (plain, extensive):
        calls.of(PUT).began(None)
        calls.of(PUT).ended(0, 0.3, "")

    assert told(plain, "grpc_server_handling_seconds") == []
    [seconds] = told(extensive, "grpc_server_handling_seconds", grpc_method="Put")
    assert (seconds.count, seconds.total) == (1, 0.3)


def test_clients_cannot_make_series_without_end() -> None:
    """They may claim any version; beyond some, it is unknown."""
    calls = Calls()
    watch = calls.of("etcdserverpb.Watch/Watch", Type.BIDI_STREAM)
    for number in range(3 * CLIENT_VERSIONS_MAX):
        watch.began(b"%d" % number)

    counts = told(calls, "etcd_server_client_requests_total", type="stream")
    assert len(counts) == CLIENT_VERSIONS_MAX + 1
    assert sum(counts) == 3 * CLIENT_VERSIONS_MAX


def test_a_gateway_call_ends_once() -> None:
    """What comes first counts."""
    calls = Calls()
    served = Served(calls.of(PUT), 7, "somebody")
    served.sent(8)
    served.ended(1)
    served.ended(0)

    assert told(calls, "grpc_server_handled_total", grpc_code="Canceled") == [1]
    assert told(calls, "grpc_server_handled_total", grpc_code="OK") == []


def test_a_slow_request_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Unless it may take for ever, is a stream, or nobody wants to know."""
    calls = Calls(slow_s=0.3)
    with caplog.at_level(logging.WARNING, "quorate"):
        calls.of(PUT).ended(0, 0.29, "10.0.0.1:5")
        calls.of(PUT).ended(14, 0.5, "10.0.0.1:5")
        calls.of("v3lockpb.Lock/Lock", waits=True).ended(0, 99.0, "")
        calls.of("etcdserverpb.Watch/Watch", Type.BIDI_STREAM).ended(0, 99.0, "")
        Calls(slow_s=0.0).of(PUT).ended(0, 99.0, "")

    assert [record.getMessage() for record in caplog.records] == [
        "slow request: etcdserverpb.KV/Put of 10.0.0.1:5 took 500 ms (Unavailable)"]


def test_many_slow_requests_are_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """And the number of the others, when the next second has one."""
    now = [100.0]
    slow = SlowLog(0.1, lambda: now[0])
    with caplog.at_level(logging.WARNING, "quorate"):
        for _ in range(SLOW_LINES_MAX + 5):
            slow.tell(PUT, 0, 1.0, "x")
        now[0] = 101.0
        slow.tell(PUT, 0, 1.0, "x")

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == SLOW_LINES_MAX + 2
    assert lines[SLOW_LINES_MAX] == "5 more slow requests were not told"
