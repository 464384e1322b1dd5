"""Real signals, sent by this process to itself."""

import os
import signal

import pytest

from minibert.training import interrupts
from minibert.training.interrupts import stop_requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sets_the_flag_and_nothing_else(number: signal.Signals) -> None:
    with stop_requested() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()


def test_the_handlers_are_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = list(map(signal.getsignal, numbers))
    with pytest.raises(ValueError, match="inside"), stop_requested():
        assert signal.getsignal(signal.SIGINT) != before[0]
        raise ValueError("inside")
    assert list(map(signal.getsignal, numbers)) == before


def test_a_terminal_that_closes_stops_nothing_that_nohup_started() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_system_without_sighup_has_the_other_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    assert interrupts.stop_signals() == [signal.SIGINT, signal.SIGTERM]


def test_a_second_sigint_later_on_interrupts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "SAME_REQUEST_SECONDS", 0.0)
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_same_ctrl_c_passed_on_by_torchrun_does_not_interrupt() -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()


def test_a_second_sigterm_never_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "SAME_REQUEST_SECONDS", 0.0)
    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
