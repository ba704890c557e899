"""The memory that steps share: never more than there is, never a deadlock."""

from __future__ import annotations

import random
import threading
import time

import pytest

from modelbuild.engine.budget import Budget
from modelbuild.errors import Stopped


def test_one_alone_has_what_it_can_use() -> None:
    budget = Budget(100, threading.Event())
    with budget.share(10, 60) as first, budget.share(10, 60) as second:
        assert (first, second) == (60, 40)
    with budget.share(10, 1000) as all_:
        assert all_ == 100


def test_many_never_have_more_together_and_all_are_served() -> None:
    budget = Budget(100, threading.Event())
    chance = random.Random(3)
    mutex = threading.Lock()
    had: list[int] = []
    most, served = 0, 0

    def ask(least: int, wanted: int) -> None:
        nonlocal most, served
        with budget.share(least, wanted) as given:
            assert given >= least
            with mutex:
                had.append(given)
                # What is larger than the budget runs alone.
                assert sum(had) <= 100 or len(had) == 1
                most = max(most, len(had))
            time.sleep(0.001)
            with mutex:
                had.remove(given)
                served += 1

    asked = [(least := chance.choice([1, 20, 50, 100, 250]), chance.randint(least, 300)) for _ in range(60)]
    threads = [threading.Thread(target=ask, args=each, daemon=True) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert served == 60 and most > 1


def test_a_large_share_is_not_overtaken() -> None:
    budget = Budget(100, threading.Event())
    order: list[str] = []

    def ask(name: str, least: int) -> None:
        with budget.share(least, least):
            order.append(name)

    with budget.share(50, 50):
        threads = []
        for name, least in (("large", 100), ("small", 1)):
            threads.append(threading.Thread(target=ask, args=(name, least), daemon=True))
            threads[-1].start()
            time.sleep(0.02)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["large", "small"]


def test_who_waits_is_told_to_stop() -> None:
    stop = threading.Event()
    budget = Budget(10, stop)
    with budget.share(10, 10):
        threading.Timer(0.02, stop.set).start()
        with pytest.raises(Stopped), budget.share(1, 1):
            pytest.fail("there was nothing left")
    with budget.share(10, 10):
        pass
