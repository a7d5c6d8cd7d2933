"""A signal stops a process at once, or where a holder allows it."""

import os
import signal

import pytest

from pixelsmile.signals import STOP_SIGNALS, Stopped, StopSignals


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_exit_code_is_128_and_the_signal(number):
    with StopSignals(), pytest.raises(Stopped) as stopped:
        send(number)
    assert stopped.value.code == 128 + number
    assert stopped.value.signal == number.name


def test_holder_finishes_first():
    with StopSignals() as stop:
        stop.hold()
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(Stopped, match="143"):
            stop.check()


def test_release_lets_a_waiting_signal_through():
    with StopSignals() as stop:
        stop.hold()
        send(signal.SIGUSR1)
        with pytest.raises(Stopped, match="138"):
            stop.release()


def test_second_ctrl_c_does_not_wait():
    with StopSignals() as stop:
        stop.hold()
        send(signal.SIGINT)
        with pytest.raises(Stopped, match="130"):
            send(signal.SIGINT)


def test_signals_are_given_back():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopSignals():
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_forked_child_dies_of_its_own_signals():
    with StopSignals() as stop:
        stop.hold()
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        stop.check()
