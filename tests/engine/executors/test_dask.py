"""Calls for a Dask cluster, without Dask: who waits is told of every end. The real one is in tests/e2e/test_cluster.py."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest

from modelbuild.engine.executors import dask
from modelbuild.engine.executors.dask import Call, Cluster, SchedulerLost, address_of, affordable
from modelbuild.errors import Error, Stopped


class KilledWorker(Exception):
    pass


class FakeFuture:
    """Is over at once, unless it is to `hang`."""

    def __init__(self, end: object) -> None:
        self.end = end
        self.released = False

    def add_done_callback(self, call: Any) -> None:
        if self.end != "hang":
            call(self)

    def result(self) -> object:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def release(self) -> None:
        self.released = True


class FakeClient:
    """Gives what it was told to give, in order."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.asked: list[dict[str, Any]] = []
        self.futures: list[FakeFuture] = []
        self.status = "running"
        self.offers: list[dict[str, float]] = [{"memory": 512.0, "disk": 100.0}]

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {str(n): {"nthreads": 2, "resources": each} for n, each in enumerate(self.offers)}}

    def submit(self, function: Any, text: str, **options: Any) -> FakeFuture:
        self.asked.append(options)
        self.futures.append(FakeFuture(self.ends.pop(0)))
        return self.futures[-1]

    def close(self, timeout: float) -> None:
        raise OSError("already closed")


@pytest.fixture(autouse=True)
def no_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(KilledWorker=KilledWorker))  # type: ignore[arg-type]


CALL = Call("layer-abc", "a task", {"memory": 384.0, "disk": 900.0}, 2.5)


def cluster(client: FakeClient) -> Cluster:
    return Cluster(client, str, "tcp://there:8786")


def test_a_call_asks_for_what_it_needs_and_no_more_than_there_is() -> None:
    client = FakeClient("an answer")
    assert cluster(client).run(CALL) == "an answer"
    (asked,) = client.asked
    assert asked == {"key": "layer-abc", "resources": {"memory": 384.0, "disk": 100.0}, "priority": 2.5}
    assert client.futures[0].released


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ((), {}),
        (({},), {}),
        (({"memory": 100.0}, {"memory": 200.0}), {"memory": 200.0}),
        (({"memory": 1e9, "disk": 1e12, "GPU": 1.0},), {"memory": 384.0, "disk": 900.0}),
    ],
)
def test_no_call_waits_for_what_nobody_has(offers: tuple[dict[str, float], ...], expected: dict[str, float]) -> None:
    assert affordable(CALL.needs, offers) == expected


def test_a_call_that_killed_workers_is_tried_again_under_another_key() -> None:
    client = FakeClient(KilledWorker(), "an answer")
    assert cluster(client).run(CALL) == "an answer"
    assert [asked["key"] for asked in client.asked] == ["layer-abc", "layer-abc-1"]
    client = FakeClient(*[KilledWorker()] * dask.TRIES)
    with pytest.raises(Error, match="the workers died that ran this action"):
        cluster(client).run(CALL)


def test_a_scheduler_that_is_gone_is_told_from_a_fault_of_the_call() -> None:
    with pytest.raises(SchedulerLost) as lost:
        cluster(FakeClient(CancelledError())).run(CALL)
    assert "tcp://there:8786 is gone" in str(lost.value.error) and lost.value.error.hint
    with pytest.raises(ZeroDivisionError):
        cluster(FakeClient(ZeroDivisionError())).run(CALL)
    client = FakeClient(OSError("closed"))
    client.status = "connecting"
    with pytest.raises(SchedulerLost):
        cluster(client).run(CALL)


def test_all_that_wait_give_up_when_told_to() -> None:
    client = FakeClient(*["hang"] * 3)
    found, ended = cluster(client), []

    def wait() -> None:
        with pytest.raises(Stopped):
            found.run(CALL)
        ended.append(1)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while len(found._waiting) < 3 and time.monotonic() < end:
        time.sleep(0.001)
    found.stop()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 3 and all(future.released for future in client.futures)
    with pytest.raises(Stopped):
        found.run(CALL)
    found.close()


def test_places_follow_the_workers_within_bounds() -> None:
    client = FakeClient()
    assert cluster(client).places == dask.LEAST
    client.offers *= 100
    assert cluster(client).places == 400
    client.offers *= 100
    assert cluster(client).places == dask.MOST


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("dask://scheduler:8786", "scheduler:8786"),
        ("dask://scheduler:8786/", "scheduler:8786"),
        ("dask://tls://scheduler:8786", "tls://scheduler:8786"),
    ],
)
def test_the_address_of_a_scheduler(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["", "dask://", "tcp://scheduler:8786", "ssh://a"])
def test_what_is_no_executor_is_refused(url: str) -> None:
    with pytest.raises(Error, match="expected an executor"):
        address_of(url)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Error) as error:
        dask.connect("dask://scheduler:8786", lambda: str)
    assert error.value.hint == "pip install 'modelbuild[dask]'"


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str, **options: Any) -> None:
        raise OSError(f"Timed out trying to connect to {address}\nafter 15 s")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=refuse))  # type: ignore[arg-type]
    with pytest.raises(Error, match="no Dask scheduler answers at scheduler:8786") as error:
        dask.connect("dask://scheduler:8786", lambda: str)
    assert ("reason", "Timed out trying to connect to scheduler:8786 after 15 s") in error.value.facts
