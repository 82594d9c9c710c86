"""HTTP/2 and gRPC: calls, messages, windows, deadlines, ends."""

from __future__ import annotations

import h2.settings
import pytest
from echo import BLOCK, Client, Echo, message
from hypothesis import given, settings, strategies as st

from quorate.net import http2
from quorate.net.connections import MESSAGE_BYTES_MAX
from quorate.net.frames import (
    END_HEADERS, END_STREAM, FRAME_BYTES_MAX, HEADERS, RST, Wrong, frame,
)
from quorate.net.outlet import UNREAD_BYTES_MAX


@pytest.fixture
def server() -> Echo:
    """A server with one connection."""
    return Echo()


@pytest.fixture
def client(server: Echo) -> Client:
    """A client on it."""
    return Client(server)


def test_calls_of_one_read_are_answered_in_one_write(client: Client, server: Echo) -> None:
    """Whatever their number."""
    ids = [client.call("/t/Echo", message(b"%d" % n)) for n in range(50)]
    client.exchange()

    assert len(server.transport.writes) == 1
    assert [client.bodies[i] for i in ids] == [message(b"%d" % n) for n in range(50)]
    assert {client.status[i] for i in ids} == {"0"}


def test_a_call_in_single_bytes(client: Client, server: Echo) -> None:
    """However it arrives; and the block that comes again means the same."""
    for _ in range(3):
        stream = client.call("/t/Echo", message(b"hello"))
        for byte in client.h2.data_to_send():
            client.take(server.send(bytes((byte,))))
        assert client.bodies[stream] == message(b"hello")


def test_messages_are_found_in_any_pieces(client: Client) -> None:
    """Two in one frame, one in many."""
    stream = client.call("/t/Stream", message(b"a") + message(b"bc")[:3], end=False)
    client.exchange()
    assert client.bodies[stream] == message(b"a")
    for piece in (message(b"bc")[3:6], message(b"bc")[6:] + message(b"")):
        client.h2.send_data(stream, piece)
        client.exchange()
    client.h2.end_stream(stream)
    client.exchange()

    assert client.bodies[stream] == message(b"a") + message(b"bc") + message(b"")
    assert client.status[stream] == "0"


def test_a_reply_waits_for_the_clients_windows(client: Client, server: Echo) -> None:
    """Large replies share the connection's window and go on as it opens."""
    big = [client.call("/t/Echo", message(bytes(60_000))) for _ in range(2)]
    client.exchange()
    assert sum(len(client.bodies.get(s, b"")) for s in big) == 65_535
    client.h2.increment_flow_control_window(100_000)
    client.exchange()

    assert [len(client.bodies[s]) for s in big] == [60_005, 60_005]
    assert {client.status[s] for s in big} == {"0"}


def test_what_a_client_sent_is_credited(client: Client) -> None:
    """A stream may go on for ever."""
    stream = client.call("/t/Stream", end=False)
    for _ in range(1000):
        client.h2.send_data(stream, message(bytes(16_000)))
        client.h2.increment_flow_control_window(20_000)
        client.h2.increment_flow_control_window(20_000, stream)
        client.exchange()

    assert len(client.bodies[stream]) == 1000 * 16_005


