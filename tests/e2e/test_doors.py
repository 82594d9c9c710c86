"""The doors of the recorder against a member that is only a socket. Run by `scripts/patroni`."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from doors import Doors

pytestmark = pytest.mark.e2e

SILENCE_S = 0.3
OPEN_S_MAX = 5.0


class Echo:
    """A member that sends back what it gets."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connections = []
        while True:
            connection, _address = self._listener.accept()
            data = connection.recv(100)
            if data == b"die":
                break
            if data:
                connection.sendall(data)
            connections.append(connection)
        for one in (*connections, connection, self._listener):
            one.close()

    def die(self) -> None:
        """Its port refuses afterwards."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"die")
        self._thread.join(5)


@pytest.fixture
def member() -> Iterator[Echo]:
    """One that lives at the end, too."""
    echo = Echo()
    yield echo
    if echo._thread.is_alive():
        echo.die()


@pytest.fixture
def doors(member: Echo) -> Iterator[Doors]:
    """Of one node and one member."""
    doors = Doors(["pg1"], {"m1": member.port})
    yield doors
    doors.close()


def connect(doors: Doors) -> socket.socket:
    """The node's way in."""
    host, port = doors.hosts("pg1", ["m1"]).split(":")
    connection = socket.create_connection((host, int(port)), OPEN_S_MAX)
    connection.settimeout(SILENCE_S)
    return connection


def test_a_door_carries_both_ways_and_remembers_the_member(doors: Doors) -> None:
    """What the node sends comes back, and the member it spoke to is known."""
    with connect(doors) as connection:
        connection.sendall(b"ping")
        answer = connection.recv(100)

    assert (answer, doors.spoken) == (b"ping", {"pg1": "m1"})


def test_a_node_that_is_cut_off_meets_silence_until_it_is_healed(doors: Doors) -> None:
    """New and open connections freeze, and what was sent arrives after the cut."""
    with connect(doors) as opened:
        doors.cut("pg1")
        opened.sendall(b"held")
        with connect(doors) as fresh, pytest.raises(TimeoutError):
            fresh.recv(100)
        with pytest.raises(TimeoutError):
            opened.recv(100)
        doors.heal("pg1")
        opened.settimeout(OPEN_S_MAX)
        assert opened.recv(100) == b"held"


def test_the_doors_of_a_dead_member_refuse_and_open_when_it_is_back(
    doors: Doors, member: Echo
) -> None:
    """Twice, since a door that had been shut once stayed shut."""
    port = member.port
    for _ in range(2):
        member.die()
        doors.shut("m1")
        with pytest.raises(ConnectionRefusedError):
            connect(doors)
        member = Echo(port)
        doors.open("m1")
        deadline = time.monotonic() + OPEN_S_MAX
        while True:
            try:
                connection = connect(doors)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        with connection:
            connection.settimeout(OPEN_S_MAX)
            connection.sendall(b"back")
            assert connection.recv(100) == b"back"
    member.die()
