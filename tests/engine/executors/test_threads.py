"""Steps in threads: as many at once as were asked for."""

from __future__ import annotations

import threading

from modelbuild.engine.executors import threads


def test_as_many_threads_as_were_asked_for_run_at_once() -> None:
    together = threading.Barrier(3)
    with threads.connect(3) as pool:
        assert sorted(future.result() for future in [pool.submit(together.wait, 10) for _ in range(3)]) == [0, 1, 2]
