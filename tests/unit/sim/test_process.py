"""Programs that wait in simulated time."""

from quorate.sim.clock import Clock
from quorate.sim.process import Pause, Program, Signal, Steps


def test_a_program_goes_on_when_its_time_is_over() -> None:
    """A pause without a signal lasts as long as it says."""
    clock, seen = Clock(), []

    def program() -> Steps[None]:
        got = yield Pause(2.0)
        seen.append((clock.now, got))

    Program(clock, program()).start()
    clock.run_until(5.0)

    assert seen == [(2.0, None)]


def test_a_signal_wakes_it_before() -> None:
    """It gets what the signal was set to, once."""
    clock, signal, seen = Clock(), Signal(), []

    def program() -> Steps[None]:
        for _ in range(2):
            got = yield Pause(3.0, signal)
            signal.clear()
            seen.append((clock.now, got))

    Program(clock, program()).start()
    clock.after(1.0, lambda: signal.set("now"))
    clock.run_until(9.0)

    assert seen == [(1.0, "now"), (4.0, None)]


def test_a_signal_that_is_set_already_does_not_wait() -> None:
    """Nothing is lost between looking and waiting."""
    clock, signal, seen = Clock(), Signal(), []
    signal.set()

    def program() -> Steps[None]:
        yield Pause(3.0, signal)
        seen.append(clock.now)

    Program(clock, program()).start()
    clock.run_until(9.0)

    assert seen == [0.0]


def test_a_stopped_program_never_goes_on_and_cleans_up() -> None:
    """Wherever it was."""
    clock, seen = Clock(), []

    def program() -> Steps[None]:
        try:
            yield Pause(3.0)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    running = Program(clock, program()).start()
    running.stop()
    clock.run_until(9.0)

    assert seen == ["cleaned up"]
    assert not running.running