@pytest.mark.parametrize(("path", "body", "more", "status"), [
    ("/t/Nothing", message(b""), {}, "12"),
    ("/t/Echo", b"\1" + message(b"x")[1:], {}, "12"),
    ("/t/Echo", message(b"x"), {"grpc_encoding": "gzip"}, "12"),
    ("/t/Echo", b"", {}, "13"),
    ("/t/Echo", message(b"x")[:-1], {}, "13"),
    ("/t/Echo", message(b"x") + message(b"y"), {}, "13"),
    ("/t/Echo", b"\0" + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"), {}, "8"),
    ("/t/Echo", message(b"x"), {"grpc_timeout": "1x"}, "13"),
])
def test_what_is_no_call_has_a_status(
    client: Client, path: str, body: bytes, more: dict[str, str], status: str
) -> None:
    """And the connection goes on."""
    wrong = client.call(path, body, **more)
    client.exchange()
    right = client.call("/t/Echo", message(b"x"))
    client.exchange()

    assert client.status[wrong] == status
    assert client.status[right] == "0"


def test_a_server_may_take_larger_messages() -> None:
    """Then the windows have room for them, again and again, and for no more."""
    size = 6 << 20
    server = Echo(size)
    client = Client(server)
    for extra in (0, 0, 1, 0):
        stream = client.call("/t/Hang", end=False)
        left = memoryview(message(bytes(size + extra)))
        while left and stream not in client.status:
            client.h2.send_data(stream, left[:FRAME_BYTES_MAX].tobytes())
            left = left[FRAME_BYTES_MAX:]
            client.exchange()
        if extra:
            assert client.status[stream] == "8"
            continue
        client.h2.end_stream(stream)
        client.exchange()
        call = server.hanging.pop()
        assert len(call.taken) == size
        call.reply(b"")
        client.exchange()
        assert client.status[stream] == "0"


def test_a_deadline_ends_a_call(client: Client, server: Echo) -> None:
    """With its status, and whoever serves it is told."""
    stream = client.call("/t/Hang", message(b""), grpc_timeout="500m")
    client.exchange()
    timer = server.loop.timers[-1]
    server.transport.writes.clear()
    timer.call()
    server.loop.turn()
    client.take(b"".join(server.transport.writes))

    assert (timer.at, client.status[stream], server.lost) == (0.5, "4", [stream])


def test_a_client_that_gives_up_is_noticed(client: Client, server: Echo) -> None:
    """By a reset, or by its connection."""
    first = client.call("/t/Hang", message(b""))
    second = client.call("/t/Hang", message(b""))
    client.h2.reset_stream(first)
    client.exchange()
    assert server.lost == [first]
    server.hanging[0].reply(b"too late")
    server.protocol.connection_lost(None)

    assert server.lost == [first, second]


def test_a_server_that_stops_says_goodbye(client: Client, server: Echo) -> None:
    """What is under way is answered; nothing new is taken."""
    client.call("/t/Hang", message(b""))
    client.exchange()
    server.connections.drain()
    server.loop.turn()
    late = frame(HEADERS, END_HEADERS | END_STREAM, 99, BLOCK)
    refused = server.send(late)
    assert not server.transport.closed
    server.hanging[0].reply(b"done")
    server.loop.turn()

    assert refused == frame(RST, 0, 99, Wrong.REFUSED_STREAM.to_bytes(4, "big"))
    assert server.transport.closed


def test_too_many_streams_are_refused(
    client: Client, server: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one; the others go on."""
    monkeypatch.setattr(http2, "STREAMS_MAX", 3)
    ids = [client.call("/t/Hang", message(b"")) for _ in range(4)]
    client.exchange()

    assert client.resets == {ids[3]: Wrong.REFUSED_STREAM}
    assert len(server.hanging) == 3


def test_a_client_that_does_not_read_is_not_read(client: Client, server: Echo) -> None:
    """Until it does."""
    server.transport.unsent = UNREAD_BYTES_MAX + 1
    client.call("/t/Echo", message(b"x"))
    client.exchange()
    assert server.transport.paused
    server.protocol.resume_writing()

    assert not server.transport.paused


@given(st.lists(st.tuples(
    st.sampled_from(("/t/Echo", "/t/Hang", "/t/Stream", "/t/None")), st.binary(max_size=60),
    st.integers(0, 65_535)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_every_reply_is_right_to_h2(calls: list[tuple[str, bytes, int]]) -> None:
    """The oracle raises at the first byte that is not."""
    client = Client(Echo())
    for path, body, window in calls:
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        stream = client.call(path, message(body) * (body[:1] > b"\x80") + message(body))
        client.exchange()
        if window % 3 == 0 and stream not in client.status:
            client.h2.reset_stream(stream)
        client.exchange()
