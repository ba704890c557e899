"""Ctrl-C is heard at once and raised where nothing is half done."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from modelbuild import interrupt
from modelbuild.engine.store import Store


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_deferred_interrupt_aborts_at_once_and_is_raised_at_the_check() -> None:
    aborted = []
    with pytest.raises(KeyboardInterrupt), interrupt.deferred(lambda: aborted.append(True)):
        press()
        assert aborted == [True]
        interrupt.check()
        pytest.fail("the check let it pass")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interrupt.check()


def test_an_interrupt_that_met_no_check_is_raised_at_the_end() -> None:
    passed = []
    with pytest.raises(KeyboardInterrupt), interrupt.deferred(lambda: None):
        press()
        passed.append(True)
    assert passed


def test_an_interrupt_is_not_forgotten_where_an_error_ends_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt.deferred(lambda: None):
        press()
        raise ValueError("what the abort led to")
    with pytest.raises(ValueError), interrupt.deferred(lambda: None):
        raise ValueError("without an interrupt")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_is_raised_where_it_falls() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt.deferred(lambda: None):
        press()
        press()
        pytest.fail("the second was deferred too")


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt.deferred(lambda: pytest.fail("heard")):
            press()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_temporary_file_that_an_interrupt_left_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("modelbuild.engine.store.Temporary.close", lambda self: press())
        with pytest.raises(KeyboardInterrupt), store.temporary():
            pass
    assert list(tmp_path.rglob(".tmp-*"))
    store.drop_unfinished()
    assert not list(tmp_path.rglob(".tmp-*"))
    store.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_asks_the_process_to_end_is_heard_as_well(number: signal.Signals) -> None:
    # Whoever runs the tests may ignore it.
    before = signal.signal(number, signal.SIG_DFL)
    aborted = []
    with pytest.raises(interrupt.Ended) as caught, interrupt.deferred(lambda: aborted.append(True)):
        os.kill(os.getpid(), number)
        assert aborted == [True]
        with interrupt.put_off():
            interrupt.check()
        interrupt.check()
        pytest.fail("the check let it pass")
    assert caught.value.number == number
    assert signal.signal(number, before) is signal.SIG_DFL


def test_a_hangup_that_is_ignored_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.deferred(lambda: pytest.fail("heard")):
            os.kill(os.getpid(), signal.SIGHUP)
            interrupt.check()
    finally:
        signal.signal(signal.SIGHUP, before)
