"""A batch is full by number, or by time."""

from __future__ import annotations

import pytest

from modelbuild.engine import batch
from modelbuild.engine.batch import Batch


def test_it_is_time_when_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST", 3)
    waiting = Batch[str, int]()
    assert [waiting.add(key, 1) for key in "abc"] == [False, False, True]
    assert waiting.take() == dict.fromkeys("abc", 1)
    assert waiting.take() == {}
    assert not waiting.add("d", 2)


def test_it_is_time_when_the_first_has_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    waiting = Batch[str, int]()
    assert not waiting.add("a", 1)
    clock[0] = batch.SOON / 2
    assert not waiting.add("b", 1)
    clock[0] = batch.SOON
    assert waiting.add("c", 1)
    waiting.take()
    assert not waiting.add("d", 1)
