"""Steps in the calling thread: over when they are submitted."""

from __future__ import annotations

import threading

import pytest

from modelbuild.engine.executors.inline import Inline


def test_a_call_is_made_here_and_at_once() -> None:
    done = Inline().submit(lambda text: (text, threading.current_thread()), "x")
    assert done.result() == ("x", threading.current_thread())


def test_a_fault_is_raised_where_the_result_is_asked_for() -> None:
    done = Inline().submit(lambda: [][0])
    with pytest.raises(IndexError):
        done.result()
