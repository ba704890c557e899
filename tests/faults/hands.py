"""The hands of a server in a models folder, without a server: what Ollama does there while builds run, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.folder import Theirs, prune


@contextmanager
def beside(act: Callable[[], None]) -> Iterator[list[int]]:
    """Do something without pause as long as the body runs, and end it whole; yields a list that at the end holds how often."""
    done: list[int] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def loop() -> None:
        times = 0
        try:
            while not stop.is_set():
                act()
                times += 1
        except BaseException as error:
            failed.append(error)
        done.append(times)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]


def pruning(models: Path) -> Callable[[], None]:
    """Remove the empty folders below `manifests/`, as a start of the server and each `rm` do."""
    return lambda: prune(models)


def sharing(models: Path, texts: list[bytes]) -> Callable[[], None]:
    """Put a model that has these blobs, and remove it with each blob that no other manifest names at that moment."""
    theirs = Theirs(models, "same", [b'{"theirs": 2}', *texts])

    def act() -> None:
        theirs.put()
        theirs.remove()

    return act
