"""A cluster in this process: workshops with stores of their own take turns, and no Dask is needed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from modelbuild.engine.executors.dask import Call, Workers
from modelbuild.session.cluster.serving import Means, Workshop


class FakeCluster:
    """Runs calls in the thread that waits for them; `before` is told of each, and may raise."""

    address = "tcp://fake:8786"
    places = 4

    def __init__(self, folder: Path, remote: str, count: int = 2) -> None:
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda call: None
        self.shops = [Workshop(Means(str(folder / f"worker{number}"), remote, 64 << 20, 1)) for number in range(count)]
        self._next = itertools.cycle(self.shops)
        self._mutex = threading.Lock()

    def workers(self) -> Workers:
        return Workers(len(self.shops), self.places, ())

    def run(self, call: Call) -> str:
        with self._mutex:
            self.calls.append(call)
            shop = next(self._next)
        self.before(call)
        return shop.run(call.text)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass

    def end(self) -> None:
        for shop in self.shops:
            shop.close()
