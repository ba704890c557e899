"""Where steps run: at once in this thread, or in threads with the same results."""

from __future__ import annotations

import threading

import pytest

from modelbuild.engine.executors import threads
from modelbuild.engine.executors.inline import Inline


def test_a_call_in_this_thread_is_over_when_it_is_submitted() -> None:
    done = Inline().submit(lambda text: (text, threading.current_thread()), "x")
    assert done.result() == ("x", threading.current_thread())


def test_a_fault_is_raised_where_the_result_is_asked_for() -> None:
    done = Inline().submit(lambda: [][0])
    with pytest.raises(IndexError):
        done.result()


def test_as_many_threads_as_were_asked_for_run_at_once() -> None:
    together = threading.Barrier(3)
    with threads.connect(3) as pool:
        assert sorted(future.result() for future in [pool.submit(together.wait, 10) for _ in range(3)]) == [0, 1, 2]
