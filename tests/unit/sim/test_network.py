"""Simulated links: what is delivered, when, how often, and what its sender is told."""

import random

from quorate.raft.types import Message, MessageType
from quorate.sim.clock import Clock
from quorate.sim.network import (
    COPY_DELAY, DELAY_S_MIN, SNAPSHOT_LOSS_NOTICED_S, LinkQuality, Network,
)

DELAY_S = 0.01


class Wire:
    """A network that writes down what arrives, as (time, to, index), and what senders are told."""

    def __init__(self, loss: float = 0.0, duplication: float = 0.0, seed: int = 1) -> None:
        self.clock = Clock()
        self.arrived: list[tuple[float, int, int]] = []
        self.images: list[object] = []
        self.told: list[tuple[float, bool]] = []
        self.present = True
        self.network = Network(
            self.clock, random.Random(seed), LinkQuality(DELAY_S, loss, duplication),
            self._deliver, lambda _message, ok: self.told.append((self.clock.now, ok)))

    def _deliver(self, message: Message, image: object) -> bool:
        self.arrived.append((self.clock.now, message.to, message.index))
        self.images.append(image)
        return self.present

    def send(self, *indexes: int, from_: int = 1, to: int = 2, image: object = None) -> None:
        """Messages that are told apart by their index."""
        for index in indexes:
            self.network.send(
                Message(MessageType.APP, to=to, from_=from_, index=index), image)

    def wait(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now + seconds)

    @property
    def indexes(self) -> list[int]:
        """Of what arrived."""
        return [index for _, _, index in self.arrived]


def test_everything_arrives_once_within_the_longest_delay() -> None:
    """Not in the order in which it was sent."""
    wire = Wire()
    wire.send(*range(100))
    wire.wait()

    assert sorted(wire.indexes) == list(range(100)) != wire.indexes
    assert all(DELAY_S_MIN <= at <= DELAY_S_MIN + DELAY_S for at, _, _ in wire.arrived)
    assert (wire.network.sent, wire.network.dropped, wire.told) == (100, 0, [])


def test_the_dice_decide_and_nothing_else() -> None:
    """One seed, one order."""
    runs = []
    for seed in (1, 1, 2):
        wire = Wire(loss=0.2, duplication=0.2, seed=seed)
        wire.send(*range(50))
        wire.wait()
        runs.append(wire.arrived)

    assert runs[0] == runs[1] != runs[2]


def test_a_share_is_lost() -> None:
    """And counted."""
    wire = Wire(loss=0.3)
    wire.send(*range(1000))
    wire.wait()

    assert 200 < wire.network.dropped < 400
    assert len(set(wire.indexes)) == len(wire.indexes) == 1000 - wire.network.dropped


def test_a_copy_comes_late() -> None:
    """After the first."""
    wire = Wire(duplication=1.0)
    wire.send(7)
    wire.wait(COPY_DELAY * DELAY_S / 2)
    early = list(wire.indexes)
    wire.wait()

    assert (early, wire.indexes) == ([7], [7, 7])
    assert wire.arrived[1][0] == COPY_DELAY * DELAY_S


def test_a_snapshot_comes_once_with_its_image() -> None:
    """Its sender is told that it arrived."""
    wire = Wire(duplication=1.0)
    wire.send(1, image="image")
    wire.wait()

    assert wire.images == ["image"]
    assert wire.told == [(wire.arrived[0][0], True)]


def test_a_lost_snapshot_is_noticed() -> None:
    """After a while, by its sender; that of another message is told nothing."""
    wire = Wire(loss=1.0)
    wire.send(1, image="image")
    wire.send(2)
    wire.wait(2.0)

    assert (wire.arrived, wire.told) == ([], [(SNAPSHOT_LOSS_NOTICED_S, False)])


def test_a_snapshot_for_nobody_is_noticed() -> None:
    """The receiver is down, or the link is cut."""
    wire = Wire()
    wire.present = False
    wire.send(1, image="image")
    wire.wait()
    wire.network.cut_between([1], [2])
    wire.send(2, image="image")
    wire.wait()

    assert [ok for _, ok in wire.told] == [False, False]
    assert (wire.indexes, wire.network.dropped) == ([1], 2)


def test_a_cut_link_delivers_nothing() -> None:
    """Also nothing that was under way; when it is mended, only what arrives from then on."""
    wire = Wire()
    wire.send(1)
    links = wire.network.cut_between([1], [2])
    wire.send(2)
    wire.wait()
    wire.network.mend(links)
    wire.send(3)
    wire.wait()

    assert (wire.indexes, wire.network.dropped) == ([3], 2)


def test_cuts_have_directions() -> None:
    """Both, unless one way; a member is never cut from itself."""
    wire = Wire()

    assert wire.network.cut_between([1, 2], [2, 3]) == {
        (1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)}
    wire.network.mend(set(wire.network.cut))
    assert wire.network.cut_between([1], [2], one_way=True) == wire.network.cut == {(1, 2)}
    wire.send(1)
    wire.send(2, from_=2, to=1)
    wire.wait()
    assert wire.indexes == [2]


def test_a_clogged_link_delivers_all_at_once() -> None:
    """In the order of arrival, when it is free again; other links go on."""
    wire = Wire()
    wire.network.clog([(1, 2)])
    for index in range(5):
        wire.send(index)
        wire.wait(0.1)
    wire.send(9, from_=2, to=1)
    wire.wait()
    before = list(wire.indexes)
    wire.network.clog([(1, 2)])
    wire.network.unclog([(1, 2), (2, 1)])

    assert (before, wire.indexes) == ([9], [9, 0, 1, 2, 3, 4])
    assert {at for at, _, index in wire.arrived if index != 9} == {wire.clock.now}
    wire.send(10)
    wire.wait()
    assert wire.indexes[-1] == 10


def test_a_clogged_link_that_is_cut_loses_what_it_held() -> None:
    """If it is still cut when it is free again."""
    wire = Wire()
    wire.network.clog([(1, 2)])
    wire.send(1, image="image")
    wire.wait()
    wire.network.cut_between([1], [2])
    wire.network.unclog([(1, 2)])

    assert (wire.indexes, wire.told) == ([], [(wire.clock.now, False)])
